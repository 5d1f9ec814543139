//! Carrying a decision out: volumes that waited for it are made, then the pod is bound.

use crate::plugins::{SELECTED_NODE, bound_to, claims, waits_for_consumer};
use coracle_api::{FieldSelector, ListOptions, Patch, Result, Status, WriteOptions};
use coracle_client::{SharedClient, SharedView, Typed, ViewExt, WatchEvent, typed::Kind};
use futures::StreamExt;
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use serde_json::json;
use std::time::Duration;

/// How long a volume may take to be made.
const PROVISION: Duration = Duration::from_secs(600);

/// Binds `pod` to `node`.
///
/// # Errors
/// What the API says: most often that the pod is gone or already bound.
pub async fn bind(client: &SharedClient, view: &SharedView, pod: &Typed<Pod>, node: &str) -> Result<()> {
    let namespace = &pod.meta().namespace;
    for name in claims(pod) {
        let Some(claim) = view.typed::<PersistentVolumeClaim>(namespace, &name) else { continue };
        let waiting = waits_for_consumer(view, &claim);
        if bound_to(&claim).is_empty() && waiting {
            provision(client, namespace, &name, node).await?;
        }
    }
    let binding = json!({
        "apiVersion": "v1", "kind": "Binding",
        "metadata": {"name": pod.name(), "namespace": namespace, "uid": pod.uid()},
        "target": {"apiVersion": "v1", "kind": "Node", "name": node},
    });
    client.post(&Pod::resource(), namespace, pod.name(), "binding", binding).await.map(drop)
}

/// Tells the provisioner where the claim's volume is wanted and waits until it is bound.
async fn provision(client: &SharedClient, namespace: &str, claim: &str, node: &str) -> Result<()> {
    let resource = PersistentVolumeClaim::resource();
    let patch = Patch::merge(json!({"metadata": {"annotations": {SELECTED_NODE: node}}}));
    let written = client.patch(&resource, namespace, claim, "", patch, &WriteOptions::default()).await?;
    let options = ListOptions {
        fields: FieldSelector::equals("metadata.name", claim),
        revision: Some(written.revision().saturating_sub(1)),
        ..ListOptions::default()
    };
    let mut events = client.watch(&resource, namespace, &options).await?;
    let bound = async {
        while let Some(event) = events.next().await {
            match event? {
                WatchEvent::Added(object) | WatchEvent::Modified(object) => {
                    let claim = Typed::<PersistentVolumeClaim>::new(object)?;
                    let phase = claim.status.as_ref().and_then(|s| s.phase.as_deref()).unwrap_or_default();
                    if !bound_to(&claim).is_empty() && phase == "Bound" {
                        return Ok(());
                    }
                    if !claim.object.meta().annotations.contains_key(SELECTED_NODE) {
                        return Err(Status::unavailable("the provisioner cannot make the volume on this node"));
                    }
                }
                WatchEvent::Deleted(_) => return Err(Status::not_found(&PersistentVolumeClaim::resource(), claim)),
                WatchEvent::Bookmark(_) => {}
            }
        }
        Err(Status::unavailable("the watch on the claim ended"))
    };
    match tokio::time::timeout(PROVISION, bound).await {
        Ok(result) => result,
        Err(_) => Err(Status::unavailable(format!("no volume for claim {claim:?} within {} s", PROVISION.as_secs()))),
    }
}
