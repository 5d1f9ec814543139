//! An API without a server, for the tests of those who use [`Client`] and [`View`]: objects in a map, with versions, uids, generations,
//! finalizers, `status` apart from the rest, and changes. Neither admission nor defaults nor validation.

use crate::{Change, Client, ObjectList, View, WatchEvent};
use async_trait::async_trait;
use coracle_api::{
    DeleteOptions, Draft, ListOptions, Object, Patch, PatchKind, Resource, Result, Status, WriteOptions,
};
use futures::{StreamExt, stream, stream::BoxStream};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use parking_lot::Mutex;
use serde_json::{Value, json};
use std::{collections::BTreeMap, sync::Arc};
use tokio::sync::broadcast;

type Key = (String, String, String);

/// The world of one test.
pub struct Memory {
    state: Mutex<State>,
    changes: broadcast::Sender<Change>,
}

#[derive(Default)]
struct State {
    revision: u64,
    objects: BTreeMap<Key, (Arc<Resource>, Arc<Object>)>,
    log: Vec<String>,
}

impl Default for Memory {
    fn default() -> Self {
        Self { state: Mutex::default(), changes: broadcast::channel(4096).0 }
    }
}

impl Memory {
    /// An empty world.
    pub fn new() -> Arc<Self> {
        Arc::new(Self::default())
    }

    /// Puts an object there as it is, its status included.
    pub fn put(&self, resource: &Resource, mut body: Value) -> Arc<Object> {
        let namespace = body["metadata"]["namespace"].as_str().unwrap_or_default().to_string();
        let name = body["metadata"]["name"].as_str().expect("a name").to_string();
        if body["metadata"]["uid"].is_null() {
            body["metadata"]["uid"] = json!(format!("uid-{name}"));
        }
        self.state.lock().write(&self.changes, resource, &namespace, &name, &body).expect("an object")
    }

    /// What was written so far, a line each: `create pods default/web-1`; the list starts anew.
    pub fn take_log(&self) -> Vec<String> {
        std::mem::take(&mut self.state.lock().log)
    }
}

fn key(resource: &Resource, namespace: &str, name: &str) -> Key {
    (resource.qualified().into_owned(), namespace.to_string(), name.to_string())
}

impl State {
    fn found(&self, resource: &Resource, namespace: &str, name: &str) -> Result<Arc<Object>> {
        let found = self.objects.get(&key(resource, namespace, name));
        found.map(|(_, o)| o.clone()).ok_or_else(|| Status::not_found(resource, name))
    }

    fn write(
        &mut self,
        changes: &broadcast::Sender<Change>,
        resource: &Resource,
        namespace: &str,
        name: &str,
        body: &Value,
    ) -> Result<Arc<Object>> {
        self.revision += 1;
        let new = Arc::new(Draft::new(body)?.seal(self.revision));
        let resource = Arc::new(resource.clone());
        let old = self.objects.insert(key(&resource, namespace, name), (resource.clone(), new.clone()));
        let _ = changes.send(Change { resource, old: old.map(|(_, o)| o), new: Some(new.clone()) });
        Ok(new)
    }

    fn remove(&mut self, changes: &broadcast::Sender<Change>, resource: &Resource, namespace: &str, name: &str) {
        self.revision += 1;
        if let Some((resource, old)) = self.objects.remove(&key(resource, namespace, name)) {
            let _ = changes.send(Change { resource, old: Some(old), new: None });
        }
    }
}

fn version_matches(resource: &Resource, body: &Value, old: &Object) -> Result<()> {
    let meta = &body["metadata"];
    let stale = meta["resourceVersion"].as_str().is_some_and(|v| v != old.revision().to_string())
        || meta["uid"].as_str().is_some_and(|uid| uid != old.meta().uid);
    if stale {
        let why = "the object has been modified; please apply your changes to the latest version and try again";
        return Err(Status::conflict(resource, &old.meta().name, why));
    }
    Ok(())
}

fn merge(into: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *into = patch.clone();
        return;
    };
    if !into.is_object() {
        *into = json!({});
    }
    for (k, v) in patch {
        if v.is_null() {
            into.as_object_mut().map(|o| o.remove(k));
        } else {
            merge(&mut into[k.as_str()], v);
        }
    }
}

#[async_trait]
impl Client for Memory {
    async fn get(&self, resource: &Resource, namespace: &str, name: &str) -> Result<Arc<Object>> {
        self.state.lock().found(resource, namespace, name)
    }

    async fn read(&self, _: &str) -> Result<Value> {
        Err(Status::method_not_allowed())
    }

    async fn list(&self, resource: &Resource, namespace: &str, options: &ListOptions) -> Result<ObjectList> {
        let mut items = View::list(self, resource, namespace);
        items.retain(|o| options.labels.matches(&o.meta().labels));
        Ok(ObjectList { items, revision: self.state.lock().revision, continue_token: String::new() })
    }

    async fn watch(
        &self,
        resource: &Resource,
        namespace: &str,
        _: &ListOptions,
    ) -> Result<BoxStream<'static, Result<WatchEvent>>> {
        let namespace = namespace.to_string();
        let changes = self.changes(std::slice::from_ref(resource));
        let wanted = move |c: &Change| namespace.is_empty() || c.object().meta().namespace == namespace;
        Ok(changes
            .filter_map(move |change| {
                let event = wanted(&change).then_some(match (change.old, change.new) {
                    (None, Some(new)) => Ok(WatchEvent::Added(new)),
                    (_, Some(new)) => Ok(WatchEvent::Modified(new)),
                    (Some(old), None) => Ok(WatchEvent::Deleted(old)),
                    (None, None) => Err(Status::internal("a change of nothing")),
                });
                async move { event }
            })
            .boxed())
    }

    async fn create(
        &self,
        resource: &Resource,
        namespace: &str,
        mut body: Value,
        _: &WriteOptions,
    ) -> Result<Arc<Object>> {
        let mut state = self.state.lock();
        if let Some(prefix) = body["metadata"]["generateName"].as_str()
            && body["metadata"]["name"].is_null()
        {
            body["metadata"]["name"] = json!(format!("{prefix}{}", state.revision + 1));
        }
        let name = body["metadata"]["name"].as_str().ok_or_else(|| Status::bad_request("name"))?.to_string();
        if state.objects.contains_key(&key(resource, namespace, &name)) {
            return Err(Status::already_exists(resource, &name));
        }
        if resource.namespaced {
            body["metadata"]["namespace"] = json!(namespace);
        }
        body["metadata"]["uid"] = json!(format!("uid-{name}-{}", state.revision + 1));
        body["metadata"]["generation"] = json!(1);
        if resource.qualified() != "events" {
            state.log.push(format!("create {} {namespace}/{name}", resource.qualified()));
        }
        state.write(&self.changes, resource, namespace, &name, &body)
    }

    async fn post(&self, _: &Resource, _: &str, _: &str, _: &str, _: Value) -> Result<Value> {
        Err(Status::method_not_allowed())
    }

    async fn update(
        &self,
        resource: &Resource,
        namespace: &str,
        name: &str,
        subresource: &str,
        mut body: Value,
        _: &WriteOptions,
    ) -> Result<Arc<Object>> {
        let mut state = self.state.lock();
        let old = state.found(resource, namespace, name)?;
        version_matches(resource, &body, &old)?;
        let before = old.value();
        if subresource == "status" {
            let status = body["status"].take();
            body = before.clone();
            body["status"] = status;
        } else if resource.plural != "configmaps" && body.get("spec").is_some() {
            body["status"] = before["status"].clone();
        }
        if body["spec"] != before["spec"] {
            body["metadata"]["generation"] = json!(old.meta().generation + 1);
        }
        let deleting = body["metadata"]["deletionTimestamp"].is_string();
        if deleting && body["metadata"]["finalizers"].as_array().is_none_or(Vec::is_empty) {
            state.log.push(format!("finish {} {namespace}/{name}", resource.qualified()));
            state.remove(&self.changes, resource, namespace, name);
            return Ok(old);
        }
        let part = if subresource.is_empty() { String::new() } else { format!(" {subresource}") };
        state.log.push(format!("update {} {namespace}/{name}{part}", resource.qualified()));
        state.write(&self.changes, resource, namespace, name, &body)
    }

    async fn patch(
        &self,
        resource: &Resource,
        namespace: &str,
        name: &str,
        subresource: &str,
        patch: Patch,
        options: &WriteOptions,
    ) -> Result<Arc<Object>> {
        if !matches!(patch.kind, PatchKind::Merge | PatchKind::Strategic) {
            return Err(Status::bad_request("only merge patches here"));
        }
        let old = self.state.lock().found(resource, namespace, name)?;
        version_matches(resource, &patch.body, &old)?;
        let mut body = old.value();
        merge(&mut body, &patch.body);
        body["metadata"]["resourceVersion"] = json!(old.revision().to_string());
        self.update(resource, namespace, name, subresource, body, options).await
    }

    async fn delete(
        &self,
        resource: &Resource,
        namespace: &str,
        name: &str,
        options: &DeleteOptions,
    ) -> Result<Option<Arc<Object>>> {
        let mut state = self.state.lock();
        let old = state.found(resource, namespace, name)?;
        let wanted = options.preconditions.as_ref().and_then(|p| p.uid.as_deref());
        if wanted.is_some_and(|uid| uid != old.meta().uid) {
            return Err(Status::conflict(resource, name, "the uid in the precondition does not match"));
        }
        state.log.push(format!("delete {} {namespace}/{name}", resource.qualified()));
        if old.meta().finalizers.is_empty() {
            state.remove(&self.changes, resource, namespace, name);
            return Ok(None);
        }
        let mut body = old.value();
        body["metadata"]["deletionTimestamp"] = json!(Time(jiff::Timestamp::UNIX_EPOCH));
        state.write(&self.changes, resource, namespace, name, &body).map(Some)
    }
}

impl View for Memory {
    fn get(&self, resource: &Resource, namespace: &str, name: &str) -> Option<Arc<Object>> {
        self.state.lock().found(resource, namespace, name).ok()
    }

    fn list(&self, resource: &Resource, namespace: &str) -> Vec<Arc<Object>> {
        let plural = resource.qualified();
        let state = self.state.lock();
        let all = state.objects.iter();
        all.filter(|((p, ns, _), _)| *p == plural && (namespace.is_empty() || ns == namespace))
            .map(|(_, (_, o))| o.clone())
            .collect()
    }

    fn owned_by(&self, resource: &Resource, uid: &str) -> Vec<Arc<Object>> {
        let mut owned = View::list(self, resource, "");
        owned.retain(|o| o.meta().owner_references.iter().any(|r| r.uid == uid));
        owned
    }

    fn pods_on_node(&self, node: &str) -> Vec<Arc<Object>> {
        let mut pods = View::list(self, &Resource::fixed("", "v1", "pods", "Pod", true), "");
        pods.retain(|p| p.value()["spec"]["nodeName"] == node);
        pods
    }

    fn changes(&self, resources: &[Resource]) -> BoxStream<'static, Change> {
        let wanted: Vec<String> = resources.iter().map(|r| r.qualified().into_owned()).collect();
        let state = self.state.lock();
        let existing: Vec<Change> = state
            .objects
            .iter()
            .filter(|((plural, ..), _)| wanted.contains(plural))
            .map(|(_, (r, o))| Change { resource: r.clone(), old: None, new: Some(o.clone()) })
            .collect();
        let later = stream::unfold(self.changes.subscribe(), |mut changes| async move {
            changes.recv().await.ok().map(|change| (change, changes))
        });
        let later = later.filter(move |c| {
            let keep = wanted.iter().any(|w| *w == c.resource.qualified());
            async move { keep }
        });
        stream::iter(existing).chain(later).boxed()
    }
}
