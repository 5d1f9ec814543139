//! The readers, by what they read. Each file has a list; [`all`] is their sum.

mod images;
mod objects;
mod schemas;
mod streams;
mod trust;
mod words;

use crate::Target;

/// All readers.
pub fn all() -> impl Iterator<Item = &'static Target> {
    [objects::TARGETS, schemas::TARGETS, words::TARGETS, images::TARGETS, streams::TARGETS, trust::TARGETS]
        .into_iter()
        .flatten()
}

/// What an input says if it is text.
fn text(input: &[u8]) -> Option<&str> {
    std::str::from_utf8(input).ok()
}

/// Two inputs in one: what stands before and after the first line break.
fn two(input: &[u8]) -> (&[u8], &[u8]) {
    let mut parts = input.splitn(2, |byte| *byte == b'\n');
    (parts.next().unwrap_or_default(), parts.next().unwrap_or_default())
}
