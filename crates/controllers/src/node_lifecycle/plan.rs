//! What a node's silence and conditions mean: pure.

use super::disruption::Eviction;
use coracle_client::{Reference, Typed};
use jiff::Timestamp;
use k8s_openapi::{
    api::core::v1::{Node, NodeCondition, Taint},
    apimachinery::pkg::apis::meta::v1::Time,
};
use std::time::Duration;

/// A node that said nothing for so long is lost.
pub const GRACE: Duration = Duration::from_secs(40);
/// A new node has longer to say the first word.
pub const STARTUP_GRACE: Duration = Duration::from_secs(60);

const NOT_READY: &str = "node.kubernetes.io/not-ready";
const UNREACHABLE: &str = "node.kubernetes.io/unreachable";
const UNSCHEDULABLE: &str = "node.kubernetes.io/unschedulable";
const NO_SCHEDULE: &str = "NoSchedule";
const NO_EXECUTE: &str = "NoExecute";

/// `(condition, status, taint)`.
const BY_CONDITION: [(&str, &str, &str); 6] = [
    ("Ready", "False", NOT_READY),
    ("Ready", "Unknown", UNREACHABLE),
    ("MemoryPressure", "True", "node.kubernetes.io/memory-pressure"),
    ("DiskPressure", "True", "node.kubernetes.io/disk-pressure"),
    ("NetworkUnavailable", "True", "node.kubernetes.io/network-unavailable"),
    ("PIDPressure", "True", "node.kubernetes.io/pid-pressure"),
];

/// The conditions that only the node can know.
const REPORTED: [&str; 4] = ["Ready", "MemoryPressure", "DiskPressure", "PIDPressure"];

/// What is known about a node.
pub struct World<'a> {
    /// The node.
    pub node: &'a Typed<Node>,
    /// Its last sign of life.
    pub heard: Timestamp,
    /// The time.
    pub now: Timestamp,
    /// Whether its pods may be driven off.
    pub eviction: Eviction,
}

/// What to do about it.
#[derive(Default)]
pub struct Plan {
    /// New conditions: it has just been lost.
    pub conditions: Option<Vec<NodeCondition>>,
    /// New taints.
    pub taints: Option<Vec<Taint>>,
    /// Whether it is lost, so that its pods count as not ready.
    pub lost: bool,
    /// Whether the new taints begin to drive pods off.
    pub evicts: bool,
    /// When to look again.
    pub again: Option<Duration>,
}

/// A node in events, also one that is gone.
pub fn reference(name: &str, uid: &str) -> Reference {
    Reference {
        api_version: "v1".into(),
        kind: "Node".into(),
        namespace: String::new(),
        name: name.into(),
        uid: uid.into(),
        field_path: String::new(),
    }
}

/// A condition of a node.
pub fn condition<'a>(node: &'a Node, kind: &str) -> Option<&'a NodeCondition> {
    node.status.as_ref()?.conditions.as_ref()?.iter().find(|c| c.type_ == kind)
}

/// The status of the node's `Ready` condition; empty if there is none.
pub fn ready(node: &Node) -> &str {
    condition(node, "Ready").map_or("", |c| &c.status)
}

/// Decides.
pub fn plan(world: &World<'_>) -> Plan {
    let (node, now) = (world.node, world.now);
    let grace = if condition(node, "Ready").is_some() { GRACE } else { STARTUP_GRACE };
    let silent = now.duration_since(world.heard).unsigned_abs();
    let before = node.status.as_ref().and_then(|s| s.conditions.clone()).unwrap_or_default();
    let mut plan = Plan::default();
    let conditions = if silent >= grace {
        let after = lose(&before, node, now);
        plan.lost = true;
        plan.conditions = (after != before && ready(node) != "Unknown").then(|| after.clone());
        after
    } else {
        plan.lost = ready(node) == "Unknown";
        plan.again = Some(grace - silent);
        before
    };
    let old = node.spec.as_ref().and_then(|s| s.taints.clone()).unwrap_or_default();
    let (new, evicts) = taints(&old, &conditions, world);
    plan.evicts = evicts;
    plan.taints = (new != old).then_some(new);
    plan
}

/// The conditions of a node that went silent.
fn lose(before: &[NodeCondition], node: &Typed<Node>, now: Timestamp) -> Vec<NodeCondition> {
    let mut after = before.to_vec();
    for kind in REPORTED {
        match after.iter_mut().find(|c| c.type_ == kind) {
            Some(known) if known.status == "Unknown" => {}
            Some(known) => {
                known.status = "Unknown".into();
                known.reason = Some("NodeStatusUnknown".into());
                known.message = Some("Kubelet stopped posting node status.".into());
                known.last_transition_time = Some(Time(now));
            }
            None => after.push(NodeCondition {
                type_: kind.into(),
                status: "Unknown".into(),
                reason: Some("NodeStatusNeverUpdated".into()),
                message: Some("Kubelet never posted node status.".into()),
                last_heartbeat_time: node.meta().creation_timestamp.map(Time),
                last_transition_time: Some(Time(now)),
            }),
        }
    }
    after
}

/// The taints that follow from conditions, among those that others set; and whether they begin to drive pods off.
fn taints(old: &[Taint], conditions: &[NodeCondition], world: &World<'_>) -> (Vec<Taint>, bool) {
    let holds = |kind: &str, status: &str| conditions.iter().any(|c| c.type_ == kind && c.status == status);
    let has = |key: &str, effect: &str| old.iter().any(|t| t.key == key && t.effect == effect);
    let mut wanted: Vec<(&str, &str)> = Vec::new();
    let no_word = !conditions.iter().any(|c| c.type_ == "Ready");
    for (kind, status, key) in BY_CONDITION {
        // a node that has not said anything yet keeps the taint that it was born with
        if holds(kind, status) || (key == NOT_READY && no_word && has(key, NO_SCHEDULE)) {
            wanted.push((key, NO_SCHEDULE));
        }
    }
    if world.node.spec.as_ref().is_some_and(|s| s.unschedulable == Some(true)) {
        wanted.push((UNSCHEDULABLE, NO_SCHEDULE));
    }
    let driven_off = has(NOT_READY, NO_EXECUTE) || has(UNREACHABLE, NO_EXECUTE);
    let lost = [("False", NOT_READY), ("Unknown", UNREACHABLE)].into_iter().find(|(status, _)| holds("Ready", status));
    let mut evicts = false;
    if let Some((_, key)) = lost
        && match world.eviction {
            Eviction::Allowed => true,
            Eviction::Hold => driven_off,
            Eviction::Lift => false,
        }
    {
        wanted.push((key, NO_EXECUTE));
        evicts = !driven_off;
    }
    let ours = |t: &Taint| match &*t.effect {
        NO_SCHEDULE => t.key == UNSCHEDULABLE || BY_CONDITION.iter().any(|(_, _, key)| *key == t.key),
        NO_EXECUTE => t.key == NOT_READY || t.key == UNREACHABLE,
        _ => false,
    };
    let is_wanted = |t: &Taint| wanted.iter().any(|(key, effect)| t.key == *key && t.effect == *effect);
    let mut new: Vec<Taint> = old.iter().filter(|t| !ours(t) || is_wanted(t)).cloned().collect();
    for (key, effect) in wanted {
        if !new.iter().any(|t| t.key == key && t.effect == effect) {
            let time_added = Some(Time(world.now));
            new.push(Taint { key: key.into(), effect: effect.into(), time_added, value: None });
        }
    }
    (new, evicts)
}
