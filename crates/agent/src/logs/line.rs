//! One line of a log in CRI format: `<time> <stream> <tag> <text>`.

use jiff::Timestamp;

/// A line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Line<'a> {
    /// When it was written, as it stands in the file.
    pub(super) time: &'a str,
    /// `stdout` or `stderr`.
    pub(super) stream: &'a str,
    /// Whether the text goes on in the next line.
    pub(super) partial: bool,
    /// What was written, with its newline unless it is partial.
    pub(super) text: &'a [u8],
}

/// Reads a line (with its newline). `None` if it is not in the format.
pub(super) fn parse(line: &[u8]) -> Option<Line<'_>> {
    let mut parts = line.splitn(4, |b| *b == b' ');
    let time = std::str::from_utf8(parts.next()?).ok()?;
    let stream = std::str::from_utf8(parts.next()?).ok()?;
    let tags = parts.next()?;
    let text = parts.next()?;
    let partial = tags.split(|b| *b == b':').next() == Some(b"P");
    let text = if partial { text.strip_suffix(b"\n").unwrap_or(text) } else { text };
    Some(Line { time, stream, partial, text })
}

impl Line<'_> {
    pub(super) fn at(&self) -> Option<Timestamp> {
        self.time.parse().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines() {
        for (line, expected) in [
            ("2026-01-01T00:00:00.5Z stdout F hello world\n", Some(("stdout", false, "hello world\n"))),
            ("2026-01-01T00:00:00Z stderr P part\n", Some(("stderr", true, "part"))),
            ("2026-01-01T00:00:00Z stdout F \n", Some(("stdout", false, "\n"))),
            ("rubbish\n", None),
        ] {
            let got = parse(line.as_bytes());
            let got = got.as_ref().map(|l| (l.stream, l.partial, std::str::from_utf8(l.text).unwrap()));
            assert_eq!(got, expected);
        }
    }
}
