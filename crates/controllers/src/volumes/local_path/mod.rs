//! The local-path provisioner: volumes that are directories of the node on which their first pod runs.
//!
//! Each node publishes where its directories lie ([`ROOT`] on the Node). The provisioner only names a directory there; the agent makes it
//! when the first pod comes. To remove one, the provisioner asks the node by a list of names in an annotation of the Node ([`DISCARD`]);
//! the agent removes the directories and takes their names off the list. So neither side needs more than it may do anyway: no request goes
//! to the agent, and nobody but the node touches its files. Until that is done a finalizer holds the PersistentVolume.

mod plan;

use super::{PROVISIONED_BY, SELECTED_NODE, STORAGE_PROVISIONER, Say, class_of_claim, policy_is, volume_name};
use crate::framework::{Context, Controller, Key, Keys, Requeue};
use async_trait::async_trait;
use coracle_api::{Meta, Resource, Result, WriteOptions};
use coracle_client::{Change, ClientExt, Kind, View, ViewExt};
use k8s_openapi::api::{
    core::v1::{Node, PersistentVolume, PersistentVolumeClaim},
    storage::v1::StorageClass,
};
use parking_lot::Mutex;
use plan::{Clearing, Provision};
use serde_json::{Value, json};
use std::{collections::HashSet, sync::Arc, time::Duration};

/// The name of the provisioner, in storage classes.
pub const PROVISIONER: &str = "coracle.dev/local-path";
/// The storage class that a new cluster has.
const CLASS: &str = "local-path";
/// On a Node: the directory of its volumes.
pub const ROOT: &str = "coracle.dev/local-path-root";
/// On a Node: names of directories to be removed, with commas between them.
pub const DISCARD: &str = "coracle.dev/local-path-discard";
/// On a volume: its node.
const NODE: &str = "coracle.dev/node";
/// On a volume: its directory is still there.
const FINALIZER: &str = "coracle.dev/local-path";
/// At most so many names are on a node's list at a time: annotations are small.
const LIST: usize = 200;

/// The provisioner.
#[derive(Default)]
pub struct LocalPath {
    /// Uids of volumes whose directories their nodes were asked to remove.
    asked: Mutex<HashSet<String>>,
}

#[async_trait]
impl Controller for LocalPath {
    fn name(&self) -> &'static str {
        "local-path-provisioner"
    }

    fn component(&self) -> &'static str {
        PROVISIONER
    }

    fn watches(&self) -> Vec<Resource> {
        vec![PersistentVolumeClaim::resource(), PersistentVolume::resource(), Node::resource()]
    }

    fn keys(&self, _: &dyn View, change: &Change) -> Vec<Key> {
        let meta = change.object().meta();
        match &*change.resource.kind {
            "PersistentVolumeClaim" => {
                let ours = meta.annotations.get(STORAGE_PROVISIONER).is_some_and(|p| p == PROVISIONER);
                if ours && change.new.is_some() {
                    vec![Key::of(&change.resource, &meta.namespace, &meta.name)]
                } else {
                    Vec::new()
                }
            }
            "PersistentVolume" => {
                let ours = meta.annotations.get(PROVISIONED_BY).is_some_and(|p| p == PROVISIONER);
                if ours { vec![Key::of(&change.resource, "", &meta.name)] } else { Vec::new() }
            }
            // names that are off the list are directories that are gone
            _ => {
                let volumes = Arc::new(PersistentVolume::resource());
                let now = change.new.as_ref().map(|o| listed(o.meta())).unwrap_or_default();
                let before = change.old.as_ref().map(|o| listed(o.meta())).unwrap_or_default();
                let done = before.into_iter().filter(|name| !now.contains(name));
                done.map(|name| Key::of(&volumes, "", name.split('_').next().unwrap_or_default())).collect()
            }
        }
    }

    async fn reconcile(&self, ctx: &Context, key: &Key) -> Result<Requeue> {
        if key.resource.as_ref().is_some_and(|r| r.kind == "PersistentVolume") {
            self.sync_volume(ctx, &key.name).await
        } else {
            sync_claim(ctx, key).await
        }
    }

    /// A new cluster has a default storage class.
    async fn background(&self, ctx: &Context, _: &Keys) {
        let classes = StorageClass::resource();
        let mut backoff = coracle_base::Backoff::new(Duration::from_millis(50), Duration::from_secs(10));
        while ctx.view.get(&classes, "", CLASS).is_none() {
            match ctx.client.create(&classes, "", class(), &WriteOptions::default()).await {
                Err(error) if !error.is_already_exists() => {
                    tracing::warn!(%error, "the default storage class could not be made, trying again");
                    ctx.clock.sleep(backoff.next_delay()).await;
                }
                _ => return,
            }
        }
    }
}

fn class() -> Value {
    json!({
        "apiVersion": "storage.k8s.io/v1", "kind": "StorageClass",
        "metadata": {"name": CLASS, "annotations": {"storageclass.kubernetes.io/is-default-class": "true"}},
        "provisioner": PROVISIONER, "reclaimPolicy": "Delete", "volumeBindingMode": "WaitForFirstConsumer",
    })
}

/// What a node is asked to remove.
fn listed(node: &Meta) -> Vec<String> {
    let list = node.annotations.get(DISCARD).map(String::as_str).unwrap_or_default();
    list.split(',').filter(|name| !name.is_empty()).map(ToString::to_string).collect()
}

async fn sync_claim(ctx: &Context, key: &Key) -> Result<Requeue> {
    let Some(claim) = ctx.view.typed::<PersistentVolumeClaim>(&key.namespace, &key.name) else {
        return Ok(Requeue::No);
    };
    let class = ctx.view.typed::<StorageClass>("", class_of_claim(&claim));
    let Some(class) = class.filter(|c| c.provisioner == PROVISIONER) else { return Ok(Requeue::No) };
    let name = format!("pvc-{}", claim.uid());
    let done = claim.meta().is_deleting()
        || !volume_name(&claim).is_empty()
        || ctx.view.get(&PersistentVolume::resource(), "", &name).is_some();
    if done {
        return Ok(Requeue::No);
    }
    let say = |say: Say| {
        let resource = PersistentVolumeClaim::resource();
        ctx.events.event(&resource, &claim.object, say.kind, say.reason, say.message);
    };
    let selected = claim.meta().annotations.get(SELECTED_NODE);
    let node = selected.and_then(|name| ctx.view.typed::<Node>("", name));
    match plan::provision(&claim, &class, selected.map(String::as_str), node.as_ref()) {
        Provision::Make(body) => {
            let whose = format!("{}/{}", key.namespace, key.name);
            say(Say::normal(
                "Provisioning",
                format!("External provisioner is provisioning volume for claim {whose:?}"),
            ));
            match ctx.client.create(&PersistentVolume::resource(), "", *body, &WriteOptions::default()).await {
                Err(status) if !status.is_already_exists() => return Err(status),
                _ => say(Say::normal("ProvisioningSucceeded", format!("Successfully provisioned volume {name}"))),
            }
            Ok(Requeue::No)
        }
        Provision::Refuse(why) => {
            say(why);
            Ok(Requeue::No)
        }
        Provision::Elsewhere(why) => {
            say(why);
            let forget = |value: &mut Value| {
                value["metadata"]["annotations"].as_object_mut().map(|all| all.remove(SELECTED_NODE));
            };
            ctx.client.update_with(&claim, forget).await?;
            Ok(Requeue::No)
        }
    }
}

impl LocalPath {
    async fn sync_volume(&self, ctx: &Context, name: &str) -> Result<Requeue> {
        let Some(volume) = ctx.view.typed::<PersistentVolume>("", name) else { return Ok(Requeue::No) };
        let node = volume.meta().annotations.get(NODE).and_then(|name| ctx.view.typed::<Node>("", name));
        let list = node.as_ref().map(|node| listed(node.meta()));
        let asked = self.asked.lock().contains(volume.uid());
        match plan::clearing(&volume, list.as_deref(), asked) {
            Clearing::Nothing => {}
            Clearing::Delete => ctx.client.delete_typed(&volume, None).await?,
            Clearing::Ask(directory) => {
                let (Some(node), Some(mut list)) = (node, list) else { return Ok(Requeue::No) };
                if list.len() >= LIST {
                    return Ok(Requeue::After(Duration::from_secs(1)));
                }
                list.push(directory);
                let patch = json!({"metadata": {
                    "uid": node.uid(), "resourceVersion": node.object.revision().to_string(),
                    "annotations": {DISCARD: list.join(",")},
                }});
                // before the node can have done it
                self.asked.lock().insert(volume.uid().to_string());
                if let Err(status) = ctx.client.merge::<Node>("", node.name(), "", patch).await {
                    self.asked.lock().remove(volume.uid());
                    return Err(status);
                }
            }
            Clearing::Finish => {
                let finalizers: Vec<&String> = volume.meta().finalizers.iter().filter(|f| *f != FINALIZER).collect();
                ctx.client.update_with(&volume, |value| value["metadata"]["finalizers"] = json!(finalizers)).await?;
                self.asked.lock().remove(volume.uid());
            }
        }
        Ok(Requeue::No)
    }
}
