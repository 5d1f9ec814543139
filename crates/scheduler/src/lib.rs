//! The scheduler: which node each pod runs on.
//!
//! ```text
//! changes ─▶ cache (nodes, what runs on them) ─┐
//!         └▶ queue (priority, backoff) ─▶ pod ─┴▶ decide: filters ─ scores ─▶ assume ─▶ bind (not waited for)
//!                 ▲                                  └ none fits: preempt: victims ─▶ nominate ─▶ evict (not waited for)
//!                 └──────────────────────────────────┴ or nothing helps: condition, event, wait for a change that may help
//! ```
//! Invariants: `decide` (with `preempt`) is pure; a pod that was given a node takes up room there at once, before the API has confirmed it; a pod that
//! fits nowhere waits for a change and is not tried again and again.

mod bind;
mod budgets;
mod cache;
#[cfg(test)]
mod cases;
mod decide;
mod evict;
mod nominated;
pub mod plugins;
mod preempt;
#[cfg(test)]
mod preempt_cases;
mod queue;
mod run;

pub use cache::{Cache, NodeInfo};
pub use decide::{Decision, decide};
pub use nominated::Nominated;
pub use preempt::Preemption;
pub use run::start;
