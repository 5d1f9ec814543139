//! Frames: what a change looks like on the wire of a watch, in each form and syntax.
//!
//! A frame is encoded by the first watcher that sends it and kept beside the change for all others. Only tables are each watcher's own.

use crate::{
    answer,
    catalog::Served,
    http::negotiate::{Accepted, Form, Syntax},
    storage::{Kept, at_revision},
    table::{self, Columns, Include},
    watch::{Existing, Item, Kind, Source},
};
use bytes::Bytes;
use coracle_api::{Object, Result, Status, protobuf};
use coracle_store::Event;
use parking_lot::Mutex;
use serde_json::{Value, json};
use std::sync::{Arc, OnceLock};

/// The frames of one change that were asked for so far.
#[derive(Default)]
pub struct Frames {
    made: Mutex<Vec<(Key, Bytes)>>,
    deleted: OnceLock<Arc<Object>>,
}

/// What tells a change's frames apart.
#[derive(PartialEq)]
struct Key {
    kind: Kind,
    accepted: Accepted,
    /// [`Served::form`].
    version: String,
}

/// The frames of a change.
pub fn frames(event: &Event<Kept>) -> Arc<Frames> {
    let memo = event.memo.get().unwrap_or_else(|| event.memo.keep(Arc::new(Frames::default())));
    memo.downcast().unwrap_or_default()
}

impl Frames {
    /// The last state of a deleted object, at the revision of the change that took it away.
    pub fn deleted(&self, old: &Arc<Object>, revision: u64) -> Arc<Object> {
        self.deleted.get_or_init(|| at_revision(old, revision)).clone()
    }

    fn shared(&self, key: Key, make: impl FnOnce() -> Result<Bytes>) -> Result<Bytes> {
        let mut made = self.made.lock();
        if let Some((_, bytes)) = made.iter().find(|(found, _)| *found == key) {
            return Ok(bytes.clone());
        }
        let bytes = make()?;
        made.push((key, bytes.clone()));
        Ok(bytes)
    }
}

/// Tells one watcher what happens, in its form and syntax.
pub struct Teller {
    served: Arc<Served>,
    accepted: Accepted,
    include: Include,
    columns: Columns,
}

impl Teller {
    /// A teller; `include` is for tables.
    pub fn new(served: Arc<Served>, accepted: Accepted, include: Include) -> Self {
        // upstream too answers a watch for a list of metadata with the objects themselves
        let form = if accepted.form == Form::PartialList { Form::Object } else { accepted.form };
        Self { served, accepted: Accepted { form, ..accepted }, include, columns: Columns::Shown }
    }

    /// An item with its object as the kind's version has it.
    ///
    /// # Errors
    /// When the object cannot be converted.
    pub async fn load(&self, item: Item) -> Result<Item> {
        match item {
            Item::Change(kind, object, source) => Ok(Item::Change(kind, self.served.load(&object).await?, source)),
            other => Ok(other),
        }
    }

    /// The frame of an item that was [loaded](Teller::load).
    pub fn tell(&mut self, item: Item) -> Bytes {
        let told = match item {
            Item::Change(kind, object, source) => self.change(kind, &object, &source),
            Item::Bookmark(revision, end) => self.bookmark(revision, end),
            Item::Error(status) => return self.error(&status),
        };
        told.unwrap_or_else(|status| self.error(&status))
    }

    fn change(&mut self, kind: Kind, object: &Arc<Object>, source: &Source) -> Result<Bytes> {
        if self.accepted.form == Form::Table {
            let value = self.table(object);
            return Ok(self.frame(kind.word(), &answer::encode(self.accepted.syntax, &value, None)?));
        }
        let make = || -> Result<Bytes> {
            let object = self.served.present(object)?;
            Ok(match (self.accepted.form, self.accepted.syntax) {
                (Form::Partial, _) => self.frame(kind.word(), &answer::partial(self.accepted, &object)?),
                (_, Syntax::Protobuf) => self.frame(kind.word(), object.protobuf(self.served.wire_type()?)?.envelope()),
                _ => self.frame(kind.word(), object.json()),
            })
        };
        let Source::Log(frames) = source else { return make() };
        let version = self.served.form();
        frames.shared(Key { kind, accepted: self.accepted, version }, make)
    }

    fn table(&mut self, object: &Object) -> Value {
        let metadata = json!({"resourceVersion": object.revision().to_string()});
        // the columns are told once
        let columns = std::mem::replace(&mut self.columns, Columns::Known);
        let wish = table::Wish { version: self.accepted.version, columns, include: self.include };
        table::table(&self.served, [object], metadata, wish, &answer::context())
    }

    fn bookmark(&mut self, revision: u64, end: Existing) -> Result<Bytes> {
        let mut metadata = json!({"resourceVersion": revision.to_string()});
        if end == Existing::End {
            metadata["annotations"] = json!({"k8s.io/initial-events-end": "true"});
        }
        let (kind, version) = (&self.served.resource.kind, self.served.resource.api_version());
        let value = json!({"apiVersion": version, "kind": kind, "metadata": metadata});
        let bytes = match self.accepted.form {
            Form::Table => {
                let object = Object::from_value(&value)?;
                let include = if end == Existing::End { Include::Metadata } else { self.include };
                let include = std::mem::replace(&mut self.include, include);
                let table = self.table(&object);
                self.include = include;
                answer::encode(self.accepted.syntax, &table, None)?
            }
            Form::Partial => answer::partial(self.accepted, &Object::from_value(&value)?)?,
            _ => answer::encode(self.accepted.syntax, &value, self.served.wire_type().ok())?,
        };
        Ok(self.frame("BOOKMARK", &bytes))
    }

    /// The frame that ends a watch that cannot go on.
    pub fn error(&self, status: &Status) -> Bytes {
        let value = status.to_value();
        let of = coracle_api::Schema::builtin().type_named(answer::STATUS);
        let bytes = answer::encode(self.accepted.syntax, &value, of).unwrap_or_default();
        self.frame("ERROR", &bytes)
    }

    fn frame(&self, kind: &str, object: &[u8]) -> Bytes {
        match self.accepted.syntax {
            Syntax::Protobuf => protobuf::frame(kind, object),
            _ => line(kind, object),
        }
    }
}

/// One line of a watch in JSON.
fn line(kind: &str, object: &[u8]) -> Bytes {
    let mut line = Vec::with_capacity(object.len() + 32);
    line.extend_from_slice(b"{\"type\":\"");
    line.extend_from_slice(kind.as_bytes());
    line.extend_from_slice(b"\",\"object\":");
    line.extend_from_slice(object);
    line.extend_from_slice(b"}\n");
    line.into()
}
