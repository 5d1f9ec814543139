//! What a claim needs, and what becomes of a volume: pure.
//!
//! Source: `pkg/controller/volume/persistentvolume/pv_controller.go` (`syncClaim`, `syncVolume`).

use crate::volumes::{
    BIND_COMPLETED, BOUND_BY_CONTROLLER, PROVISIONED_BY, SELECTED_NODE, Say, class_of_claim, policy_is, volume_name,
    volume_phase,
};
use coracle_client::Typed;
use coracle_kinds::binding::{best, refers_to, satisfies};
use k8s_openapi::api::{
    core::v1::{Node, PersistentVolume, PersistentVolumeClaim},
    storage::v1::StorageClass,
};

type Claim = Typed<PersistentVolumeClaim>;
type Volume = Typed<PersistentVolume>;

/// What is known about a claim.
pub struct World<'a> {
    /// The claim.
    pub claim: &'a Claim,
    /// Its class.
    pub class: Option<&'a StorageClass>,
    /// The volume that it names.
    pub named: Option<&'a Volume>,
    /// Volumes that may be for it.
    pub candidates: &'a [Volume],
    /// The node that the scheduler has chosen for its pod.
    pub node: Option<&'a Node>,
}

/// What a claim needs.
pub enum ClaimPlan {
    /// This volume.
    Bind(Volume),
    /// To wait for something to happen.
    Wait(Option<Say>),
    /// A volume that this provisioner makes.
    Provision(String, Option<Say>),
    /// Another node: there is no volume for it here.
    Elsewhere(Say),
    /// Nothing can help: its volume is lost.
    Lost(Say),
}

/// Decides about a claim.
pub fn claim(world: &World<'_>) -> ClaimPlan {
    if world.claim.meta().annotations.contains_key(BIND_COMPLETED) {
        return bound(world);
    }
    if world.claim.meta().is_deleting() {
        return ClaimPlan::Wait(None);
    }
    match (volume_name(world.claim), world.named) {
        ("", _) => free(world),
        // it may be made yet
        (_, None) => ClaimPlan::Wait(None),
        (name, Some(volume)) => {
            let reference = volume.spec.as_ref().and_then(|s| s.claim_ref.as_ref());
            if reference.is_some() && !refers_to(volume, world.claim) {
                let message = format!("volume {name:?} already bound to a different claim.");
                return ClaimPlan::Wait(Some(Say::warning("FailedBinding", message)));
            }
            match satisfies(volume, world.claim) {
                Ok(()) => ClaimPlan::Bind(volume.clone()),
                Err(why) => {
                    let message = format!("Cannot bind to requested volume {name:?}: {why}");
                    ClaimPlan::Wait(Some(Say::warning("VolumeMismatch", message)))
                }
            }
        }
    }
}

/// A claim that once had its volume.
fn bound(world: &World<'_>) -> ClaimPlan {
    let lost = |message: &str| ClaimPlan::Lost(Say::warning("ClaimLost", message));
    match (volume_name(world.claim), world.named) {
        ("", _) => lost("Bound claim has lost reference to PersistentVolume. Data on the volume is lost!"),
        (_, None) => lost("Bound claim has lost its PersistentVolume. Data on the volume is lost!"),
        (_, Some(volume)) => {
            let free = volume.spec.as_ref().is_none_or(|s| s.claim_ref.is_none());
            if free || refers_to(volume, world.claim) {
                ClaimPlan::Bind(volume.clone())
            } else {
                let message = "Two claims are bound to the same volume, this one is bound incorrectly";
                ClaimPlan::Lost(Say::warning("ClaimMisbound", message))
            }
        }
    }
}

/// A claim that names no volume.
fn free(world: &World<'_>) -> ClaimPlan {
    let (claim, class_name) = (world.claim, class_of_claim(world.claim));
    let late = world.class.is_some_and(|c| c.volume_binding_mode.as_deref() == Some("WaitForFirstConsumer"));
    let selected = claim.meta().annotations.contains_key(SELECTED_NODE);
    let waits = late && !selected;
    if let Some(volume) = best(claim, world.candidates, world.node.filter(|_| late), waits) {
        return ClaimPlan::Bind(volume.clone());
    }
    if waits {
        let message = "waiting for first consumer to be created before binding";
        return ClaimPlan::Wait(Some(Say::normal("WaitForFirstConsumer", message)));
    }
    if class_name.is_empty() {
        let message = "no persistent volumes available for this claim and no storage class is set";
        return ClaimPlan::Wait(Some(Say::normal("FailedBinding", message)));
    }
    let Some(class) = world.class else {
        let message = format!("storageclass.storage.k8s.io {class_name:?} not found");
        return ClaimPlan::Wait(Some(Say::warning("ProvisioningFailed", message)));
    };
    if class.provisioner == "kubernetes.io/no-provisioner" {
        let say = Say::warning("ProvisioningFailed", "no volume plugin matched name: kubernetes.io/no-provisioner");
        return if late { ClaimPlan::Elsewhere(say) } else { ClaimPlan::Wait(Some(say)) };
    }
    let ours = class.provisioner == crate::volumes::local_path::PROVISIONER;
    let say = (!ours).then(|| {
        let message = format!(
            "Waiting for a volume to be created either by the external provisioner '{}' or manually by the system administrator. If volume creation is delayed, please verify that the provisioner is running and correctly registered.",
            class.provisioner
        );
        Say::normal("ExternalProvisioning", message)
    });
    ClaimPlan::Provision(class.provisioner.clone(), say)
}

/// What becomes of a volume.
#[derive(Debug, PartialEq, Eq)]
pub enum VolumePlan {
    /// Nothing.
    Nothing,
    /// Its phase is this.
    Phase(&'static str),
    /// Its claim is gone, and it cannot be deleted as its policy says.
    Fail(Say),
    /// Its claim has another volume: it is free again.
    Unbind,
}

/// Decides about a volume; `claim` is the one that it refers to, if that very one exists.
pub fn volume(volume: &Volume, claim: Option<&Claim>) -> VolumePlan {
    let reference = volume.spec.as_ref().and_then(|s| s.claim_ref.as_ref());
    let uid = reference.and_then(|r| r.uid.as_deref()).unwrap_or_default();
    if uid.is_empty() {
        return VolumePlan::Phase("Available");
    }
    let Some(claim) = claim else { return released(volume) };
    let name = volume_name(claim);
    if name == volume.name() {
        return VolumePlan::Phase("Bound");
    }
    if name.is_empty() {
        // the claim is on its way to it
        return VolumePlan::Nothing;
    }
    let annotations = &volume.meta().annotations;
    let dynamic = annotations.contains_key(PROVISIONED_BY) && policy_is(volume, "Delete");
    if dynamic { released(volume) } else { VolumePlan::Unbind }
}

/// A volume without its claim: whoever made it deletes it, if its policy says so.
fn released(volume: &Volume) -> VolumePlan {
    if volume_phase(volume) == "Failed" {
        return VolumePlan::Nothing;
    }
    let made = volume.meta().annotations.contains_key(PROVISIONED_BY);
    let phase = volume_phase(volume);
    if phase == "Released" && policy_is(volume, "Delete") && !made {
        let message = format!(
            "error getting deleter volume plugin for volume {:?}: no deletable volume plugin matched",
            volume.name()
        );
        return VolumePlan::Fail(Say::warning("VolumeFailedDelete", message));
    }
    if phase == "Released" && policy_is(volume, "Recycle") {
        return VolumePlan::Fail(Say::warning("VolumeFailedRecycle", "No recycler plugin found for the volume!"));
    }
    VolumePlan::Phase("Released")
}

/// Whether whoever bound the volume was the controller.
pub fn by_controller(volume: &Volume) -> bool {
    volume.meta().annotations.contains_key(BOUND_BY_CONTROLLER)
}
