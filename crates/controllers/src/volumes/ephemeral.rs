//! Generic ephemeral volumes: a pod brings its own claims, made from templates in its volumes; they go when it goes, for it owns them.
//!
//! Source: `pkg/controller/volume/ephemeral/controller.go`.

use crate::framework::{Context, Controller, Key, Requeue};
use async_trait::async_trait;
use coracle_api::{Resource, Result, Status, WriteOptions};
use coracle_client::{Change, EventType, Kind, Typed, View, ViewExt, typed::controller_reference};
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use serde_json::{Value, json};

/// The ephemeral volume controller.
#[derive(Default)]
pub struct Ephemeral;

/// The claims that a pod brings, by name.
fn claims(pod: &Typed<Pod>) -> Vec<(String, Value)> {
    let volumes = pod.spec.iter().flat_map(|s| s.volumes.iter().flatten());
    let templates = volumes.filter_map(|volume| {
        let template = volume.ephemeral.as_ref()?.volume_claim_template.as_ref()?;
        let name = format!("{}-{}", pod.name(), volume.name);
        let metadata = template.metadata.clone().unwrap_or_default();
        let body = json!({
            "apiVersion": "v1", "kind": "PersistentVolumeClaim",
            "metadata": {
                "name": name, "namespace": pod.meta().namespace, "ownerReferences": [controller_reference(pod)],
                "labels": metadata.labels, "annotations": metadata.annotations,
            },
            "spec": template.spec,
        });
        Some((name, body))
    });
    templates.collect()
}

#[async_trait]
impl Controller for Ephemeral {
    fn name(&self) -> &'static str {
        "ephemeral-volume-controller"
    }

    fn component(&self) -> &'static str {
        "ephemeral_volume"
    }

    fn watches(&self) -> Vec<Resource> {
        vec![Pod::resource(), PersistentVolumeClaim::resource()]
    }

    fn keys(&self, _: &dyn View, change: &Change) -> Vec<Key> {
        if *change.resource == PersistentVolumeClaim::resource() {
            // a claim that is gone is made again while its pod needs it
            return if change.new.is_none() { crate::framework::controller_keys::<Pod>(change) } else { Vec::new() };
        }
        let appeared = change.old.is_none();
        let Some(pod) = change.new.as_ref().filter(|_| appeared) else { return Vec::new() };
        let brings = Typed::<Pod>::new(pod.clone()).is_ok_and(|pod| !claims(&pod).is_empty());
        if brings { vec![Key::from_change(change)] } else { Vec::new() }
    }

    async fn reconcile(&self, ctx: &Context, key: &Key) -> Result<Requeue> {
        let pod = ctx.view.typed::<Pod>(&key.namespace, &key.name);
        let Some(pod) = pod.filter(|p| !p.meta().is_deleting() && !crate::pods::is_finished(p)) else {
            return Ok(Requeue::No);
        };
        let resource = PersistentVolumeClaim::resource();
        for (name, body) in claims(&pod) {
            let made = match ctx.view.get(&resource, &key.namespace, &name) {
                Some(claim) if claim.meta().controller().is_some_and(|owner| owner.uid == pod.uid()) => Ok(()),
                Some(_) => {
                    let why = format!(
                        "PVC {}/{name} was not created for pod {}/{} (pod is not owner)",
                        key.namespace, key.namespace, key.name
                    );
                    Err(Status::conflict(&resource, &name, why))
                }
                None => ctx.client.create(&resource, &key.namespace, body, &WriteOptions::default()).await.map(drop),
            };
            if let Err(status) = made {
                let message = format!("ephemeral volume {name}: {}", status.message);
                ctx.events.event(&Pod::resource(), &pod.object, EventType::Warning, "EphemeralVolumeFailed", message);
                return Err(status);
            }
        }
        Ok(Requeue::No)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::typed;

    #[test]
    fn a_pod_brings_a_claim_for_each_template() {
        let template = json!({"metadata": {"labels": {"a": "b"}}, "spec": {"accessModes": ["ReadWriteOnce"]}});
        let pod = typed::<Pod>(json!({
            "metadata": {"name": "p"},
            "spec": {"containers": [], "volumes": [
                {"name": "scratch", "ephemeral": {"volumeClaimTemplate": template}},
                {"name": "plain", "emptyDir": {}},
            ]},
        }));
        let found = claims(&pod);
        assert_eq!(found.len(), 1);
        let (name, body) = &found[0];
        assert_eq!(name, "p-scratch");
        assert_eq!(body["metadata"]["ownerReferences"][0]["uid"], "uid-p");
        assert_eq!(body["metadata"]["labels"]["a"], "b");
        assert_eq!(body["spec"]["accessModes"], json!(["ReadWriteOnce"]));
    }
}
