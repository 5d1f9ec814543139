//! Turns: writers that would otherwise only make each other fail go one after the other, by name.

use parking_lot::Mutex;
use std::{collections::HashMap, sync::Arc};
use tokio::sync::{Mutex as Waiting, OwnedMutexGuard};

/// Who is whose turn, by name. Names that nobody waits for take no memory.
#[derive(Debug, Default)]
pub struct Turns(Mutex<HashMap<String, Arc<Waiting<()>>>>);

/// Somebody's turn, until it is dropped.
#[derive(Debug)]
pub struct Turn<'a> {
    turns: &'a Turns,
    name: String,
    guard: Option<OwnedMutexGuard<()>>,
}

impl Turns {
    /// Waits for a turn; first come, first served.
    pub async fn take(&self, name: &str) -> Turn<'_> {
        let waiting = self.0.lock().entry(name.to_string()).or_default().clone();
        // made before the wait: who gives up waiting leaves nothing, either
        let mut turn = Turn { turns: self, name: name.to_string(), guard: None };
        turn.guard = Some(waiting.lock_owned().await);
        turn
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let mut all = self.turns.0.lock();
        self.guard = None;
        if all.get(&self.name).is_some_and(|waiting| Arc::strong_count(waiting) == 1) {
            all.remove(&self.name);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt;

    #[tokio::test]
    async fn one_at_a_time_and_nothing_is_left() {
        let turns = Turns::default();
        let first = turns.take("a").await;
        let mut second = Box::pin(turns.take("a"));
        assert!((&mut second).now_or_never().is_none());
        assert!(turns.take("b").now_or_never().is_some());
        drop(first);
        drop(second.await);
        let third = turns.take("a").await;
        let mut fourth = Box::pin(turns.take("a"));
        assert!((&mut fourth).now_or_never().is_none());
        drop(third);
        drop(fourth);
        assert!(turns.0.lock().is_empty());
    }
}
