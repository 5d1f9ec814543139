//! Taint eviction: pods leave nodes whose `NoExecute` taints they do not tolerate, or tolerate for so long only.
//!
//! Source: `pkg/controller/tainteviction/taint_eviction.go`.

use crate::framework::{Context, Controller, Key, Requeue};
use async_trait::async_trait;
use coracle_api::{Patch, Resource, Result, WriteOptions};
use coracle_client::{Change, ClientExt, EventType, Kind, Typed, View, ViewExt};
use coracle_kinds::placement::tolerates;
use jiff::Timestamp;
use k8s_openapi::{
    api::core::v1::{Node, Pod, Taint, Toleration},
    apimachinery::pkg::apis::meta::v1::Time,
};
use parking_lot::Mutex;
use serde_json::json;
use std::{collections::HashMap, time::Duration};

/// The taint eviction controller.
#[derive(Default)]
pub struct TaintEviction {
    /// Since when a pod's time runs, by key.
    running: Mutex<HashMap<Key, (String, Timestamp)>>,
}

/// How long a pod may stay.
#[derive(Debug, PartialEq, Eq)]
enum Stay {
    /// It does not have to leave.
    Forever,
    /// So long after its time began to run.
    For(Duration),
    /// Not at all.
    Not,
}

#[async_trait]
impl Controller for TaintEviction {
    // upstream's runs with the identity of the node controller
    fn name(&self) -> &'static str {
        "node-controller"
    }

    fn component(&self) -> &'static str {
        "taint-eviction-controller"
    }

    fn workers(&self) -> usize {
        8
    }

    fn watches(&self) -> Vec<Resource> {
        vec![Node::resource(), Pod::resource()]
    }

    fn keys(&self, view: &dyn View, change: &Change) -> Vec<Key> {
        if *change.resource == Pod::resource() {
            let key = Key::from_change(change);
            let pod = change.new.as_ref().and_then(|o| o.view::<Pod>().ok());
            let node = pod.and_then(|p| p.spec.as_ref()?.node_name.clone());
            let tainted = node.and_then(|n| view.typed::<Node>("", &n)).is_some_and(|n| !no_execute(&n).is_empty());
            return if tainted || self.running.lock().contains_key(&key) { vec![key] } else { Vec::new() };
        }
        let taints = |object: &Option<std::sync::Arc<coracle_api::Object>>| {
            object.as_ref().and_then(|o| o.view::<Node>().ok()).map(|node| no_execute(&node)).unwrap_or_default()
        };
        if taints(&change.old) == taints(&change.new) {
            return Vec::new();
        }
        let pods = view.pods_on_node(&change.object().meta().name).into_iter();
        pods.map(|pod| Key::new(&pod.meta().namespace, &pod.meta().name)).collect()
    }

    async fn reconcile(&self, ctx: &Context, key: &Key) -> Result<Requeue> {
        let pod = ctx.view.typed::<Pod>(&key.namespace, &key.name).filter(|pod| !pod.meta().is_deleting());
        let Some(pod) = pod else {
            self.running.lock().remove(key);
            return Ok(Requeue::No);
        };
        let spec = pod.spec.as_ref();
        let node = spec.and_then(|s| s.node_name.as_deref()).and_then(|name| ctx.view.typed::<Node>("", name));
        let taints = node.map(|node| no_execute(&node)).unwrap_or_default();
        let tolerations = spec.and_then(|s| s.tolerations.as_deref()).unwrap_or_default();
        let stay = stay(&taints, tolerations);
        let Stay::For(length) = stay else {
            let known = self.running.lock().remove(key);
            if stay == Stay::Not {
                evict(ctx, &pod).await?;
            } else if known.is_some_and(|(uid, _)| uid == pod.uid()) {
                say(ctx, &pod, "Cancelling deletion of Pod");
            }
            return Ok(Requeue::No);
        };
        let now = ctx.clock.now();
        let since = {
            let mut running = self.running.lock();
            let since = running.get(key).filter(|(uid, _)| uid == pod.uid()).map_or(now, |(_, since)| *since);
            running.insert(key.clone(), (pod.uid().to_string(), since));
            since
        };
        let left = length.saturating_sub(now.duration_since(since).unsigned_abs());
        if left.is_zero() {
            evict(ctx, &pod).await?;
            self.running.lock().remove(key);
            return Ok(Requeue::No);
        }
        Ok(Requeue::After(left))
    }
}

fn no_execute(node: &Node) -> Vec<Taint> {
    let taints = node.spec.iter().flat_map(|s| s.taints.iter().flatten());
    taints.filter(|t| t.effect == "NoExecute").cloned().collect()
}

/// Decides: every taint has to be tolerated, and the shortest toleration counts.
fn stay(taints: &[Taint], tolerations: &[Toleration]) -> Stay {
    let used = |taint: &Taint| {
        let fit: Vec<&Toleration> = tolerations.iter().filter(|t| tolerates(t, taint)).collect();
        (!fit.is_empty()).then(|| fit.iter().filter_map(|t| t.toleration_seconds).min())
    };
    let mut shortest: Option<i64> = None;
    for taint in taints {
        match used(taint) {
            None => return Stay::Not,
            Some(seconds) => shortest = shortest.into_iter().chain(seconds).min(),
        }
    }
    match shortest {
        None => Stay::Forever,
        Some(seconds) if seconds <= 0 => Stay::Not,
        Some(seconds) => Stay::For(Duration::from_secs(seconds.unsigned_abs())),
    }
}

fn say(ctx: &Context, pod: &Typed<Pod>, what: &str) {
    let message = format!("{what} {}/{}", pod.meta().namespace, pod.name());
    ctx.events.event(&Pod::resource(), &pod.object, EventType::Normal, "TaintManagerEviction", message);
}

async fn evict(ctx: &Context, pod: &Typed<Pod>) -> Result<()> {
    say(ctx, pod, "Marking for deletion Pod");
    let condition = json!({
        "type": "DisruptionTarget", "status": "True", "reason": "DeletionByTaintManager",
        "message": "Taint manager: deleting due to NoExecute taint",
        "lastTransitionTime": Time(ctx.clock.now()),
    });
    let patch = Patch::strategic(json!({"metadata": {"uid": pod.uid()}, "status": {"conditions": [condition]}}));
    let (resource, namespace) = (Pod::resource(), &pod.meta().namespace);
    match ctx.client.patch(&resource, namespace, pod.name(), "status", patch, &WriteOptions::default()).await {
        Err(status) if status.is_not_found() => return Ok(()),
        other => other?,
    };
    ctx.client.delete_typed(pod, None).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    fn check(taints: Value, tolerations: Value, expected: &Stay) {
        let taints: Vec<Taint> = serde_json::from_value(taints).unwrap();
        let tolerations: Vec<Toleration> = serde_json::from_value(tolerations).unwrap();
        assert_eq!(stay(&taints, &tolerations), *expected, "{taints:?} {tolerations:?}");
    }

    #[test]
    fn every_taint_has_to_be_tolerated_and_the_shortest_time_counts() {
        let taint = |key: &str| json!({"key": key, "effect": "NoExecute"});
        let until = |key: &str, seconds: i64| json!({"key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": seconds});
        let always = |key: &str| json!({"key": key, "operator": "Exists"});
        let seconds = |n| Stay::For(Duration::from_secs(n));
        for (taints, tolerations, expected) in [
            (json!([]), json!([]), Stay::Forever),
            (json!([taint("a")]), json!([]), Stay::Not),
            (json!([taint("a")]), json!([always("a")]), Stay::Forever),
            (json!([taint("a")]), json!([until("a", 300)]), seconds(300)),
            (json!([taint("a")]), json!([until("a", 0)]), Stay::Not),
            (json!([taint("a"), taint("b")]), json!([until("a", 300), until("b", 20)]), seconds(20)),
            (json!([taint("a"), taint("b")]), json!([until("a", 300)]), Stay::Not),
            (json!([taint("a")]), json!([until("a", 300), always("a"), until("a", 5)]), seconds(5)),
        ] {
            check(taints, tolerations, &expected);
        }
    }
}
