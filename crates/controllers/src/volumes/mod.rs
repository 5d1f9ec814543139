//! Persistent volumes: [`binder`] marries claims to volumes, [`local_path`] makes volumes in nodes' own directories, [`protection`] keeps
//! both while they are used, [`ephemeral`] makes the claims that pods bring.

pub mod binder;
pub mod ephemeral;
pub mod local_path;
pub mod protection;

pub use coracle_kinds::binding::{class_of_claim, class_of_volume};

use coracle_client::EventType;
use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim};

/// On a claim: its volume was chosen and written to it.
pub const BIND_COMPLETED: &str = "pv.kubernetes.io/bind-completed";
/// On a claim or a volume: the controller, not the user, chose the other one.
pub const BOUND_BY_CONTROLLER: &str = "pv.kubernetes.io/bound-by-controller";
/// On a volume: who made it.
pub const PROVISIONED_BY: &str = "pv.kubernetes.io/provisioned-by";
/// On a claim: the node of the pod that is to use it first, written by the scheduler.
pub const SELECTED_NODE: &str = "volume.kubernetes.io/selected-node";
/// On a claim: who is to make a volume for it.
pub const STORAGE_PROVISIONER: &str = "volume.kubernetes.io/storage-provisioner";
/// The same, for older provisioners.
pub const STORAGE_PROVISIONER_BETA: &str = "volume.beta.kubernetes.io/storage-provisioner";

/// An event about what was decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Say {
    /// Normal or Warning.
    pub kind: EventType,
    /// The reason.
    pub reason: &'static str,
    /// What it says.
    pub message: String,
}

impl Say {
    /// A normal event.
    pub fn normal(reason: &'static str, message: impl Into<String>) -> Self {
        Self { kind: EventType::Normal, reason, message: message.into() }
    }

    /// A warning.
    pub fn warning(reason: &'static str, message: impl Into<String>) -> Self {
        Self { kind: EventType::Warning, reason, message: message.into() }
    }
}

/// The volume that a claim names; empty if none.
pub fn volume_name(claim: &PersistentVolumeClaim) -> &str {
    claim.spec.as_ref().and_then(|s| s.volume_name.as_deref()).unwrap_or_default()
}

/// `status.phase` of a claim.
pub fn claim_phase(claim: &PersistentVolumeClaim) -> &str {
    claim.status.as_ref().and_then(|s| s.phase.as_deref()).unwrap_or_default()
}

/// `status.phase` of a volume.
pub fn volume_phase(volume: &PersistentVolume) -> &str {
    volume.status.as_ref().and_then(|s| s.phase.as_deref()).unwrap_or_default()
}

/// Whether the reclaim policy of a volume is this one.
pub fn policy_is(volume: &PersistentVolume, policy: &str) -> bool {
    let found = volume.spec.as_ref().and_then(|s| s.persistent_volume_reclaim_policy.as_deref());
    found.unwrap_or("Retain") == policy
}
