//! Streaming connections on which nothing passes: in the end they are hung up.

use parking_lot::Mutex;
use std::{sync::Arc, time::Duration};
use tokio::time::Instant;

/// How long a connection may be quiet: a kubelet's `streamingConnectionIdleTimeout`.
const LONGEST: Duration = Duration::from_secs(4 * 60 * 60);

/// When something last passed on a connection. What only shows that somebody is there does not count.
#[derive(Clone)]
pub(super) struct Activity(Arc<Mutex<Instant>>);

impl Activity {
    /// A connection that begins now.
    pub(super) fn new() -> Self {
        Self(Arc::new(Mutex::new(Instant::now())))
    }

    /// Something passes.
    pub(super) fn note(&self) {
        *self.0.lock() = Instant::now();
    }

    /// Completes when nothing has passed for too long.
    pub(super) async fn ceased(&self) {
        while let Some(left) = self.left(Instant::now()) {
            tokio::time::sleep(left).await;
        }
    }

    /// How much longer it may be quiet.
    fn left(&self, now: Instant) -> Option<Duration> {
        LONGEST.checked_sub(now.saturating_duration_since(*self.0.lock())).filter(|left| !left.is_zero())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_may_be_quiet_for_hours_but_not_for_ever() {
        let activity = Activity::new();
        let began = *activity.0.lock();
        for (quiet, left) in [(0, Some(4 * 3600)), (3600, Some(3 * 3600)), (4 * 3600, None), (9 * 3600, None)] {
            let left = left.map(Duration::from_secs);
            assert_eq!(activity.left(began + Duration::from_secs(quiet)), left, "after {quiet} s");
        }
        activity.note();
        assert!(activity.left(Instant::now()).is_some());
    }
}
