//! The work queue of every control loop: it carries keys, never objects, so that late work sees the newest state.
//!
//! Invariants: a key waits at most once; it is worked on by one worker at a time; a key added meanwhile is worked on again.
//! Source of the behaviour: client-go `util/workqueue`.

use coracle_base::{
    SharedClock,
    metrics::{Counter, Family, Gauge, Histogram, escape, heading, line},
};
use futures::{StreamExt, stream::FuturesUnordered};
use jiff::Timestamp;
use parking_lot::Mutex;
use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque},
    future::Future,
    hash::Hash,
    sync::{
        Arc, LazyLock,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};
use tokio::sync::Notify;

/// The first delay of a key that failed; each further failure doubles it.
const FIRST_DELAY: Duration = Duration::from_millis(5);
/// The longest delay of a key that keeps failing. Shorter than upstream's 1000 s: a user who repairs the cause should not wait.
const MAX_DELAY: Duration = Duration::from_secs(60);

/// What can be queued.
pub trait QueueKey: Clone + Eq + Hash + Ord + Send + Sync + 'static {}
impl<T: Clone + Eq + Hash + Ord + Send + Sync + 'static> QueueKey for T {}

/// What a worker says about the key it has worked on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// All is as it should be: forget earlier failures.
    Done,
    /// All is as it should be for now; look again after this long.
    After(Duration),
    /// It failed: look again after the key's backoff.
    Retry,
}

/// Upper bounds of the time that a key waits, or that work on it takes, as upstream.
const SECONDS: &[f64] = &[1e-8, 1e-7, 1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0];

/// What is counted of all queues that have names.
struct Counted {
    depth: Family<Gauge>,
    adds: Family<Counter>,
    retries: Family<Counter>,
    waits: Family<Histogram>,
    work: Family<Histogram>,
    /// The work under way in each queue.
    running: Mutex<BTreeMap<String, Arc<Running>>>,
}

/// When each piece of work under way began.
#[derive(Default)]
struct Running(Mutex<BTreeMap<u64, Instant>>);

impl Running {
    /// A piece of work begins; it is over when the guard is dropped.
    fn begin(self: &Arc<Self>) -> Working {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let id = NEXT.fetch_add(1, Ordering::Relaxed);
        self.0.lock().insert(id, Instant::now());
        Working(self.clone(), id)
    }

    /// For how long all of them together, and the longest, have been under way by now, in seconds.
    fn seconds(&self, now: Instant) -> (f64, f64) {
        let began = self.0.lock();
        let each = began.values().map(|began| now.saturating_duration_since(*began).as_secs_f64());
        each.fold((0.0, 0.0), |(all, longest), one| (all + one, f64::max(longest, one)))
    }
}

/// A piece of work under way.
struct Working(Arc<Running>, u64);

impl Drop for Working {
    fn drop(&mut self) {
        self.0.0.lock().remove(&self.1);
    }
}

static COUNTED: LazyLock<Counted> = LazyLock::new(|| Counted {
    depth: Family::new("workqueue_depth", "Current depth of workqueue", &["name"], ()),
    adds: Family::new("workqueue_adds_total", "Total number of adds handled by workqueue", &["name"], ()),
    retries: Family::new("workqueue_retries_total", "Total number of retries handled by workqueue", &["name"], ()),
    waits: Family::new(
        "workqueue_queue_duration_seconds",
        "How long in seconds an item stays in workqueue before being requested.",
        &["name"],
        SECONDS,
    ),
    running: Mutex::new(BTreeMap::new()),
    work: Family::new(
        "workqueue_work_duration_seconds",
        "How long in seconds processing an item from workqueue takes.",
        &["name"],
        SECONDS,
    ),
});

/// The figures of all queues that have names, in Prometheus' text form.
pub fn render(out: &mut String) {
    COUNTED.adds.render(out);
    COUNTED.depth.render(out);
    under_way(out);
    COUNTED.waits.render(out);
    COUNTED.retries.render(out);
    COUNTED.work.render(out);
}

fn under_way(out: &mut String) {
    let now = Instant::now();
    let queues = COUNTED.running.lock();
    let seconds: Vec<(String, (f64, f64))> =
        queues.iter().map(|(name, running)| (format!("name=\"{}\"", escape(name)), running.seconds(now))).collect();
    drop(queues);
    let (longest, all) = ("workqueue_longest_running_processor_seconds", "workqueue_unfinished_work_seconds");
    let help = "How many seconds has the longest running processor for workqueue been running.";
    heading(out, longest, help, "gauge");
    seconds.iter().for_each(|(labels, (_, one))| line(out, longest, labels, one));
    let help = "How many seconds of work has done that is in progress and hasn't been observed by work_duration. Large values indicate stuck threads. One can deduce the number of stuck threads by observing the rate at which this increases.";
    heading(out, all, help, "gauge");
    seconds.iter().for_each(|(labels, (together, _))| line(out, all, labels, together));
}

/// What is counted of one queue.
struct Figures {
    depth: Arc<Gauge>,
    adds: Arc<Counter>,
    retries: Arc<Counter>,
    waits: Arc<Histogram>,
    work: Arc<Histogram>,
    running: Arc<Running>,
}

impl Figures {
    fn of(name: &str) -> Self {
        let running = COUNTED.running.lock().entry(name.to_string()).or_default().clone();
        let name = &[name];
        Self {
            depth: COUNTED.depth.with(name),
            adds: COUNTED.adds.with(name),
            retries: COUNTED.retries.with(name),
            waits: COUNTED.waits.with(name),
            work: COUNTED.work.with(name),
            running,
        }
    }
}

/// A queue of keys.
pub struct Queue<K: QueueKey> {
    figures: Option<Figures>,
    clock: SharedClock,
    state: Mutex<State<K>>,
    changed: Notify,
}

struct State<K> {
    /// Keys to be worked on, oldest first.
    ready: VecDeque<K>,
    /// Since when the keys of `dirty` wait.
    since: HashMap<K, Instant>,
    /// The keys of `ready`, and keys that were added while being worked on.
    dirty: HashSet<K>,
    running: HashSet<K>,
    failures: HashMap<K, u32>,
    delayed: BTreeSet<(Timestamp, K)>,
    due: HashMap<K, Timestamp>,
}

impl<K: QueueKey> Queue<K> {
    /// An empty queue; delays pass on `clock`.
    pub fn new(clock: SharedClock) -> Self {
        let state = State {
            ready: VecDeque::new(),
            since: HashMap::new(),
            dirty: HashSet::new(),
            running: HashSet::new(),
            failures: HashMap::new(),
            delayed: BTreeSet::new(),
            due: HashMap::new(),
        };
        Self { figures: None, clock, state: Mutex::new(state), changed: Notify::new() }
    }

    /// An empty queue that is counted under `name`.
    pub fn named(name: &str, clock: SharedClock) -> Self {
        Self { figures: Some(Figures::of(name)), ..Self::new(clock) }
    }

    /// Says how many keys wait.
    fn count(&self, state: &State<K>) {
        if let Some(figures) = &self.figures {
            figures.depth.set(i64::try_from(state.ready.len()).unwrap_or(i64::MAX));
        }
    }

    /// Queues `key`, once.
    pub fn add(&self, key: K) {
        {
            let mut state = self.state.lock();
            state.push(key);
            self.count(&state);
        }
        if let Some(figures) = &self.figures {
            figures.adds.increment();
        }
        self.changed.notify_one();
    }

    /// Queues `key` after `delay`. The earliest of several delays counts.
    pub fn add_after(&self, key: K, delay: Duration) {
        if delay.is_zero() {
            return self.add(key);
        }
        let at = self.clock.now() + delay;
        {
            let mut state = self.state.lock();
            match state.due.get(&key).copied() {
                Some(earlier) if earlier <= at => return,
                Some(later) => {
                    state.delayed.remove(&(later, key.clone()));
                }
                None => {}
            }
            state.due.insert(key.clone(), at);
            state.delayed.insert((at, key));
        }
        self.changed.notify_one();
    }

    /// Queues `key` after its own backoff, which doubles with every failure.
    pub fn retry(&self, key: K) {
        if let Some(figures) = &self.figures {
            figures.retries.increment();
        }
        let failures = {
            let mut state = self.state.lock();
            let failures = state.failures.entry(key.clone()).or_insert(0);
            *failures += 1;
            *failures - 1
        };
        self.add_after(key, FIRST_DELAY.saturating_mul(1u32 << failures.min(20)).min(MAX_DELAY));
    }

    /// Forgets the failures of `key`.
    pub fn forget(&self, key: &K) {
        self.state.lock().failures.remove(key);
    }

    /// How many keys wait to be worked on (delayed ones not counted).
    pub fn len(&self) -> usize {
        self.state.lock().ready.len()
    }

    /// Whether no key waits.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The next key, once there is one. [`Queue::done`] must follow.
    pub async fn next(&self) -> K {
        loop {
            let wait = {
                let mut state = self.state.lock();
                let now = self.clock.now();
                state.wake_due(now);
                if let Some(key) = state.ready.pop_front() {
                    state.dirty.remove(&key);
                    let since = state.since.remove(&key);
                    if let (Some(figures), Some(since)) = (&self.figures, since) {
                        figures.waits.observe(since.elapsed());
                    }
                    state.running.insert(key.clone());
                    self.count(&state);
                    if !state.ready.is_empty() {
                        self.changed.notify_one();
                    }
                    return key;
                }
                state.delayed.first().map(|(at, _)| at.duration_since(now))
            };
            match wait {
                None => self.changed.notified().await,
                Some(wait) => {
                    let sleep = self.clock.sleep(wait.try_into().unwrap_or_default());
                    tokio::select! {
                        () = self.changed.notified() => {}
                        () = sleep => {}
                    }
                }
            }
        }
    }

    /// Ends the work on a key; if it was added meanwhile it is queued again.
    pub fn done(&self, key: &K, outcome: Outcome) {
        if outcome != Outcome::Retry {
            self.forget(key);
        }
        {
            let mut state = self.state.lock();
            state.running.remove(key);
            if state.dirty.contains(key) {
                state.ready.push_back(key.clone());
            }
        }
        self.changed.notify_one();
        match outcome {
            Outcome::Done => {}
            Outcome::After(delay) => self.add_after(key.clone(), delay),
            Outcome::Retry => self.retry(key.clone()),
        }
    }

    /// Works on keys for ever, at most `concurrency` at a time, each in a task of its own: a panic ends the work on one key (it is retried),
    /// never the loop.
    pub async fn run<F, Fut>(&self, concurrency: usize, work: F)
    where
        F: Fn(K) -> Fut,
        Fut: Future<Output = Outcome> + Send + 'static,
    {
        let mut running = FuturesUnordered::new();
        loop {
            tokio::select! {
                key = self.next(), if running.len() < concurrency => {
                    // Dropped with this future, so that no work outlives the loop.
                    let task = AbortOnDrop(tokio::spawn(work(key.clone())));
                    let begun = Instant::now();
                    let working = self.figures.as_ref().map(|figures| figures.running.begin());
                    running.push(async move {
                        let result = task.join().await;
                        drop(working);
                        (key, result, begun)
                    });
                }
                Some((key, result, begun)) = running.next() => {
                    if let Some(figures) = &self.figures {
                        figures.work.observe(begun.elapsed());
                    }
                    let outcome = result.unwrap_or_else(|error| {
                        tracing::error!(%error, "a reconciliation panicked");
                        Outcome::Retry
                    });
                    self.done(&key, outcome);
                }
            }
        }
    }
}

struct AbortOnDrop(tokio::task::JoinHandle<Outcome>);

impl AbortOnDrop {
    async fn join(mut self) -> Result<Outcome, tokio::task::JoinError> {
        (&mut self.0).await
    }
}

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl<K: QueueKey> State<K> {
    fn push(&mut self, key: K) {
        if self.dirty.insert(key.clone()) {
            self.since.insert(key.clone(), Instant::now());
            if !self.running.contains(&key) {
                self.ready.push_back(key);
            }
        }
    }

    fn wake_due(&mut self, now: Timestamp) {
        while let Some((at, _)) = self.delayed.first()
            && *at <= now
            && let Some((_, key)) = self.delayed.pop_first()
        {
            self.due.remove(&key);
            self.push(key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use coracle_base::TestClock;
    use futures::FutureExt;
    use std::sync::Arc;

    fn queue() -> (Queue<&'static str>, Arc<TestClock>) {
        let clock = TestClock::new(Timestamp::UNIX_EPOCH);
        (Queue::new(clock.clone()), clock)
    }

    fn take(q: &Queue<&'static str>) -> Option<&'static str> {
        q.next().now_or_never()
    }

    #[test]
    fn a_key_waits_once_and_runs_once() {
        let (q, _) = queue();
        for key in ["a", "b", "a"] {
            q.add(key);
        }
        assert_eq!(take(&q), Some("a"));
        q.add("a"); // while it is worked on: again, but only afterwards
        assert_eq!((take(&q), take(&q)), (Some("b"), None));
        q.done(&"a", Outcome::Done);
        assert_eq!(take(&q), Some("a"));
        q.done(&"a", Outcome::Done);
        assert_eq!(take(&q), None);
    }

    #[test]
    fn failures_back_off_per_key_and_success_forgets_them() {
        let (q, clock) = queue();
        q.add("a");
        for delay in [5, 10, 20] {
            assert_eq!(take(&q), Some("a"));
            q.done(&"a", Outcome::Retry);
            clock.advance(Duration::from_millis(delay - 1));
            assert_eq!(take(&q), None, "{delay}");
            clock.advance(Duration::from_millis(1));
        }
        assert_eq!(take(&q), Some("a"));
        q.done(&"a", Outcome::Done);
        q.retry("a");
        clock.advance(Duration::from_millis(5));
        assert_eq!(take(&q), Some("a"));
    }

    #[test]
    fn the_earliest_of_several_delays_counts() {
        let (q, clock) = queue();
        q.add_after("a", Duration::from_secs(9));
        q.add_after("a", Duration::from_secs(3));
        q.add_after("a", Duration::from_secs(6));
        clock.advance(Duration::from_secs(3));
        assert_eq!(take(&q), Some("a"));
        q.done(&"a", Outcome::Done);
        clock.advance(Duration::from_secs(30));
        assert_eq!(take(&q), None);
    }

    #[tokio::test]
    async fn what_waits_and_what_runs_is_told() {
        let clock = TestClock::new(Timestamp::UNIX_EPOCH);
        let q = Arc::new(Queue::named("told", clock.clone()));
        let (tx, mut rx) = tokio::sync::mpsc::unbounded_channel();
        q.add("a");
        let running = tokio::spawn({
            let q = q.clone();
            async move {
                let work = move |key: &'static str| {
                    let tx = tx.clone();
                    async move {
                        let _ = tx.send(key);
                        std::future::pending::<Outcome>().await
                    }
                };
                q.run(1, work).await
            }
        });
        assert_eq!(rx.recv().await, Some("a"));
        let mut text = String::new();
        render(&mut text);
        let value = |name: &str| -> f64 {
            let line = text.lines().find_map(|line| line.strip_prefix(&format!("{name}{{name=\"told\"}} "))).unwrap();
            line.parse().unwrap()
        };
        assert_eq!(value("workqueue_queue_duration_seconds_count"), 1.0);
        assert!(value("workqueue_unfinished_work_seconds") > 0.0);
        assert!(value("workqueue_longest_running_processor_seconds") > 0.0);
        running.abort();
        assert!(running.await.is_err());
        assert!(COUNTED.running.lock()["told"].0.lock().is_empty(), "what is dropped is over");
    }

    #[tokio::test]
    async fn a_panic_is_a_failure_of_one_key() {
        let clock = TestClock::new(Timestamp::UNIX_EPOCH);
        let q = Arc::new(Queue::new(clock.clone()));
        let (tx, mut rx) = tokio::sync::mpsc::unbounded_channel();
        let work = move |key: &'static str| {
            let tx = tx.clone();
            async move {
                assert_ne!(key, "bad");
                let _ = tx.send(key);
                Outcome::Done
            }
        };
        q.add("bad");
        q.add("good");
        let running = tokio::spawn({
            let q = q.clone();
            async move { q.run(1, work).await }
        });
        assert_eq!(rx.recv().await, Some("good"));
        running.abort();
    }
}
