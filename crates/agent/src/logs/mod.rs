//! Logs of containers: CRI format on disk, read for `kubectl logs`, rotated before they grow too large.

mod follow;
mod line;
mod read;
mod rotation;

pub use follow::stream;
pub use read::{Options, last_lines};
pub use rotation::{remove_rotated, rotate};
