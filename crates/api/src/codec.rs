//! How often objects were parsed and encoded in this process. Reads must do neither: their figures do not move these counters.

use std::sync::atomic::{AtomicU64, Ordering};

static PARSED: AtomicU64 = AtomicU64::new(0);
static ENCODED: AtomicU64 = AtomicU64::new(0);

/// What was done so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Objects read from their bytes, into a value or a type.
    pub parsed: u64,
    /// Objects written to bytes, JSON or protobuf.
    pub encoded: u64,
}

/// What was done so far.
pub fn counts() -> Counts {
    Counts { parsed: PARSED.load(Ordering::Relaxed), encoded: ENCODED.load(Ordering::Relaxed) }
}

pub(crate) fn parsed() {
    PARSED.fetch_add(1, Ordering::Relaxed);
}

pub(crate) fn encoded() {
    ENCODED.fetch_add(1, Ordering::Relaxed);
}
