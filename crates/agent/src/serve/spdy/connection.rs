//! One connection: a task that reads and a task that writes, and streams as values to hand on.
//!
//! What waits for a stream's reader is bounded, and so is what waits for the wire. Windows (flow control) are kept both ways. Most clients have
//! never heard of them, and send on: then a reader that is too slow holds up its connection, as it does with a kubelet.

use super::{
    Violation,
    frame::{self, Control, HEAD, Head, Reset},
    headers::{Headers, Packer, Unpacker},
};
use bytes::Bytes;
use parking_lot::Mutex;
use std::{collections::HashMap, io, sync::Arc, time::Duration};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    sync::{Notify, mpsc},
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;

/// Data are passed on in pieces of at most this size.
const PIECE: usize = 16 << 10;
/// So many of them may wait for their stream's reader: 256 KiB.
const WAITING: usize = 16;
/// So many frames may wait for the wire.
const QUEUE: usize = 8;
/// A control frame is not longer; the longest are headers.
const MOST_CONTROL: usize = 64 << 10;
/// Streams open at once on one connection.
const MOST_STREAMS: usize = 4096;
/// The window of a stream, and of all together, unless somebody says otherwise.
const WINDOW: i64 = 64 << 10;
/// Windows are opened again once so much was taken.
const CREDIT: u32 = 32 << 10;
/// How long the other side may take to close a connection that is over.
const LINGER: Duration = Duration::from_secs(5);

/// The stream was reset, or its connection is gone.
#[derive(Debug, thiserror::Error)]
#[error("the stream is gone")]
pub(in crate::serve) struct Gone;

/// Why a connection ends early.
#[derive(Debug, thiserror::Error)]
enum Broken {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error(transparent)]
    Violation(#[from] Violation),
    #[error(transparent)]
    Gone(#[from] Gone),
}

/// A connection, as its server sees it. Dropping it ends it at once.
pub(in crate::serve) struct Connection {
    begun: mpsc::Receiver<Stream>,
    shared: Arc<Shared>,
    writer: Option<JoinHandle<()>>,
    reader: Option<JoinHandle<()>>,
}

/// A stream that the client has begun.
pub(in crate::serve) struct Stream {
    /// Its number: odd, and higher than those before.
    pub(in crate::serve) id: u32,
    /// What the client says of it.
    pub(in crate::serve) headers: Headers,
    /// From the client.
    pub(in crate::serve) reader: StreamReader,
    /// To the client.
    pub(in crate::serve) writer: StreamWriter,
}

/// What comes from the client on a stream.
pub(in crate::serve) struct StreamReader {
    id: u32,
    data: mpsc::Receiver<Bytes>,
    gone: CancellationToken,
    shared: Arc<Shared>,
    taken: u32,
}

/// What goes to the client on a stream. Dropped unfinished, it resets the stream.
pub(in crate::serve) struct StreamWriter {
    id: u32,
    gone: CancellationToken,
    shared: Arc<Shared>,
    room: Arc<Mutex<i64>>,
    finished: bool,
}

struct Shared {
    out: mpsc::Sender<Out>,
    over: CancellationToken,
    flow: Mutex<Flow>,
    wider: Notify,
}

enum Out {
    Frame(Bytes),
    Last(Bytes),
}

/// What the other side lets us send.
struct Flow {
    /// It has spoken of windows; until then it is one that does not know them.
    kept: bool,
    initial: i64,
    all: i64,
}

impl Shared {
    async fn send(&self, frame: Bytes) -> Result<(), Gone> {
        self.out.send(Out::Frame(frame)).await.map_err(|_| Gone)
    }
}

impl Connection {
    /// Serves the other side of a byte stream.
    pub(in crate::serve) fn new(
        reader: impl AsyncRead + Unpin + Send + 'static,
        writer: impl AsyncWrite + Unpin + Send + 'static,
    ) -> Self {
        let (out, frames) = mpsc::channel(QUEUE);
        let (begin, begun) = mpsc::channel(QUEUE);
        let over = CancellationToken::new();
        let flow = Mutex::new(Flow { kept: false, initial: WINDOW, all: WINDOW });
        let shared = Arc::new(Shared { out, over: over.clone(), flow, wider: Notify::new() });
        let incoming = Incoming {
            io: reader,
            shared: shared.clone(),
            begin,
            streams: HashMap::new(),
            unpacker: Unpacker::new(),
            packer: Packer::default(),
            newest: 0,
            taken: 0,
        };
        let writer = Some(tokio::spawn(write(writer, frames, over)));
        Self { begun, shared, writer, reader: Some(tokio::spawn(incoming.run())) }
    }

    /// The next stream that the client begins; `None` when the connection is over.
    pub(in crate::serve) async fn accept(&mut self) -> Option<Stream> {
        self.begun.recv().await
    }

    /// No more streams are wanted: those that the client still begins are refused.
    pub(in crate::serve) fn refuse_more(&mut self) {
        self.begun.close();
    }

    /// Cancelled when the connection is over.
    pub(in crate::serve) fn over(&self) -> CancellationToken {
        self.shared.over.clone()
    }

    /// Says goodbye once everything is on the wire, and leaves the client a moment to hang up itself: data on their way to somebody who
    /// has closed would take those on their way back along.
    pub(in crate::serve) async fn finish(mut self) {
        self.begun.close();
        let _ = self.shared.out.send(Out::Last(frame::go_away(0))).await;
        let (writer, reader) = (self.writer.take(), self.reader.take());
        let ended = async {
            for task in [writer, reader].into_iter().flatten() {
                let _ = task.await;
            }
        };
        // a client that is not listening any more
        let _ = tokio::time::timeout(LINGER, ended).await;
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.shared.over.cancel();
    }
}

impl StreamReader {
    /// The next data; `None`: the client has said all. May be dropped while it waits.
    ///
    /// # Errors
    /// When the stream was reset or the connection is over.
    pub(in crate::serve) async fn next(&mut self) -> Result<Option<Bytes>, Gone> {
        if self.taken >= CREDIT {
            self.shared.send(frame::window(self.id, self.taken)).await?;
            self.taken = 0;
        }
        match self.data.recv().await {
            Some(data) => {
                self.taken = self.taken.saturating_add(u32::try_from(data.len()).unwrap_or(u32::MAX));
                Ok(Some(data))
            }
            None if self.gone.is_cancelled() => Err(Gone),
            None => Ok(None),
        }
    }

    /// Cancelled when the stream was reset or the connection is over.
    pub(in crate::serve) fn gone(&self) -> CancellationToken {
        self.gone.clone()
    }
}

impl StreamWriter {
    /// Sends data, when there is room for them.
    ///
    /// # Errors
    /// When the stream was reset or the connection is over.
    pub(in crate::serve) async fn send(&self, mut data: Bytes) -> Result<(), Gone> {
        while !data.is_empty() {
            let room = self.gone.run_until_cancelled(self.room(data.len())).await.ok_or(Gone)?;
            if self.gone.is_cancelled() {
                return Err(Gone);
            }
            self.shared.send(frame::data(self.id, &data.split_to(room), false)).await?;
        }
        Ok(())
    }

    /// How much of `wanted` may be sent now, at least one byte.
    async fn room(&self, wanted: usize) -> usize {
        let wanted = i64::try_from(wanted.min(PIECE * 2)).unwrap_or(1);
        loop {
            let wider = self.shared.wider.notified();
            tokio::pin!(wider);
            wider.as_mut().enable();
            {
                let (mut flow, mut own) = (self.shared.flow.lock(), self.room.lock());
                let free = if flow.kept { wanted.min(flow.all).min(*own) } else { wanted };
                if free > 0 {
                    flow.all -= free;
                    *own -= free;
                    return usize::try_from(free).unwrap_or(1);
                }
            }
            wider.await;
        }
    }

    /// All is said.
    pub(in crate::serve) async fn finish(mut self) {
        self.finished = true;
        // nobody there to hear it is as good
        let _ = self.shared.send(frame::data(self.id, &[], true)).await;
    }
}

impl Drop for StreamWriter {
    fn drop(&mut self) {
        if !self.finished && !self.gone.is_cancelled() {
            // a full queue: the client is not reading, and will miss this with the rest
            let _ = self.shared.out.try_send(Out::Frame(frame::reset(self.id, Reset::Cancel)));
        }
    }
}

async fn write(mut io: impl AsyncWrite + Unpin, mut frames: mpsc::Receiver<Out>, over: CancellationToken) {
    let work = async {
        while let Some(out) = frames.recv().await {
            let (frame, last) = match out {
                Out::Frame(frame) => (frame, false),
                Out::Last(frame) => (frame, true),
            };
            io.write_all(&frame).await?;
            if last {
                break;
            }
            if frames.is_empty() {
                io.flush().await?;
            }
        }
        io.shutdown().await
    };
    if !matches!(over.run_until_cancelled(work).await, Some(Ok(()))) {
        over.cancel();
    }
}

/// What the reading task knows of a stream.
struct Entry {
    /// `None` once the client has said all.
    data: Option<mpsc::Sender<Bytes>>,
    gone: CancellationToken,
    /// Held by the writer.
    room: std::sync::Weak<Mutex<i64>>,
}

impl Entry {
    fn is_done(&self) -> bool {
        self.data.as_ref().is_none_or(mpsc::Sender::is_closed) && self.room.strong_count() == 0
    }
}

/// The reading task.
struct Incoming<R> {
    io: R,
    shared: Arc<Shared>,
    begin: mpsc::Sender<Stream>,
    streams: HashMap<u32, Entry>,
    unpacker: Unpacker,
    packer: Packer,
    newest: u32,
    taken: u32,
}

impl<R: AsyncRead + Unpin> Incoming<R> {
    async fn run(mut self) {
        let over = self.shared.over.clone();
        match over.run_until_cancelled(self.read()).await {
            Some(Err(Broken::Violation(violation))) => tracing::warn!(%violation, "a SPDY connection is given up"),
            Some(Err(error)) => tracing::debug!(%error, "a SPDY connection broke"),
            Some(Ok(())) | None => {}
        }
        // before the streams are let go: their readers shall not take this for the end of the data
        over.cancel();
    }

    async fn read(&mut self) -> Result<(), Broken> {
        loop {
            let mut head = [0; HEAD];
            match self.io.read_exact(&mut head).await {
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(()),
                other => other?,
            };
            match Head::parse(head)? {
                Head::Data { stream, last, length } => self.data(stream, last, length).await?,
                Head::Control { kind, length, .. } if length > MOST_CONTROL => {
                    return Err(Violation::Length(kind, length).into());
                }
                Head::Control { kind, flags, length } => {
                    let mut body = vec![0; length];
                    self.io.read_exact(&mut body).await?;
                    self.control(Control::parse(kind, flags, &body.into())?).await?;
                }
            }
        }
    }

    async fn data(&mut self, stream: u32, last: bool, mut length: usize) -> Result<(), Broken> {
        while length > 0 {
            let mut piece = vec![0; length.min(PIECE)];
            self.io.read_exact(&mut piece).await?;
            length -= piece.len();
            self.taken += u32::try_from(piece.len()).unwrap_or_default();
            // of streams that are over something may still be on its way
            if let Some(Entry { data: Some(data), gone, .. }) = self.streams.get(&stream) {
                tokio::select! {
                    // a reader that has gone misses nothing
                    _ = data.send(piece.into()) => {}
                    () = gone.cancelled() => {}
                }
            }
            if self.taken >= CREDIT {
                self.shared.send(frame::window(0, std::mem::take(&mut self.taken))).await?;
            }
        }
        if last {
            self.ended(stream);
        }
        Ok(())
    }

    fn ended(&mut self, stream: u32) {
        if let Some(entry) = self.streams.get_mut(&stream) {
            entry.data = None;
        }
    }

    async fn control(&mut self, control: Control) -> Result<(), Broken> {
        match control {
            Control::Begin { stream, last, headers } => {
                // unpacked in any case: those of the next stream refer to them
                let headers = self.unpacker.unpack(&headers)?;
                self.begun(stream, last, headers).await?;
            }
            Control::Headers { stream, last, headers } => {
                self.unpacker.unpack(&headers)?;
                if last {
                    self.ended(stream);
                }
            }
            Control::Reset { stream } => {
                if let Some(entry) = self.streams.remove(&stream) {
                    entry.gone.cancel();
                }
            }
            // even ones would be answers to ours
            Control::Ping(id) if !id.is_multiple_of(2) => self.shared.send(frame::ping(id)).await?,
            Control::InitialWindow(size) => self.resize(i64::from(size)),
            Control::Window { stream, more } => self.widen(stream, i64::from(more)),
            Control::Ping(_) | Control::GoAway | Control::Other => {}
        }
        Ok(())
    }

    async fn begun(&mut self, id: u32, last: bool, headers: Headers) -> Result<(), Broken> {
        let refusal = if id.is_multiple_of(2) || id <= self.newest {
            Some(Reset::Protocol)
        } else {
            self.streams.retain(|_, entry| !entry.is_done());
            (self.streams.len() >= MOST_STREAMS).then_some(Reset::Refused)
        };
        if let Some(why) = refusal {
            return Ok(self.shared.send(frame::reset(id, why)).await?);
        }
        self.newest = id;
        let (sender, data) = mpsc::channel(WAITING);
        let gone = self.shared.over.child_token();
        let room = Arc::new(Mutex::new(self.shared.flow.lock().initial));
        let entry = Entry { data: (!last).then_some(sender), gone: gone.clone(), room: Arc::downgrade(&room) };
        self.streams.insert(id, entry);
        self.shared.send(frame::reply(id, &self.packer.empty())).await?;
        let stream = Stream {
            id,
            headers,
            reader: StreamReader { id, data, gone: gone.clone(), shared: self.shared.clone(), taken: 0 },
            writer: StreamWriter { id, gone, shared: self.shared.clone(), room, finished: false },
        };
        // a stream that nobody takes is reset by being dropped
        let _ = self.begin.send(stream).await;
        Ok(())
    }

    fn resize(&mut self, size: i64) {
        let mut flow = self.shared.flow.lock();
        flow.kept = true;
        let more = size - std::mem::replace(&mut flow.initial, size);
        for room in self.streams.values().filter_map(|entry| entry.room.upgrade()) {
            *room.lock() += more;
        }
        drop(flow);
        self.shared.wider.notify_waiters();
    }

    fn widen(&mut self, stream: u32, more: i64) {
        let mut flow = self.shared.flow.lock();
        flow.kept = true;
        if stream == 0 {
            flow.all += more;
        } else if let Some(room) = self.streams.get(&stream).and_then(|entry| entry.room.upgrade()) {
            *room.lock() += more;
        }
        drop(flow);
        self.shared.wider.notify_waiters();
    }
}
