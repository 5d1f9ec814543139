//! Who set which field, for the server: which endpoint a write came through, and the versions its object is served in.

use crate::{
    catalog::{Kinds, Served},
    registry::Target,
};
use coracle_api::{
    Result, Schema, Status, WriteOptions,
    managed::{self, Endpoint, OnConflict, OneVersion, Reset, ScaleBooks, Versions, Writer},
    schema::Type,
};
use jiff::Timestamp;
use parking_lot::Mutex;
use serde_json::Value;
use std::{borrow::Cow, collections::HashMap, sync::Arc};

const SCALE_VERSION: &str = "autoscaling/v1";

/// The books of one target.
pub struct Books<'a> {
    target: Target<'a>,
    version: Cow<'a, str>,
    kinds: Arc<Kinds>,
    manager: &'a str,
    on_conflict: OnConflict,
    now: Timestamp,
    /// `None`: versions differ by name only.
    questions: Option<Mutex<Questions>>,
}

/// How often the books are made again because another conversion was needed.
const MOST_ROUNDS: usize = 8;

/// Objects in other versions, as a webhook shows them. The books are made without waiting: what they lack is noted, asked for, and then they
/// are made again.
#[derive(Default)]
struct Questions {
    known: HashMap<(String, String), Value>,
    open: Vec<(Value, String)>,
}

impl Questions {
    /// The object in the version `to`; until that is known, under its name only.
    fn look_up(&mut self, mut object: Value, to: &str) -> Value {
        let key = (object.to_string(), to.to_string());
        if let Some(known) = self.known.get(&key) {
            return known.clone();
        }
        self.open.push((object.clone(), key.1));
        object["apiVersion"] = to.into();
        object
    }
}

impl<'a> Books<'a> {
    /// Those of `target`, as a request with these options writes them.
    pub fn new(kinds: Arc<Kinds>, target: Target<'a>, options: &'a WriteOptions, now: Timestamp) -> Self {
        let on_conflict = if options.force { OnConflict::Take } else { OnConflict::Refuse };
        let version = target.served.resource.api_version();
        let asks = target.served.custom.as_ref().is_some_and(|custom| custom.asks());
        let questions = asks.then(Mutex::default);
        Self { target, version, kinds, manager: &options.field_manager, on_conflict, now, questions }
    }

    /// Runs what uses these books, until every object that it wanted to see in another version was converted.
    ///
    /// # Errors
    /// Those of `run`; 500 when a webhook does not convert.
    pub async fn settled<T>(&self, mut run: impl FnMut() -> Result<T> + Send) -> Result<T>
    where
        T: Send,
    {
        for _ in 0..MOST_ROUNDS {
            let done = run();
            if !self.ask().await? {
                return done;
            }
        }
        Err(Status::internal("the versions of the object's managed fields do not settle"))
    }

    /// Asks for what was missing; whether anything was.
    async fn ask(&self) -> Result<bool> {
        let Some(questions) = &self.questions else { return Ok(false) };
        let open = std::mem::take(&mut questions.lock().open);
        let Some(custom) = self.target.served.custom.as_ref().filter(|_| !open.is_empty()) else { return Ok(false) };
        for (object, to) in open {
            let key = (object.to_string(), to);
            if questions.lock().known.contains_key(&key) {
                continue;
            }
            let shown = custom.shown_in(object, &key.1).await?;
            questions.lock().known.insert(key, shown);
        }
        Ok(true)
    }

    fn endpoint(&self) -> Endpoint<'_> {
        let kind = &self.target.served.kind;
        Endpoint {
            version: &self.version,
            kind: &self.target.served.resource.kind,
            of: kind.type_of(),
            subresource: self.target.subresource,
            reset: kind.reset(self.target.subresource),
            versions: self,
        }
    }

    fn writer(&self) -> Writer<'_> {
        Writer { manager: self.manager, time: self.now }
    }

    /// Server-side apply of a configuration; `live` (in the target's version) is `None` if apply creates the object. The
    /// result still has to be conformed to its kind.
    ///
    /// # Errors
    /// 409 when others own what would change; 400 and 500 when it is no configuration of this kind.
    pub fn apply(&self, live: Option<&Value>, config: &Value) -> Result<Value> {
        managed::apply(live, config, self.writer(), self.on_conflict, &self.endpoint())
    }

    /// Notes in `new` what changed since `old`; both are as they are stored. If another version cannot be had, entries of that version are
    /// compared by name.
    pub async fn track(&self, old: Option<&Value>, new: &mut Value) {
        if self.questions.is_none() {
            return self.note(old, new);
        }
        let run = || {
            let mut seen = new.clone();
            self.note(old, &mut seen);
            Ok(seen)
        };
        match self.settled(run).await {
            Ok(seen) => *new = seen,
            Err(why) => {
                tracing::warn!(error = %why, "managed fields of other versions are compared by name");
                self.note(old, new);
            }
        }
    }

    fn note(&self, old: Option<&Value>, new: &mut Value) {
        let served = self.target.served;
        if served.kind.stored_as.is_none() {
            return managed::track_update(old, new, self.writer(), &self.endpoint());
        }
        // entries name the version that was written, and its fields
        let shown = |value: &Value| {
            let mut value = value.clone();
            served.from_storage(&mut value);
            value
        };
        let mut seen = shown(new);
        managed::track_update(old.map(shown).as_ref(), &mut seen, self.writer(), &self.endpoint());
        if let Some(metadata) = new.get_mut("metadata").and_then(Value::as_object_mut) {
            match seen["metadata"].get_mut("managedFields") {
                Some(books) => metadata.insert("managedFields".into(), books.take()),
                None => metadata.remove("managedFields"),
            };
        }
    }

    fn scale_endpoint() -> Endpoint<'static> {
        Endpoint {
            version: SCALE_VERSION,
            kind: "Scale",
            of: Schema::builtin().type_of("autoscaling", "v1", "Scale"),
            subresource: "scale",
            reset: Reset::NONE,
            versions: &OneVersion,
        }
    }

    /// Applies a configuration of a Scale.
    ///
    /// # Errors
    /// As [`Books::apply`].
    pub fn apply_scale(&self, live: &Value, config: &Value) -> Result<Value> {
        managed::apply(Some(live), config, self.writer(), self.on_conflict, &Self::scale_endpoint())
    }

    /// Notes in the Scale `new` what changed since `old`.
    pub fn track_scale(&self, old: &Value, new: &mut Value) {
        managed::track_update(Some(old), new, self.writer(), &Self::scale_endpoint());
    }

    /// `managedFields` of a Scale, from its object's.
    pub fn to_scale(&self, of_object: &Value) -> Option<Value> {
        self.scale_books(of_object, |books| books.to_scale())
    }

    /// `managedFields` of an object, after those of its Scale changed.
    pub fn after_scale(&self, of_object: &Value, of_scale: &Value) -> Option<Value> {
        self.scale_books(of_object, |books| books.to_object(of_scale))
    }

    fn scale_books<T>(&self, of_object: &Value, with: impl FnOnce(ScaleBooks<'_>) -> T) -> T {
        let path = |version: &str| self.served(version)?.kind.scale_paths().map(|paths| paths.spec.to_string());
        with(ScaleBooks { of_object, version: &self.version, path: &path })
    }

    fn served(&self, version: &str) -> Option<&Served> {
        if version == self.version {
            return Some(self.target.served);
        }
        let bucket = &self.target.served.bucket;
        self.kinds.all().find(|s| s.bucket == *bucket && s.resource.api_version() == version).map(|s| &**s)
    }
}

impl Versions for Books<'_> {
    fn convert(&self, object: &Value, from: &str, to: &str) -> Option<Value> {
        let mut object = object.clone();
        self.served(from)?.to_storage(&mut object);
        self.served(to)?.from_storage(&mut object);
        if let Some(questions) = &self.questions {
            if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
                metadata.remove("managedFields");
            }
            return Some(questions.lock().look_up(object, to));
        }
        if self.target.served.custom.is_some() {
            object["apiVersion"] = to.into();
        }
        Some(object)
    }

    fn type_of(&self, version: &str) -> Option<Type<'_>> {
        self.served(version)?.kind.type_of()
    }
}
