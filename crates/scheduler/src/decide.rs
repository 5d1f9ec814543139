//! The decision: which node, or why none, and whether room can be made. Pure over what the world shows.

use crate::{
    cache::NodeInfo,
    plugins::{FILTERS, Obstacle, Rejection, SCORES, World},
    preempt::{Preemption, preempt},
};
use k8s_openapi::api::core::v1::Pod;
use std::collections::BTreeMap;

/// What was decided.
#[derive(Debug, PartialEq)]
pub enum Decision {
    /// This node.
    Node(String),
    /// None as things are.
    Unschedulable {
        /// Upstream's message.
        why: String,
        /// What can be done about it.
        preemption: Preemption,
    },
}

/// Chooses a node for `pod`: the one where room was made for it if it fits there now, else the best. Among equals `turn` chooses, so that
/// they are used in turn.
pub fn decide(world: &World<'_>, pod: &Pod, turn: usize) -> Decision {
    if world.is_empty() {
        let why = "no nodes available to schedule pods".into();
        return Decision::Unschedulable { why, preemption: Preemption::Hopeless(String::new()) };
    }
    let nominated = world.nominated.node_of(pod.metadata.uid.as_deref().unwrap_or_default());
    if let Some(node) = nominated.and_then(|name| world.node(name))
        && rejection(world, pod, node).is_none()
    {
        return Decision::Node(node.name().to_string());
    }
    let mut candidates: Vec<&NodeInfo> = Vec::new();
    let mut crowded: Vec<&NodeInfo> = Vec::new();
    let mut reasons = Reasons::default();
    for node in world.nodes() {
        let Some(rejection) = rejection(world, pod, node) else {
            candidates.push(node);
            continue;
        };
        reasons.count(rejection.reasons, 1);
        if rejection.by == Obstacle::Pods {
            crowded.push(node);
        }
    }
    match candidates.as_slice() {
        [] => Decision::Unschedulable {
            why: reasons.message(world.len()),
            preemption: preempt(world, pod, &crowded, turn),
        },
        [only] => Decision::Node(only.name().to_string()),
        several => Decision::Node(best(world, pod, several, turn).to_string()),
    }
}

/// Why `pod` cannot run on `node`, neither beside the pods that are nominated there nor, should they go elsewhere, without them.
pub fn rejection(world: &World<'_>, pod: &Pod, node: &NodeInfo) -> Option<Rejection> {
    let mut ahead = world.nominated.ahead_of(pod, node.name()).peekable();
    if ahead.peek().is_some() {
        let mut fuller = node.clone();
        ahead.for_each(|(uid, other)| fuller.add(uid, other.clone()));
        let rejected = filter(&world.with(&fuller), pod, &fuller);
        if rejected.is_some() {
            return rejected;
        }
    }
    filter(world, pod, node)
}

fn filter(world: &World<'_>, pod: &Pod, node: &NodeInfo) -> Option<Rejection> {
    FILTERS.iter().find_map(|filter| filter.reject(world, pod, node))
}

/// How many nodes give each reason.
#[derive(Default)]
pub struct Reasons(BTreeMap<String, usize>);

impl Reasons {
    /// So many nodes more give these reasons.
    pub fn count(&mut self, reasons: Vec<String>, nodes: usize) {
        reasons.into_iter().for_each(|reason| *self.0.entry(reason).or_default() += nodes);
    }

    /// `0/3 nodes are available: 1 Insufficient cpu, 2 node(s) were unschedulable.`
    pub fn message(&self, nodes: usize) -> String {
        let mut listed: Vec<String> = self.0.iter().map(|(reason, count)| format!("{count} {reason}")).collect();
        listed.sort();
        format!("0/{nodes} nodes are available: {}.", listed.join(", "))
    }
}

fn best<'a>(world: &World<'_>, pod: &Pod, nodes: &[&'a NodeInfo], turn: usize) -> &'a str {
    let mut totals = vec![0i64; nodes.len()];
    for score in SCORES {
        let raw: Vec<i64> = nodes.iter().map(|node| score.score(world, pod, node)).collect();
        let (Some(low), Some(high)) = (raw.iter().min(), raw.iter().max()) else { continue };
        for (total, value) in totals.iter_mut().zip(&raw) {
            let points = match score.stretched() {
                true if high > low => (value - low) * 100 / (high - low),
                true => 0,
                false => *value,
            };
            *total += points * score.weight();
        }
    }
    let top = totals.iter().max().copied().unwrap_or_default();
    let equals: Vec<&str> = nodes.iter().zip(&totals).filter(|(_, t)| **t == top).map(|(n, _)| n.name()).collect();
    equals[turn % equals.len()]
}
