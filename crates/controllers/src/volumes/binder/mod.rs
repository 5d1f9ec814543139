//! The binder: each claim gets a volume, the smallest that fits or one made for it; a volume whose claim is gone is released.
//!
//! Both sides name each other, in four writes (volume, its status, claim, its status); whatever was interrupted is completed from there.

mod index;
mod plan;
#[cfg(test)]
mod tests;

use super::{
    BIND_COMPLETED, BOUND_BY_CONTROLLER, PROVISIONED_BY, SELECTED_NODE, STORAGE_PROVISIONER, STORAGE_PROVISIONER_BETA,
    Say, claim_phase, class_of_claim, class_of_volume, volume_name, volume_phase,
};
use crate::framework::{Context, Controller, Key, Requeue};
use async_trait::async_trait;
use coracle_api::{Resource, Result};
use coracle_client::{Change, ClientExt, Kind, Typed, View, ViewExt};
use coracle_kinds::binding::refers_to;
use index::{Index, claim_of};
use k8s_openapi::{
    api::{
        core::v1::{Node, PersistentVolume, PersistentVolumeClaim, PersistentVolumeStatus},
        storage::v1::StorageClass,
    },
    apimachinery::pkg::apis::meta::v1::Time,
};
use parking_lot::Mutex;
use plan::{ClaimPlan, VolumePlan, World};
use serde_json::{Value, json};
use std::sync::Arc;

type Claim = Typed<PersistentVolumeClaim>;
type Volume = Typed<PersistentVolume>;

/// The binder.
#[derive(Default)]
pub struct Binder {
    index: Mutex<Index>,
}

#[async_trait]
impl Controller for Binder {
    fn name(&self) -> &'static str {
        "persistent-volume-binder"
    }

    fn component(&self) -> &'static str {
        "persistentvolume-controller"
    }

    fn watches(&self) -> Vec<Resource> {
        vec![PersistentVolumeClaim::resource(), PersistentVolume::resource(), StorageClass::resource()]
    }

    fn keys(&self, _: &dyn View, change: &Change) -> Vec<Key> {
        let meta = change.object().meta();
        let claims = Arc::new(PersistentVolumeClaim::resource());
        let claim_key = |(namespace, name): (String, String)| Key::of(&claims, &namespace, &name);
        let mut index = self.index.lock();
        match &*change.resource.kind {
            "PersistentVolumeClaim" => {
                index.note_claim(change);
                let volumes = Arc::new(PersistentVolume::resource());
                let theirs = index.claimed(&(meta.namespace.clone(), meta.name.clone()));
                let theirs = theirs.iter().map(|name| Key::of(&volumes, "", name));
                theirs.chain([Key::of(&claims, &meta.namespace, &meta.name)]).collect()
            }
            "PersistentVolume" => {
                index.note_volume(change);
                let mut keys = vec![Key::of(&change.resource, "", &meta.name)];
                let read = |o: &Arc<coracle_api::Object>| Volume::new(o.clone()).ok();
                let (old, new) = (change.old.as_ref().and_then(read), change.new.as_ref().and_then(read));
                keys.extend([&old, &new].into_iter().flatten().filter_map(|v| claim_of(v)).map(claim_key));
                if let Some(free) = new.filter(|v| claim_of(v).is_none() && volume_phase(v) == "Available") {
                    keys.extend(index.waiting(class_of_volume(&free)).into_iter().map(claim_key));
                }
                keys
            }
            _ => index.waiting(&meta.name).into_iter().map(claim_key).collect(),
        }
    }

    async fn reconcile(&self, ctx: &Context, key: &Key) -> Result<Requeue> {
        if key.resource.as_ref().is_some_and(|r| r.kind == "PersistentVolume") {
            sync_volume(ctx, &key.name).await?;
        } else {
            self.sync_claim(ctx, key).await?;
        }
        Ok(Requeue::No)
    }
}

impl Binder {
    async fn sync_claim(&self, ctx: &Context, key: &Key) -> Result<()> {
        let Some(claim) = ctx.view.typed::<PersistentVolumeClaim>(&key.namespace, &key.name) else { return Ok(()) };
        let class = ctx.view.typed::<StorageClass>("", class_of_claim(&claim));
        let named = Some(volume_name(&claim)).filter(|name| !name.is_empty());
        let named = named.and_then(|name| ctx.view.typed::<PersistentVolume>("", name));
        let name = (key.namespace.clone(), key.name.clone());
        let candidates = self.index.lock().candidates(&name, class_of_claim(&claim));
        let candidates: Vec<Volume> = candidates.iter().filter_map(|name| ctx.view.typed("", name)).collect();
        let node = claim.meta().annotations.get(SELECTED_NODE).and_then(|name| ctx.view.typed::<Node>("", name));
        let plan = plan::claim(&World {
            claim: &claim,
            class: class.as_ref().map(|c| &*c.view),
            named: named.as_ref(),
            candidates: &candidates,
            node: node.as_ref().map(|n| &*n.view),
        });
        match plan {
            ClaimPlan::Bind(volume) => bind(ctx, &volume, claim).await,
            ClaimPlan::Wait(event) => {
                say(ctx, &claim, event);
                set_claim_phase(ctx, &claim, "Pending").await.map(drop)
            }
            ClaimPlan::Provision(provisioner, event) => {
                let asked = claim.meta().annotations.get(STORAGE_PROVISIONER) == Some(&provisioner);
                say(ctx, &claim, event);
                let claim = set_claim_phase(ctx, &claim, "Pending").await?;
                if !asked {
                    let annotate = |value: &mut Value| {
                        for key in [STORAGE_PROVISIONER, STORAGE_PROVISIONER_BETA] {
                            value["metadata"]["annotations"][key] = json!(provisioner);
                        }
                    };
                    ctx.client.update_with(&claim, annotate).await?;
                }
                Ok(())
            }
            ClaimPlan::Elsewhere(event) => {
                say(ctx, &claim, Some(event));
                let forget = |value: &mut Value| {
                    value["metadata"]["annotations"].as_object_mut().map(|all| all.remove(SELECTED_NODE));
                };
                ctx.client.update_with(&claim, forget).await.map(drop)
            }
            ClaimPlan::Lost(event) => {
                if claim_phase(&claim) != "Lost" {
                    set_claim_phase(ctx, &claim, "Lost").await?;
                    say(ctx, &claim, Some(event));
                }
                Ok(())
            }
        }
    }
}

fn say<K: Kind>(ctx: &Context, about: &Typed<K>, event: Option<Say>) {
    if let Some(event) = event {
        ctx.events.event(&K::resource(), &about.object, event.kind, event.reason, event.message);
    }
}

async fn set_claim_phase(ctx: &Context, claim: &Claim, phase: &str) -> Result<Claim> {
    if claim_phase(claim) == phase {
        return Ok(claim.clone());
    }
    let mut status = claim.status.clone().unwrap_or_default();
    status.phase = Some(phase.into());
    ctx.client.update_status(claim, &status).await
}

async fn set_volume_phase(ctx: &Context, volume: &Volume, phase: &str, message: Option<String>) -> Result<Volume> {
    if volume_phase(volume) == phase {
        return Ok(volume.clone());
    }
    let status = PersistentVolumeStatus {
        phase: Some(phase.into()),
        message,
        last_phase_transition_time: Some(Time(ctx.clock.now())),
        ..volume.status.clone().unwrap_or_default()
    };
    ctx.client.update_status(volume, &status).await
}

/// Marries the two, whatever of that was done already.
async fn bind(ctx: &Context, volume: &Volume, claim: Claim) -> Result<()> {
    let mut volume = volume.clone();
    let named = refers_to(&volume, &claim);
    let uid = volume.spec.as_ref().and_then(|s| s.claim_ref.as_ref()?.uid.as_deref()).unwrap_or_default();
    if !named || uid != claim.uid() {
        let reference = json!({
            "apiVersion": "v1", "kind": "PersistentVolumeClaim", "namespace": claim.meta().namespace,
            "name": claim.name(), "uid": claim.uid(), "resourceVersion": claim.object.revision().to_string(),
        });
        let change = |value: &mut Value| {
            value["spec"]["claimRef"] = reference;
            if !named {
                value["metadata"]["annotations"][BOUND_BY_CONTROLLER] = json!("yes");
            }
        };
        volume = ctx.client.update_with(&volume, change).await?;
    }
    volume = set_volume_phase(ctx, &volume, "Bound", None).await?;
    let mut claim = claim;
    let chosen = volume_name(&claim) != volume.name();
    if chosen || !claim.meta().annotations.contains_key(BIND_COMPLETED) {
        let change = |value: &mut Value| {
            value["spec"]["volumeName"] = json!(volume.name());
            value["metadata"]["annotations"][BIND_COMPLETED] = json!("yes");
            if chosen {
                value["metadata"]["annotations"][BOUND_BY_CONTROLLER] = json!("yes");
            }
        };
        claim = ctx.client.update_with(&claim, change).await?;
    }
    let mut status = claim.status.clone().unwrap_or_default();
    let spec = volume.spec.as_ref();
    status.phase = Some("Bound".into());
    status.access_modes = spec.and_then(|s| s.access_modes.clone());
    status.capacity = spec.and_then(|s| s.capacity.clone());
    if claim.status.as_ref() != Some(&status) {
        ctx.client.update_status(&claim, &status).await?;
    }
    Ok(())
}

async fn sync_volume(ctx: &Context, name: &str) -> Result<()> {
    let Some(volume) = ctx.view.typed::<PersistentVolume>("", name) else { return Ok(()) };
    let reference = volume.spec.as_ref().and_then(|s| s.claim_ref.as_ref());
    let uid = reference.and_then(|r| r.uid.as_deref()).unwrap_or_default();
    let claim = claim_of(&volume).and_then(|(ns, name)| ctx.view.typed::<PersistentVolumeClaim>(&ns, &name));
    let claim = claim.filter(|claim| claim.uid() == uid);
    match plan::volume(&volume, claim.as_ref()) {
        VolumePlan::Nothing => Ok(()),
        VolumePlan::Phase(phase) => set_volume_phase(ctx, &volume, phase, None).await.map(drop),
        VolumePlan::Fail(event) => {
            set_volume_phase(ctx, &volume, "Failed", Some(event.message.clone())).await?;
            say(ctx, &volume, Some(event));
            Ok(())
        }
        VolumePlan::Unbind => {
            let ours = plan::by_controller(&volume) || volume.meta().annotations.contains_key(PROVISIONED_BY);
            let change = |value: &mut Value| {
                if ours {
                    value["spec"].as_object_mut().map(|spec| spec.remove("claimRef"));
                    value["metadata"]["annotations"].as_object_mut().map(|all| all.remove(BOUND_BY_CONTROLLER));
                } else {
                    // the user's wish stays
                    value["spec"]["claimRef"].as_object_mut().map(|reference| reference.remove("uid"));
                }
            };
            let volume = ctx.client.update_with(&volume, change).await?;
            set_volume_phase(ctx, &volume, "Available", None).await.map(drop)
        }
    }
}
