//! What clients send on upgraded connections, read as when they do: the readers are private, and this is what `crates/hostile` calls.

use super::{
    channels::{self, PROTOCOLS},
    spdy::{Connection, Stream},
    upgrade,
};
use bytes::Bytes;
use futures::StreamExt;
use std::io::Cursor;
use tokio::{
    io::{join, sink},
    task::JoinSet,
};

/// Serves a SPDY connection on which somebody sends this and hangs up, to its end.
pub async fn spdy(sent: &[u8]) {
    run(Connection::new(Cursor::new(sent.to_vec()), sink())).await;
}

/// The same inside a WebSocket.
pub async fn tunnel(sent: &[u8]) {
    let socket = upgrade::socket(join(Cursor::new(sent.to_vec()), sink())).await;
    let (reader, writer) = channels::bytes(socket);
    run(Connection::new(reader, writer)).await;
}

/// Reads the channels of a WebSocket in every protocol.
pub async fn channels(sent: &[u8]) {
    for protocol in PROTOCOLS {
        let mut socket = upgrade::socket(join(Cursor::new(sent.to_vec()), sink())).await;
        while let Some(Ok(message)) = socket.next().await {
            let _ = protocol.read(message);
        }
    }
}

async fn run(mut connection: Connection) {
    let mut streams = JoinSet::new();
    while let Some(stream) = connection.accept().await {
        streams.spawn(answer(stream));
    }
    connection.finish().await;
    while streams.join_next().await.is_some() {}
}

async fn answer(mut stream: Stream) {
    while let Ok(Some(_)) = stream.reader.next().await {}
    // who hangs up early does not hear it
    let _ = stream.writer.send(Bytes::from_static(b"answer")).await;
    stream.writer.finish().await;
}
