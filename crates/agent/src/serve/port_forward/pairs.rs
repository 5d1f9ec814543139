//! Port-forward over SPDY: each connection is a pair of streams with the same `requestID`, one for data, one for what went wrong.

use super::{Sink, Source, dial::Target, forward};
use crate::serve::{
    idle::Activity,
    spdy::{Connection, Stream, StreamReader, StreamWriter},
};
use bytes::Bytes;
use std::{collections::HashMap, io, time::Duration};
use tokio::time::Instant;

/// How long one stream of a pair waits for the other, as upstream.
const PAIRING: Duration = Duration::from_secs(30);

/// What the headers of a stream say.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Label {
    request: String,
    port: u16,
    data: bool,
}

impl Label {
    /// Reads it; clients from before `requestID` begin both streams of a pair one after the other.
    fn of(stream: &Stream) -> Result<Self, String> {
        let header = |name: &str| stream.headers.get(name).filter(|value| !value.is_empty());
        let port = header("port").ok_or("\"port\" header is required")?;
        let port = port.parse().ok().filter(|p| *p > 0).ok_or_else(|| format!("unable to parse {port:?} as a port"))?;
        let data = match header("streamtype").ok_or("\"streamType\" header is required")? {
            "data" => true,
            "error" => false,
            other => return Err(format!("invalid stream type {other:?}")),
        };
        let first = if data { stream.id.saturating_sub(2) } else { stream.id };
        let request = header("requestid").map_or_else(|| first.to_string(), str::to_string);
        Ok(Self { request, port, data })
    }
}

/// A stream that waits for the other of its pair.
struct Half {
    stream: Stream,
    data: bool,
    until: Instant,
}

/// Serves a connection until it is over.
pub(super) async fn run(mut connection: Connection, target: Target) {
    let mut waiting: HashMap<String, Half> = HashMap::new();
    let mut pairs = tokio::task::JoinSet::new();
    let activity = Activity::new();
    loop {
        let stream = tokio::select! {
            () = activity.ceased() => return,
            stream = connection.accept() => match stream {
                Some(stream) => stream,
                None => return,
            },
            Some(_) = pairs.join_next() => continue,
            () = expiry(&waiting) => {
                // what is dropped is reset
                waiting.retain(|_, half| half.until > Instant::now());
                continue;
            }
        };
        activity.note();
        let label = match Label::of(&stream) {
            Ok(label) => label,
            Err(error) => {
                tracing::debug!(error, "a stream was refused");
                continue;
            }
        };
        match waiting.remove(&label.request) {
            Some(half) if half.data != label.data => {
                let (data, error) = if label.data { (stream, half.stream) } else { (half.stream, stream) };
                pairs.spawn(serve(target.clone(), label.port, data, error, activity.clone()));
            }
            // a second of a kind: the first stays, this one is reset
            Some(half) => drop(waiting.insert(label.request, half)),
            None => {
                let half = Half { stream, data: label.data, until: Instant::now() + PAIRING };
                waiting.insert(label.request, half);
            }
        }
    }
}

async fn expiry(waiting: &HashMap<String, Half>) {
    match waiting.values().map(|half| half.until).min() {
        Some(until) => tokio::time::sleep_until(until).await,
        None => std::future::pending().await,
    }
}

struct Data(StreamReader, Activity);

impl Source for Data {
    async fn receive(&mut self) -> io::Result<Option<Bytes>> {
        let next = self.0.next().await.map_err(io::Error::other);
        self.1.note();
        next
    }
}

struct Back(StreamWriter, Activity);

impl Sink for Back {
    async fn send(&self, data: Bytes) -> io::Result<()> {
        self.1.note();
        self.0.send(data).await.map_err(io::Error::other)
    }

    async fn finish(self) {
        self.0.finish().await;
    }
}

/// One connection.
async fn serve(target: Target, port: u16, data: Stream, error: Stream, activity: Activity) {
    let (reader, writer) = (data.reader, data.writer);
    match target.connect(port).await {
        Ok(stream) => {
            let gone = reader.gone();
            // a client resets the data when it wants no more of them. That a pod breaks a connection off is between it and its client: said
            // as an error it would end all the others, too
            let _ =
                gone.run_until_cancelled(forward(stream, Data(reader, activity.clone()), Back(writer, activity))).await;
        }
        Err(message) => {
            tracing::debug!(message, "a port was not reached");
            let _ = error.writer.send(message.into()).await;
            writer.finish().await;
        }
    }
    // an empty one says that all went well
    error.writer.finish().await;
}
