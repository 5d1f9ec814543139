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
    /// Somebody has switched it off, and it does not answer.
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
    /// To remove it at once; it has ended.
    Remove,
    /// To say that it failed, and why if it was disrupted, and then to remove it.
    FailAndRemove(Option<&'static str>),
}

fn plan(pod: &Typed<Pod>, place: Place) -> Plan {
    let (deleting, ended) = (pod.meta().is_deleting(), pods::is_finished(pod));
    match place {
        Place::There => Plan::Keep,
        Place::Nowhere | Place::OutOfService if !deleting => Plan::Keep,
        Place::OutOfService if ended => Plan::Keep,
        Place::Gone(time) if time < QUARANTINE => Plan::Later(QUARANTINE - time),
        _ if ended => Plan::Remove,
        Place::Nowhere | Place::OutOfService => Plan::FailAndRemove(None),
        Place::Gone(_) => Plan::FailAndRemove(Some("PodGC: node no longer exists")),
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
            Plan::Remove => remove(ctx, &pod).await.map(|()| Requeue::No),
            Plan::FailAndRemove(why) => {
                fail(ctx, &pod, why).await?;
                remove(ctx, &pod).await.map(|()| Requeue::No)
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

/// A node that answers is in service, whatever its taints say.
fn out_of_service(node: &Node) -> bool {
    let conditions = node.status.iter().flat_map(|s| s.conditions.iter().flatten());
    let ready = conditions.filter(|c| c.type_ == "Ready").any(|c| c.status == "True");
    !ready && node.spec.iter().flat_map(|s| s.taints.iter().flatten()).any(|taint| taint.key == OUT_OF_SERVICE)
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

async fn fail(ctx: &Context, pod: &Typed<Pod>, disrupted: Option<&str>) -> Result<()> {
    let mut status = json!({"phase": "Failed"});
    if let Some(message) = disrupted {
        status["conditions"] = json!([{
            "type": "DisruptionTarget", "status": "True", "reason": "DeletionByPodGC", "message": message,
            "lastTransitionTime": Time(ctx.clock.now()),
        }]);
    }
    let patch = Patch::strategic(json!({"metadata": {"uid": pod.uid()}, "status": status}));
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
        let lost = Plan::FailAndRemove(Some("PodGC: node no longer exists"));
        for (text, place, expected) in [
            ("pod p pending", Place::Nowhere, Plan::Keep),
            ("pod p pending deleting", Place::Nowhere, Plan::FailAndRemove(None)),
            ("pod p running node=n", Place::There, Plan::Keep),
            ("pod p running node=n deleting", Place::There, Plan::Keep),
            ("pod p running node=n", Place::OutOfService, Plan::Keep),
            ("pod p running node=n deleting", Place::OutOfService, Plan::FailAndRemove(None)),
            ("pod p succeeded node=n deleting", Place::OutOfService, Plan::Keep),
            ("pod p running node=n", gone(10), Plan::Later(Duration::from_secs(30))),
            ("pod p running node=n", gone(40), lost),
            ("pod p succeeded node=n", gone(40), Plan::Remove),
        ] {
            let pod = pod(&Line::all(text)[0]);
            assert_eq!(plan(&pod, place), expected, "{text} {place:?}");
        }
    }

    #[test]
    fn a_node_that_answers_is_in_service() {
        for (ready, tainted, expected) in
            [("True", true, false), ("Unknown", true, true), ("False", true, true), ("Unknown", false, false)]
        {
            let taints = if tainted { json!([{"key": OUT_OF_SERVICE, "effect": "NoExecute"}]) } else { json!([]) };
            let node: Node = serde_json::from_value(json!({
                "spec": {"taints": taints}, "status": {"conditions": [{"type": "Ready", "status": ready}]},
            }))
            .expect("a node");
            assert_eq!(out_of_service(&node), expected, "Ready={ready}, tainted: {tainted}");
        }
    }
}
