//! What a DaemonSet does: pure. One pod on every node it belongs on, and updates node by node.

use super::placement::{self, Placement};
use crate::{
    pods,
    revisions::REVISION_LABEL,
    rounding::{Round, scaled},
};
use coracle_client::Typed;
use jiff::Timestamp;
use k8s_openapi::api::{
    apps::v1::{DaemonSet, DaemonSetStatus},
    core::v1::{Node, Pod, PodSpec},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

/// At most so many pods are created or deleted in one reconciliation.
const BURST: usize = 250;

/// What is known.
pub struct World<'a> {
    /// The set.
    pub set: &'a DaemonSet,
    /// `metadata.generation`.
    pub generation: i64,
    /// All nodes.
    pub nodes: &'a [Typed<Node>],
    /// The set's pods.
    pub pods: &'a [Typed<Pod>],
    /// The hash of the present template.
    pub hash: &'a str,
    /// How often the name of a revision was taken.
    pub collisions: i32,
    /// Now.
    pub now: Timestamp,
}

/// What to do.
#[derive(Debug, Default)]
pub struct Plan {
    /// Nodes that get a pod.
    pub create: BTreeSet<String>,
    /// Pods that go.
    pub delete: Vec<Typed<Pod>>,
    /// Pods that ended, with their node; they go too, but not again and again without a pause.
    pub ended: Vec<(String, Typed<Pod>)>,
}

impl Plan {
    fn delete(&mut self, pod: &Typed<Pod>) {
        if self.delete.iter().all(|p| p.uid() != pod.uid()) {
            self.delete.push(pod.clone());
        }
    }
}

/// The template's pod spec with the tolerations of a daemon.
pub fn daemon_spec(set: &DaemonSet) -> PodSpec {
    let mut spec = set.spec.template.spec.clone().unwrap_or_default();
    placement::add_tolerations(&mut spec);
    spec
}

struct Here<'a> {
    name: &'a str,
    placement: Placement,
    /// Oldest first, those that run before those that wait.
    pods: Vec<&'a Typed<Pod>>,
}

impl World<'_> {
    fn min_ready(&self) -> i32 {
        self.set.spec.min_ready_seconds.unwrap_or(0)
    }

    fn is_new(&self, pod: &Typed<Pod>) -> bool {
        pod.meta().labels.get(REVISION_LABEL).is_some_and(|h| h == self.hash)
    }

    fn is_available(&self, pod: &Typed<Pod>) -> bool {
        pods::is_available(pod, self.min_ready(), self.now)
    }

    fn here(&self) -> Vec<Here<'_>> {
        let mut by_node = self.by_node();
        let spec = daemon_spec(self.set);
        self.nodes
            .iter()
            .map(|node| Here {
                name: node.name(),
                placement: placement::placement(&spec, node.meta(), &placement::taints(node)),
                pods: by_node.remove(node.name()).unwrap_or_default(),
            })
            .collect()
    }

    fn by_node(&self) -> BTreeMap<String, Vec<&Typed<Pod>>> {
        let mut by_node: BTreeMap<String, Vec<&Typed<Pod>>> = BTreeMap::new();
        for pod in self.pods {
            if let Some(node) = pod.spec.as_ref().and_then(placement::target) {
                by_node.entry(node).or_default().push(pod);
            }
        }
        let waits = |pod: &Typed<Pod>| pod.spec.as_ref().is_none_or(|s| s.node_name.is_none());
        for pods in by_node.values_mut() {
            pods.sort_by_key(|p| (waits(p), p.meta().creation_timestamp, p.name().to_string()));
        }
        by_node
    }

    /// Maximal surge and unavailability of a rolling update; `None` if pods are replaced only when somebody deletes them.
    fn bounds(&self, desired: i32) -> Option<(i32, i32)> {
        let strategy = self.set.spec.update_strategy.clone().unwrap_or_default();
        if strategy.type_.as_deref() == Some("OnDelete") {
            return None;
        }
        let rolling = strategy.rolling_update.unwrap_or_default();
        let surge = rolling.max_surge.as_ref().map_or(0, |v| scaled(v, desired, Round::Up));
        let unavailable = rolling.max_unavailable.as_ref().map_or(1, |v| scaled(v, desired, Round::Up));
        // Nothing could ever move.
        Some((surge, if surge == 0 { unavailable.max(1) } else { unavailable }))
    }
}

/// Decides.
pub fn plan(world: &World<'_>) -> Plan {
    let here = world.here();
    let desired = here.iter().filter(|h| h.placement == Placement::Run).count() as i32;
    let bounds = world.bounds(desired);
    let surges = bounds.is_some_and(|(surge, _)| surge > 0);
    let mut plan = Plan::default();
    for node in &here {
        settle(world, node, surges, &mut plan);
    }
    // A pod meant for a node that is gone will never be scheduled.
    for pod in world.pods.iter().filter(|pod| !pod.meta().is_deleting()) {
        let spec = pod.spec.as_ref();
        let waits = spec.is_some_and(|s| s.node_name.is_none());
        let target = spec.and_then(placement::target);
        if waits && target.is_some_and(|t| world.nodes.iter().all(|n| n.name() != t)) {
            plan.delete(pod);
        }
    }
    match bounds {
        Some((surge, _)) if surge > 0 => roll_with_surge(world, &here, surge, &mut plan),
        Some((_, unavailable)) => roll(world, &here, unavailable, &mut plan),
        None => {}
    }
    plan.delete.truncate(BURST);
    while plan.create.len() > BURST {
        plan.create.pop_last();
    }
    plan
}

/// One pod where one belongs, none where none does.
fn settle(world: &World<'_>, node: &Here<'_>, surges: bool, plan: &mut Plan) {
    if node.placement == Placement::Avoid {
        for pod in node.pods.iter().filter(|pod| !pod.meta().is_deleting()) {
            plan.delete(pod);
        }
        return;
    }
    if node.pods.is_empty() {
        if node.placement == Placement::Run {
            plan.create.insert(node.name.to_string());
        }
        return;
    }
    let mut running = Vec::new();
    for pod in node.pods.iter().filter(|pod| !pod.meta().is_deleting()) {
        if pods::is_finished(pod) {
            plan.ended.push((node.name.to_string(), (*pod).clone()));
        } else {
            running.push(*pod);
        }
    }
    if running.len() < 2 {
        return;
    }
    if !surges {
        for pod in &running[1..] {
            plan.delete(pod);
        }
        return;
    }
    // While an update surges a node may have one old and one new pod, until the new one is available.
    let new = running.iter().find(|pod| world.is_new(pod));
    let old = running.iter().find(|pod| !world.is_new(pod));
    let replaced = new.is_some_and(|pod| world.is_available(pod));
    for pod in &running {
        let keep = [new, old.filter(|_| !replaced)].into_iter().flatten().any(|kept| kept.uid() == pod.uid());
        if !keep {
            plan.delete(pod);
        }
    }
}

enum OnNode<'a> {
    Old(&'a Typed<Pod>),
    New(&'a Typed<Pod>),
    Both(&'a Typed<Pod>),
    /// No pod, or more than there should be.
    Unsettled,
}

fn on_node<'a>(world: &World<'_>, node: &Here<'a>) -> OnNode<'a> {
    let live = || node.pods.iter().copied().filter(|pod| !pod.meta().is_deleting());
    let new: Vec<_> = live().filter(|pod| world.is_new(pod)).collect();
    let old: Vec<_> = live().filter(|pod| !world.is_new(pod)).collect();
    match (old.as_slice(), new.as_slice()) {
        ([old], []) => OnNode::Old(old),
        ([], [new]) => OnNode::New(new),
        ([_], [new]) => OnNode::Both(new),
        _ => OnNode::Unsettled,
    }
}

/// Deletes old pods, as many at a time as may be unavailable. Those that are unavailable already cost nothing.
fn roll(world: &World<'_>, here: &[Here<'_>], max_unavailable: i32, plan: &mut Plan) {
    let (mut unavailable, mut candidates) = (0, Vec::new());
    for node in here.iter().filter(|node| node.placement == Placement::Run || !node.pods.is_empty()) {
        match on_node(world, node) {
            OnNode::Unsettled | OnNode::Both(_) => unavailable += 1,
            OnNode::New(pod) => unavailable += i32::from(!world.is_available(pod)),
            OnNode::Old(pod) if world.is_available(pod) => candidates.push(pod),
            OnNode::Old(pod) => {
                plan.delete(pod);
                unavailable += 1;
            }
        }
    }
    for pod in candidates.into_iter().take((max_unavailable - unavailable).max(0) as usize) {
        plan.delete(pod);
    }
}

/// Creates new pods beside old ones, so many at a time; [`settle`] deletes the old one when the new one is available.
fn roll_with_surge(world: &World<'_>, here: &[Here<'_>], max_surge: i32, plan: &mut Plan) {
    let (mut surging, mut candidates) = (0, Vec::new());
    for node in here.iter().filter(|node| node.placement == Placement::Run) {
        match on_node(world, node) {
            OnNode::Unsettled | OnNode::New(_) => {}
            OnNode::Both(new) => surging += i32::from(!world.is_available(new)),
            OnNode::Old(pod) if world.is_available(pod) => candidates.push(node.name),
            OnNode::Old(_) => {
                plan.create.insert(node.name.to_string());
            }
        }
    }
    for node in candidates.into_iter().take((max_surge - surging).max(0) as usize) {
        plan.create.insert(node.to_string());
    }
}

/// The status of the set with these pods.
pub fn status(world: &World<'_>) -> DaemonSetStatus {
    let (mut desired, mut current, mut misscheduled) = (0, 0, 0);
    let (mut ready, mut available, mut updated) = (0, 0, 0);
    for node in world.here() {
        let first = node.pods.first();
        if node.placement != Placement::Run {
            misscheduled += i32::from(first.is_some());
            continue;
        }
        desired += 1;
        let Some(first) = first else { continue };
        current += 1;
        ready += i32::from(pods::is_ready(first));
        available += i32::from(world.is_available(first));
        // While an update surges the new pod may be the second one.
        updated += i32::from(node.pods.iter().any(|pod| world.is_new(pod)));
    }
    let last = world.set.status.as_ref();
    let unless_zero = |n: i32| Some(n).filter(|n| *n != 0);
    DaemonSetStatus {
        desired_number_scheduled: desired,
        current_number_scheduled: current,
        number_misscheduled: misscheduled,
        number_ready: ready,
        number_available: unless_zero(available),
        number_unavailable: unless_zero(desired - available),
        updated_number_scheduled: unless_zero(updated),
        observed_generation: Some(world.generation),
        collision_count: Some(world.collisions).filter(|c| *c != 0),
        conditions: last.and_then(|s| s.conditions.clone()),
    }
}

/// When a pod becomes available by waiting alone.
pub fn again(world: &World<'_>) -> Option<Duration> {
    pods::next_available(world.pods, world.min_ready(), world.now)
}
