//! A pod that names its node goes nowhere else.

use super::{Filter, World};
use crate::cache::NodeInfo;
use k8s_openapi::api::core::v1::Pod;

/// `spec.nodeName`.
pub struct NodeName;

impl Filter for NodeName {
    fn reject(&self, _: &World<'_>, pod: &Pod, node: &NodeInfo) -> Vec<String> {
        match pod.spec.as_ref().and_then(|s| s.node_name.as_deref()) {
            Some(name) if !name.is_empty() && name != node.name() => {
                vec!["node(s) didn't match the requested node name".into()]
            }
            _ => Vec::new(),
        }
    }
}
