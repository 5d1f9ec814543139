//! What happened, per bucket, in order, for as long as memory is set aside for it.

use crate::{Key, Options, Stored};
use coracle_base::Memo;
use parking_lot::{Mutex, RwLock};
use std::{
    any::Any,
    collections::{HashMap, VecDeque},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};
use tokio::sync::watch;

/// One change to one key.
pub struct Event<T> {
    /// Its revision.
    pub revision: u64,
    /// Where.
    pub key: Key,
    /// Before.
    pub old: Option<Arc<T>>,
    /// After; `None`: deleted.
    pub new: Option<Arc<T>>,
    pub(crate) at: Instant,
    /// Room for what a reader wants to compute once for all readers (an encoded frame), while the event is fresh.
    pub memo: Memo<Arc<dyn Any + Send + Sync>>,
}

/// The log no longer reaches back to where the watcher is (or a reader asks from a revision before it): start over from a snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("too old resource version: the history of changes no longer reaches back that far")]
pub struct Lost;

pub(crate) struct Log<T> {
    events: RwLock<VecDeque<Arc<Event<T>>>>,
    bytes: AtomicU64,
    /// All events after this revision are here.
    pub floor: AtomicU64,
    latest: watch::Sender<u64>,
}

pub(crate) struct Logs<T: Stored> {
    buckets: Mutex<HashMap<Box<str>, Arc<Log<T>>>>,
    /// Everything, for readers whose prefix is wider than a bucket.
    all: Arc<Log<T>>,
    start: u64,
    max_events: usize,
    max_bytes: u64,
    /// The revision up to which all logs are complete.
    pub published: watch::Sender<u64>,
    /// When logs were last relieved of what is old.
    expired: Mutex<Instant>,
}

fn bucket(key: &str) -> Option<&str> {
    let first = key.find('/')?;
    let second = key[first + 1..].find('/')? + first + 1;
    Some(&key[..=second])
}

impl<T: Stored> Logs<T> {
    pub fn new(start: u64, options: &Options) -> Self {
        Self {
            buckets: Mutex::default(),
            all: Arc::new(Log::new(start)),
            start,
            max_events: options.history_events,
            max_bytes: options.history_bytes as u64,
            published: watch::channel(start).0,
            expired: Mutex::new(Instant::now()),
        }
    }

    pub fn of(&self, prefix: &str) -> Arc<Log<T>> {
        match bucket(prefix) {
            None => self.all.clone(),
            Some(bucket) => self.bucket(bucket),
        }
    }

    fn bucket(&self, bucket: &str) -> Arc<Log<T>> {
        let mut buckets = self.buckets.lock();
        if let Some(log) = buckets.get(bucket) {
            return log.clone();
        }
        let log = Arc::new(Log::new(self.start));
        buckets.insert(bucket.into(), log.clone());
        log
    }

    /// Appends what one batch did, then wakes its watchers.
    pub fn publish(&self, events: Vec<Event<T>>, revision: u64) {
        let mut touched: Vec<(Box<str>, Arc<Log<T>>)> = Vec::new();
        for event in events {
            let event = Arc::new(event);
            self.all.push(event.clone(), self.max_events, self.max_bytes);
            self.all.rest();
            let Some(name) = bucket(&event.key) else { continue };
            let log = match touched.iter().find(|(n, _)| &**n == name) {
                Some((_, log)) => log.clone(),
                None => {
                    let log = self.bucket(name);
                    touched.push((name.into(), log.clone()));
                    log
                }
            };
            log.push(event, self.max_events, self.max_bytes);
        }
        for (_, log) in &touched {
            log.latest.send_replace(revision);
        }
        self.all.latest.send_replace(revision);
        self.published.send_replace(revision);
        self.expire();
    }

    /// From time to time, also in buckets where nothing happens: a burst must not be kept for ever.
    fn expire(&self) {
        let now = Instant::now();
        let mut last = self.expired.lock();
        if now.duration_since(*last) < EXPIRE {
            return;
        }
        *last = now;
        for log in self.buckets.lock().values().chain([&self.all]) {
            log.expire(now);
        }
    }
}

impl<T> Log<T> {
    fn new(floor: u64) -> Self {
        Self {
            events: RwLock::default(),
            bytes: AtomicU64::new(0),
            floor: AtomicU64::new(floor),
            latest: watch::channel(floor).0,
        }
    }
}

/// So many events are what readers are busy with; what lies further back is kept only for those who have to catch up.
const FRESH: usize = 128;

/// So long every change is kept, if there is room for it: as upstream's store before it compacts.
const HISTORY: Duration = Duration::from_secs(300);
/// So many are kept however old they are, as in upstream's watch cache.
const KEPT: usize = 100;
/// How often old changes are looked for.
const EXPIRE: Duration = Duration::from_secs(10);

/// A superseded version is what the log alone keeps in memory.
fn weight<T: Stored>(event: &Event<T>) -> u64 {
    event.old.as_ref().map_or(0, |old| old.bytes().len() as u64) + 256
}

impl<T: Stored> Log<T> {
    fn push(&self, event: Arc<Event<T>>, max_events: usize, max_bytes: u64) {
        let mut events = self.events.write();
        self.bytes.fetch_add(weight(&event), Ordering::Relaxed);
        events.push_back(event);
        while events.len() > max_events || (self.bytes.load(Ordering::Relaxed) > max_bytes && events.len() > 1) {
            self.drop_first(&mut events);
        }
    }

    fn expire(&self, now: Instant) {
        let mut events = self.events.write();
        let old = |event: &Arc<Event<T>>| now.saturating_duration_since(event.at) > HISTORY;
        while events.len() > KEPT && events.front().is_some_and(old) {
            self.drop_first(&mut events);
        }
    }

    fn drop_first(&self, events: &mut VecDeque<Arc<Event<T>>>) {
        if let Some(gone) = events.pop_front() {
            self.bytes.fetch_sub(weight(&gone), Ordering::Relaxed);
            self.floor.store(gone.revision, Ordering::Release);
        }
    }

    /// Lets the event that has just ceased to be fresh weigh no more than it must.
    fn rest(&self) {
        let events = self.events.read();
        let Some(event) = events.len().checked_sub(FRESH + 1).and_then(|at| events.get(at)) else { return };
        event.memo.let_go();
        if let Some(old) = &event.old {
            old.rest();
        }
    }
}

/// Follows the changes under a prefix at its own pace.
pub struct Watcher<T: Stored> {
    log: Arc<Log<T>>,
    prefix: String,
    after: u64,
    latest: watch::Receiver<u64>,
    published: watch::Receiver<u64>,
}

impl<T: Stored> Watcher<T> {
    pub(crate) fn new(log: Arc<Log<T>>, prefix: String, after: u64, published: watch::Receiver<u64>) -> Self {
        let latest = log.latest.subscribe();
        Self { log, prefix, after, latest, published }
    }

    /// The revision up to which this watcher has seen everything under its prefix.
    pub fn revision(&self) -> u64 {
        self.after
    }

    /// What has happened since, at most `max` events; empty if nothing. The position moves on, also past other keys' events.
    ///
    /// # Errors
    /// [`Lost`] when it was too slow.
    pub fn take(&mut self, max: usize) -> Result<Vec<Arc<Event<T>>>, Lost> {
        // read first: everything up to here is in the log
        let complete = *self.published.borrow();
        let events = self.log.events.read();
        if self.after < self.log.floor.load(Ordering::Acquire) {
            return Err(Lost);
        }
        let start = events.partition_point(|e| e.revision <= self.after);
        let mut taken = Vec::new();
        for event in events.range(start..) {
            if taken.len() == max {
                return Ok(taken);
            }
            self.after = event.revision;
            if event.key.starts_with(&self.prefix) {
                taken.push(event.clone());
            }
        }
        self.after = self.after.max(complete);
        Ok(taken)
    }

    /// The next events, at least one and at most `max`. Cancelling it loses nothing.
    ///
    /// # Errors
    /// [`Lost`] when the watcher was too slow, or the store has closed.
    pub async fn next(&mut self, max: usize) -> Result<Vec<Arc<Event<T>>>, Lost> {
        loop {
            self.latest.mark_unchanged();
            let taken = self.take(max)?;
            if !taken.is_empty() {
                return Ok(taken);
            }
            self.latest.changed().await.map_err(|_| Lost)?;
        }
    }
}
