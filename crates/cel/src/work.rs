//! Work that costs do not show.
//!
//! Upstream's cost model takes some operations for cheap that are not: whether two objects are equal costs as much as their top level is
//! wide. Upstream stops such expressions when the request's time is over. Here they are stopped by counting what they look at, so that the
//! same expression over the same object always ends the same way.

use std::cell::Cell;

/// What one run may look at: about as much as the costliest run that costs do show.
const LIMIT: u64 = 5_000_000;

thread_local!(static DONE: Cell<u64> = const { Cell::new(0) });

/// A run starts. Returns what was done by the run that it is a part of, if there is one.
pub(crate) fn start() -> u64 {
    DONE.replace(0)
}

/// A run ends, and the one that it was a part of goes on.
pub(crate) fn end(before: u64) {
    DONE.set(DONE.get().saturating_add(before));
}

/// So many values were looked at.
pub(crate) fn done(values: usize) {
    DONE.set(DONE.get().saturating_add(values as u64));
}

/// So many bytes of text were looked at, which is quicker.
pub(crate) fn read(bytes: usize) {
    if bytes >= 64 {
        done(bytes / 64);
    }
}

/// Whether the run has to end.
pub(crate) fn is_exhausted() -> bool {
    DONE.get() > LIMIT
}
