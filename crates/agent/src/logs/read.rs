//! Which lines of a log a reader gets, as bytes in and bytes out.

use super::line;
use jiff::Timestamp;
use std::{
    fs::File,
    io::{self, Read, Seek, SeekFrom},
    path::Path,
};

/// What a reader asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Go on as the log grows.
    pub follow: bool,
    /// Only so many last lines.
    pub tail: Option<u64>,
    /// Only lines from then on.
    pub since: Option<Timestamp>,
    /// With the time in front of each line.
    pub timestamps: bool,
    /// At most so many bytes.
    pub limit_bytes: Option<u64>,
    /// Only `stdout` or `stderr`.
    pub stream: Option<String>,
}

/// Turns file lines into what the reader gets.
pub(super) struct Filter {
    options: Options,
    left: Option<u64>,
    passed_since: bool,
    in_line: bool,
}

impl Filter {
    pub(super) fn new(options: &Options) -> Self {
        Self { options: options.clone(), left: options.limit_bytes, passed_since: false, in_line: false }
    }

    /// Whether nothing more will come.
    pub(super) fn is_full(&self) -> bool {
        self.left == Some(0)
    }

    /// Adds what the reader gets of one file line.
    pub(super) fn push(&mut self, raw: &[u8], out: &mut Vec<u8>) {
        let Some(line) = line::parse(raw) else { return };
        if !self.passed_since
            && let Some(since) = self.options.since
        {
            if line.at().is_some_and(|at| at < since) {
                return;
            }
            self.passed_since = true;
        }
        if self.options.stream.as_deref().is_some_and(|s| s != line.stream) {
            return;
        }
        let from = out.len();
        if self.options.timestamps && !self.in_line {
            out.extend_from_slice(line.time.as_bytes());
            out.push(b' ');
        }
        self.in_line = line.partial;
        out.extend_from_slice(line.text);
        if let Some(left) = &mut self.left {
            let added = (out.len() - from) as u64;
            let taken = added.min(*left);
            out.truncate(from + taken as usize);
            *left -= taken;
        }
    }
}

/// Where the last `count` lines begin.
pub(super) fn tail_offset(file: &mut File, count: u64) -> io::Result<u64> {
    const BLOCK: u64 = 64 << 10;
    let end = file.seek(SeekFrom::End(0))?;
    if count == 0 {
        return Ok(end);
    }
    let (mut at, mut seen) = (end, 0);
    let mut buffer = Vec::new();
    while at > 0 {
        let from = at.saturating_sub(BLOCK);
        buffer.resize((at - from) as usize, 0);
        file.seek(SeekFrom::Start(from))?;
        file.read_exact(&mut buffer)?;
        for (i, byte) in buffer.iter().enumerate().rev() {
            // the newline that ends the file ends the last line
            if *byte == b'\n' && from + i as u64 + 1 != end {
                seen += 1;
                if seen == count {
                    return Ok(from + i as u64 + 1);
                }
            }
        }
        at = from;
    }
    Ok(0)
}

/// The text of the last lines of a log, for a termination message.
pub fn last_lines(path: &Path, lines: u64, bytes: usize) -> String {
    let read = || -> io::Result<Vec<u8>> {
        let mut file = File::open(path)?;
        let offset = tail_offset(&mut file, lines)?;
        file.seek(SeekFrom::Start(offset))?;
        let mut raw = Vec::new();
        file.read_to_end(&mut raw)?;
        let mut out = Vec::new();
        let mut filter = Filter::new(&Options::default());
        raw.split_inclusive(|b| *b == b'\n').for_each(|line| filter.push(line, &mut out));
        Ok(out)
    };
    let text = read().unwrap_or_default();
    String::from_utf8_lossy(&text[text.len().saturating_sub(bytes)..]).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: &str = "2026-01-01T00:00:01Z stdout F one\n2026-01-01T00:00:02Z stderr F two\n2026-01-01T00:00:03Z stdout P thr\n2026-01-01T00:00:03Z stdout F ee\n2026-01-01T00:00:04Z stdout F four\n";

    #[test]
    fn readers_get_what_they_ask_for() {
        let path = std::env::temp_dir().join(format!("coracle-agent-log-{}", std::process::id()));
        std::fs::write(&path, LOG).unwrap();
        let base = Options::default;
        for (options, expected) in [
            (base(), "one\ntwo\nthree\nfour\n"),
            (Options { tail: Some(1), ..base() }, "four\n"),
            (Options { tail: Some(0), ..base() }, ""),
            (Options { tail: Some(99), ..base() }, "one\ntwo\nthree\nfour\n"),
            (Options { since: Some("2026-01-01T00:00:03Z".parse().unwrap()), ..base() }, "three\nfour\n"),
            (
                Options { timestamps: true, tail: Some(3), ..base() },
                "2026-01-01T00:00:03Z three\n2026-01-01T00:00:04Z four\n",
            ),
            (Options { limit_bytes: Some(5), ..base() }, "one\nt"),
            (Options { stream: Some("stderr".into()), ..base() }, "two\n"),
        ] {
            let mut file = File::open(&path).unwrap();
            let offset = options.tail.map_or(0, |n| tail_offset(&mut file, n).unwrap());
            let mut out = Vec::new();
            let mut filter = Filter::new(&options);
            LOG.as_bytes()[offset as usize..].split_inclusive(|b| *b == b'\n').for_each(|l| filter.push(l, &mut out));
            assert_eq!(String::from_utf8(out).unwrap(), expected, "{options:?}");
        }
        assert_eq!(last_lines(&path, 1, 100), "four\n");
        std::fs::remove_file(path).unwrap();
    }
}
