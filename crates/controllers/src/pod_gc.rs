//! Pods that nobody else would remove: of nodes that are gone, on nodes taken out of service, deleted before they had a node, and ended
//! ones beyond a number.
//!
//! Source: `pkg/controller/podgc/gc_controller.go`.

use crate::{
    framework::{Context, Controller, Key, Keys, Requeue},
    pods,
};
use async_trait::async_trait;
use coracle_api::{DeleteOptions, Patch, Preconditions, Resource, Result, WriteOptions};
use coracle_client::{Change, Kind, Typed, View, ViewExt};
use jiff::Timestamp;
use k8s_openapi::{
    api::core::v1::{Node, Pod},
    apimachinery::pkg::apis::meta::v1::Time,
};
use parking_lot::Mutex;
use serde_json::json;
use std::{
    collections::{BTreeSet, HashMap},
    time::Duration,
};

/// Ended pods beyond so many are removed, oldest first (`--terminated-pod-gc-threshold`).
const ENDED: usize = 12500;
/// A node may come back under its name within this time.
const QUARANTINE: Duration = Duration::from_secs(40);
/// How often ended pods are counted.
const SWEEP: Duration = Duration::from_secs(20);
/// The taint of a node that somebody says is switched off.
const OUT_OF_SERVICE: &str = "node.kubernetes.io/out-of-service";

/// The pod garbage collector.
#[derive(Default)]
pub struct PodGc {
    /// Nodes that are not there, and since when.
    missing: Mutex<HashMap<String, Timestamp>>,
    ended: Mutex<BTreeSet<(Option<Timestamp>, String, String)>>,
}

/// What has become of a pod's node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// It has none.
    Nowhere,
    /// The node is there.
    There,
    /// Somebody has switched it off.
    OutOfService,
    /// It is not there, for so long.
    Gone(Duration),
}

/// What to do with a pod.
#[derive(Debug, PartialEq, Eq)]
enum Plan {
    Keep,
    /// To look again after this long.
    Later(Duration),
    /// To remove it at once, failing it first for this reason.
    Remove(Option<String>),
}

fn plan(pod: &Typed<Pod>, place: Place) -> Plan {
    let deleting = pod.meta().is_deleting();
    match place {
        Place::Nowhere if deleting => Plan::Remove(None),
        Place::Nowhere | Place::There => Plan::Keep,
        Place::OutOfService if deleting => Plan::Remove(None),
        Place::OutOfService => Plan::Keep,
        Place::Gone(time) if time < QUARANTINE => Plan::Later(QUARANTINE - time),
        Place::Gone(_) => {
            let failed = !pods::is_finished(pod);
            Plan::Remove(failed.then(|| "PodGC: node no longer exists".to_string()))
        }
    }
}

#[async_trait]
impl Controller for PodGc {
    fn name(&self) -> &'static str {
        "pod-garbage-collector"
    }

    fn watches(&self) -> Vec<Resource> {
        vec![Pod::resource(), Node::resource()]
    }

    fn keys(&self, view: &dyn View, change: &Change) -> Vec<Key> {
        let meta = change.object().meta();
        if *change.resource == Node::resource() {
            if change.new.is_some() {
                self.missing.lock().remove(&meta.name);
            }
            let off =
                |object: &std::sync::Arc<coracle_api::Object>| object.view::<Node>().is_ok_and(|n| out_of_service(&n));
            let turned_off = change.new.as_ref().is_some_and(off) && !change.old.as_ref().is_some_and(off);
            if change.new.is_some() && !turned_off {
                return Vec::new();
            }
            let on_it = view.pods_on_node(&meta.name).into_iter();
            return on_it.map(|pod| Key::new(&pod.meta().namespace, &pod.meta().name)).collect();
        }
        self.count(change);
        let Some(pod) = change.new.as_ref().and_then(|o| Typed::<Pod>::new(o.clone()).ok()) else { return Vec::new() };
        let node = pods_node(&pod);
        let lost = !node.is_empty() && view.get(&Node::resource(), "", node).is_none();
        if lost || pod.meta().is_deleting() { vec![Key::from_change(change)] } else { Vec::new() }
    }

    async fn reconcile(&self, ctx: &Context, key: &Key) -> Result<Requeue> {
        let Some(pod) = ctx.view.typed::<Pod>(&key.namespace, &key.name) else { return Ok(Requeue::No) };
        let name = pods_node(&pod);
        let place = self.place(ctx, name);
        match plan(&pod, place) {
            Plan::Keep => Ok(Requeue::No),
            Plan::Later(wait) => Ok(Requeue::After(wait + Duration::from_millis(10))),
            Plan::Remove(why) => {
                if let Some(message) = why {
                    fail(ctx, &pod, message).await?;
                }
                remove(ctx, &pod).await?;
                Ok(Requeue::No)
            }
        }
    }

    async fn background(&self, ctx: &Context, _: &Keys) {
        loop {
            ctx.clock.sleep(SWEEP).await;
            let surplus: Vec<(String, String)> = {
                let ended = self.ended.lock();
                let too_many = ended.len().saturating_sub(ENDED);
                ended.iter().take(too_many).map(|(_, namespace, name)| (namespace.clone(), name.clone())).collect()
            };
            for (namespace, name) in surplus {
                let Some(pod) = ctx.view.typed::<Pod>(&namespace, &name).filter(|p| pods::is_finished(p)) else {
                    continue;
                };
                if let Err(error) = remove(ctx, &pod).await {
                    tracing::warn!(namespace, name, %error, "an ended pod could not be removed");
                }
            }
        }
    }
}

fn pods_node(pod: &Pod) -> &str {
    pod.spec.as_ref().and_then(|s| s.node_name.as_deref()).unwrap_or_default()
}

fn out_of_service(node: &Node) -> bool {
    node.spec.iter().flat_map(|s| s.taints.iter().flatten()).any(|taint| taint.key == OUT_OF_SERVICE)
}

impl PodGc {
    /// Keeps account of ended pods.
    fn count(&self, change: &Change) {
        let meta = change.object().meta();
        let entry = |object: &std::sync::Arc<coracle_api::Object>| {
            (object.meta().creation_timestamp, meta.namespace.clone(), meta.name.clone())
        };
        let mut ended = self.ended.lock();
        if let Some(old) = &change.old {
            ended.remove(&entry(old));
        }
        if let Some(new) = &change.new
            && new.view::<Pod>().is_ok_and(|pod| pods::is_finished(&pod))
        {
            ended.insert(entry(new));
        }
    }

    fn place(&self, ctx: &Context, name: &str) -> Place {
        if name.is_empty() {
            return Place::Nowhere;
        }
        let mut missing = self.missing.lock();
        match ctx.view.typed::<Node>("", name) {
            Some(node) => {
                missing.remove(name);
                if out_of_service(&node) { Place::OutOfService } else { Place::There }
            }
            None => {
                let now = ctx.clock.now();
                let since = *missing.entry(name.to_string()).or_insert(now);
                Place::Gone(now.duration_since(since).unsigned_abs())
            }
        }
    }
}

async fn fail(ctx: &Context, pod: &Typed<Pod>, message: String) -> Result<()> {
    let patch = Patch::strategic(json!({"metadata": {"uid": pod.uid()}, "status": {
        "phase": "Failed",
        "conditions": [{
            "type": "DisruptionTarget", "status": "True", "reason": "DeletionByPodGC", "message": message,
            "lastTransitionTime": Time(ctx.clock.now()),
        }],
    }}));
    let (namespace, name) = (&pod.meta().namespace, pod.name());
    match ctx.client.patch(&Pod::resource(), namespace, name, "status", patch, &WriteOptions::default()).await {
        Err(status) if status.is_not_found() => Ok(()),
        other => other.map(drop),
    }
}

async fn remove(ctx: &Context, pod: &Typed<Pod>) -> Result<()> {
    let options = DeleteOptions {
        grace_period_seconds: Some(0),
        preconditions: Some(Preconditions { uid: Some(pod.uid().to_string()), resource_version: None }),
        ..DeleteOptions::default()
    };
    match ctx.client.delete(&Pod::resource(), &pod.meta().namespace, pod.name(), &options).await {
        Err(status) if status.is_not_found() => Ok(()),
        other => other.map(drop),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Line, pod};

    #[test]
    fn which_pods_nobody_else_would_remove() {
        let gone = |seconds| Place::Gone(Duration::from_secs(seconds));
        let why = || Some("PodGC: node no longer exists".to_string());
        for (text, place, expected) in [
            ("pod p pending", Place::Nowhere, Plan::Keep),
            ("pod p pending deleting", Place::Nowhere, Plan::Remove(None)),
            ("pod p running node=n", Place::There, Plan::Keep),
            ("pod p running node=n deleting", Place::There, Plan::Keep),
            ("pod p running node=n", Place::OutOfService, Plan::Keep),
            ("pod p running node=n deleting", Place::OutOfService, Plan::Remove(None)),
            ("pod p running node=n", gone(10), Plan::Later(Duration::from_secs(30))),
            ("pod p running node=n", gone(40), Plan::Remove(why())),
            ("pod p succeeded node=n", gone(40), Plan::Remove(None)),
        ] {
            let pod = pod(&Line::all(text)[0]);
            assert_eq!(plan(&pod, place), expected, "{text} {place:?}");
        }
    }
}
