//! A session over a WebSocket's channels.

use super::{Gone, Inlet, Input, Outcome, Outlet, Output, size};
use crate::serve::{
    channels::{Protocol, Received, goodbye},
    upgrade::Socket,
};
use bytes::Bytes;
use futures::{
    SinkExt, StreamExt,
    stream::{SplitSink, SplitStream},
};
use std::time::Duration;
use tokio::sync::Mutex;
use tokio_tungstenite::tungstenite::Message;

const STDIN: u8 = 0;
const STDOUT: u8 = 1;
const STDERR: u8 = 2;
const STATUS: u8 = 3;
const RESIZE: u8 = 4;
/// How often a quiet connection is shown to live.
const PING: Duration = Duration::from_secs(20);

/// Both directions of a socket.
pub(super) fn open(socket: Socket, protocol: Protocol) -> (In, Out) {
    let (sink, stream) = socket.split();
    (In { stream, protocol }, Out { sink: Mutex::new(sink), protocol })
}

pub(super) struct In {
    stream: SplitStream<Socket>,
    protocol: Protocol,
}

impl Inlet for In {
    async fn next(&mut self) -> Option<Input> {
        loop {
            let input = match self.protocol.read(self.stream.next().await?.ok()?) {
                Received::Data(STDIN, data) => Input::Data(data),
                Received::Data(RESIZE, data) => match serde_json::from_slice(&data).ok().and_then(|v| size(&v)) {
                    Some(size) => Input::Size(size),
                    None => continue,
                },
                Received::Close(STDIN) => Input::End,
                Received::End => return None,
                Received::Data(..) | Received::Close(_) | Received::Nothing => continue,
            };
            return Some(input);
        }
    }
}

pub(super) struct Out {
    sink: Mutex<SplitSink<Socket, Message>>,
    protocol: Protocol,
}

impl Outlet for Out {
    async fn write(&self, output: Output, data: Bytes) -> Result<(), Gone> {
        let channel = match output {
            Output::Stdout => STDOUT,
            Output::Stderr => STDERR,
        };
        self.sink.lock().await.send(self.protocol.message(channel, &data)).await.map_err(|_| Gone)
    }

    async fn keep_alive(&self) {
        loop {
            tokio::time::sleep(PING).await;
            if self.sink.lock().await.send(Message::Ping(Bytes::new())).await.is_err() {
                return;
            }
        }
    }

    async fn finish(self, outcome: Outcome) {
        let mut sink = self.sink.into_inner();
        let data = outcome.encode(self.protocol.status);
        if !data.is_empty() {
            // a client that has gone hears nothing of it
            let _ = sink.send(self.protocol.message(STATUS, data.as_bytes())).await;
        }
        let _ = sink.send(goodbye()).await;
        let _ = sink.close().await;
    }
}
