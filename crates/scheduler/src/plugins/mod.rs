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

use crate::{
    cache::{Cache, NodeInfo, has_wishes},
    nominated::Nominated,
};
use coracle_client::SharedView;
use k8s_openapi::api::core::v1::Pod;

/// What plugins may look at.
#[derive(Clone, Copy)]
pub struct World<'a> {
    cache: &'a Cache,
    /// Pods for which others made room.
    pub nominated: &'a Nominated,
    /// Everything else (claims, volumes, services).
    pub view: &'a SharedView,
    /// A node as it would be, in place of how it is.
    instead: Option<&'a NodeInfo>,
}

impl<'a> World<'a> {
    /// The world as it is.
    pub fn new(cache: &'a Cache, nominated: &'a Nominated, view: &'a SharedView) -> Self {
        Self { cache, nominated, view, instead: None }
    }

    /// The world if one of its nodes were like this. Costs nothing: the other nodes are shared.
    pub fn with<'b>(&self, node: &'b NodeInfo) -> World<'b>
    where
        'a: 'b,
    {
        World { cache: self.cache, nominated: self.nominated, view: self.view, instead: Some(node) }
    }

    /// The nodes, by name.
    pub fn nodes(&self) -> impl Iterator<Item = &'a NodeInfo> + use<'a> {
        let instead = self.instead;
        self.cache.nodes().map(move |node| instead.filter(|other| other.name() == node.name()).unwrap_or(&**node))
    }

    /// One node.
    pub fn node(&self, name: &str) -> Option<&'a NodeInfo> {
        self.instead.filter(|other| other.name() == name).or_else(|| self.cache.node(name))
    }

    /// How many nodes there are.
    pub fn len(&self) -> usize {
        self.cache.len()
    }

    /// Whether there are no nodes.
    pub fn is_empty(&self) -> bool {
        self.cache.is_empty()
    }

    /// The pods with wishes about their neighbours, and the nodes they are on.
    pub fn particular(&self) -> impl Iterator<Item = (&'a NodeInfo, &'a Pod)> + use<'a> {
        let instead = self.instead;
        let elsewhere = move |node: &NodeInfo| instead.is_none_or(|other| other.name() != node.name());
        let here = instead.into_iter().flat_map(|node| node.pods.values().map(move |pod| (node, &**pod)));
        self.cache.particular().filter(move |(node, _)| elsewhere(node)).chain(here.filter(|(_, pod)| has_wishes(pod)))
    }
}

/// What keeps a pod from a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Obstacle {
    /// The node itself, or something beside it: it stays when pods leave.
    Node,
    /// The pods there: it may go with them.
    Pods,
}

/// Why a pod cannot run on a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    /// As counted in the event (`node(s) had untolerated taint(s)`); several reasons are counted each.
    pub reasons: Vec<String>,
    /// What would have to change.
    pub by: Obstacle,
}

impl Rejection {
    /// Pods that leave would not help.
    pub fn by_node(reason: impl Into<String>) -> Self {
        Self { reasons: vec![reason.into()], by: Obstacle::Node }
    }

    /// Pods that leave may help.
    pub fn by_pods(reason: impl Into<String>) -> Self {
        Self { reasons: vec![reason.into()], by: Obstacle::Pods }
    }
}

/// Says whether a pod can run on a node at all.
pub trait Filter: Sync {
    /// Why not; `None` if it can.
    fn reject(&self, world: &World<'_>, pod: &Pod, node: &NodeInfo) -> Option<Rejection>;
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
