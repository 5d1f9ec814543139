//! A host port is given once per node.

use super::{Filter, Rejection, World};
use crate::cache::NodeInfo;
use coracle_kinds::placement::{host_ports, ports_conflict};
use k8s_openapi::api::core::v1::Pod;

/// `ports[*].hostPort`.
pub struct Ports;

impl Filter for Ports {
    fn reject(&self, _: &World<'_>, pod: &Pod, node: &NodeInfo) -> Option<Rejection> {
        let wanted = pod.spec.as_ref().map(host_ports).unwrap_or_default();
        if wanted.is_empty() {
            return None;
        }
        let mut taken = node.pods.values().filter_map(|p| p.spec.as_ref()).flat_map(host_ports);
        if taken.any(|taken| wanted.iter().any(|wanted| ports_conflict(wanted, &taken))) {
            return Some(Rejection::by_pods("node(s) didn't have free ports for the requested pod ports"));
        }
        None
    }
}
