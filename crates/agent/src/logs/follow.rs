//! Streams a log to a reader and goes on while it grows, woken by inotify.

use super::read::{Filter, Options, tail_offset};
use bytes::Bytes;
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use std::{
    fs::File,
    io::{self, Read, Seek, SeekFrom},
    os::{
        fd::{AsFd, AsRawFd, RawFd},
        unix::fs::MetadataExt,
    },
    path::{Path, PathBuf},
    time::Duration,
};
use tokio::{io::unix::AsyncFd, sync::mpsc};

const BLOCK: usize = 64 << 10;
/// Even without a sign of life: the container may have ended.
const LOOK: Duration = Duration::from_millis(500);

/// Sends what the reader asks for. With `follow` until `ended` says that the container has ended and all is read, or the reader is gone.
///
/// # Errors
/// When the log cannot be read.
pub async fn stream<F>(
    path: PathBuf,
    options: Options,
    mut ended: impl FnMut() -> F,
    sender: mpsc::Sender<io::Result<Bytes>>,
) -> io::Result<()>
where
    F: Future<Output = bool>,
{
    let mut reader = Reader::open(&path, &options)?;
    let watch = if options.follow { Watch::new(&path).ok() } else { None };
    loop {
        let over = !options.follow || ended().await;
        loop {
            let chunk = reader.read()?;
            if chunk.is_empty() && !reader.moved_on(&path)? {
                break;
            }
            if !chunk.is_empty() && sender.send(Ok(chunk.into())).await.is_err() {
                return Ok(());
            }
            if reader.filter.is_full() {
                return Ok(());
            }
        }
        if over {
            return Ok(());
        }
        tokio::select! {
            () = sender.closed() => return Ok(()),
            () = wait(watch.as_ref()) => {}
            () = tokio::time::sleep(LOOK) => {}
        }
    }
}

async fn wait(watch: Option<&Watch>) {
    match watch {
        Some(watch) => watch.changed().await,
        None => std::future::pending().await,
    }
}

struct Reader {
    file: File,
    filter: Filter,
    rest: Vec<u8>,
    buffer: Vec<u8>,
}

impl Reader {
    fn open(path: &Path, options: &Options) -> io::Result<Self> {
        let mut file = File::open(path)?;
        if let Some(tail) = options.tail {
            let offset = tail_offset(&mut file, tail)?;
            file.seek(SeekFrom::Start(offset))?;
        }
        Ok(Self { file, filter: Filter::new(options), rest: Vec::new(), buffer: vec![0; BLOCK] })
    }

    /// The next piece for the reader; empty at the end of the file.
    fn read(&mut self) -> io::Result<Vec<u8>> {
        let mut out = Vec::new();
        while out.is_empty() {
            let n = self.file.read(&mut self.buffer)?;
            if n == 0 {
                break;
            }
            self.rest.extend_from_slice(&self.buffer[..n]);
            let Some(end) = self.rest.iter().rposition(|b| *b == b'\n') else { continue };
            let rest = self.rest.split_off(end + 1);
            for line in self.rest.split_inclusive(|b| *b == b'\n') {
                self.filter.push(line, &mut out);
            }
            self.rest = rest;
        }
        Ok(out)
    }

    /// Opens the next file if the log was rotated.
    fn moved_on(&mut self, path: &Path) -> io::Result<bool> {
        let Ok(now) = std::fs::metadata(path) else { return Ok(false) };
        let open = self.file.metadata()?;
        if (now.dev(), now.ino()) == (open.dev(), open.ino()) {
            return Ok(false);
        }
        self.file = File::open(path)?;
        self.rest.clear();
        Ok(true)
    }
}

struct Watch(AsyncFd<Descriptor>);

/// An inotify instance as the event loop wants it.
struct Descriptor(Inotify);

impl AsRawFd for Descriptor {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_fd().as_raw_fd()
    }
}

impl Watch {
    fn new(path: &Path) -> io::Result<Self> {
        let inotify = Inotify::init(InitFlags::IN_NONBLOCK | InitFlags::IN_CLOEXEC)?;
        // the directory, too: a rotated log is a new file in it
        let dir = path.parent().unwrap_or(Path::new("/"));
        inotify.add_watch(dir, AddWatchFlags::IN_MODIFY | AddWatchFlags::IN_CREATE | AddWatchFlags::IN_MOVED_TO)?;
        #[allow(deprecated, reason = "`Descriptor` owns what it hands out; the replacement is unsafe")]
        let descriptor = AsyncFd::new(Descriptor(inotify))?;
        Ok(Self(descriptor))
    }

    async fn changed(&self) {
        if let Ok(mut guard) = self.0.readable().await {
            let _ = guard.get_inner().0.read_events();
            guard.clear_ready();
        }
    }
}
