//! Gives back to the system what a burst of work needed and nothing needs any more.
//!
//! glibc keeps freed memory in its arenas, scattered below whatever is still in use: after a hundred pods have come and gone, half
//! of a process may be such memory. Taking it out costs a few milliseconds, so it is done when there is nothing else to do.

use nix::time::{ClockId, clock_gettime};
use std::time::Duration;

/// How often a process looks back.
const LOOK: Duration = Duration::from_secs(5);
/// Processor time in that span below which there is nothing else to do.
const IDLE: Duration = Duration::from_millis(100);
/// Processor time below which nothing has been done that leaves a trace.
const NOTHING: Duration = Duration::from_millis(20);

/// Free memory at the end of an arena that may stay there while work goes on, in bytes: glibc's own 128 KiB would be given back and asked for
/// again with every large answer.
#[cfg(target_env = "gnu")]
const SPARE: i32 = 16 << 20;

/// Trims the heap whenever work has come to rest, and not before. Never returns.
pub async fn run() {
    keep();
    // starting is work
    let (mut before, mut worked) = (Duration::ZERO, true);
    loop {
        tokio::time::sleep(LOOK).await;
        let spent = used().saturating_sub(before);
        worked |= spent > NOTHING;
        if worked && spent < IDLE {
            trim();
            worked = false;
        }
        before = used();
    }
}

fn used() -> Duration {
    clock_gettime(ClockId::CLOCK_PROCESS_CPUTIME_ID).map(Duration::from).unwrap_or_default()
}

#[allow(unsafe_code)]
fn keep() {
    // SAFETY: the call takes no memory of ours, and glibc locks what it changes.
    #[cfg(target_env = "gnu")]
    unsafe {
        nix::libc::mallopt(nix::libc::M_TRIM_THRESHOLD, SPARE);
    }
}

#[allow(unsafe_code)]
fn trim() {
    // SAFETY: the call takes no memory of ours, and glibc locks each arena while it works on it.
    #[cfg(target_env = "gnu")]
    unsafe {
        nix::libc::malloc_trim(0);
    }
}
