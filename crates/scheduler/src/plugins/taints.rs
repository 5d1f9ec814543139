//! Taints keep pods away that do not tolerate them; `PreferNoSchedule` only makes a node less liked.

use super::{Filter, Rejection, Score, World};
use crate::cache::NodeInfo;
use coracle_kinds::placement::{tolerates, untolerated};
use k8s_openapi::api::core::v1::{Pod, Taint, Toleration};

/// `spec.taints` of the node against `spec.tolerations` of the pod.
pub struct Taints;

fn both<'a>(pod: &'a Pod, node: &'a NodeInfo) -> (&'a [Taint], &'a [Toleration]) {
    let taints = node.node.spec.as_ref().and_then(|s| s.taints.as_deref()).unwrap_or_default();
    let tolerations = pod.spec.as_ref().and_then(|s| s.tolerations.as_deref()).unwrap_or_default();
    (taints, tolerations)
}

impl Filter for Taints {
    fn reject(&self, _: &World<'_>, pod: &Pod, node: &NodeInfo) -> Option<Rejection> {
        let (taints, tolerations) = both(pod, node);
        let taint = untolerated(taints, tolerations, &["NoSchedule", "NoExecute"])?;
        let value = taint.value.as_deref().unwrap_or_default();
        Some(Rejection::by_node(format!("node(s) had untolerated taint {{{}: {value}}}", taint.key)))
    }
}

impl Score for Taints {
    fn score(&self, _: &World<'_>, pod: &Pod, node: &NodeInfo) -> i64 {
        let (taints, tolerations) = both(pod, node);
        let disliked =
            taints.iter().filter(|t| t.effect == "PreferNoSchedule" && !tolerations.iter().any(|o| tolerates(o, t)));
        -i64::try_from(disliked.count()).unwrap_or(i64::MAX)
    }

    fn weight(&self) -> i64 {
        3
    }
}
