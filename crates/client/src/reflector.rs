//! A [`View`] kept up to date by list and watch: what programs outside the server's process read from.
//!
//! Each selection has a task that lists, watches from there, watches again when the server was away, and lists again when the server
//! no longer knows the revision. Readers never wait for the network.

use crate::{Change, SharedClient, View, WatchEvent};
use coracle_api::{ListOptions, Object, Resource, Result};
use coracle_base::Backoff;
use futures::stream::{self, BoxStream, StreamExt};
use k8s_openapi::api::core::v1::Pod;
use parking_lot::Mutex;
use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque},
    sync::{Arc, Weak},
    time::Duration,
};
use tokio::{
    sync::{Notify, watch},
    task::AbortHandle,
};

/// Namespace and name.
type Key = (String, String);

/// What to keep: a resource, a namespace (empty: all), and a label and field selection.
#[derive(Clone, Debug)]
pub struct Selection {
    /// The resource.
    pub resource: Resource,
    /// The namespace; empty: all.
    pub namespace: String,
    /// Label and field selectors.
    pub options: ListOptions,
}

impl Selection {
    /// Everything of a resource.
    pub fn all(resource: Resource) -> Self {
        Self { resource, namespace: String::new(), options: ListOptions::default() }
    }

    /// Objects of a resource with a field of a value.
    pub fn field(resource: Resource, namespace: &str, field: &str, value: &str) -> Self {
        let fields = coracle_api::FieldSelector::equals(field, value);
        Self { resource, namespace: namespace.into(), options: ListOptions { fields, ..ListOptions::default() } }
    }
}

#[derive(Default)]
struct Table {
    objects: BTreeMap<Key, Arc<Object>>,
    owned: HashMap<String, BTreeSet<Key>>,
    on_node: HashMap<String, BTreeSet<Key>>,
}

#[derive(Default)]
struct World {
    tables: HashMap<Resource, Table>,
    subscribers: Vec<Weak<Subscriber>>,
}

struct Subscriber {
    resources: HashSet<Resource>,
    pending: Mutex<Pending>,
    wake: Notify,
}

#[derive(Default)]
struct Pending {
    order: VecDeque<(Arc<Resource>, Key)>,
    changes: HashMap<(Arc<Resource>, Key), Change>,
}

impl Pending {
    /// Adds a change; with an unread one to the same object it becomes one.
    fn add(&mut self, key: Key, change: Change) {
        let key = (change.resource.clone(), key);
        match self.changes.get_mut(&key) {
            Some(unread) => unread.new = change.new,
            None => {
                self.order.push_back(key.clone());
                self.changes.insert(key, change);
            }
        }
    }

    fn take(&mut self) -> Option<Change> {
        loop {
            let key = self.order.pop_front()?;
            let change = self.changes.remove(&key)?;
            // came and went unseen
            if change.old.is_some() || change.new.is_some() {
                return Some(change);
            }
        }
    }
}

/// The owner and node indexes' keys of an object.
fn index(table: &mut Table, resource: &Resource, key: &Key, object: &Object, insert: bool) {
    let change = |map: &mut HashMap<String, BTreeSet<Key>>, at: &str| {
        if insert {
            map.entry(at.to_string()).or_default().insert(key.clone());
        } else if let Some(set) = map.get_mut(at) {
            set.remove(key);
            if set.is_empty() {
                map.remove(at);
            }
        }
    };
    for owner in &object.meta().owner_references {
        change(&mut table.owned, &owner.uid);
    }
    if resource.kind == "Pod"
        && let Ok(pod) = object.view::<Pod>()
        && let Some(node) = pod.spec.as_ref().and_then(|s| s.node_name.as_deref())
    {
        change(&mut table.on_node, node);
    }
}

impl World {
    /// Puts (or, with `None`, removes) one object, and tells who listens. Older versions than the known one are ignored.
    fn set(&mut self, resource: &Arc<Resource>, key: Key, new: Option<Arc<Object>>) {
        let table = self.tables.entry((**resource).clone()).or_default();
        let old = table.objects.get(&key).cloned();
        match (&old, &new) {
            (None, None) => return,
            (Some(old), Some(new)) if old.revision() == new.revision() && old.meta().uid == new.meta().uid => return,
            _ => {}
        }
        if let Some(old) = &old {
            index(table, resource, &key, old, false);
        }
        match &new {
            Some(new) => {
                index(table, resource, &key, new, true);
                table.objects.insert(key.clone(), new.clone());
            }
            None => {
                table.objects.remove(&key);
            }
        }
        self.subscribers.retain(|subscriber| {
            let Some(subscriber) = subscriber.upgrade() else { return false };
            if subscriber.resources.contains(&**resource) {
                let change = Change { resource: resource.clone(), old: old.clone(), new: new.clone() };
                subscriber.pending.lock().add(key.clone(), change);
                subscriber.wake.notify_one();
            }
            true
        });
    }
}

/// A selection being kept; dropped, it is no longer, and its objects leave the view.
pub struct Kept {
    task: AbortHandle,
    synced: watch::Receiver<bool>,
    world: Arc<Mutex<World>>,
    resource: Arc<Resource>,
    known: Arc<Mutex<BTreeSet<Key>>>,
}

impl Kept {
    /// Completes when the selection was listed once.
    pub async fn synced(&self) {
        let _ = self.synced.clone().wait_for(|synced| *synced).await;
    }

    /// Like [`Kept::synced`], without holding on to this.
    pub fn wait(&self) -> impl Future<Output = ()> + Send + use<> {
        let mut synced = self.synced.clone();
        async move {
            let _ = synced.wait_for(|synced| *synced).await;
        }
    }

    /// Whether the selection was listed once.
    pub fn is_synced(&self) -> bool {
        *self.synced.borrow()
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        self.task.abort();
        let mut world = self.world.lock();
        for key in std::mem::take(&mut *self.known.lock()) {
            world.set(&self.resource, key, None);
        }
    }
}

/// A [`View`] over a [`Client`](crate::Client).
pub struct Reflector {
    client: SharedClient,
    world: Arc<Mutex<World>>,
    kept: Mutex<Vec<Kept>>,
}

impl Reflector {
    /// An empty view.
    pub fn new(client: SharedClient) -> Arc<Self> {
        Arc::new(Self { client, world: Arc::default(), kept: Mutex::default() })
    }

    /// Keeps a selection for as long as the view lives.
    pub fn keep(&self, selection: Selection) {
        let kept = self.keep_while(selection);
        self.kept.lock().push(kept);
    }

    /// Keeps a selection until the answer is dropped. Selections of one resource should not overlap.
    pub fn keep_while(&self, selection: Selection) -> Kept {
        let (done, synced) = watch::channel(false);
        let resource = Arc::new(selection.resource.clone());
        let known = Arc::<Mutex<BTreeSet<Key>>>::default();
        let task = Follow {
            client: self.client.clone(),
            world: self.world.clone(),
            resource: resource.clone(),
            selection,
            known: known.clone(),
            done,
        };
        let task = tokio::spawn(task.run()).abort_handle();
        Kept { task, synced, world: self.world.clone(), resource, known }
    }

    /// Completes when every selection given to [`Reflector::keep`] was listed once.
    pub async fn synced(&self) {
        let waits: Vec<_> = self.kept.lock().iter().map(|k| k.synced.clone()).collect();
        for mut wait in waits {
            let _ = wait.wait_for(|synced| *synced).await;
        }
    }

    fn with<T: Default>(&self, resource: &Resource, read: impl FnOnce(&Table) -> T) -> T {
        self.world.lock().tables.get(resource).map(read).unwrap_or_default()
    }
}

impl View for Reflector {
    fn get(&self, resource: &Resource, namespace: &str, name: &str) -> Option<Arc<Object>> {
        self.with(resource, |t| t.objects.get(&(namespace.to_string(), name.to_string())).cloned())
    }

    fn list(&self, resource: &Resource, namespace: &str) -> Vec<Arc<Object>> {
        self.with(resource, |t| {
            if namespace.is_empty() {
                return t.objects.values().cloned().collect();
            }
            let from = (namespace.to_string(), String::new());
            t.objects.range(from..).take_while(|(k, _)| k.0 == namespace).map(|(_, o)| o.clone()).collect()
        })
    }

    fn owned_by(&self, resource: &Resource, uid: &str) -> Vec<Arc<Object>> {
        self.with(resource, |t| t.owned.get(uid).into_iter().flatten().map(|k| t.objects[k].clone()).collect())
    }

    fn pods_on_node(&self, node: &str) -> Vec<Arc<Object>> {
        self.with(&Resource::of::<Pod>(), |t| {
            t.on_node.get(node).into_iter().flatten().map(|k| t.objects[k].clone()).collect()
        })
    }

    fn changes(&self, resources: &[Resource]) -> BoxStream<'static, Change> {
        let subscriber = Arc::new(Subscriber {
            resources: resources.iter().cloned().collect(),
            pending: Mutex::default(),
            wake: Notify::new(),
        });
        {
            let mut world = self.world.lock();
            let mut pending = subscriber.pending.lock();
            for resource in resources {
                let shared = Arc::new(resource.clone());
                for (key, object) in world.tables.get(resource).into_iter().flat_map(|t| &t.objects) {
                    let change = Change { resource: shared.clone(), old: None, new: Some(object.clone()) };
                    pending.add(key.clone(), change);
                }
            }
            drop(pending);
            world.subscribers.push(Arc::downgrade(&subscriber));
        }
        stream::unfold(subscriber, |subscriber| async move {
            loop {
                let next = subscriber.pending.lock().take();
                if let Some(change) = next {
                    return Some((change, subscriber));
                }
                subscriber.wake.notified().await;
            }
        })
        .boxed()
    }
}

/// The task that keeps one selection.
struct Follow {
    client: SharedClient,
    world: Arc<Mutex<World>>,
    resource: Arc<Resource>,
    selection: Selection,
    known: Arc<Mutex<BTreeSet<Key>>>,
    done: watch::Sender<bool>,
}

impl Follow {
    async fn run(self) {
        let mut backoff = Backoff::new(Duration::from_millis(50), Duration::from_secs(3));
        loop {
            match self.list().await {
                Ok(revision) => {
                    backoff.reset();
                    self.done.send_replace(true);
                    self.follow(revision, &mut backoff).await;
                }
                Err(error) => {
                    tracing::debug!(resource = %self.resource, %error, "list failed");
                    tokio::time::sleep(backoff.next_delay()).await;
                }
            }
        }
    }

    /// Lists and replaces what is known.
    async fn list(&self) -> Result<u64> {
        let options = ListOptions { limit: 0, ..self.selection.options.clone() };
        let list = self.client.list(&self.resource, &self.selection.namespace, &options).await?;
        let mut world = self.world.lock();
        let mut known = self.known.lock();
        let fresh: BTreeMap<Key, Arc<Object>> = list.items.into_iter().map(|o| (key(&o), o)).collect();
        for key in known.iter().filter(|k| !fresh.contains_key(*k)) {
            world.set(&self.resource, key.clone(), None);
        }
        *known = fresh.keys().cloned().collect();
        for (key, object) in fresh {
            world.set(&self.resource, key, Some(object));
        }
        Ok(list.revision)
    }

    /// Watches from `revision` on, over interruptions, until the server no longer knows the revision.
    async fn follow(&self, mut revision: u64, backoff: &mut Backoff) {
        let mut refused = 0;
        loop {
            let options = ListOptions { revision: Some(revision), bookmarks: true, ..self.selection.options.clone() };
            match self.client.watch(&self.resource, &self.selection.namespace, &options).await {
                Ok(mut events) => {
                    refused = 0;
                    while let Some(event) = events.next().await {
                        match event {
                            Ok(event) => {
                                backoff.reset();
                                revision = self.apply(event).max(revision);
                            }
                            Err(error) if error.code == 503 || error.code == 504 => break,
                            Err(error) => {
                                tracing::debug!(resource = %self.resource, %error, "watch ended, listing again");
                                return;
                            }
                        }
                    }
                }
                Err(error) if error.is_expired() => return,
                Err(error) => {
                    tracing::debug!(resource = %self.resource, %error, "watch refused");
                    // a server with another history (its data gone) must not keep us at a revision that it never had
                    refused += u32::from(error.code != 503);
                    if refused > 3 {
                        return;
                    }
                }
            }
            tokio::time::sleep(backoff.next_delay()).await;
        }
    }

    fn apply(&self, event: WatchEvent) -> u64 {
        let (object, gone) = match event {
            WatchEvent::Bookmark(revision) => return revision,
            WatchEvent::Added(object) | WatchEvent::Modified(object) => (object, false),
            WatchEvent::Deleted(object) => (object, true),
        };
        let revision = object.revision();
        let mut world = self.world.lock();
        let key = key(&object);
        let mut known = self.known.lock();
        if gone {
            known.remove(&key);
            world.set(&self.resource, key, None);
        } else {
            known.insert(key.clone());
            world.set(&self.resource, key, Some(object));
        }
        revision
    }
}

fn key(object: &Object) -> Key {
    (object.meta().namespace.clone(), object.meta().name.clone())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn pod(name: &str, revision: u64, node: &str) -> Arc<Object> {
        let value = json!({"apiVersion": "v1", "kind": "Pod", "spec": {"nodeName": node, "containers": []},
            "metadata": {"name": name, "namespace": "n", "resourceVersion": revision.to_string(),
                "ownerReferences": [{"uid": "owner", "kind": "X", "name": "x", "apiVersion": "v1"}]}});
        Arc::new(Object::from_value(&value).unwrap())
    }

    #[test]
    fn indexes_follow_objects() {
        let pods = Arc::new(Resource::of::<Pod>());
        let mut world = World::default();
        let key = ("n".to_string(), "a".to_string());
        world.set(&pods, key.clone(), Some(pod("a", 1, "one")));
        world.set(&pods, key.clone(), Some(pod("a", 2, "two")));
        let table = &world.tables[&*pods];
        assert!(!table.on_node.contains_key("one") && table.on_node["two"].contains(&key));
        assert!(table.owned["owner"].contains(&key));
        world.set(&pods, key, None);
        let table = &world.tables[&*pods];
        assert!(table.objects.is_empty() && table.on_node.is_empty() && table.owned.is_empty());
    }

    #[test]
    fn unread_changes_to_one_object_become_one() {
        let pods = Arc::new(Resource::of::<Pod>());
        let key = ("n".to_string(), "a".to_string());
        let change = |old: Option<u64>, new: Option<u64>| Change {
            resource: pods.clone(),
            old: old.map(|r| pod("a", r, "x")),
            new: new.map(|r| pod("a", r, "x")),
        };
        for (changes, expected) in [
            (vec![(None, Some(1)), (Some(1), Some(2))], Some((None, Some(2)))),
            (vec![(Some(1), Some(2)), (Some(2), None)], Some((Some(1), None))),
            (vec![(None, Some(1)), (Some(1), None)], None),
            (vec![(Some(1), None), (None, Some(5))], Some((Some(1), Some(5)))),
        ] {
            let mut pending = Pending::default();
            for (old, new) in changes {
                pending.add(key.clone(), change(old, new));
            }
            let got = pending.take().map(|c| (c.old.map(|o| o.revision()), c.new.map(|o| o.revision())));
            assert_eq!(got, expected);
        }
    }
}
