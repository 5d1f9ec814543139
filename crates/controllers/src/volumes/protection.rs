//! Claims stay while a pod uses them, volumes while they are bound: a finalizer from birth holds them, and is taken away here.
//!
//! Source: `pkg/controller/volume/pvcprotection`, `pkg/controller/volume/pvprotection`.

use super::volume_phase;
use crate::framework::{Context, Controller, Key, Requeue};
use async_trait::async_trait;
use coracle_api::{Meta, Resource, Result};
use coracle_client::{Change, ClientExt, Kind, Typed, View, ViewExt};
use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim, Pod};
use serde_json::json;

const CLAIM: &str = "kubernetes.io/pvc-protection";
const VOLUME: &str = "kubernetes.io/pv-protection";

/// What to do about a finalizer.
#[derive(Debug, PartialEq, Eq)]
enum Plan {
    Nothing,
    Add,
    Remove,
}

fn plan(meta: &Meta, finalizer: &str, used: impl FnOnce() -> bool) -> Plan {
    match (meta.is_deleting(), meta.finalizers.iter().any(|f| f == finalizer)) {
        (true, true) if !used() => Plan::Remove,
        (false, false) => Plan::Add,
        _ => Plan::Nothing,
    }
}

async fn apply<K: Kind>(ctx: &Context, object: &Typed<K>, finalizer: &str, plan: Plan) -> Result<()> {
    let mut finalizers = object.meta().finalizers.clone();
    match plan {
        Plan::Nothing => return Ok(()),
        Plan::Add => finalizers.push(finalizer.into()),
        Plan::Remove => finalizers.retain(|f| f != finalizer),
    }
    ctx.client.update_with(object, |value| value["metadata"]["finalizers"] = json!(finalizers)).await.map(drop)
}

/// Holds claims while a pod uses them.
#[derive(Default)]
pub struct ClaimProtection;

/// The claims that a pod uses; an ephemeral one is let go when the pod has ended.
fn claims_of(pod: &Pod) -> Vec<String> {
    let name = pod.metadata.name.as_deref().unwrap_or_default();
    let ended = crate::pods::is_finished(pod);
    let volumes = pod.spec.iter().flat_map(|s| s.volumes.iter().flatten());
    let claims = volumes.filter_map(|volume| match (&volume.persistent_volume_claim, &volume.ephemeral) {
        (Some(claim), _) => Some(claim.claim_name.clone()),
        (None, Some(_)) if !ended => Some(format!("{name}-{}", volume.name)),
        _ => None,
    });
    claims.collect()
}

/// Whether a pod uses the claim: one that has a node, for no node starts a pod with a claim that is being deleted.
fn uses(pod: &Pod, claim: &str) -> bool {
    let placed = pod.spec.as_ref().and_then(|s| s.node_name.as_deref()).is_some_and(|node| !node.is_empty());
    placed && claims_of(pod).iter().any(|name| name == claim)
}

#[async_trait]
impl Controller for ClaimProtection {
    fn name(&self) -> &'static str {
        "pvc-protection-controller"
    }

    fn watches(&self) -> Vec<Resource> {
        vec![PersistentVolumeClaim::resource(), Pod::resource()]
    }

    fn keys(&self, view: &dyn View, change: &Change) -> Vec<Key> {
        if *change.resource == PersistentVolumeClaim::resource() {
            return vec![Key::from_change(change)];
        }
        let namespace = &change.object().meta().namespace;
        let claims = [&change.old, &change.new].into_iter().flatten();
        let claims = claims.filter_map(|pod| pod.view::<Pod>().ok()).flat_map(|pod| claims_of(&pod));
        let going = |name: &String| {
            let claim = view.get(&PersistentVolumeClaim::resource(), namespace, name);
            claim.is_some_and(|claim| claim.meta().is_deleting())
        };
        claims.filter(going).map(|name| Key::new(namespace, &name)).collect()
    }

    async fn reconcile(&self, ctx: &Context, key: &Key) -> Result<Requeue> {
        let Some(claim) = ctx.view.typed::<PersistentVolumeClaim>(&key.namespace, &key.name) else {
            return Ok(Requeue::No);
        };
        let used = || ctx.view.typed_list::<Pod>(&key.namespace).iter().any(|pod| uses(pod, &key.name));
        apply(ctx, &claim, CLAIM, plan(claim.meta(), CLAIM, used)).await?;
        Ok(Requeue::No)
    }
}

/// Holds volumes while they are bound.
#[derive(Default)]
pub struct VolumeProtection;

#[async_trait]
impl Controller for VolumeProtection {
    fn name(&self) -> &'static str {
        "pv-protection-controller"
    }

    fn watches(&self) -> Vec<Resource> {
        vec![PersistentVolume::resource()]
    }

    fn keys(&self, _: &dyn View, change: &Change) -> Vec<Key> {
        vec![Key::from_change(change)]
    }

    async fn reconcile(&self, ctx: &Context, key: &Key) -> Result<Requeue> {
        if let Some(volume) = ctx.view.typed::<PersistentVolume>("", &key.name) {
            let plan = plan(volume.meta(), VOLUME, || volume_phase(&volume) == "Bound");
            apply(ctx, &volume, VOLUME, plan).await?;
        }
        Ok(Requeue::No)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    #[test]
    fn only_what_is_deleted_and_unused_is_let_go() {
        for (deleting, finalizers, used, expected) in [
            (false, vec![CLAIM], false, Plan::Nothing),
            (false, vec![], true, Plan::Add),
            (true, vec![CLAIM], true, Plan::Nothing),
            (true, vec![CLAIM, "x"], false, Plan::Remove),
            (true, vec!["x"], false, Plan::Nothing),
        ] {
            let meta = Meta {
                deletion_timestamp: deleting.then(crate::testing::now),
                finalizers: finalizers.iter().map(ToString::to_string).collect(),
                ..Meta::default()
            };
            assert_eq!(plan(&meta, CLAIM, || used), expected, "{deleting} {finalizers:?} {used}");
        }
    }

    #[test]
    fn who_uses_a_claim() {
        let claim = json!([{"name": "v", "persistentVolumeClaim": {"claimName": "c"}}]);
        let ephemeral = json!([{"name": "v", "ephemeral": {}}]);
        let check = |name: &str, node: &str, phase: &str, volumes: &Value, expected: bool| {
            let pod: serde_json::Result<Pod> = serde_json::from_value(json!({
                "metadata": {"name": "p"}, "status": {"phase": phase},
                "spec": {"nodeName": node, "containers": [], "volumes": volumes},
            }));
            assert_eq!(uses(&pod.unwrap(), name), expected, "{name} {node} {phase}");
        };
        check("c", "n", "Running", &claim, true);
        check("c", "n", "Succeeded", &claim, true);
        check("c", "", "Pending", &claim, false);
        check("d", "n", "Running", &claim, false);
        check("p-v", "n", "Running", &ephemeral, true);
        check("p-v", "n", "Failed", &ephemeral, false);
    }
}
