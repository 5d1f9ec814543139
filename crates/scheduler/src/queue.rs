//! Pods that wait for a node: the most important first, the older first among equals; those that failed wait for a reason to hope.

use coracle_base::SharedClock;
use jiff::Timestamp;
use std::{
    collections::{BTreeSet, HashMap},
    time::Duration,
};

const FIRST_BACKOFF: Duration = Duration::from_secs(1);
const MAX_BACKOFF: Duration = Duration::from_secs(10);
/// So often a change lets a pod be tried at once: a node that joins changes some four times (it registers, gets its pod range, reports
/// itself ready, loses its taint), and a pod that waits for it shall not also wait for the end of a backoff.
const EAGER: u32 = 5;
/// A pod that fits nowhere is looked at again after this long even if nothing changed.
const PATIENCE: Duration = Duration::from_secs(300);

/// Where a pod stands; orders by descending priority, then by age.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Rank(std::cmp::Reverse<i32>, Option<Timestamp>, PodKey);

/// Namespace and name.
pub type PodKey = (String, String);

#[derive(Clone, Debug)]
struct Waiting {
    rank: Rank,
    attempts: u32,
    /// `None`: ready to be tried.
    until: Option<Timestamp>,
    /// Fits nowhere; a change may help.
    unschedulable: bool,
    /// Wants other pods beside it: one that finds a node may help.
    company: bool,
}

/// The queue.
pub struct Queue {
    clock: SharedClock,
    ready: BTreeSet<Rank>,
    waiting: HashMap<PodKey, Waiting>,
}

impl Queue {
    /// An empty queue.
    pub fn new(clock: SharedClock) -> Self {
        Self { clock, ready: BTreeSet::new(), waiting: HashMap::new() }
    }

    /// A pod needs a node. A pod that already waits keeps its place.
    pub fn add(&mut self, key: PodKey, priority: i32, created: Option<Timestamp>) {
        if self.waiting.contains_key(&key) {
            return;
        }
        let rank = Rank(std::cmp::Reverse(priority), created, key.clone());
        self.ready.insert(rank.clone());
        self.waiting.insert(key, Waiting { rank, attempts: 0, until: None, unschedulable: false, company: false });
    }

    /// A pod needs no node any more.
    pub fn remove(&mut self, key: &PodKey) {
        if let Some(waiting) = self.waiting.remove(key) {
            self.ready.remove(&waiting.rank);
        }
    }

    /// The pod to try now.
    pub fn pop(&mut self) -> Option<PodKey> {
        let now = self.clock.now();
        let due: Vec<PodKey> =
            self.waiting.iter().filter(|(_, w)| w.until.is_some_and(|t| t <= now)).map(|(k, _)| k.clone()).collect();
        for key in due {
            self.wake(&key);
        }
        self.ready.pop_first().map(|rank| rank.2)
    }

    /// Trying failed. `unschedulable`: it fits nowhere as things are; else the attempt itself failed.
    pub fn failed(&mut self, key: &PodKey, unschedulable: bool) {
        let now = self.clock.now();
        if let Some(waiting) = self.waiting.get_mut(key) {
            waiting.attempts += 1;
            waiting.unschedulable = unschedulable;
            waiting.until = Some(now + if unschedulable { PATIENCE } else { backoff(waiting.attempts) });
        }
    }

    /// What a pod that fits nowhere waits for may also be other pods.
    pub fn wants_company(&mut self, key: &PodKey) {
        if let Some(waiting) = self.waiting.get_mut(key) {
            waiting.company = true;
        }
    }

    /// A pod found its place: hope for those that want it beside them.
    pub fn hope_for_company(&mut self) {
        self.hope_if(|waiting| waiting.company);
    }

    /// Something changed that may let this pod fit.
    pub fn hope_for(&mut self, key: &PodKey) {
        let attempts = self.waiting.get(key).filter(|waiting| waiting.unschedulable).map(|waiting| waiting.attempts);
        if let Some(attempts) = attempts {
            self.try_again(key, attempts);
        }
    }

    /// Something changed that may let pods fit: those that fit nowhere are tried again, after their backoff.
    pub fn hope(&mut self) {
        self.hope_if(|_| true);
    }

    fn hope_if(&mut self, concerned: impl Fn(&Waiting) -> bool) {
        let hoping = self.waiting.iter().filter(|(_, w)| w.unschedulable && concerned(w));
        let keys: Vec<(PodKey, u32)> = hoping.map(|(k, w)| (k.clone(), w.attempts)).collect();
        keys.iter().for_each(|(key, attempts)| self.try_again(key, *attempts));
    }

    fn try_again(&mut self, key: &PodKey, attempts: u32) {
        if attempts <= EAGER {
            return self.wake(key);
        }
        let until = self.clock.now() + backoff(attempts - EAGER);
        if let Some(waiting) = self.waiting.get_mut(key) {
            waiting.unschedulable = false;
            waiting.until = Some(until);
        }
    }

    /// How long until a pod that waits is due.
    pub fn next_due(&self) -> Option<Duration> {
        let now = self.clock.now();
        let soonest = self.waiting.values().filter_map(|w| w.until).min()?;
        Some(Duration::try_from(soonest.duration_since(now)).unwrap_or(Duration::ZERO))
    }

    fn wake(&mut self, key: &PodKey) {
        if let Some(waiting) = self.waiting.get_mut(key) {
            waiting.until = None;
            waiting.unschedulable = false;
            self.ready.insert(waiting.rank.clone());
        }
    }
}

fn backoff(attempts: u32) -> Duration {
    (FIRST_BACKOFF * 2u32.saturating_pow(attempts.saturating_sub(1).min(8))).min(MAX_BACKOFF)
}

#[cfg(test)]
mod tests {
    use super::*;
    use coracle_base::TestClock;

    fn key(name: &str) -> PodKey {
        ("default".into(), name.into())
    }

    #[test]
    fn importance_then_age() {
        let clock = TestClock::new(Timestamp::UNIX_EPOCH);
        let mut queue = Queue::new(clock);
        let at = |s| Some(Timestamp::from_second(s).unwrap());
        for (name, priority, created) in [("late", 0, 9), ("early", 0, 1), ("important", 5, 8)] {
            queue.add(key(name), priority, at(created));
        }
        let order: Vec<String> = std::iter::from_fn(|| queue.pop()).map(|k| k.1).collect();
        assert_eq!(order, ["important", "early", "late"]);
    }

    #[test]
    fn what_fits_nowhere_waits_for_a_change() {
        let clock = TestClock::new(Timestamp::UNIX_EPOCH);
        let mut queue = Queue::new(clock.clone());
        queue.add(key("a"), 0, None);
        assert_eq!(queue.pop(), Some(key("a")));
        queue.failed(&key("a"), true);
        clock.advance(Duration::from_secs(60));
        assert_eq!(queue.pop(), None, "nothing changed");
        for _ in 0..EAGER {
            queue.hope();
            assert_eq!(queue.pop(), Some(key("a")), "the first hopes come at once");
            queue.failed(&key("a"), true);
        }
        queue.hope();
        assert_eq!(queue.pop(), None, "later ones after a backoff");
        clock.advance(Duration::from_secs(1));
        assert_eq!(queue.pop(), Some(key("a")));
        queue.failed(&key("a"), true);
        clock.advance(PATIENCE);
        assert_eq!(queue.pop(), Some(key("a")), "patience ends");
    }

    #[test]
    fn a_failed_attempt_is_repeated_by_itself() {
        let clock = TestClock::new(Timestamp::UNIX_EPOCH);
        let mut queue = Queue::new(clock.clone());
        queue.add(key("a"), 0, None);
        queue.pop();
        queue.failed(&key("a"), false);
        assert_eq!((queue.pop(), queue.next_due()), (None, Some(FIRST_BACKOFF)));
        clock.advance(FIRST_BACKOFF);
        assert_eq!(queue.pop(), Some(key("a")));
        queue.remove(&key("a"));
        assert_eq!(queue.next_due(), None);
    }

    #[test]
    fn backoff_doubles_up_to_a_limit() {
        let seconds: Vec<u64> = (1..=6).map(|attempts| backoff(attempts).as_secs()).collect();
        assert_eq!(seconds, [1, 2, 4, 8, 10, 10]);
    }

    #[test]
    fn company_helps_only_those_who_want_it() {
        let mut queue = Queue::new(TestClock::new(Timestamp::UNIX_EPOCH));
        for name in ["loner", "social"] {
            queue.add(key(name), 0, None);
            queue.pop();
            queue.failed(&key(name), true);
        }
        queue.wants_company(&key("social"));
        queue.hope_for_company();
        assert_eq!((queue.pop(), queue.pop()), (Some(key("social")), None));
    }
}
