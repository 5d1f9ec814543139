//! A pod that names its node goes nowhere else.

use super::{Filter, Rejection, World};
use crate::cache::NodeInfo;
use k8s_openapi::api::core::v1::Pod;

/// `spec.nodeName`.
pub struct NodeName;

impl Filter for NodeName {
    fn reject(&self, _: &World<'_>, pod: &Pod, node: &NodeInfo) -> Option<Rejection> {
        match pod.spec.as_ref().and_then(|s| s.node_name.as_deref()) {
            Some(name) if !name.is_empty() && name != node.name() => {
                Some(Rejection::by_node("node(s) didn't match the requested node name"))
            }
            _ => None,
        }
    }
}
