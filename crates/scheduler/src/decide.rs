//! The decision: which node, or why none. Pure over what the world shows.

use crate::{
    cache::NodeInfo,
    plugins::{FILTERS, SCORES, World},
};
use k8s_openapi::api::core::v1::Pod;
use std::{collections::BTreeMap, sync::Arc};

/// What was decided.
#[derive(Debug, PartialEq, Eq)]
pub enum Decision {
    /// This node.
    Node(String),
    /// None, with upstream's message.
    Unschedulable(String),
}

/// Chooses a node for `pod`. Among equals `turn` chooses, so that they are used in turn.
pub fn decide(world: &World<'_>, pod: &Pod, turn: usize) -> Decision {
    if world.cache.is_empty() {
        return Decision::Unschedulable("no nodes available to schedule pods".into());
    }
    let mut candidates: Vec<&Arc<NodeInfo>> = Vec::new();
    let mut reasons: BTreeMap<String, usize> = BTreeMap::new();
    for node in world.cache.nodes() {
        let rejected = FILTERS.iter().map(|f| f.reject(world, pod, node)).find(|r| !r.is_empty());
        match rejected {
            None => candidates.push(node),
            Some(why) => why.into_iter().for_each(|reason| *reasons.entry(reason).or_default() += 1),
        }
    }
    match candidates.as_slice() {
        [] => Decision::Unschedulable(message(world.cache.len(), &reasons)),
        [only] => Decision::Node(only.name().to_string()),
        several => Decision::Node(best(world, pod, several, turn).to_string()),
    }
}

/// `0/3 nodes are available: 1 Insufficient cpu, 2 node(s) were unschedulable.`
fn message(nodes: usize, reasons: &BTreeMap<String, usize>) -> String {
    let mut listed: Vec<String> = reasons.iter().map(|(reason, count)| format!("{count} {reason}")).collect();
    listed.sort();
    format!("0/{nodes} nodes are available: {}.", listed.join(", "))
}

fn best<'a>(world: &World<'_>, pod: &Pod, nodes: &[&'a Arc<NodeInfo>], turn: usize) -> &'a str {
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
