//! A world in memory for the tables of this module and of admission.

use coracle_api::{Object, Resource};
use coracle_client::{Change, View};
use futures::{StreamExt, stream::BoxStream};
use parking_lot::RwLock;
use serde_json::Value;
use std::{collections::BTreeMap, sync::Arc};

type Key = (String, String, String);

/// A [`View`] over a map.
#[derive(Default)]
pub struct World(RwLock<BTreeMap<Key, Arc<Object>>>);

impl World {
    /// Puts an object in; gives it kind and uid if it has none.
    pub fn put(&self, resource: &Resource, mut value: Value) {
        let name = value["metadata"]["name"].as_str().unwrap_or_default().to_string();
        let namespace = value["metadata"]["namespace"].as_str().unwrap_or_default().to_string();
        if value["metadata"]["uid"].is_null() {
            value["metadata"]["uid"] = format!("uid-{name}").into();
        }
        let object = Arc::new(Object::from_value(&value).expect("a valid object"));
        self.0.write().insert((resource.qualified().into_owned(), namespace, name), object);
    }

    /// Takes an object out.
    pub fn remove(&self, resource: &Resource, namespace: &str, name: &str) {
        self.0.write().remove(&(resource.qualified().into_owned(), namespace.into(), name.into()));
    }
}

impl View for World {
    fn get(&self, resource: &Resource, namespace: &str, name: &str) -> Option<Arc<Object>> {
        self.0.read().get(&(resource.qualified().into_owned(), namespace.into(), name.into())).cloned()
    }

    fn list(&self, resource: &Resource, namespace: &str) -> Vec<Arc<Object>> {
        let kind = resource.qualified();
        let wanted = |(k, ns, _): &Key| *k == kind && (namespace.is_empty() || ns == namespace);
        self.0.read().iter().filter(|(key, _)| wanted(key)).map(|(_, object)| object.clone()).collect()
    }

    fn owned_by(&self, resource: &Resource, uid: &str) -> Vec<Arc<Object>> {
        let mut all = self.list(resource, "");
        all.retain(|object| object.meta().owner_references.iter().any(|owner| owner.uid == uid));
        all
    }

    fn pods_on_node(&self, node: &str) -> Vec<Arc<Object>> {
        let mut pods = self.list(&Resource::fixed("", "v1", "pods", "Pod", true), "");
        pods.retain(|pod| pod.value()["spec"]["nodeName"] == node);
        pods
    }

    fn changes(&self, _: &[Resource]) -> BoxStream<'static, Change> {
        futures::stream::pending().boxed()
    }
}
