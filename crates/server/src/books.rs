//! Who set which field, for the server: which endpoint a write came through, and the versions its object is served in.

use crate::{
    catalog::{Kinds, Served},
    registry::Target,
};
use coracle_api::{
    Result, Schema, WriteOptions,
    managed::{self, Endpoint, OnConflict, OneVersion, Reset, ScaleBooks, Versions, Writer},
    schema::Type,
};
use jiff::Timestamp;
use serde_json::Value;
use std::{borrow::Cow, sync::Arc};

const SCALE_VERSION: &str = "autoscaling/v1";

/// The books of one target.
pub struct Books<'a> {
    target: Target<'a>,
    version: Cow<'a, str>,
    kinds: Arc<Kinds>,
    manager: &'a str,
    on_conflict: OnConflict,
    now: Timestamp,
}

impl<'a> Books<'a> {
    /// Those of `target`, as a request with these options writes them.
    pub fn new(kinds: Arc<Kinds>, target: Target<'a>, options: &'a WriteOptions, now: Timestamp) -> Self {
        let on_conflict = if options.force { OnConflict::Take } else { OnConflict::Refuse };
        let version = target.served.resource.api_version();
        Self { target, version, kinds, manager: &options.field_manager, on_conflict, now }
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

    /// Notes in `new` what changed since `old`; both are as they are stored.
    pub fn track(&self, old: Option<&Value>, new: &mut Value) {
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
        if self.target.served.custom.is_some() {
            // which fields there are is what counts here, and those that have another name are nobody's in the other version
            object["apiVersion"] = to.into();
        }
        Some(object)
    }

    fn type_of(&self, version: &str) -> Option<Type<'_>> {
        self.served(version)?.kind.type_of()
    }
}
