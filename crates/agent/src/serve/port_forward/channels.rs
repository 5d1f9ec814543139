//! Port-forward over a WebSocket's channels: two for each port of the query, one connection each.

use super::{Sink, Source, dial::Target, forward};
use crate::serve::{
    channels::{Protocol, Received, goodbye},
    idle::Activity,
    query::Query,
    upgrade::Socket,
};
use bytes::Bytes;
use coracle_api::{Result, Status};
use futures::{SinkExt, StreamExt};
use std::{collections::HashMap, io};
use tokio::sync::mpsc;

/// The ports that a query names; streams over SPDY name their own.
pub(super) fn ports(query: &Query) -> Result<Vec<u16>> {
    let asked = query.all("port").into_iter().chain(query.all("ports"));
    let one = |text: &str| {
        let port = text.parse().ok().filter(|port| *port > 0);
        port.ok_or_else(|| Status::bad_request("query parameter \"port\" must be a port number"))
    };
    asked.flat_map(|p| p.split(',').map(one).collect::<Vec<_>>()).collect()
}

/// Serves the ports that the query names, each on two channels: data, and what went wrong.
pub(super) async fn run(socket: Socket, protocol: Protocol, ports: Vec<u16>, target: Target) {
    let (mut sink, mut incoming) = socket.split();
    let (output, mut chunks) = mpsc::channel::<(u8, Bytes)>(16);
    let mut writers: HashMap<u8, mpsc::Sender<Bytes>> = HashMap::new();
    let mut connections = tokio::task::JoinSet::new();
    for (port, channel) in ports.into_iter().zip((0..=u8::MAX - 2).step_by(2)) {
        // each channel begins with its port
        for channel in [channel, channel + 1] {
            if sink.send(protocol.message(channel, &port.to_le_bytes())).await.is_err() {
                return;
            }
        }
        let (writer, data) = mpsc::channel(16);
        writers.insert(channel, writer);
        connections.spawn(serve(target.clone(), port, channel, data, output.clone()));
    }
    drop(output);
    let activity = Activity::new();
    loop {
        tokio::select! {
            () = activity.ceased() => break,
            chunk = chunks.recv() => {
                let Some((channel, data)) = chunk else { break };
                activity.note();
                if sink.send(protocol.message(channel, &data)).await.is_err() {
                    return;
                }
            }
            message = incoming.next() => match message.map(|m| m.map(|m| protocol.read(m))) {
                Some(Ok(Received::Data(channel, data))) => {
                    activity.note();
                    if let Some(writer) = writers.get(&channel) {
                        let _ = writer.send(data).await;
                    }
                }
                Some(Ok(Received::Close(channel))) => drop(writers.remove(&channel)),
                Some(Ok(Received::End) | Err(_)) | None => return,
                Some(Ok(Received::Nothing)) => {}
            }
        }
    }
    let _ = sink.send(goodbye()).await;
}

struct Data(mpsc::Receiver<Bytes>);

impl Source for Data {
    async fn receive(&mut self) -> io::Result<Option<Bytes>> {
        Ok(self.0.recv().await)
    }
}

struct Back {
    channel: u8,
    output: mpsc::Sender<(u8, Bytes)>,
}

impl Sink for Back {
    async fn send(&self, data: Bytes) -> io::Result<()> {
        self.output.send((self.channel, data)).await.map_err(io::Error::other)
    }

    async fn finish(self) {}
}

/// One connection.
async fn serve(target: Target, port: u16, channel: u8, data: mpsc::Receiver<Bytes>, output: mpsc::Sender<(u8, Bytes)>) {
    match target.connect(port).await {
        // the pod's end of the connection ends the channel
        Ok(stream) => drop(forward(stream, Data(data), Back { channel, output }).await),
        // gone already is as good as told
        Err(message) => drop(output.send((channel + 1, message.into())).await),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_read() {
        for (query, expected) in [
            ("port=80", Some(vec![80])),
            ("port=80&port=81", Some(vec![80, 81])),
            ("ports=80,81", Some(vec![80, 81])),
            ("", Some(vec![])),
            ("port=0", None),
            ("port=x", None),
        ] {
            assert_eq!(ports(&Query::parse(query)).ok(), expected, "{query}");
        }
    }
}
