//! Spreading: as topology spread constraints say, and replicas of one owner apart from each other.

use super::{Filter, Rejection, Score, World};
use crate::cache::NodeInfo;
use coracle_api::LabelSelector;
use coracle_kinds::placement::node_matches;
use k8s_openapi::api::core::v1::{Pod, TopologySpreadConstraint};
use std::collections::{BTreeMap, HashMap};

/// `spec.topologySpreadConstraints`.
pub struct TopologySpread;

/// Replicas of one owner go to different nodes if they can.
pub struct Siblings;

fn labels(pod: &Pod) -> BTreeMap<String, String> {
    pod.metadata.labels.clone().unwrap_or_default()
}

fn domain<'a>(node: &'a NodeInfo, key: &str) -> Option<&'a String> {
    node.node.metadata.labels.as_ref()?.get(key)
}

fn matching(pod: &Pod, node: &NodeInfo, selector: &LabelSelector) -> i64 {
    let counted = node.pods.values().filter(|other| {
        other.metadata.namespace == pod.metadata.namespace
            && other.metadata.deletion_timestamp.is_none()
            && selector.matches(&labels(other))
    });
    i64::try_from(counted.count()).unwrap_or(i64::MAX)
}

/// Per domain of a constraint, how many matching pods there are, over the nodes that the pod could use.
fn counts<'a>(
    world: &World<'a>,
    pod: &Pod,
    constraint: &TopologySpreadConstraint,
) -> (LabelSelector, HashMap<&'a str, i64>) {
    let mut selector = constraint
        .label_selector
        .as_ref()
        .and_then(|s| LabelSelector::from_spec(s).ok())
        .unwrap_or_else(LabelSelector::nothing);
    let own = labels(pod);
    let keys = constraint.match_label_keys.iter().flatten().filter_map(|k| own.get_key_value(k));
    selector = selector.and(&LabelSelector::from_map(keys));
    let mut counts = HashMap::new();
    for node in world.nodes() {
        let usable = constraint.node_affinity_policy.as_deref() == Some("Ignore")
            || pod.spec.as_ref().is_none_or(|s| node_matches(s, &node.node));
        if let Some(domain) = domain(node, &constraint.topology_key).filter(|_| usable) {
            *counts.entry(domain.as_str()).or_default() += matching(pod, node, &selector);
        }
    }
    (selector, counts)
}

fn constraints<'a>(pod: &'a Pod, when: &'a str) -> impl Iterator<Item = &'a TopologySpreadConstraint> {
    pod.spec
        .iter()
        .flat_map(|s| s.topology_spread_constraints.iter().flatten())
        .filter(move |c| c.when_unsatisfiable == when)
}

impl Filter for TopologySpread {
    fn reject(&self, world: &World<'_>, pod: &Pod, node: &NodeInfo) -> Option<Rejection> {
        for constraint in constraints(pod, "DoNotSchedule") {
            let Some(here) = domain(node, &constraint.topology_key) else {
                let why = "node(s) didn't match pod topology spread constraints (missing required label)";
                return Some(Rejection::by_node(why));
            };
            let (selector, counts) = counts(world, pod, constraint);
            let few_domains =
                constraint.min_domains.is_some_and(|min| counts.len() < usize::try_from(min).unwrap_or(0));
            let least = if few_domains { 0 } else { counts.values().min().copied().unwrap_or(0) };
            let itself = i64::from(selector.matches(&labels(pod)));
            let count = counts.get(here.as_str()).copied().unwrap_or(0);
            if count + itself - least > i64::from(constraint.max_skew) {
                return Some(Rejection::by_pods("node(s) didn't match pod topology spread constraints"));
            }
        }
        None
    }
}

impl Score for TopologySpread {
    fn score(&self, world: &World<'_>, pod: &Pod, node: &NodeInfo) -> i64 {
        constraints(pod, "ScheduleAnyway")
            .filter_map(|constraint| {
                let here = domain(node, &constraint.topology_key)?;
                Some(-counts(world, pod, constraint).1.get(here.as_str()).copied().unwrap_or(0))
            })
            .sum()
    }

    fn weight(&self) -> i64 {
        2
    }
}

impl Score for Siblings {
    fn score(&self, _: &World<'_>, pod: &Pod, node: &NodeInfo) -> i64 {
        let owner = |p: &Pod| {
            let owners = p.metadata.owner_references.as_deref().unwrap_or_default();
            owners.iter().find(|o| o.controller == Some(true)).map(|o| o.uid.clone())
        };
        let Some(own) = owner(pod) else { return 0 };
        let siblings = node.pods.values().filter(|other| owner(other).as_ref() == Some(&own));
        -i64::try_from(siblings.count()).unwrap_or(i64::MAX)
    }

    fn weight(&self) -> i64 {
        2
    }
}
