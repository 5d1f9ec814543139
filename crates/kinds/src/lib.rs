//! The built-in kinds: one descriptor each, with defaults, validation, update rules and columns.
//!
//! Invariants: no I/O; one entry per kind in [`all`]; the server knows kinds only through [`Kind`].

pub mod column;
pub mod descriptor;
mod names;

pub use column::{Column, Context, SelectableField};
pub use descriptor::{Action, Deletion, Kind, NameRule, Part, Rules, StoredAs, Subresource};

/// Every built-in kind, in the order of discovery.
pub fn all() -> &'static [&'static Kind] {
    ALL
}

/// The kind served under this group, version and plural.
pub fn find(group: &str, version: &str, plural: &str) -> Option<&'static Kind> {
    ALL.iter()
        .copied()
        .find(|k| k.resource.group == group && k.resource.version == version && k.resource.plural == plural)
}

static ALL: &[&Kind] = &[];
