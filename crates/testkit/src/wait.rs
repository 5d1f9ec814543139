//! Waiting for conditions.

use std::{
    fmt::Display,
    thread,
    time::{Duration, Instant},
};

/// How long anything may take that happens within seconds on an idle machine; the tests' machine is a busy one.
pub const LIMIT: Duration = Duration::from_secs(90);

/// Asks until the answer is `Ok`; after `limit` it fails with the last refusal.
pub fn until<T, E: Display>(what: &str, limit: Duration, mut ask: impl FnMut() -> Result<T, E>) -> T {
    let begun = Instant::now();
    let mut pause = Duration::from_millis(5);
    loop {
        match ask() {
            Ok(answer) => return answer,
            Err(seen) if begun.elapsed() > limit => {
                panic!("waited {} s in vain for {what}; last seen: {seen}", limit.as_secs())
            }
            Err(_) => thread::sleep(pause),
        }
        // asking costs more than waiting
        pause = (pause * 2).min(Duration::from_millis(200));
    }
}
