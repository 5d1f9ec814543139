//! Node selectors and node affinity.

use super::{Filter, Rejection, Score, World};
use crate::cache::NodeInfo;
use coracle_kinds::placement::{node_matches, preference};
use k8s_openapi::api::core::v1::Pod;

/// `spec.nodeSelector` and `spec.affinity.nodeAffinity`.
pub struct NodeAffinity;

impl Filter for NodeAffinity {
    fn reject(&self, _: &World<'_>, pod: &Pod, node: &NodeInfo) -> Option<Rejection> {
        match &pod.spec {
            Some(spec) if !node_matches(spec, &node.node) => {
                Some(Rejection::by_node("node(s) didn't match Pod's node affinity/selector"))
            }
            _ => None,
        }
    }
}

impl Score for NodeAffinity {
    fn score(&self, _: &World<'_>, pod: &Pod, node: &NodeInfo) -> i64 {
        pod.spec.as_ref().map_or(0, |spec| preference(spec, &node.node))
    }

    fn weight(&self) -> i64 {
        2
    }
}
