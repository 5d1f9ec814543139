//! Supervised tasks: named, counted, and ended together.

use std::future::Future;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// A group of tasks that stop when their token is cancelled; `stop` waits for all of them.
#[derive(Clone, Debug, Default)]
pub struct Tasks {
    tracker: TaskTracker,
    token: CancellationToken,
}

impl Tasks {
    /// An empty group.
    pub fn new() -> Self {
        Self::default()
    }

    /// A group of its own that also ends when this one ends.
    pub fn child(&self) -> Self {
        Self { tracker: TaskTracker::new(), token: self.token.child_token() }
    }

    /// The token that is cancelled when the group is to end.
    pub fn token(&self) -> CancellationToken {
        self.token.clone()
    }

    /// Runs `future` until it completes or the group is stopped (it is then dropped at its next await).
    pub fn spawn(&self, name: &'static str, future: impl Future<Output = ()> + Send + 'static) {
        let token = self.token.clone();
        self.tracker.spawn(async move {
            let inner = tokio::spawn(async move { token.run_until_cancelled(future).await.is_some() });
            match inner.await {
                Ok(true) => tracing::debug!(task = name, "task completed"),
                Ok(false) => {}
                Err(error) => tracing::error!(task = name, %error, "task panicked"),
            }
        });
    }

    /// Ends every task and waits until the last one is gone.
    pub async fn stop(&self) {
        self.token.cancel();
        self.tracker.close();
        self.tracker.wait().await;
    }
}
