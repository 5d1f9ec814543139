//! Volumes: a claim that is bound ties the pod to where the volume is; one that waits for its first consumer must be able to follow.

use super::{Filter, Rejection, World};
use crate::cache::NodeInfo;
use coracle_client::{SharedView, Typed, ViewExt};
use coracle_kinds::{
    binding::{best, class_of_claim},
    placement::selector_matches,
};
use k8s_openapi::api::{
    core::v1::{Node, PersistentVolume, PersistentVolumeClaim, Pod},
    storage::v1::StorageClass,
};

/// `volumes[*].persistentVolumeClaim` and `.ephemeral`.
pub struct Volumes;

/// The annotation by which the scheduler tells the provisioner where to make a volume.
pub const SELECTED_NODE: &str = "volume.kubernetes.io/selected-node";

/// The names of the claims that a pod uses.
pub fn claims(pod: &Pod) -> Vec<String> {
    let name = pod.metadata.name.as_deref().unwrap_or_default();
    pod.spec
        .iter()
        .flat_map(|s| s.volumes.iter().flatten())
        .filter_map(|volume| match (&volume.persistent_volume_claim, &volume.ephemeral) {
            (Some(claim), _) => Some(claim.claim_name.clone()),
            (None, Some(_)) => Some(format!("{name}-{}", volume.name)),
            _ => None,
        })
        .collect()
}

/// The class of a claim, if its claims wait until a pod that uses them has a node.
fn late_class(view: &SharedView, claim: &PersistentVolumeClaim) -> Option<Typed<StorageClass>> {
    let class = view.typed::<StorageClass>("", class_of_claim(claim));
    class.filter(|c| c.volume_binding_mode.as_deref() == Some("WaitForFirstConsumer"))
}

/// Whether a claim waits until a pod that uses it has a node.
pub fn waits_for_consumer(view: &SharedView, claim: &PersistentVolumeClaim) -> bool {
    late_class(view, claim).is_some()
}

/// Whether a claim that waits gets its volume on this node: made there, or one that is there.
fn can_follow(view: &SharedView, claim: &PersistentVolumeClaim, class: &StorageClass, node: &Node) -> bool {
    let made = class.provisioner != "kubernetes.io/no-provisioner";
    made || best(claim, &view.typed_list::<PersistentVolume>(""), Some(node), false).is_some()
}

/// The volume that a claim is bound to; empty if none yet.
pub fn bound_to(claim: &PersistentVolumeClaim) -> &str {
    claim.spec.as_ref().and_then(|s| s.volume_name.as_deref()).unwrap_or_default()
}

impl Filter for Volumes {
    fn reject(&self, world: &World<'_>, pod: &Pod, node: &NodeInfo) -> Option<Rejection> {
        let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
        for name in claims(pod) {
            let Some(claim) = world.view.typed::<PersistentVolumeClaim>(namespace, &name) else {
                return Some(Rejection::by_node(format!("persistentvolumeclaim \"{name}\" not found")));
            };
            if claim.meta().is_deleting() {
                return Some(Rejection::by_node(format!("persistentvolumeclaim \"{name}\" is being deleted")));
            }
            let volume = bound_to(&claim);
            if volume.is_empty() {
                let Some(class) = late_class(world.view, &claim) else {
                    return Some(Rejection::by_node("pod has unbound immediate PersistentVolumeClaims"));
                };
                if !can_follow(world.view, &claim, &class, &node.node) {
                    return Some(Rejection::by_node("node(s) didn't find available persistent volumes to bind"));
                }
                continue;
            }
            let Some(volume) = world.view.typed::<PersistentVolume>("", volume) else {
                return Some(Rejection::by_node(
                    "node(s) unavailable due to one or more pvc(s) bound to non-existent pv(s)",
                ));
            };
            let required =
                volume.spec.as_ref().and_then(|s| s.node_affinity.as_ref()).and_then(|a| a.required.as_ref());
            if required.is_some_and(|selector| !selector_matches(selector, &node.node)) {
                return Some(Rejection::by_node("node(s) had volume node affinity conflict"));
            }
        }
        None
    }
}
