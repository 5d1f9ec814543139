//! What this server serves: kinds found by group, version and plural. The built-in ones stay, as [`RuntimeConfig`] has them; custom ones come and go.
//!
//! Readers take a snapshot ([`Catalog::kinds`]), which does not change under them; a change makes another one and tells who waits
//! ([`Catalog::changed`]). What belongs to a kind that is no longer served (its watches) ends with [`Served::over`].

use crate::{custom::Custom, runtime_config::RuntimeConfig, storage};
use coracle_api::{Object, Resource, Result, Status, schema::Type};
use coracle_kinds::{SharedKind, lifecycle::Deprecation};
use parking_lot::RwLock;
use serde_json::Value;
use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// A served kind with what is computed from its descriptor once.
pub struct Served {
    /// The descriptor.
    pub kind: SharedKind,
    /// The resource, as requests name it.
    pub resource: Resource,
    /// Where its objects lie: `<group>/<plural>/` of the storing kind.
    pub bucket: String,
    /// What it has if it is a custom resource.
    pub custom: Option<Custom>,
    /// When it is to go, if it is.
    pub deprecation: Option<Deprecation>,
    /// Cancelled when the kind is no longer served, or served in another way.
    pub over: CancellationToken,
}

impl Served {
    fn new(kind: SharedKind, custom: Option<Custom>) -> Self {
        let (resource, bucket) = (kind.resource.clone(), storage::bucket_for(&kind.storage().resource));
        let deprecation = kind.deprecation();
        Self { kind, resource, bucket, custom, deprecation, over: CancellationToken::new() }
    }

    /// The prefix of a collection; an empty namespace means all of them.
    pub fn prefix(&self, namespace: &str) -> String {
        if namespace.is_empty() { self.bucket.clone() } else { format!("{}{namespace}/", self.bucket) }
    }

    /// The `apiVersion` that objects are stored in; `None` if none are, or if nobody could read them so.
    pub fn storage_version(&self) -> Option<String> {
        let kept = self.kind.verbs.contains(&"create") && self.kind.is_stored();
        match &self.custom {
            Some(custom) => custom.storage_version(),
            None => kept.then(|| self.kind.storage().resource.api_version().into_owned()),
        }
    }

    /// Whether stored bytes always are what clients of this version see.
    pub fn is_native(&self) -> bool {
        self.kind.stored_as.is_none() && self.custom.is_none()
    }

    /// The type by which its objects are spoken in protobuf.
    ///
    /// # Errors
    /// 406: custom resources have none.
    pub fn wire_type(&self) -> Result<Type<'_>> {
        self.kind.type_of().filter(|of| of.is_wired()).ok_or_else(|| {
            let message = "object *unstructured.Unstructured does not implement the protobuf marshalling interface and cannot be encoded to a protobuf message";
            Status::new(406, "NotAcceptable", message)
        })
    }

    /// Turns a decoded body into the stored version.
    pub fn to_storage(&self, object: &mut Value) {
        self.kind.to_storage(object);
    }

    /// Turns a stored value into this version.
    pub fn from_storage(&self, object: &mut Value) {
        self.kind.from_storage(object);
    }

    /// An object that was [loaded](Served::load), as clients of this version see it; the same one unless it is stored as another kind.
    pub fn present(&self, object: &Arc<Object>) -> Result<Arc<Object>> {
        if self.kind.stored_as.is_none() {
            return Ok(object.clone());
        }
        let mut value = object.value();
        self.from_storage(&mut value);
        Object::from_value(&value).map(Arc::new)
    }

    /// A stored object as the kind's rules take it: for custom resources as their version has it, for other kinds as it lies there.
    ///
    /// # Errors
    /// 500 when it cannot be converted.
    pub async fn load(&self, object: &Arc<Object>) -> Result<Arc<Object>> {
        match &self.custom {
            Some(custom) => custom.present(object).await,
            None => Ok(object.clone()),
        }
    }

    /// The same for many.
    ///
    /// # Errors
    /// As [`Served::load`].
    pub async fn load_all(&self, objects: Vec<Arc<Object>>) -> Result<Vec<Arc<Object>>> {
        match &self.custom {
            Some(custom) => custom.present_all(&objects).await,
            None => Ok(objects),
        }
    }

    /// What tells the bytes that clients of this version get from those that others get; empty if they get those in the store.
    pub fn form(&self) -> String {
        match &self.custom {
            Some(custom) => custom.form(),
            None if self.is_native() => String::new(),
            None => self.resource.api_version().to_string(),
        }
    }

    /// What the rules are done with, as it is stored.
    ///
    /// # Errors
    /// As [`Served::load`].
    pub async fn stored(&self, object: Value) -> Result<Value> {
        match &self.custom {
            Some(custom) => custom.store(object).await,
            None => Ok(object),
        }
    }

    /// Notes that an object was written through this version.
    pub fn written(&self, object: &Arc<Object>) {
        if let Some(custom) = &self.custom {
            custom.written(object);
        }
    }

    /// Whether the selectable field number `at` has that value.
    pub fn has(&self, kept: &storage::Kept, at: usize, value: &str) -> bool {
        match (&self.custom, &self.kind.stored_as) {
            (Some(custom), _) => custom.fields(kept.object()).get(at).is_some_and(|found| found == value),
            (None, None) => kept.fields(&self.kind).get(at).is_some_and(|found| found == value),
            (None, Some(_)) => {
                let mut object = kept.value();
                self.kind.from_storage(&mut object);
                self.kind.selectable.value(at, &object) == value
            }
        }
    }
}

/// The versions of one custom resource, all of the same objects.
pub struct Definition {
    /// Tells one state of a definition from any other, over restarts too: what is made from it may be kept under this name.
    pub stamp: String,
    /// One per served version.
    pub versions: Vec<Arc<Served>>,
}

impl Definition {
    /// A definition with these versions.
    pub fn of_custom(stamp: String, versions: impl IntoIterator<Item = Custom>) -> Self {
        let served = versions.into_iter().filter_map(|custom| {
            let kind = SharedKind::Made(custom.of()?.kind.clone());
            Some(Arc::new(Served::new(kind, Some(custom))))
        });
        Self { stamp, versions: served.collect() }
    }

    fn end(&self) {
        self.versions.iter().for_each(|served| served.over.cancel());
    }
}

/// The built-in kinds.
struct BuiltIn {
    kinds: Vec<Arc<Served>>,
    by_path: HashMap<(String, String, String), Arc<Served>>,
}

impl BuiltIn {
    fn new(config: &RuntimeConfig) -> Self {
        let all = coracle_kinds::all().iter().chain(coracle_kinds::optional()).filter(|k| config.serves(k));
        let kinds: Vec<Arc<Served>> = all.map(|k| Arc::new(Served::new(SharedKind::Fixed(k), None))).collect();
        let path =
            |s: &Served| (s.resource.group.to_string(), s.resource.version.to_string(), s.resource.plural.to_string());
        let by_path = kinds.iter().map(|s| (path(s), s.clone())).collect();
        Self { kinds, by_path }
    }
}

/// All served kinds at one moment.
#[derive(Clone)]
pub struct Kinds {
    /// Grows with every change.
    pub generation: u64,
    built_in: Arc<BuiltIn>,
    /// By group and plural.
    custom: BTreeMap<Arc<(String, String)>, Arc<Definition>>,
}

impl Kinds {
    /// All of them, in the order of discovery.
    pub fn all(&self) -> impl Iterator<Item = &Arc<Served>> {
        self.built_in.kinds.iter().chain(self.custom.values().flat_map(|d| &d.versions))
    }

    /// The kind under a path.
    pub fn find(&self, group: &str, version: &str, plural: &str) -> Option<&Arc<Served>> {
        let built_in = self.built_in.by_path.get(&(group.to_string(), version.to_string(), plural.to_string()));
        built_in.or_else(|| {
            let definition = self.custom.get(&(group.to_string(), plural.to_string()))?;
            definition.versions.iter().find(|s| s.resource.version == version)
        })
    }

    /// The stamps of the custom resources of a group.
    pub fn stamps<'a>(&'a self, group: &'a str) -> impl Iterator<Item = &'a str> {
        self.custom.iter().filter(move |(key, _)| key.0 == group).map(|(_, d)| d.stamp.as_str())
    }
}

/// All served kinds, as they are from moment to moment.
#[derive(Clone)]
pub struct Catalog {
    current: Arc<RwLock<Arc<Kinds>>>,
    changed: watch::Sender<u64>,
}

impl Default for Catalog {
    fn default() -> Self {
        Self::built_in(&RuntimeConfig::default())
    }
}

impl Catalog {
    /// The built-in kinds that `config` does not switch off.
    pub fn built_in(config: &RuntimeConfig) -> Self {
        let kinds = Kinds { generation: 0, built_in: Arc::new(BuiltIn::new(config)), custom: BTreeMap::new() };
        Self { current: Arc::new(RwLock::new(Arc::new(kinds))), changed: watch::Sender::new(0) }
    }

    /// What is served now.
    pub fn kinds(&self) -> Arc<Kinds> {
        self.current.read().clone()
    }

    /// The kind under a path, if it is served now.
    pub fn find(&self, group: &str, version: &str, plural: &str) -> Option<Arc<Served>> {
        self.current.read().find(group, version, plural).cloned()
    }

    /// The kind that a component of this process names.
    pub fn of(&self, resource: &Resource) -> Option<Arc<Served>> {
        self.find(&resource.group, &resource.version, &resource.plural)
    }

    /// Tells the generation of every change from now on.
    pub fn changed(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// Whether the custom resource `group`/`plural` is served in the state `stamp` (`None`: not at all).
    pub fn is(&self, group: &str, plural: &str, stamp: Option<&str>) -> bool {
        let key = (group.to_string(), plural.to_string());
        self.current.read().custom.get(&key).map(|d| d.stamp.as_str()) == stamp
    }

    /// Serves the custom resource `group`/`plural` as `definition` says, or (`None`) no longer. Nothing happens if that is so already.
    pub fn set(&self, group: &str, plural: &str, definition: Option<Definition>) {
        let key = Arc::new((group.to_string(), plural.to_string()));
        let mut current = self.current.write();
        let before = current.custom.get(&key);
        if before.map(|d| &d.stamp) == definition.as_ref().map(|d| &d.stamp) {
            return;
        }
        let mut next = Kinds::clone(&current);
        next.generation += 1;
        let before = match definition {
            Some(definition) => next.custom.insert(key, Arc::new(definition)),
            None => next.custom.remove(&key),
        };
        let generation = next.generation;
        *current = Arc::new(next);
        drop(current);
        before.iter().for_each(|d| d.end());
        self.changed.send_replace(generation);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn definition(stamp: &str) -> Option<Definition> {
        let kind = coracle_kinds::find("", "v1", "configmaps").map(SharedKind::Fixed);
        let versions = kind.into_iter().map(|kind| {
            let mut served = Served::new(kind, None);
            served.resource = Resource::fixed("example.com", "v1", "things", "Thing", true);
            Arc::new(served)
        });
        Some(Definition { stamp: stamp.into(), versions: versions.collect() })
    }

    #[test]
    fn custom_kinds_come_and_go() {
        let catalog = Catalog::default();
        let built_in = catalog.kinds().all().count();
        let find = || catalog.find("example.com", "v1", "things");
        catalog.set("example.com", "things", definition("a"));
        let first = find().unwrap();
        catalog.set("example.com", "things", definition("a"));
        assert!(Arc::ptr_eq(&first, &find().unwrap()) && !first.over.is_cancelled(), "the same is not made anew");
        catalog.set("example.com", "things", definition("b"));
        assert!(first.over.is_cancelled(), "what hangs on the old one ends");
        let old = catalog.kinds();
        catalog.set("example.com", "things", None);
        assert!(find().is_none() && old.find("example.com", "v1", "things").is_some(), "a snapshot stays what it was");
        assert_eq!((catalog.kinds().all().count(), catalog.kinds().generation), (built_in, 3));
    }
}
