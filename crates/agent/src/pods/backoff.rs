//! How long to wait before something that failed is tried again: 10 s, doubling to 5 min, forgotten after 10 quiet minutes.

use jiff::{SignedDuration, Timestamp};
use std::collections::BTreeMap;

const FIRST: SignedDuration = SignedDuration::from_secs(10);
const MAX: SignedDuration = SignedDuration::from_secs(300);
const FORGET: SignedDuration = SignedDuration::from_secs(600);

#[derive(Clone, Copy, Debug)]
struct Entry {
    delay: SignedDuration,
    updated: Timestamp,
}

/// Backoffs by name.
#[derive(Clone, Debug, Default)]
pub struct Backoffs {
    entries: BTreeMap<String, Entry>,
}

impl Backoffs {
    /// Until when to wait (and the delay), if what failed at `failed` may not be tried yet at `now`.
    pub fn until(&self, name: &str, failed: Timestamp, now: Timestamp) -> Option<(Timestamp, SignedDuration)> {
        let entry = self.entries.get(name)?;
        if failed.duration_since(entry.updated) > FORGET {
            return None;
        }
        let until = failed + entry.delay;
        (now < until).then_some((until, entry.delay))
    }

    /// Notes a new try after a failure at `failed`; the delay after the next failure.
    pub fn next(&mut self, name: &str, failed: Timestamp, now: Timestamp) -> SignedDuration {
        let delay = match self.entries.get(name) {
            Some(entry) if failed.duration_since(entry.updated) <= FORGET => (entry.delay * 2).min(MAX),
            _ => FIRST,
        };
        self.entries.insert(name.to_string(), Entry { delay, updated: now });
        delay
    }

    /// Forgets a name.
    pub fn reset(&mut self, name: &str) {
        self.entries.remove(name);
    }
}

/// `10s`, `1m20s`, `5m0s`: as Go prints durations.
pub fn shown(delay: SignedDuration) -> String {
    let seconds = delay.as_secs();
    if seconds < 60 { format!("{seconds}s") } else { format!("{}m{}s", seconds / 60, seconds % 60) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_restart_is_at_once_the_next_ones_wait_longer() {
        let at = |s: i64| Timestamp::from_second(s).unwrap();
        let mut backoffs = Backoffs::default();
        assert!(backoffs.until("a", at(0), at(0)).is_none());
        let mut failed = 0;
        for expected in ["10s", "20s", "40s", "1m20s", "2m40s", "5m0s", "5m0s"] {
            assert_eq!(shown(backoffs.next("a", at(failed), at(failed))), expected);
            failed += 1;
            let (until, delay) = backoffs.until("a", at(failed), at(failed)).unwrap();
            assert_eq!((shown(delay).as_str(), until), (expected, at(failed) + delay));
            failed = until.as_second();
        }
        let quiet = failed + 601;
        assert!(backoffs.until("a", at(quiet), at(quiet)).is_none());
        assert_eq!(shown(backoffs.next("a", at(quiet), at(quiet))), "10s");
    }
}
