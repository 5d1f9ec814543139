//! Resources: a node must have what the pod asks for; nodes with more left are liked better.

use super::{Filter, Obstacle, Rejection, Score, World};
use crate::cache::NodeInfo;
use coracle_kinds::placement::requests;
use k8s_openapi::api::core::v1::Pod;

/// Requests against what is left; prefers nodes with the most left (least allocated).
pub struct Fit;

/// Prefers nodes where CPU and memory would be used evenly.
pub struct Balanced;

impl Filter for Fit {
    fn reject(&self, _: &World<'_>, pod: &Pod, node: &NodeInfo) -> Option<Rejection> {
        let mut reasons = Vec::new();
        let mut by = Obstacle::Pods;
        let pods = i64::try_from(node.pods.len()).unwrap_or(i64::MAX);
        if node.allocatable.0.contains_key("pods") && pods + 1 > node.allocatable.get("pods") {
            reasons.push("Too many pods".into());
        }
        for (name, wanted) in pod.spec.as_ref().map(requests).unwrap_or_default().0 {
            let all = node.allocatable.get(&name);
            if wanted > 0 && wanted > all - node.requested.get(&name) {
                reasons.push(format!("Insufficient {name}"));
                if wanted > all {
                    by = Obstacle::Node;
                }
            }
        }
        (!reasons.is_empty()).then_some(Rejection { reasons, by })
    }
}

/// Pods that ask for nothing still use something: so much is assumed of them when nodes are compared (upstream's constants).
const UNSAID_CPU: i64 = 100;
const UNSAID_MEMORY: i64 = 200 << 20;

/// Share of CPU and memory in use with the pod on the node, in thousandths.
fn shares(pod: &Pod, node: &NodeInfo) -> [i64; 2] {
    let own = pod.spec.as_ref().map(requests).unwrap_or_default();
    [("cpu", UNSAID_CPU), ("memory", UNSAID_MEMORY)].map(|(name, unsaid)| {
        let said = |amount: i64| if amount == 0 { unsaid } else { amount };
        let here: i64 =
            node.pods.values().filter_map(|p| p.spec.as_ref()).map(|spec| said(requests(spec).get(name))).sum();
        let all = node.allocatable.get(name).max(1);
        ((here + said(own.get(name))).saturating_mul(1000) / all).min(1000)
    })
}

impl Score for Fit {
    fn score(&self, _: &World<'_>, pod: &Pod, node: &NodeInfo) -> i64 {
        let [cpu, memory] = shares(pod, node);
        (2000 - cpu - memory) / 20
    }

    fn stretched(&self) -> bool {
        false
    }
}

impl Score for Balanced {
    fn score(&self, _: &World<'_>, pod: &Pod, node: &NodeInfo) -> i64 {
        let [cpu, memory] = shares(pod, node);
        (1000 - (cpu - memory).abs() / 2) / 10
    }

    fn stretched(&self) -> bool {
        false
    }
}
