//! The scheduler: which node each pod runs on.
//!
//! ```text
//! changes ─▶ cache (nodes, what runs on them) ─┐
//!         └▶ queue (priority, backoff) ─▶ pod ─┴▶ decide: filters ─ scores ─▶ assume ─▶ bind (not waited for)
//!                 ▲                                  └ none fits: condition, event, wait for a change that may help
//!                 └──────────────────────────────────┘
//! ```
//! Invariants: `decide` is pure; a pod that was given a node takes up room there at once, before the API has confirmed it; a pod that
//! fits nowhere waits for a change and is not tried again and again.

mod bind;
mod cache;
#[cfg(test)]
mod cases;
mod decide;
pub mod plugins;
mod queue;
mod run;

pub use cache::{Cache, NodeInfo};
pub use decide::{Decision, decide};
pub use run::start;
