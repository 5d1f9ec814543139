//! Sets of completion indexes and their text form, `1,3-5`.

use std::{collections::BTreeSet, fmt::Write};

/// Reads the text form; what cannot be read, or lies beyond `completions`, is passed over.
pub fn parse(text: &str, completions: i32) -> BTreeSet<i32> {
    let mut all = BTreeSet::new();
    for part in text.split(',').filter(|part| !part.is_empty()) {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        if let (Ok(first), Ok(last)) = (first.parse::<i32>(), last.parse::<i32>()) {
            all.extend(first.max(0)..=last.min(completions - 1));
        }
    }
    all
}

/// Writes the text form.
pub fn text(all: &BTreeSet<i32>) -> String {
    let mut out = String::new();
    let mut rest = all.iter().copied().peekable();
    while let Some(first) = rest.next() {
        let mut last = first;
        while let Some(next) = rest.next_if_eq(&(last + 1)) {
            last = next;
        }
        let comma = if out.is_empty() { "" } else { "," };
        let _ = match last - first {
            0 => write!(out, "{comma}{first}"),
            1 => write!(out, "{comma}{first},{last}"),
            _ => write!(out, "{comma}{first}-{last}"),
        };
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_back() {
        for (given, completions, written) in
            [("", 5, ""), ("0", 5, "0"), ("0,1", 5, "0,1"), ("0-2,4", 5, "0-2,4"), ("0-9", 5, "0-4"), ("x,3", 5, "3")]
        {
            assert_eq!(text(&parse(given, completions)), written, "{given}");
        }
    }
}
