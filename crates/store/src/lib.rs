//! A revisioned key-value store: one writer, group commit, snapshots, one ordered log of changes. It knows bytes and keys, no kinds.
//!
//! ```text
//! commit(ops) ─ queue ─▶ writer thread: check each precondition against memory ─ give it a revision ─ seal the value
//!                        ─ append the whole batch to the engine, one sync ─ publish the snapshot ─ append to the logs ─ acknowledge
//! ```
//! Invariants:
//! - An acknowledged commit is on disk; one that is not acknowledged is there wholly or not at all.
//! - Revisions only grow, also over restarts and after failures of the disk.
//! - A watcher that was told of a revision finds it in any snapshot taken later: snapshots are published before the log.
//! - A reader never waits for a writer, and a slow watcher holds nobody up: it is told [`Lost`] and starts over.

mod engine;
mod log;
mod snapshot;
mod writer;

pub use engine::{Engine, Record, RedbEngine};
pub use log::{Event, Lost, Watcher};
pub use snapshot::Snapshot;

use bytes::Bytes;
use parking_lot::RwLock;
use std::{
    path::Path,
    sync::{Arc, atomic::Ordering},
};
use tokio::sync::oneshot;

/// A key: path-like text, ordered by bytes. Watches are kept per bucket: the part up to and including the second `/`.
pub type Key = Arc<str>;

/// What the store keeps.
pub trait Stored: Send + Sync + Sized + 'static {
    /// A value whose revision is not known yet.
    type Draft: Send + 'static;
    /// The finished value.
    fn seal(draft: Self::Draft, revision: u64) -> Self;
    /// Reads what [`Stored::bytes`] gave.
    ///
    /// # Errors
    /// When the bytes are not such a value; opening the store then fails.
    fn load(bytes: Bytes) -> Result<Self, String>;
    /// The bytes to keep.
    fn bytes(&self) -> &Bytes;
    /// The revision given in [`Stored::seal`].
    fn revision(&self) -> u64;
    /// The value is history: what was kept to read it faster can go.
    fn rest(&self) {}
    /// Under which further names [`Snapshot::index`] shall find the value.
    fn indexes(&self, key: &str, add: &mut dyn FnMut(String));
}

/// The state that a write expects to find.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expect {
    /// Nothing under the key.
    Absent,
    /// This very version.
    Revision(u64),
    /// Whatever is there.
    Any,
}

/// One write.
pub enum Op<T: Stored> {
    /// Create or replace.
    Put {
        /// Where.
        key: Key,
        /// Precondition.
        expect: Expect,
        /// What.
        draft: T::Draft,
    },
    /// Remove; a missing key is a conflict unless `expect` is `Any`.
    Delete {
        /// Where.
        key: Key,
        /// Precondition.
        expect: Expect,
    },
    /// No write: only a condition on another key.
    Check {
        /// Where.
        key: Key,
        /// Precondition.
        expect: Expect,
    },
}

/// What a commit did, in the order of its operations.
#[derive(Debug)]
pub struct Committed<T> {
    /// The revision of the last operation.
    pub revision: u64,
    /// Per operation: the value that is now there (put), or that was there (delete, check).
    pub values: Vec<Option<Arc<T>>>,
}

/// Why nothing of a commit was done.
#[derive(Debug, thiserror::Error)]
pub enum Rejected<T> {
    /// A precondition does not hold.
    #[error("operation {op} expected another state of its key")]
    Conflict {
        /// Which operation.
        op: usize,
        /// What is there.
        current: Option<Arc<T>>,
    },
    /// The disk failed or is full.
    #[error("the store cannot write: {0}")]
    Disk(String),
    /// The store is shutting down.
    #[error("the store is closed")]
    Closed,
}

/// Why a store does not open.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process has it.
    #[error("{0} is in use by another process: stop that one first, or choose another data directory")]
    InUse(String),
    /// Disk trouble.
    #[error("{0}")]
    Disk(String),
    /// A record that does not decode.
    #[error("record {key:?} in the store is damaged: {why}")]
    Damaged {
        /// Its key.
        key: String,
        /// Why.
        why: String,
    },
}

/// Bounds of what the store remembers for watchers.
#[derive(Clone, Debug)]
pub struct Options {
    /// Events kept per bucket.
    pub history_events: usize,
    /// Bytes of superseded versions kept per bucket.
    pub history_bytes: usize,
    /// Commits acknowledged by one sync at most.
    pub batch: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self { history_events: 20_000, history_bytes: 16 << 20, batch: 1024 }
    }
}

pub(crate) struct Shared<T: Stored> {
    pub snapshot: RwLock<Snapshot<T>>,
    pub logs: log::Logs<T>,
    /// Why the last write failed.
    pub failure: RwLock<Option<String>>,
}

/// The store. Cheap to clone; the writer ends when the last clone is dropped.
pub struct Store<T: Stored> {
    shared: Arc<Shared<T>>,
    queue: std::sync::mpsc::Sender<writer::Request<T>>,
}

impl<T: Stored> Clone for Store<T> {
    fn clone(&self) -> Self {
        Self { shared: self.shared.clone(), queue: self.queue.clone() }
    }
}

impl<T: Stored> Store<T> {
    /// Opens (or makes) the store in the file `path`.
    ///
    /// # Errors
    /// When another process has it, on disk trouble, and on damaged records.
    pub fn open(path: &Path, options: Options) -> Result<Self, OpenError> {
        Self::with_engine(Box::new(RedbEngine::open(path)?), options)
    }

    /// Opens a store over any engine.
    ///
    /// # Errors
    /// As [`Store::open`].
    pub fn with_engine(mut engine: Box<dyn Engine>, options: Options) -> Result<Self, OpenError> {
        let mut snapshot = Snapshot::empty();
        let mut values = Vec::new();
        let revision = engine.load(&mut |key, bytes| {
            let damaged = |why| OpenError::Damaged { key: key.to_string(), why };
            values.push((Key::from(key), Arc::new(T::load(bytes).map_err(damaged)?)));
            Ok(())
        })?;
        snapshot.fill(values);
        snapshot.set_revision(revision);
        let shared = Arc::new(Shared {
            snapshot: RwLock::new(snapshot),
            logs: log::Logs::new(revision, &options),
            failure: RwLock::default(),
        });
        let (queue, requests) = std::sync::mpsc::channel();
        let writer = writer::Writer::new(engine, shared.clone(), options.batch);
        std::thread::Builder::new()
            .name("store-writer".into())
            .spawn(move || writer.run(&requests))
            .map_err(|e| OpenError::Disk(format!("no thread for the store's writer: {e}")))?;
        Ok(Self { shared, queue })
    }

    /// The world as of the last commit.
    pub fn snapshot(&self) -> Snapshot<T> {
        self.shared.snapshot.read().clone()
    }

    /// The revision of the last commit.
    pub fn revision(&self) -> u64 {
        self.shared.snapshot.read().revision()
    }

    /// Why the last write failed; `None`: it did not.
    pub fn failure(&self) -> Option<String> {
        self.shared.failure.read().clone()
    }

    /// Does all of `ops`, in order, or nothing. Each operation gets a revision of its own. Completes when it is on disk.
    ///
    /// # Errors
    /// See [`Rejected`].
    pub async fn commit(&self, ops: Vec<Op<T>>) -> Result<Committed<T>, Rejected<T>> {
        let (reply, answer) = oneshot::channel();
        self.queue.send(writer::Request { ops, reply }).map_err(|_| Rejected::Closed)?;
        answer.await.map_err(|_| Rejected::Closed)?
    }

    /// Follows all keys that start with `prefix` (which must name a whole bucket or more of a key), from after `revision`.
    ///
    /// # Errors
    /// [`Lost`] when the log no longer reaches back that far.
    pub fn watch(&self, prefix: &str, revision: u64) -> Result<Watcher<T>, Lost> {
        let log = self.shared.logs.of(prefix);
        if revision < log.floor.load(Ordering::Acquire) {
            return Err(Lost);
        }
        Ok(Watcher::new(log, prefix.to_string(), revision, self.shared.logs.published.subscribe()))
    }
}
