//! Container logs in CRI's format: `<time> <stream> <F|P> <text>`, one line each.

use std::{
    fs::File,
    io::{self, Write},
    path::{Path, PathBuf},
};

/// Text longer than this is cut into partial lines.
const LONGEST_LINE: usize = 16 << 10;

/// Which stream a text came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    /// Standard output, or a terminal.
    Stdout,
    /// Standard error.
    Stderr,
}

impl Stream {
    fn name(self) -> &'static str {
        match self {
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
        }
    }
}

/// Cuts a stream into lines.
pub struct Framer {
    stream: Stream,
    rest: Vec<u8>,
}

impl Framer {
    /// For one stream.
    pub fn new(stream: Stream) -> Self {
        Self { stream, rest: Vec::new() }
    }

    /// Adds `data`; finished lines go to `out`.
    pub fn push(&mut self, data: &[u8], now: jiff::Timestamp, out: &mut Vec<u8>) {
        for piece in data.split_inclusive(|b| *b == b'\n') {
            let (text, ended) = match piece.strip_suffix(b"\n") {
                Some(text) => (text, true),
                None => (piece, false),
            };
            self.rest.extend_from_slice(text);
            let mut start = 0;
            while self.rest.len() - start > LONGEST_LINE {
                line(self.stream, b'P', &self.rest[start..start + LONGEST_LINE], now, out);
                start += LONGEST_LINE;
            }
            self.rest.drain(..start);
            if ended {
                line(self.stream, b'F', &self.rest, now, out);
                self.rest.clear();
            }
        }
    }

    /// The stream has ended: what is left was no whole line.
    pub fn finish(&mut self, now: jiff::Timestamp, out: &mut Vec<u8>) {
        if !self.rest.is_empty() {
            line(self.stream, b'P', &self.rest, now, out);
        }
        self.rest = Vec::new();
    }
}

fn line(stream: Stream, kind: u8, text: &[u8], now: jiff::Timestamp, out: &mut Vec<u8>) {
    // Writing to a vector cannot fail.
    let _ = write!(out, "{now:.9} {} ", stream.name());
    out.extend_from_slice(&[kind, b' ']);
    out.extend_from_slice(text);
    out.push(b'\n');
}

/// The log file of a container.
pub struct LogFile {
    path: Option<PathBuf>,
    file: Option<File>,
}

impl LogFile {
    /// Opens `path` to add to it; without one, all is dropped.
    pub fn open(path: Option<PathBuf>) -> io::Result<Self> {
        let file = path.as_deref().map(open).transpose()?;
        Ok(Self { path, file })
    }

    /// Opens it anew, after somebody has renamed it.
    pub fn reopen(&mut self) -> io::Result<()> {
        if let Some(path) = &self.path {
            self.file = Some(open(path)?);
        }
        Ok(())
    }

    /// Adds finished lines. A full disk loses lines but must not stop the container.
    pub fn write(&mut self, lines: &[u8]) {
        if let Some(file) = &mut self.file {
            let _ = file.write_all(lines);
        }
    }
}

fn open(path: &Path) -> io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt;
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent)?;
    }
    File::options().create(true).append(true).mode(0o640).open(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(pushes: &[&[u8]], expected: &str) {
        let now = "2026-01-02T03:04:05.000000006Z".parse().unwrap();
        let (mut framer, mut out) = (Framer::new(Stream::Stderr), Vec::new());
        for data in pushes {
            framer.push(data, now, &mut out);
        }
        framer.finish(now, &mut out);
        let out = String::from_utf8(out).unwrap();
        let shown: Vec<String> = out
            .lines()
            .map(|l| {
                let l = l.strip_prefix("2026-01-02T03:04:05.000000006Z stderr ").unwrap();
                if l.len() > 100 { format!("{} {}", &l[..1], l.len() - 2) } else { l.to_owned() }
            })
            .collect();
        assert_eq!(shown.join("|"), expected);
    }

    #[test]
    fn streams_are_cut_into_lines() {
        check(&[b"one\ntwo\n"], "F one|F two");
        check(&[b"o", b"ne\n", b"\n"], "F one|F ");
        check(&[b"no end"], "P no end");
        check(&[b""], "");
        check(&[&[b'x'; LONGEST_LINE], b"\n"], "F 16384");
        check(&[&[b'x'; LONGEST_LINE + 1], b"\n"], "P 16384|F x");
        check(&[&[b'x'; 3 * LONGEST_LINE]], "P 16384|P 16384|P 16384");
    }
}
