//! Node lifecycle: which nodes live, and what that means for pods.
//!
//! A node shows that it lives by its Lease and its status. Without either for [`plan::GRACE`] its conditions become `Unknown`, its pods are
//! marked not ready, and taints keep new pods away and, in the hands of the taint eviction controller, drive the old ones off.
//! The taints follow the conditions at once: the first pod of a new cluster waits for nothing but this.
//!
//! Source: `pkg/controller/nodelifecycle/node_lifecycle_controller.go`. All nodes count as one zone.

mod disruption;
mod plan;
#[cfg(test)]
mod tests;

use crate::{
    framework::{Context, Controller, Key, Requeue},
    pods,
};
use async_trait::async_trait;
use coracle_api::{Patch, Resource, Result, WriteOptions};
use coracle_client::{Change, EventType, Kind, Typed, View, ViewExt};
use disruption::{Census, Eviction};
use jiff::Timestamp;
use k8s_openapi::{
    api::{
        coordination::v1::Lease,
        core::v1::{Node, Pod},
    },
    apimachinery::pkg::apis::meta::v1::Time,
};
use parking_lot::Mutex;
use plan::{Plan, World};
use serde_json::json;
use std::{collections::HashMap, time::Duration};

/// Where nodes keep their leases.
const LEASES: &str = "kube-node-lease";

/// The node lifecycle controller.
#[derive(Default)]
pub struct NodeLifecycle {
    census: Mutex<Census>,
    signs: Mutex<HashMap<String, Sign>>,
}

/// The last sign of life of a node: what it said is kept only to see that it says something else.
struct Sign {
    uid: String,
    lease: Option<Timestamp>,
    status: Option<Timestamp>,
    heard: Timestamp,
}

#[async_trait]
impl Controller for NodeLifecycle {
    fn name(&self) -> &'static str {
        "node-controller"
    }

    fn watches(&self) -> Vec<Resource> {
        vec![Node::resource(), Lease::resource()]
    }

    fn keys(&self, view: &dyn View, change: &Change) -> Vec<Key> {
        let meta = change.object().meta();
        if *change.resource == Lease::resource() {
            let heard = meta.namespace == LEASES && change.new.is_some();
            return if heard { vec![Key::new("", &meta.name)] } else { Vec::new() };
        }
        let ready = change.new.as_ref().map(|o| o.view::<Node>().is_ok_and(|node| plan::ready(&node) == "True"));
        let mut census = self.census.lock();
        census
            .seed(|| view.typed_list::<Node>("").iter().map(|n| (n.name().into(), plan::ready(n) == "True")).collect());
        let mut keys = vec![Key::from_change(change)];
        if census.note(&meta.name, ready) {
            // what is held back or lifted changes for every node
            keys.extend(view.list(&Node::resource(), "").iter().map(|node| Key::new("", &node.meta().name)));
        }
        keys
    }

    async fn reconcile(&self, ctx: &Context, key: &Key) -> Result<Requeue> {
        let Some(node) = ctx.view.typed::<Node>("", &key.name) else {
            if let Some(sign) = self.signs.lock().remove(&key.name) {
                let message = format!("Node {0} event: Removing Node {0} from Controller", key.name);
                ctx.events.about(plan::reference(&key.name, &sign.uid), EventType::Normal, "RemovingNode", message);
            }
            return Ok(Requeue::No);
        };
        let now = ctx.clock.now();
        let heard = self.listen(ctx, &node, now);
        let mut plan = plan::plan(&World { node: &node, heard, now, eviction: self.census.lock().eviction() });
        if plan.evicts {
            let turn = self.census.lock().take_turn(now);
            if let Err(wait) = turn {
                plan = plan::plan(&World { node: &node, heard, now, eviction: Eviction::Hold });
                plan.again = Some(plan.again.map_or(wait, |again| again.min(wait)));
            }
        }
        self.apply(ctx, &node, &plan, now).await?;
        Ok(Requeue::soonest([plan.again.map(|wait| wait + Duration::from_millis(10))]))
    }
}

impl NodeLifecycle {
    /// When the node last showed that it lives, as seen from here: the clocks of nodes may be wrong.
    fn listen(&self, ctx: &Context, node: &Typed<Node>, now: Timestamp) -> Timestamp {
        let lease = ctx.view.typed::<Lease>(LEASES, node.name());
        let lease = lease.and_then(|l| l.spec.as_ref()?.renew_time.as_ref().map(|t| t.0));
        let status = plan::condition(node, "Ready").and_then(|c| c.last_heartbeat_time.as_ref()).map(|t| t.0);
        let mut signs = self.signs.lock();
        let known = signs.get(node.name()).filter(|sign| sign.uid == node.uid());
        if known.is_none() {
            let message = format!("Node {0} event: Registered Node {0} in Controller", node.name());
            let about = plan::reference(node.name(), node.uid());
            ctx.events.about(about, EventType::Normal, "RegisteredNode", message);
        }
        let heard = match known {
            Some(sign) if sign.lease == lease && sign.status == status => sign.heard,
            // a node that never said anything counts from its birth
            None if status.is_none() && lease.is_none() => node.meta().creation_timestamp.unwrap_or(now),
            _ => now,
        };
        signs.insert(node.name().into(), Sign { uid: node.uid().into(), lease, status, heard });
        heard
    }

    async fn apply(&self, ctx: &Context, node: &Typed<Node>, plan: &Plan, now: Timestamp) -> Result<()> {
        let options = WriteOptions::default();
        let mut version = node.object.revision();
        if let Some(taints) = &plan.taints {
            let body = json!({
                "metadata": {"uid": node.uid(), "resourceVersion": version.to_string()},
                "spec": {"taints": taints},
            });
            let patch = Patch::merge(body);
            version = ctx.client.patch(&Node::resource(), "", node.name(), "", patch, &options).await?.revision();
        }
        if let Some(conditions) = &plan.conditions {
            let body = json!({
                "metadata": {"uid": node.uid(), "resourceVersion": version.to_string()},
                "status": {"conditions": conditions},
            });
            ctx.client.patch(&Node::resource(), "", node.name(), "status", Patch::merge(body), &options).await?;
            let message = format!("Node {} status is now: NodeNotReady", node.name());
            let about = plan::reference(node.name(), node.uid());
            ctx.events.about(about, EventType::Normal, "NodeNotReady", message);
        }
        if plan.lost { mark_pods(ctx, node.name(), now).await } else { Ok(()) }
    }
}

/// Pods of a lost node are not ready any more: nobody can tell, so nobody may rely on them.
async fn mark_pods(ctx: &Context, node: &str, now: Timestamp) -> Result<()> {
    let all = ctx.view.pods_on_node(node).into_iter().filter_map(|pod| Typed::<Pod>::new(pod).ok());
    for pod in all.filter(|pod| pods::is_ready(pod)) {
        let patch = Patch::strategic(json!({
            "metadata": {"uid": pod.uid()},
            "status": {"conditions": [{"type": "Ready", "status": "False", "lastTransitionTime": Time(now)}]},
        }));
        let (namespace, name) = (&pod.meta().namespace, pod.name());
        match ctx.client.patch(&Pod::resource(), namespace, name, "status", patch, &WriteOptions::default()).await {
            Err(status) if status.is_not_found() || status.is_conflict() => continue,
            other => other?,
        };
        ctx.events.event(&Pod::resource(), &pod.object, EventType::Warning, "NodeNotReady", "Node is not ready");
    }
    Ok(())
}
