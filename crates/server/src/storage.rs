//! How objects lie in the store: keys and indexes.

use bytes::Bytes;
use coracle_api::{Draft, Object, Resource};
use coracle_kinds::Kind;
use coracle_store::Stored;
use serde::Deserialize;
use std::{
    ops::Deref,
    sync::{Arc, OnceLock},
};

/// An object as the store keeps it. (A type of our own because neither the trait nor `Object` is from this crate.)
#[derive(Debug)]
pub struct Kept {
    object: Arc<Object>,
    fields: OnceLock<Vec<String>>,
}

impl Kept {
    fn new(object: Object) -> Self {
        Self { object: Arc::new(object), fields: OnceLock::new() }
    }

    /// The object.
    pub fn object(&self) -> &Arc<Object> {
        &self.object
    }

    /// The values of the kind's selectable fields, in the descriptor's order: read once for all watchers. (A bucket has one storing kind.)
    pub fn fields(&self, kind: &Kind) -> &[String] {
        self.fields.get_or_init(|| {
            let value = self.object.value();
            kind.selectable.values(&value)
        })
    }
}

impl Deref for Kept {
    type Target = Arc<Object>;
    fn deref(&self) -> &Arc<Object> {
        &self.object
    }
}

impl Stored for Kept {
    type Draft = Draft;

    fn seal(draft: Draft, revision: u64) -> Self {
        Self::new(draft.seal(revision))
    }

    fn load(bytes: Bytes) -> Result<Self, String> {
        Object::from_json(bytes).map(Self::new).map_err(|e| e.message)
    }

    fn bytes(&self) -> &Bytes {
        self.object.json()
    }

    fn revision(&self) -> u64 {
        self.object.revision()
    }

    fn rest(&self) {
        self.object.forget_views();
    }

    fn indexes(&self, key: &str, add: &mut dyn FnMut(String)) {
        let Some(bucket) = bucket_of(key) else { return };
        for owner in &self.object.meta().owner_references {
            // per kind, because that is how owners' dependents are asked for
            add(owner_index(bucket, &owner.uid));
            add(any_owner_index(&owner.uid));
        }
        if bucket == PODS
            && let Some(node) = node_name(&self.object)
        {
            add(node_index(&node));
        }
    }
}

/// The store of the server.
pub type Store = coracle_store::Store<Kept>;
/// A snapshot of it.
pub type Snapshot = coracle_store::Snapshot<Kept>;

const PODS: &str = "/pods/";

/// `<group>/<plural>/`: where all objects of a resource are, whatever its version.
pub fn bucket(group: &str, plural: &str) -> String {
    format!("{group}/{plural}/")
}

/// The key of one object.
pub fn key(group: &str, plural: &str, namespace: &str, name: &str) -> coracle_store::Key {
    format!("{group}/{plural}/{namespace}/{name}").into()
}

/// The prefix of a collection; an empty namespace means all of them.
pub fn prefix(group: &str, plural: &str, namespace: &str) -> String {
    if namespace.is_empty() { bucket(group, plural) } else { format!("{group}/{plural}/{namespace}/") }
}

fn bucket_of(key: &str) -> Option<&str> {
    let first = key.find('/')?;
    let second = key[first + 1..].find('/')? + first + 1;
    Some(&key[..=second])
}

/// The index of objects in `bucket` owned by `uid`.
pub fn owner_index(bucket: &str, uid: &str) -> String {
    format!("owner:{bucket}{uid}")
}

/// The index of objects of any kind owned by `uid`.
pub fn any_owner_index(uid: &str) -> String {
    format!("owned:{uid}")
}

/// The index of pods bound to a node.
pub fn node_index(node: &str) -> String {
    format!("node:{node}")
}

/// `spec.nodeName`, read without decoding the rest.
fn node_name(object: &Object) -> Option<String> {
    #[derive(Deserialize)]
    struct Pod {
        #[serde(default)]
        spec: Spec,
    }
    #[derive(Deserialize, Default)]
    #[serde(rename_all = "camelCase")]
    struct Spec {
        #[serde(default)]
        node_name: String,
    }
    let pod: Pod = serde_json::from_slice(object.json()).ok()?;
    (!pod.spec.node_name.is_empty()).then_some(pod.spec.node_name)
}

/// The same object with another resourceVersion.
pub fn at_revision(object: &Arc<Object>, revision: u64) -> Arc<Object> {
    let value = object.value();
    Draft::new(&value).map_or_else(|_| object.clone(), |draft| Arc::new(draft.seal(revision)))
}

/// `group/version` of a resource's objects as the bucket of its storage.
pub fn bucket_for(resource: &Resource) -> String {
    bucket(&resource.group, &resource.plural)
}
