//! A session over SPDY: a stream for each of standard input, output and error, one for terminal sizes, one for how it ended.

use super::{Gone, Inlet, Input, Outcome, Outlet, Output, Wanted, size};
use crate::serve::spdy::{Connection, Stream, StreamReader, StreamWriter};
use bytes::Bytes;
use coracle_runtime::TerminalSize;
use std::{collections::VecDeque, time::Duration};
use tokio_util::sync::CancellationToken;

/// How long a client may take to begin its streams, as upstream.
const BEGIN: Duration = Duration::from_secs(30);
/// What cannot be a terminal's size any more.
const MOST_SIZE: usize = 4 << 10;

/// Waits for the streams that belong to what is wanted; `None` if they do not come.
pub(super) async fn open(mut connection: Connection, protocol: &str, wanted: Wanted) -> Option<(In, Out)> {
    let expected = expected(protocol, wanted);
    let mut streams = Vec::new();
    let all = async {
        while streams.len() < expected.len() {
            let stream = connection.accept().await?;
            let kind = stream.headers.get("streamtype").unwrap_or_default();
            match expected.iter().find(|e| **e == kind) {
                Some(kind) => streams.push((*kind, stream)),
                None => tracing::debug!(kind, "a stream that nobody expects"),
            }
        }
        Some(())
    };
    tokio::time::timeout(BEGIN, all).await.ok().flatten()?;
    connection.refuse_more();
    let mut take = |wanted: &str| -> Option<Stream> {
        let at = streams.iter().position(|(kind, _)| *kind == wanted)?;
        Some(streams.swap_remove(at).1)
    };
    let (stdin, resize) = (take("stdin"), take("resize"));
    let (stdin, stdin_back) = stdin.map(|s| (s.reader, s.writer)).unzip();
    let (resize, resize_back) = resize.map(|s| (s.reader, s.writer)).unzip();
    let inlet = In { stdin, resize, text: Vec::new(), sizes: VecDeque::new(), over: connection.over() };
    let mut writer = |kind: &str| take(kind).map(|s| s.writer);
    let (stdout, stderr, error) = (writer("stdout"), writer("stderr"), writer("error")?);
    let others = [stdin_back, resize_back].into_iter().flatten().collect();
    // before the fourth version the end was said in words
    let status = matches!(protocol, "v4.channel.k8s.io" | "v5.channel.k8s.io");
    Some((inlet, Out { connection, stdout, stderr, error, others, status }))
}

/// The kinds of streams that the client will begin.
fn expected(protocol: &str, wanted: Wanted) -> Vec<&'static str> {
    let resizes = !matches!(protocol, "channel.k8s.io" | "v2.channel.k8s.io");
    let all = [
        ("error", true),
        ("stdin", wanted.stdin),
        ("stdout", wanted.stdout),
        ("stderr", wanted.stderr),
        ("resize", wanted.tty && resizes),
    ];
    all.into_iter().filter(|(_, there)| *there).map(|(kind, _)| kind).collect()
}

pub(super) struct In {
    stdin: Option<StreamReader>,
    resize: Option<StreamReader>,
    /// The beginning of a size.
    text: Vec<u8>,
    sizes: VecDeque<TerminalSize>,
    over: CancellationToken,
}

async fn read(stream: &mut Option<StreamReader>) -> Option<Bytes> {
    match stream {
        Some(stream) => stream.next().await.ok().flatten(),
        None => std::future::pending().await,
    }
}

impl Inlet for In {
    async fn next(&mut self) -> Option<Input> {
        loop {
            if let Some(size) = self.sizes.pop_front() {
                return Some(Input::Size(size));
            }
            tokio::select! {
                data = read(&mut self.stdin) => match data {
                    Some(data) => return Some(Input::Data(data)),
                    None => {
                        self.stdin = None;
                        return (!self.over.is_cancelled()).then_some(Input::End);
                    }
                },
                data = read(&mut self.resize) => match data {
                    Some(data) => {
                        self.text.extend_from_slice(&data);
                        self.sizes.extend(sizes(&mut self.text));
                    }
                    None => self.resize = None,
                },
                () = self.over.cancelled() => return None,
            }
        }
    }
}

/// Takes the sizes that are there whole out of a text.
fn sizes(text: &mut Vec<u8>) -> Vec<TerminalSize> {
    let mut values = serde_json::Deserializer::from_slice(text).into_iter::<serde_json::Value>();
    let (mut found, mut read) = (Vec::new(), 0);
    let damaged = loop {
        match values.next() {
            Some(Ok(value)) => {
                read = values.byte_offset();
                found.extend(size(&value));
            }
            Some(Err(error)) => break !error.is_eof(),
            None => break false,
        }
    };
    text.drain(..read);
    if damaged || text.len() > MOST_SIZE {
        text.clear();
    }
    found
}

pub(super) struct Out {
    connection: Connection,
    stdout: Option<StreamWriter>,
    stderr: Option<StreamWriter>,
    error: StreamWriter,
    /// The ways back of streams that only bring something; dropped, they would reset them.
    others: Vec<StreamWriter>,
    /// The end is said as a Status.
    status: bool,
}

impl Outlet for Out {
    async fn write(&self, output: Output, data: Bytes) -> Result<(), Gone> {
        let stream = match output {
            Output::Stdout => &self.stdout,
            Output::Stderr => &self.stderr,
        };
        match stream {
            // a stream that the client has reset is one it does not want any more
            Some(stream) => match stream.send(data).await {
                Err(_) if self.connection.over().is_cancelled() => Err(Gone),
                _ => Ok(()),
            },
            None => Ok(()),
        }
    }

    async fn keep_alive(&self) {
        // clients ask with pings of their own
        self.connection.over().cancelled().await;
    }

    async fn finish(self, outcome: Outcome) {
        for stream in [self.stdout, self.stderr].into_iter().flatten() {
            stream.finish().await;
        }
        let text = outcome.encode(self.status);
        // a client that has gone hears nothing of it
        let _ = self.error.send(text.into()).await;
        self.error.finish().await;
        for stream in self.others {
            stream.finish().await;
        }
        self.connection.finish().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_are_expected() {
        let wanted = |flags: &str| Wanted {
            stdin: flags.contains('i'),
            stdout: flags.contains('o'),
            stderr: flags.contains('e'),
            tty: flags.contains('t'),
        };
        for (protocol, flags, expected) in [
            ("v4.channel.k8s.io", "ioe", "error stdin stdout stderr"),
            ("v4.channel.k8s.io", "iot", "error stdin stdout resize"),
            ("v3.channel.k8s.io", "ot", "error stdout resize"),
            ("v2.channel.k8s.io", "iot", "error stdin stdout"),
            ("channel.k8s.io", "ot", "error stdout"),
        ] {
            assert_eq!(super::expected(protocol, wanted(flags)).join(" "), expected, "{protocol} {flags}");
        }
    }

    #[test]
    fn sizes_come_in_pieces() {
        let mut text = Vec::new();
        let mut check = |piece: &str, expected: &[u16]| {
            text.extend_from_slice(piece.as_bytes());
            let widths: Vec<u16> = sizes(&mut text).into_iter().map(|s| s.width).collect();
            assert_eq!(widths, expected, "{piece}");
        };
        check(r#"{"Width":80,"#, &[]);
        check(r#""Height":24}"#, &[80]);
        check("\n{\"Width\":81,\"Height\":24}\n{\"Width\":82,\"Height\":24}\n{\"Wi", &[81, 82]);
        check("dth\":83,\"Height\":24}\n", &[83]);
        check("}}} nonsense", &[]);
        check(r#"{"Width":84,"Height":24}"#, &[84]);
    }
}
