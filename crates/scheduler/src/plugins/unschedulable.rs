//! Cordoned nodes take no new pods, except those that tolerate the taint that stands for it.

use super::{Filter, Rejection, World};
use crate::cache::NodeInfo;
use coracle_kinds::placement::tolerates;
use k8s_openapi::api::core::v1::{Pod, Taint};

/// `spec.unschedulable`.
pub struct Unschedulable;

impl Filter for Unschedulable {
    fn reject(&self, _: &World<'_>, pod: &Pod, node: &NodeInfo) -> Option<Rejection> {
        let cordoned = node.node.spec.as_ref().and_then(|s| s.unschedulable).unwrap_or(false);
        let taint =
            Taint { key: "node.kubernetes.io/unschedulable".into(), effect: "NoSchedule".into(), ..Taint::default() };
        let mut tolerations = pod.spec.iter().flat_map(|s| s.tolerations.iter().flatten());
        if cordoned && !tolerations.any(|t| tolerates(t, &taint)) {
            return Some(Rejection::by_node("node(s) were unschedulable"));
        }
        None
    }
}
