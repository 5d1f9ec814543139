//! What decides where a pod goes: one file each, one line in [`FILTERS`] or [`SCORES`].

mod affinity;
mod company;
mod fit;
mod name;
mod ports;
mod spread;
mod taints;
mod unschedulable;
mod volumes;

pub use company::wants_company;
pub use volumes::{SELECTED_NODE, bound_to, claims, waits_for_consumer};

use crate::cache::{Cache, NodeInfo};
use coracle_client::SharedView;
use k8s_openapi::api::core::v1::Pod;

/// What plugins may look at.
pub struct World<'a> {
    /// All nodes with their pods.
    pub cache: &'a Cache,
    /// Everything else (claims, volumes, services).
    pub view: &'a SharedView,
}

/// Says whether a pod can run on a node at all.
pub trait Filter: Sync {
    /// Why not, as counted in the event (`node(s) had untolerated taint(s)`); several reasons are counted each.
    fn reject(&self, world: &World<'_>, pod: &Pod, node: &NodeInfo) -> Vec<String>;
}

/// Says how well a node suits a pod.
pub trait Score: Sync {
    /// Higher is better.
    fn score(&self, world: &World<'_>, pod: &Pod, node: &NodeInfo) -> i64;
    /// Whether the candidates' scores are stretched to 0–100 before they are weighed. A score that is out of 100 by nature is not: a small
    /// difference must stay small.
    fn stretched(&self) -> bool {
        true
    }
    /// How much it counts.
    fn weight(&self) -> i64 {
        1
    }
}

/// All filters, in the order in which their reasons are looked for; the first that rejects a node speaks.
pub static FILTERS: &[&dyn Filter] = &[
    &unschedulable::Unschedulable,
    &name::NodeName,
    &taints::Taints,
    &affinity::NodeAffinity,
    &ports::Ports,
    &fit::Fit,
    &volumes::Volumes,
    &spread::TopologySpread,
    &company::InterPodAffinity,
];

/// All scores.
pub static SCORES: &[&dyn Score] = &[
    &taints::Taints,
    &affinity::NodeAffinity,
    &fit::Fit,
    &fit::Balanced,
    &spread::TopologySpread,
    &spread::Siblings,
    &company::InterPodAffinity,
];

#[cfg(test)]
mod tests {
    #[test]
    fn every_plugin_file_is_listed() {
        let source = include_str!("mod.rs");
        for file in std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/src/plugins")).unwrap() {
            let name = file.unwrap().file_name().into_string().unwrap();
            let name = name.trim_end_matches(".rs");
            assert!(name == "mod" || source.contains(&format!("&{name}::")), "{name}.rs is in no list");
        }
    }
}
