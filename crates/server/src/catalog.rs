//! What this server serves: the built-in kinds, found by group, version and plural.

use crate::storage;
use coracle_api::{Object, Resource, Result};
use coracle_kinds::Kind;
use serde_json::Value;
use std::{collections::HashMap, sync::Arc};

/// A served kind with what is computed from its descriptor once.
pub struct Served {
    /// The descriptor.
    pub kind: &'static Kind,
    /// The resource, as requests name it.
    pub resource: Resource,
    /// Where its objects lie: `<group>/<plural>/` of the storing kind.
    pub bucket: String,
}

impl Served {
    fn new(kind: &'static Kind) -> Self {
        Self { kind, resource: kind.resource.clone(), bucket: storage::bucket_for(&kind.storage().resource) }
    }

    /// The prefix of a collection; an empty namespace means all of them.
    pub fn prefix(&self, namespace: &str) -> String {
        if namespace.is_empty() { self.bucket.clone() } else { format!("{}{namespace}/", self.bucket) }
    }

    /// Whether stored bytes are what clients of this version see.
    pub fn is_native(&self) -> bool {
        self.kind.stored_as.is_none()
    }

    /// Turns a decoded body into the stored version.
    pub fn to_storage(&self, object: &mut Value) {
        if let Some(stored) = &self.kind.stored_as {
            (stored.to_storage)(object);
        }
    }

    /// Turns a stored value into this version.
    pub fn from_storage(&self, object: &mut Value) {
        if let Some(stored) = &self.kind.stored_as {
            (stored.from_storage)(object);
        }
    }

    /// The object as clients of this version see it; the same one unless it is stored as another version.
    pub fn present(&self, object: &Arc<Object>) -> Result<Arc<Object>> {
        if self.is_native() {
            return Ok(object.clone());
        }
        let mut value = object.value();
        self.from_storage(&mut value);
        Object::from_value(&value).map(Arc::new)
    }
}

/// All served kinds.
#[derive(Clone)]
pub struct Catalog {
    kinds: Arc<Vec<Arc<Served>>>,
    by_path: Arc<HashMap<(String, String, String), Arc<Served>>>,
}

impl Default for Catalog {
    fn default() -> Self {
        Self::built_in()
    }
}

impl Catalog {
    /// The built-in kinds.
    pub fn built_in() -> Self {
        let kinds: Vec<Arc<Served>> = coracle_kinds::all().iter().map(|k| Arc::new(Served::new(k))).collect();
        let path =
            |s: &Served| (s.resource.group.to_string(), s.resource.version.to_string(), s.resource.plural.to_string());
        let by_path = kinds.iter().map(|s| (path(s), s.clone())).collect();
        Self { kinds: Arc::new(kinds), by_path: Arc::new(by_path) }
    }

    /// All of them, in the order of discovery.
    pub fn all(&self) -> &[Arc<Served>] {
        &self.kinds
    }

    /// The kind under a path.
    pub fn find(&self, group: &str, version: &str, plural: &str) -> Option<&Arc<Served>> {
        self.by_path.get(&(group.to_string(), version.to_string(), plural.to_string()))
    }

    /// The kind that a component of this process names.
    pub fn of(&self, resource: &Resource) -> Option<&Arc<Served>> {
        self.find(&resource.group, &resource.version, &resource.plural)
    }
}
