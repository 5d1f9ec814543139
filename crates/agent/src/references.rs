//! The ConfigMaps and Secrets that pods of this node use: each is watched by name, as long as a pod needs it.
//!
//! By name, because a node may read only what its pods refer to.

use crate::spec;
use coracle_api::{Resource, Result};
use coracle_client::{Kept, Reflector, Selection, View};
use k8s_openapi::api::core::v1::{ConfigMap, Container, Pod, Secret};
use parking_lot::Mutex;
use std::{
    collections::{BTreeSet, HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

/// How long a first answer may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// What is referred to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Source {
    /// A ConfigMap.
    ConfigMap,
    /// A Secret.
    Secret,
}

impl Source {
    fn resource(self) -> Resource {
        match self {
            Self::ConfigMap => Resource::of::<ConfigMap>(),
            Self::Secret => Resource::of::<Secret>(),
        }
    }
}

/// Kind, namespace, name.
pub type Reference = (Source, String, String);

struct Held {
    kept: Kept,
    pods: HashSet<String>,
}

/// The references of all pods.
pub struct References {
    view: Arc<Reflector>,
    held: Mutex<HashMap<Reference, Held>>,
}

impl References {
    /// None yet.
    pub fn new(view: Arc<Reflector>) -> Self {
        Self { view, held: Mutex::default() }
    }

    /// Follows what `pod` refers to until [`References::release`].
    pub fn hold(&self, pod: &Pod) {
        let mut held = self.held.lock();
        for reference in of(pod) {
            let entry = held.entry(reference).or_insert_with_key(|(source, namespace, name)| Held {
                kept: self.view.keep_while(Selection::field(source.resource(), namespace, "metadata.name", name)),
                pods: HashSet::new(),
            });
            entry.pods.insert(spec::uid(pod).to_string());
        }
    }

    /// Stops following what only this pod needed.
    pub fn release(&self, uid: &str) {
        self.held.lock().retain(|_, held| {
            held.pods.remove(uid);
            !held.pods.is_empty()
        });
    }

    /// Uids of the pods that use an object.
    pub fn users(&self, source: Source, namespace: &str, name: &str) -> Vec<String> {
        let key = (source, namespace.to_string(), name.to_string());
        self.held.lock().get(&key).map(|h| h.pods.iter().cloned().collect()).unwrap_or_default()
    }

    /// Waits until everything that `pod` refers to was asked for once.
    ///
    /// # Errors
    /// When the server does not answer.
    pub async fn ready(&self, pod: &Pod) -> Result<(), String> {
        for (source, namespace, name) in of(pod) {
            self.wait(source, &namespace, &name).await?;
        }
        Ok(())
    }

    async fn wait(&self, source: Source, namespace: &str, name: &str) -> Result<(), String> {
        let key = (source, namespace.to_string(), name.to_string());
        let synced = self.held.lock().get(&key).map(|held| held.kept.wait());
        let Some(synced) = synced else { return Ok(()) };
        let plural = source.resource().plural;
        tokio::time::timeout(PATIENCE, synced)
            .await
            .map_err(|_| format!("failed to sync {plural} cache: timed out waiting for {namespace}/{name}"))
    }

    /// A ConfigMap that a held pod refers to.
    ///
    /// # Errors
    /// When the server does not answer.
    pub async fn config_map(&self, namespace: &str, name: &str) -> Result<Option<Arc<ConfigMap>>, String> {
        self.wait(Source::ConfigMap, namespace, name).await?;
        Ok(self.known_config_map(namespace, name))
    }

    /// A Secret that a held pod refers to.
    ///
    /// # Errors
    /// When the server does not answer.
    pub async fn secret(&self, namespace: &str, name: &str) -> Result<Option<Arc<Secret>>, String> {
        self.wait(Source::Secret, namespace, name).await?;
        Ok(self.known_secret(namespace, name))
    }

    /// A ConfigMap as far as it is known.
    pub fn known_config_map(&self, namespace: &str, name: &str) -> Option<Arc<ConfigMap>> {
        self.view.get(&Source::ConfigMap.resource(), namespace, name)?.view().ok()
    }

    /// A Secret as far as it is known.
    pub fn known_secret(&self, namespace: &str, name: &str) -> Option<Arc<Secret>> {
        self.view.get(&Source::Secret.resource(), namespace, name)?.view().ok()
    }
}

/// Everything that a pod refers to.
pub fn of(pod: &Pod) -> BTreeSet<Reference> {
    let namespace = spec::namespace(pod);
    let ephemeral: Vec<Container> = spec::ephemeral::all(pod).iter().map(spec::ephemeral::container).collect();
    let spec = spec::of(pod);
    let mut found = BTreeSet::new();
    let mut add = |source, name: &str| {
        if !name.is_empty() {
            found.insert((source, namespace.to_string(), name.to_string()));
        }
    };
    for volume in spec.volumes.iter().flatten() {
        if let Some(map) = &volume.config_map {
            add(Source::ConfigMap, &map.name);
        }
        if let Some(name) = volume.secret.as_ref().and_then(|s| s.secret_name.as_deref()) {
            add(Source::Secret, name);
        }
        for source in volume.projected.iter().flat_map(|p| p.sources.iter().flatten()) {
            if let Some(map) = &source.config_map {
                add(Source::ConfigMap, &map.name);
            }
            if let Some(secret) = &source.secret {
                add(Source::Secret, &secret.name);
            }
        }
    }
    for secret in spec.image_pull_secrets.iter().flatten() {
        add(Source::Secret, &secret.name);
    }
    for container in spec.init_containers.iter().flatten().chain(&spec.containers).chain(&ephemeral) {
        for source in container.env_from.iter().flatten() {
            if let Some(map) = &source.config_map_ref {
                add(Source::ConfigMap, &map.name);
            }
            if let Some(secret) = &source.secret_ref {
                add(Source::Secret, &secret.name);
            }
        }
        for from in container.env.iter().flatten().filter_map(|e| e.value_from.as_ref()) {
            if let Some(key) = &from.config_map_key_ref {
                add(Source::ConfigMap, &key.name);
            }
            if let Some(key) = &from.secret_key_ref {
                add(Source::Secret, &key.name);
            }
        }
    }
    found
}
