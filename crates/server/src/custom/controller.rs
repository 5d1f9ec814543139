//! Definitions and what follows from them: their status, the kinds in the catalog, and their end with all their objects.
//!
//! Everything is driven by changes. A definition is in the catalog before its `Established` condition can be read: whoever waits for the
//! condition finds the resource.

use super::{Custom, status};
use crate::{
    catalog::{self, Catalog},
    webhook::Webhooks,
};
use coracle_api::{DeleteOptions, Object, Resource, Result, WriteOptions};
use coracle_base::{Backoff, SharedClock, Tasks};
use coracle_client::{Outcome, Queue, SharedClient, SharedView};
use coracle_kinds::custom::{self, CLEANUP, Definition};
use coracle_kinds::extensions::set_condition;
use futures::StreamExt;
use parking_lot::Mutex;
use serde_json::Value;
use std::{collections::HashSet, sync::Arc, time::Duration};

const DEFINITIONS: Resource =
    Resource::fixed("apiextensions.k8s.io", "v1", "customresourcedefinitions", "CustomResourceDefinition", false);
/// Deletions under way at a time.
const DELETIONS: usize = 32;

/// Puts the definitions that the store has into the catalog.
pub fn load(view: &SharedView, catalog: &Catalog, webhooks: &Arc<Webhooks>) {
    for definition in view.list(&DEFINITIONS, "") {
        publish(&definition.value(), catalog, webhooks);
    }
}

/// Serves what a definition says, if it is established; otherwise what it said is no longer served.
fn publish(definition: &Value, catalog: &Catalog, webhooks: &Arc<Webhooks>) {
    let names = (&definition["spec"]["group"], &definition["spec"]["names"]["plural"]);
    let (Some(group), Some(plural)) = (names.0.as_str(), names.1.as_str()) else { return };
    if catalog.is(group, plural, custom::stamp(definition).as_deref()) {
        return;
    }
    let made = Definition::read(definition).map(Arc::new);
    catalog.set(group, plural, made.map(|made| catalog::Definition::custom(made, webhooks)));
}

/// Follows the definitions for as long as the server runs.
pub fn follow(
    view: SharedView,
    client: SharedClient,
    catalog: Catalog,
    webhooks: Arc<Webhooks>,
    clock: SharedClock,
    tasks: &Tasks,
) {
    let queue = Arc::new(Queue::new(clock.clone()));
    let follower = Arc::new(Follower { view: view.clone(), client, catalog, webhooks, clock, going: Mutex::default() });
    let changed = queue.clone();
    tasks.spawn("definitions", async move {
        let mut changes = view.changes(&[DEFINITIONS]);
        while let Some(change) = changes.next().await {
            let name = change.object().meta().name.clone();
            if let (Some(old), None) = (&change.old, &change.new) {
                // names that it had are free again
                others_of_group(&view, &old.meta().name).for_each(|other| changed.add(other.meta().name.clone()));
            }
            changed.add(name);
        }
    });
    let requeue = queue.clone();
    tasks.spawn("definitions", async move {
        let one = |name: String| {
            let (follower, requeue) = (follower.clone(), requeue.clone());
            async move {
                match follower.reconcile(&name, &requeue).await {
                    Ok(()) => Outcome::Done,
                    Err(error) => {
                        if !error.is_conflict() && !error.is_not_found() {
                            tracing::warn!(definition = name, %error, "a definition could not be brought up to date");
                        }
                        Outcome::Retry
                    }
                }
            }
        };
        queue.run(1, one).await;
    });
}

/// The other definitions of a group: their names are `<plural>.<group>`, so none has to be read to tell.
fn others_of_group(view: &SharedView, name: &str) -> impl Iterator<Item = Arc<Object>> {
    let group = |name: &str| name.split_once('.').map(|(_, group)| group.to_string());
    let (own, ours) = (name.to_string(), group(name));
    let all = view.list(&DEFINITIONS, "").into_iter();
    all.filter(move |other| other.meta().name != own && group(&other.meta().name) == ours)
}

struct Follower {
    view: SharedView,
    client: SharedClient,
    catalog: Catalog,
    webhooks: Arc<Webhooks>,
    clock: SharedClock,
    /// Uids of definitions whose objects are being deleted.
    going: Mutex<HashSet<String>>,
}

impl Follower {
    async fn reconcile(self: &Arc<Self>, name: &str, queue: &Queue<String>) -> Result<()> {
        let Some(object) = self.view.get(&DEFINITIONS, "", name) else {
            if let Some((plural, group)) = name.split_once('.') {
                self.catalog.set(group, plural, None);
            }
            return Ok(());
        };
        let mut definition = object.value();
        let group: Vec<Value> = match status::is_named(&definition) {
            true => Vec::new(),
            false => others_of_group(&self.view, name).map(|other| other.value()).collect(),
        };
        let planned = status::plan(&definition, &group, self.clock.now());
        let names = definition["status"]["acceptedNames"].clone();
        if let Some(planned) = planned {
            definition["status"] = planned;
            publish(&definition, &self.catalog, &self.webhooks);
            self.update(name, definition.clone()).await?;
            if definition["status"]["acceptedNames"] != names {
                others_of_group(&self.view, name).for_each(|other| queue.add(other.meta().name.clone()));
            }
        } else {
            publish(&definition, &self.catalog, &self.webhooks);
        }
        if object.meta().is_deleting() && object.meta().finalizers.iter().any(|f| f == CLEANUP) {
            self.start_cleaning(name, &object.meta().uid);
        }
        Ok(())
    }

    async fn update(&self, name: &str, definition: Value) -> Result<()> {
        let options = WriteOptions::default();
        self.client.update(&DEFINITIONS, "", name, "status", definition, &options).await.map(drop)
    }

    fn start_cleaning(self: &Arc<Self>, name: &str, uid: &str) {
        if !self.going.lock().insert(uid.to_string()) {
            return;
        }
        let (follower, name, uid) = (self.clone(), name.to_string(), uid.to_string());
        tokio::spawn(async move {
            let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(60));
            while let Err(error) = follower.clean(&name, &uid).await {
                if error.is_not_found() {
                    break;
                }
                if !error.is_conflict() {
                    tracing::warn!(definition = name, %error, "the objects of a definition could not be deleted");
                }
                follower.clock.sleep(backoff.next_delay()).await;
            }
            follower.going.lock().remove(&uid);
        });
    }

    /// The definition, as long as it still waits for this.
    fn waiting(&self, name: &str, uid: &str) -> Option<Arc<Object>> {
        let object = self.view.get(&DEFINITIONS, "", name)?;
        let meta = object.meta();
        (meta.uid == uid && meta.is_deleting() && meta.finalizers.iter().any(|f| f == CLEANUP)).then_some(object)
    }

    async fn clean(&self, name: &str, uid: &str) -> Result<()> {
        let Some(object) = self.waiting(name, uid) else { return Ok(()) };
        let mut definition = object.value();
        let resource = custom::resource(&definition);
        let (is, reason, message) = match &resource {
            Some(resource) => {
                let progress = ("True", "InstanceDeletionInProgress", "CustomResource deletion is in progress");
                if self.told(&mut definition, progress) {
                    self.update(name, definition).await?;
                }
                self.empty(name, uid, resource).await?;
                ("False", "InstanceDeletionCompleted", "removed all instances")
            }
            None => ("False", "NeverEstablished", "resource was never established"),
        };
        let Some(object) = self.waiting(name, uid) else { return Ok(()) };
        let mut definition = object.value();
        self.told(&mut definition, (is, reason, message));
        if let Some(finalizers) = definition["metadata"]["finalizers"].as_array_mut() {
            finalizers.retain(|f| f != CLEANUP);
        }
        self.update(name, definition).await
    }

    /// Sets the `Terminating` condition; whether it was not so before.
    fn told(&self, definition: &mut Value, (is, reason, message): (&str, &str, &str)) -> bool {
        let before = definition["status"].clone();
        set_condition(&mut definition["status"], "Terminating", is, reason, message, self.clock.now());
        definition["status"] != before
    }

    /// Deletes all objects and waits until they are gone, or nobody waits for that any more.
    async fn empty(&self, name: &str, uid: &str, resource: &Resource) -> Result<()> {
        let mut changes = self.view.changes(&[resource.clone(), DEFINITIONS]);
        loop {
            let left = self.view.list(resource, "");
            if left.is_empty() || self.waiting(name, uid).is_none() {
                return Ok(());
            }
            let standing = left.into_iter().filter(|object| !object.meta().is_deleting());
            let deletions = futures::stream::iter(standing).map(|object| self.delete(resource, object));
            let results: Vec<Result<()>> = deletions.buffer_unordered(DELETIONS).collect().await;
            if let Some(error) = results.into_iter().find_map(Result::err) {
                let Some(object) = self.waiting(name, uid) else { return Ok(()) };
                let mut definition = object.value();
                let message = format!("could not issue all deletes: {error}");
                if self.told(&mut definition, ("True", "InstanceDeletionFailed", &message)) {
                    self.update(name, definition).await?;
                }
                return Err(error);
            }
            if self.view.list(resource, "").is_empty() || changes.next().await.is_none() {
                return Ok(());
            }
        }
    }

    async fn delete(&self, resource: &Resource, object: Arc<Object>) -> Result<()> {
        let meta = object.meta();
        let options = DeleteOptions::default();
        match self.client.delete(resource, &meta.namespace, &meta.name, &options).await {
            Err(status) if status.is_not_found() => Ok(()),
            other => other.map(drop),
        }
    }
}

impl catalog::Definition {
    /// The served versions of a custom resource.
    pub(super) fn custom(definition: Arc<Definition>, webhooks: &Arc<Webhooks>) -> Self {
        let stamp = definition.stamp.clone();
        Self::of_custom(stamp, Custom::versions(definition, webhooks))
    }
}
