//! Lists: pages of a snapshot, in key order.

use super::{Registry, Target};
use crate::{
    storage::{self, Snapshot},
    watch::Selection,
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use coracle_api::{Object, Result, Status};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::{
    collections::VecDeque,
    sync::Arc,
    time::{Duration, Instant},
};

/// What a list asks for.
pub struct Want {
    /// The objects.
    pub selection: Selection,
    /// At most so many; 0 means all.
    pub limit: usize,
    /// Where the page before ended.
    pub continue_token: String,
    /// Which state to list.
    pub state: State,
}

/// Which state of the world a list shows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum State {
    /// The newest (which satisfies "any" too).
    #[default]
    Newest,
    /// Not older than this revision.
    NotOlderThan(u64),
    /// This very revision.
    Exactly(u64),
}

/// A page of a list.
pub struct Page {
    /// Its objects, in the stored version.
    pub items: Vec<Arc<Object>>,
    /// The snapshot's revision.
    pub revision: u64,
    /// For the next page; empty on the last one.
    pub continue_token: String,
    /// How many follow, when that is known.
    pub remaining: Option<usize>,
}

/// Snapshots that clients are paging through, so that all pages of a list agree. Bounded in number and age, as upstream's compaction.
#[derive(Default)]
pub struct Paging {
    kept: Mutex<VecDeque<Kept>>,
}

struct Kept {
    since: Instant,
    snapshot: Snapshot,
    /// How many objects follow where a page ended: by its prefix and last key.
    ends: VecDeque<(String, String, usize)>,
}

const MAX_KEPT: usize = 32;
const MAX_AGE: Duration = Duration::from_secs(300);
/// Pages that are under way in one snapshot.
const MAX_ENDS: usize = 16;

impl Paging {
    /// Notes that a page of a list ended at `last`, with so many objects to follow if that is known.
    fn keep(&self, snapshot: &Snapshot, prefix: &str, last: &str, remaining: Option<usize>) {
        let mut kept = self.kept.lock();
        let before = kept.iter().position(|k| k.snapshot.revision() == snapshot.revision());
        let mut ends = before.and_then(|at| kept.remove(at)).map(|k| k.ends).unwrap_or_default();
        kept.retain(|k| k.since.elapsed() < MAX_AGE);
        if kept.len() == MAX_KEPT {
            kept.pop_front();
        }
        if let Some(remaining) = remaining {
            ends.truncate(MAX_ENDS - 1);
            ends.push_front((prefix.into(), last.into(), remaining));
        }
        kept.push_back(Kept { since: Instant::now(), snapshot: snapshot.clone(), ends });
    }

    fn find(&self, revision: u64) -> Option<Snapshot> {
        let mut kept = self.kept.lock();
        kept.retain(|k| k.since.elapsed() < MAX_AGE);
        kept.iter().find(|k| k.snapshot.revision() == revision).map(|k| k.snapshot.clone())
    }

    /// How many objects under `prefix` come after a key: all of them, or as many as were noted when a page ended there.
    fn after(&self, snapshot: &Snapshot, prefix: &str, key: &str) -> Option<usize> {
        if key.is_empty() {
            return Some(snapshot.count(prefix));
        }
        let kept = self.kept.lock();
        let kept = kept.iter().find(|k| k.snapshot.revision() == snapshot.revision())?;
        kept.ends.iter().find(|(p, last, _)| p == prefix && last == key).map(|(_, _, remaining)| *remaining)
    }
}

/// Where a list goes on: what `continue` carries.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Token {
    #[serde(default)]
    v: String,
    /// The revision; -1: whatever is current.
    #[serde(default)]
    pub rv: i64,
    /// The last key that was given out, from the collection's prefix on.
    #[serde(default)]
    pub start: String,
}

impl Token {
    /// As clients carry it.
    pub fn encode(revision: i64, start: &str) -> String {
        let token = Self { v: "meta.k8s.io/v1".into(), rv: revision, start: start.into() };
        URL_SAFE_NO_PAD.encode(serde_json::to_vec(&token).unwrap_or_default())
    }

    /// Reads it back.
    ///
    /// # Errors
    /// 400 for what is none.
    pub fn decode(text: &str) -> Result<Self> {
        let bad = |why: &str| Status::bad_request(format!("invalid continue token: continue key is not valid{why}"));
        let bytes = URL_SAFE_NO_PAD.decode(text.trim_end_matches('=')).map_err(|e| match e {
            base64::DecodeError::InvalidByte(at, _) => bad(&format!(": illegal base64 data at input byte {at}")),
            _ => bad(&format!(": illegal base64 data at input byte {}", text.len())),
        })?;
        let token: Self = serde_json::from_slice(&bytes).map_err(|e| bad(&format!(": {e}")))?;
        if token.v != "meta.k8s.io/v1" {
            return Err(bad(&format!(": server does not recognize this encoded version {}", token.v)));
        }
        if token.rv == 0 {
            return Err(bad(": incorrect encoded start resourceVersion (version meta.k8s.io/v1)"));
        }
        if token.start.is_empty() {
            return Err(bad(": encoded start key empty (version meta.k8s.io/v1)"));
        }
        // nobody leaves the collection by its key
        if token.start.split('/').any(|part| matches!(part, "." | "..")) {
            return Err(bad(&format!(": {}", token.start)));
        }
        Ok(token)
    }
}

/// 504: a revision that is still to come, with upstream's cause.
pub fn too_large(asked: u64, current: u64) -> Status {
    let message = format!("Timeout: Too large resource version: {asked}, current: {current}");
    let cause = json!({"reason": "ResourceVersionTooLarge", "message": "Too large resource version"});
    Status { details: json!({"causes": [cause], "retryAfterSeconds": 1}), ..Status::new(504, "Timeout", message) }
}

impl Registry {
    /// A page of a collection.
    ///
    /// # Errors
    /// 400 for a bad continue token, 410 for one that is too old, 504 for a revision that is still to come.
    pub fn list(&self, target: Target<'_>, want: &Want) -> Result<Page> {
        let current = self.store.snapshot();
        let (snapshot, after) = self.place(target, want, current)?;
        let prefix = target.served.prefix(target.namespace);
        let mut page =
            Page { items: Vec::new(), revision: snapshot.revision(), continue_token: String::new(), remaining: None };
        if let Some(name) =
            want.selection.name().filter(|_| !target.namespace.is_empty() || !target.served.resource.namespaced)
        {
            let one = Target { name, ..target };
            page.items
                .extend(snapshot.get(&one.key()).filter(|k| want.selection.matches(k)).map(|k| k.object().clone()));
            return Ok(page);
        }
        if let Some(node) = want.selection.exact("spec.nodeName").filter(|n| !n.is_empty() && want.limit == 0)
            && target.served.bucket == "/pods/"
        {
            let index = storage::node_index(node);
            let found = snapshot.index(&index);
            let found = found.filter(|(key, kept)| key.starts_with(&prefix) && want.selection.matches(kept));
            page.items.extend(found.map(|(_, kept)| kept.object().clone()));
            return Ok(page);
        }
        let mut last = "";
        let mut matching = snapshot.range(&prefix, &after).filter(|(_, kept)| want.selection.matches(kept));
        for (key, kept) in matching.by_ref() {
            page.items.push(kept.object().clone());
            last = key;
            if want.limit > 0 && page.items.len() == want.limit {
                break;
            }
        }
        if want.limit > 0 && page.items.len() == want.limit {
            let everything = want.selection.is_everything();
            // a client that goes from page to page does not have the rest counted each time
            let known = everything.then(|| self.paging.after(&snapshot, &prefix, &after)).flatten();
            let rest = match known {
                Some(all) => all.saturating_sub(page.items.len()),
                None if everything => matching.count(),
                None => matching.take(1).count(),
            };
            if rest > 0 {
                page.continue_token =
                    Token::encode(i64::try_from(snapshot.revision()).unwrap_or(-1), &last[prefix.len()..]);
                page.remaining = everything.then_some(rest);
                self.paging.keep(&snapshot, &prefix, last, page.remaining);
            }
        }
        Ok(page)
    }

    /// The snapshot to list from, and after which key.
    fn place(&self, target: Target<'_>, want: &Want, current: Snapshot) -> Result<(Snapshot, String)> {
        if !want.continue_token.is_empty() {
            let token = Token::decode(&want.continue_token)?;
            let after = format!("{}{}", target.served.prefix(target.namespace), token.start);
            let Ok(revision) = u64::try_from(token.rv) else { return Ok((current, after)) };
            if revision == current.revision() {
                return Ok((current, after));
            }
            if revision > current.revision() {
                return Err(too_large(revision, current.revision()));
            }
            return match self.paging.find(revision) {
                Some(snapshot) => Ok((snapshot, after)),
                None => Err(expired(&token.start)),
            };
        }
        match want.state {
            State::NotOlderThan(revision) | State::Exactly(revision) if revision > current.revision() => {
                Err(too_large(revision, current.revision()))
            }
            State::Exactly(revision) if revision != current.revision() => self
                .paging
                .find(revision)
                .map(|snapshot| (snapshot, String::new()))
                .ok_or_else(|| Status::expired("The resourceVersion for the provided list is too old.")),
            _ => Ok((current, String::new())),
        }
    }
}

/// 410 with a token that goes on from the newest state, for clients that can live with that.
fn expired(start: &str) -> Status {
    let status = Status::expired(
        "The provided continue parameter is too old to display a consistent list result. You can start a new list without the continue parameter, or use the continue token in this response to retrieve the remainder of the results. Continuing with the provided token results in an inconsistent list - objects that were created, modified, or deleted between the time the first chunk was returned and now may show up in the list.",
    );
    Status { continue_token: Token::encode(-1, start), ..status }
}
