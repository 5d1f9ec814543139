//! Watches: what a client hears of a collection, in order, from the store's log.
//!
//! A selection turns changes into events: an object that begins to match is ADDED, one that ceases to match is DELETED. Frames are
//! encoded once per change and shared by all watchers of it.

use crate::{
    catalog::Served,
    frames::{Frames, Teller, frames},
    registry::list::too_large,
    storage::{Kept, Snapshot, Store},
};
use bytes::{Bytes, BytesMut};
use coracle_api::{FieldSelector, LabelSelector, Meta, Object, Result, Status};
use coracle_client::WatchEvent;
use coracle_store::{Event, Watcher};
use futures::{Stream, stream};
use std::{collections::VecDeque, pin::Pin, sync::Arc, time::Duration};
use tokio::time::{Instant, Sleep};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

/// How often a watcher that asked for them hears of progress.
const BOOKMARK_EVERY: Duration = Duration::from_secs(60);
/// Changes taken from the log at once.
const BATCH: usize = 256;
/// Frames that are ready together are sent together, up to about so many bytes.
const TOGETHER: usize = 64 << 10;

/// Which objects of a collection are meant.
#[derive(Clone)]
pub struct Selection {
    labels: LabelSelector,
    /// (index into the kind's selectable fields or a metadata field, value, equal)
    fields: Vec<(FieldRef, String, bool)>,
    served: Arc<Served>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum FieldRef {
    Name,
    Namespace,
    Selectable(usize),
}

/// What a field label means for a kind.
fn field(served: &Served, label: &str) -> Result<FieldRef> {
    let kind = &served.kind;
    // where upstream has no rule for the kind, both fields of the metadata are known, also without a namespace
    let plain = kind.selectable.is_empty() && served.custom.is_none();
    match label {
        "metadata.name" => Ok(FieldRef::Name),
        "metadata.namespace" if plain || served.resource.namespaced => Ok(FieldRef::Namespace),
        other => kind.selectable.position(other).map(FieldRef::Selectable).ok_or_else(|| {
            Status::bad_request(if plain && kind.type_of().is_some_and(|of| of.is_wired()) {
                format!("{other:?} is not a known field selector: only \"metadata.name\", \"metadata.namespace\"")
            } else {
                format!("field label not supported: {other}")
            })
        }),
    }
}

impl Selection {
    /// Checks the selectors against what the kind can be selected by.
    ///
    /// # Errors
    /// 400 for a field label that the kind does not have.
    pub fn new(served: &Arc<Served>, labels: &LabelSelector, fields: &FieldSelector) -> Result<Self> {
        let terms = fields.terms.iter();
        let fields = terms.map(|(path, value, equal)| Ok((field(served, path)?, value.clone(), *equal)));
        let fields = fields.collect::<Result<_>>()?;
        Ok(Self { labels: labels.clone(), fields, served: served.clone() })
    }

    /// Of these only the object of that name.
    #[must_use]
    pub fn only(mut self, name: &str) -> Self {
        self.fields.push((FieldRef::Name, name.to_string(), true));
        self
    }

    /// Whether it asks for fields of the kind.
    pub fn has_fields(&self) -> bool {
        self.fields.iter().any(|(field, ..)| matches!(field, FieldRef::Selectable(_)))
    }

    /// Whether everything is meant.
    pub fn is_everything(&self) -> bool {
        self.fields.is_empty() && self.labels.is_everything()
    }

    /// The one name that can match, if the fields say so.
    pub fn name(&self) -> Option<&str> {
        self.fields.iter().find(|(f, _, equal)| *f == FieldRef::Name && *equal).map(|(_, v, _)| v.as_str())
    }

    /// The value that the selectable field `path` must have, if the fields say so.
    pub fn exact(&self, path: &str) -> Option<&str> {
        let at = self.served.kind.selectable.position(path)?;
        self.fields.iter().find(|(f, _, equal)| *f == FieldRef::Selectable(at) && *equal).map(|(_, v, _)| v.as_str())
    }

    /// Whether an object is meant.
    pub fn matches(&self, kept: &Kept) -> bool {
        self.judge(kept.meta(), |at, value| self.served.has(kept, at, value))
    }

    /// Whether something with these labels and this name is meant, of a kind that has no other fields to be selected by.
    pub fn matches_meta(&self, meta: &Meta) -> bool {
        self.judge(meta, |_, _| false)
    }

    fn judge(&self, meta: &Meta, has: impl Fn(usize, &str) -> bool) -> bool {
        self.labels.matches(&meta.labels)
            && self.fields.iter().all(|(field, value, equal)| {
                let holds = match field {
                    FieldRef::Name => meta.name == *value,
                    FieldRef::Namespace => meta.namespace == *value,
                    FieldRef::Selectable(at) => has(*at, value),
                };
                holds == *equal
            })
    }
}

/// Where a watch begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Begin {
    /// With what exists, as ADDED, then its changes. The state is not older than the revision.
    Existing(u64),
    /// The same with a bookmark behind what exists, which says that this was all (`sendInitialEvents`).
    ExistingThenBookmark(u64),
    /// With changes after a revision.
    After(u64),
    /// With changes from now on.
    Now,
}

/// One thing to tell a watcher.
pub enum Item {
    /// A change, with its shared frames.
    Change(Kind, Arc<Object>, Source),
    /// Nothing older than this revision will follow; whether it marks the end of what existed.
    Bookmark(u64, Existing),
    /// The watch cannot go on.
    Error(Status),
}

/// Whether a bookmark ends the list of what existed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Existing {
    /// It does.
    End,
    /// An ordinary bookmark.
    No,
}

/// The kinds of change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Created, or began to match.
    Added,
    /// Changed.
    Modified,
    /// Gone, or ceased to match.
    Deleted,
}

impl Kind {
    /// The word on the wire.
    pub fn word(self) -> &'static str {
        match self {
            Self::Added => "ADDED",
            Self::Modified => "MODIFIED",
            Self::Deleted => "DELETED",
        }
    }
}

/// Where the frame of a change comes from.
pub enum Source {
    /// From a snapshot: encoded for this watcher.
    Existing,
    /// From the log: encoded once for all watchers.
    Log(Arc<Frames>),
}

/// What a watch asks for.
pub struct Want {
    /// The keys.
    pub prefix: String,
    /// The objects among them.
    pub selection: Selection,
    /// From where.
    pub begin: Begin,
    /// Send bookmarks.
    pub bookmarks: bool,
    /// End after this long.
    pub timeout: Duration,
}

/// A watch under way.
pub struct Watch {
    want: Want,
    watcher: Watcher<Kept>,
    ready: VecDeque<Item>,
    ends: Instant,
    next_bookmark: Instant,
    stop: CancellationToken,
    over: bool,
    // what a watch waits for all its life is registered once
    stopped: Pin<Box<WaitForCancellationFutureOwned>>,
    unserved: Pin<Box<WaitForCancellationFutureOwned>>,
    timer: Pin<Box<Sleep>>,
}

impl Watch {
    /// Begins a watch.
    ///
    /// # Errors
    /// 410 when the log does not reach back to the asked revision, 504 when a state is asked for that is still to come.
    pub fn begin(store: &Store, want: Want, stop: CancellationToken) -> Result<Self> {
        let mut ready = VecDeque::new();
        let snapshot = store.snapshot();
        let after = match want.begin {
            Begin::After(revision) => revision,
            Begin::Now => snapshot.revision(),
            Begin::Existing(least) | Begin::ExistingThenBookmark(least) => {
                if least > snapshot.revision() {
                    return Err(too_large(least, snapshot.revision()));
                }
                existing(&snapshot, &want, &mut ready);
                snapshot.revision()
            }
        };
        let watcher = store.watch(&want.prefix, after).map_err(|_| too_old(after, snapshot.revision()))?;
        if matches!(want.begin, Begin::ExistingThenBookmark(_)) {
            ready.push_back(Item::Bookmark(snapshot.revision(), Existing::End));
        }
        let now = Instant::now();
        let (ends, next_bookmark) = (now + want.timeout, now + BOOKMARK_EVERY);
        Ok(Self {
            ends,
            next_bookmark,
            stopped: Box::pin(stop.clone().cancelled_owned()),
            unserved: Box::pin(want.selection.served.over.clone().cancelled_owned()),
            timer: Box::pin(tokio::time::sleep_until(ends.min(next_bookmark))),
            want,
            watcher,
            ready,
            stop,
            over: false,
        })
    }

    /// What to tell next; `None` when the watch is over.
    pub async fn next(&mut self) -> Option<Item> {
        loop {
            if let Some(item) = self.ready.pop_front() {
                return Some(item);
            }
            if self.over {
                return None;
            }
            tokio::select! {
                biased;
                taken = self.watcher.next(BATCH) => match taken {
                    Ok(events) => {
                        let select = |e: &Arc<Event<Kept>>| change(&self.want.selection, e);
                        self.ready.extend(events.iter().filter_map(select));
                    }
                    Err(_) if self.stop.is_cancelled() => return None,
                    Err(_) => {
                        self.over = true;
                        return Some(Item::Error(too_old(self.watcher.revision(), self.watcher.revision())));
                    }
                },
                () = &mut self.stopped => return None,
                () = &mut self.unserved => return None,
                () = &mut self.timer => {
                    let now = Instant::now();
                    self.over = now >= self.ends;
                    self.next_bookmark = now + BOOKMARK_EVERY;
                    self.timer.as_mut().reset(self.ends.min(self.next_bookmark));
                    if self.want.bookmarks {
                        return Some(Item::Bookmark(self.watcher.revision(), Existing::No));
                    }
                }
            }
        }
    }
}

fn existing(snapshot: &Snapshot, want: &Want, ready: &mut VecDeque<Item>) {
    for (_, kept) in snapshot.range(&want.prefix, "") {
        if want.selection.matches(kept) {
            ready.push_back(Item::Change(Kind::Added, kept.object().clone(), Source::Existing));
        }
    }
}

fn too_old(asked: u64, current: u64) -> Status {
    Status::expired(format!("too old resource version: {asked} ({current})"))
}

/// What a change means to one selection; `None`: nothing.
fn change(selection: &Selection, event: &Event<Kept>) -> Option<Item> {
    let before = event.old.as_ref().filter(|o| selection.matches(o));
    let after = event.new.as_ref().filter(|o| selection.matches(o));
    let (kind, object) = match (before, after) {
        (None, None) => return None,
        (None, Some(new)) => (Kind::Added, new.object().clone()),
        (Some(_), Some(new)) => (Kind::Modified, new.object().clone()),
        (Some(old), None) => (Kind::Deleted, old.object().clone()),
    };
    let frames = frames(event);
    let object = if kind == Kind::Deleted { frames.deleted(&object, event.revision) } else { object };
    Some(Item::Change(kind, object, Source::Log(frames)))
}

/// Frames on their way to one watcher.
pub struct Told {
    /// One frame after the other.
    pub bytes: Bytes,
    /// How many.
    pub frames: u64,
}

/// How frames travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Travel {
    /// Each by itself: they are messages.
    Alone,
    /// Those that are ready together are one piece, and so one write.
    Together,
}

/// The watch as frames.
pub fn told(watch: Watch, teller: Teller, travel: Travel) -> impl Stream<Item = Told> + Send {
    stream::unfold((watch, teller), move |(mut watch, mut teller)| async move {
        let item = watch.next().await?;
        let first = tell(&mut watch, &mut teller, item).await;
        if travel == Travel::Alone || watch.ready.is_empty() {
            return Some((Told { bytes: first, frames: 1 }, (watch, teller)));
        }
        let (mut piece, mut frames) = (BytesMut::with_capacity(first.len() * 2), 1);
        piece.extend_from_slice(&first);
        while piece.len() < TOGETHER
            && let Some(item) = watch.ready.pop_front()
        {
            piece.extend_from_slice(&tell(&mut watch, &mut teller, item).await);
            frames += 1;
        }
        Some((Told { bytes: piece.freeze(), frames }, (watch, teller)))
    })
}

/// The frame of an item; if there is none, the watch ends with the frame that says why.
async fn tell(watch: &mut Watch, teller: &mut Teller, item: Item) -> Bytes {
    let item = teller.load(item).await.unwrap_or_else(|status| {
        watch.over = true;
        watch.ready.clear();
        Item::Error(status)
    });
    teller.tell(item)
}

/// The watch as events for a caller in this process.
pub fn events(watch: Watch) -> impl Stream<Item = Result<WatchEvent>> + Send {
    stream::unfold(watch, |mut watch| async move {
        let event = match watch.next().await? {
            Item::Change(kind, object, _) => watch.want.selection.served.load(&object).await.map(|object| match kind {
                Kind::Added => WatchEvent::Added(object),
                Kind::Modified => WatchEvent::Modified(object),
                Kind::Deleted => WatchEvent::Deleted(object),
            }),
            Item::Bookmark(revision, _) => Ok(WatchEvent::Bookmark(revision)),
            Item::Error(status) => Err(status),
        };
        Some((event, watch))
    })
}
