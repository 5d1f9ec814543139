//! The world as components of this process see it: the store's own snapshot and log, no copy, no cache.

use crate::storage::{self, Kept, Store};
use coracle_api::{Object, Resource};
use coracle_client::{Change, View};
use coracle_store::{Key, Watcher};
use futures::{StreamExt, stream, stream::BoxStream};
use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};

/// A [`View`] of the store.
#[derive(Clone)]
pub struct StoreView {
    store: Store,
}

impl StoreView {
    /// A view of `store`.
    pub fn new(store: Store) -> Self {
        Self { store }
    }
}

impl View for StoreView {
    fn get(&self, resource: &Resource, namespace: &str, name: &str) -> Option<Arc<Object>> {
        let key = storage::key(&resource.group, &resource.plural, namespace, name);
        self.store.snapshot().get(&key).map(|kept| kept.object().clone())
    }

    fn list(&self, resource: &Resource, namespace: &str) -> Vec<Arc<Object>> {
        let prefix = storage::prefix(&resource.group, &resource.plural, namespace);
        self.store.snapshot().range(&prefix, "").map(|(_, kept)| kept.object().clone()).collect()
    }

    fn owned_by(&self, resource: &Resource, uid: &str) -> Vec<Arc<Object>> {
        let index = storage::owner_index(&storage::bucket_for(resource), uid);
        self.store.snapshot().index(&index).map(|(_, kept)| kept.object().clone()).collect()
    }

    fn pods_on_node(&self, node: &str) -> Vec<Arc<Object>> {
        self.store.snapshot().index(&storage::node_index(node)).map(|(_, kept)| kept.object().clone()).collect()
    }

    fn changes(&self, resources: &[Resource]) -> BoxStream<'static, Change> {
        let followers = resources.iter().map(|resource| {
            let follower = Follower {
                store: self.store.clone(),
                resource: Arc::new(resource.clone()),
                prefix: storage::bucket_for(resource),
                watcher: None,
                known: HashMap::new(),
                ready: VecDeque::new(),
            };
            stream::unfold(follower, |mut follower| async move { Some((follower.next().await, follower)) }).boxed()
        });
        stream::select_all(followers).boxed()
    }
}

/// Follows one resource; when the log has moved on without it, it compares with a fresh snapshot, so that no change is lost.
struct Follower {
    store: Store,
    resource: Arc<Resource>,
    prefix: String,
    watcher: Option<Watcher<Kept>>,
    /// What the reader was told last, by reference: what a fresh snapshot is compared with.
    known: HashMap<Key, Arc<Object>>,
    ready: VecDeque<Change>,
}

impl Follower {
    async fn next(&mut self) -> Change {
        loop {
            if let Some(change) = self.ready.pop_front() {
                return change;
            }
            let Some(watcher) = &mut self.watcher else {
                self.compare();
                continue;
            };
            match watcher.next(256).await {
                Ok(events) => {
                    for event in events {
                        let new = event.new.as_ref().map(|k| k.object().clone());
                        self.tell(&event.key, new);
                    }
                }
                Err(_) => self.watcher = None,
            }
        }
    }

    fn compare(&mut self) {
        let snapshot = self.store.snapshot();
        let mut gone: HashMap<Key, Arc<Object>> = self.known.clone();
        let found: Vec<_> = snapshot.range(&self.prefix, "").map(|(k, v)| (k.clone(), v.object().clone())).collect();
        for (key, object) in found {
            gone.remove(&key);
            self.tell(&key, Some(object));
        }
        for key in gone.into_keys() {
            self.tell(&key, None);
        }
        self.watcher = self.store.watch(&self.prefix, snapshot.revision()).ok();
    }

    fn tell(&mut self, key: &Key, new: Option<Arc<Object>>) {
        let old = match &new {
            Some(new) => self.known.insert(key.clone(), new.clone()),
            None => self.known.remove(key),
        };
        let same = match (&old, &new) {
            (Some(old), Some(new)) => old.revision() == new.revision(),
            (None, None) => true,
            _ => false,
        };
        if !same {
            self.ready.push_back(Change { resource: self.resource.clone(), old, new });
        }
    }
}
