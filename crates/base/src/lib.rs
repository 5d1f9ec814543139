//! Clock, backoff, task supervision and telemetry: what every other crate stands on.
//!
//! Invariant: this crate knows nothing of Kubernetes.

pub mod backoff;
pub mod clock;
pub mod memo;
pub mod metrics;
pub mod tasks;
pub mod telemetry;

pub use backoff::Backoff;
pub use clock::{Clock, SharedClock, SystemClock, TestClock};
pub use memo::Memo;
pub use tasks::Tasks;
