//! What a StatefulSet does next: pure. In order by default: the next pod only when those before it are ready, the last one first on the way
//! down and in updates.

use crate::{
    pods,
    revisions::REVISION_LABEL,
    rounding::{Round, scaled},
};
use coracle_client::Typed;
use jiff::Timestamp;
use k8s_openapi::api::{
    apps::v1::{StatefulSet, StatefulSetStatus},
    core::v1::Pod,
};
use std::{collections::BTreeMap, time::Duration};

/// What is known.
pub struct World<'a> {
    /// The set.
    pub set: &'a StatefulSet,
    /// The set's name.
    pub name: &'a str,
    /// Whether the set is being deleted.
    pub deleting: bool,
    /// `metadata.generation`.
    pub generation: i64,
    /// Its pods.
    pub pods: &'a [Typed<Pod>],
    /// The revision that was complete last.
    pub current: &'a str,
    /// The revision to get to.
    pub update: &'a str,
    /// How often the name of a revision was taken.
    pub collisions: i32,
    /// Now.
    pub now: Timestamp,
}

/// Which template a new pod is made from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// The one that was complete last.
    Current,
    /// The one to get to.
    Update,
}

/// Why a pod is deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// It ended, which a stateful pod must not.
    Ended,
    /// Fewer replicas are wanted.
    Scaled,
    /// It is of an old revision.
    Outdated,
}

/// One thing to do.
#[derive(Clone, Debug)]
pub enum Action {
    /// Create the pod with this ordinal.
    Create(i32, Version),
    /// Delete a pod.
    Delete(Typed<Pod>, Why),
}

/// Things to do, in order. None means: wait for a change.
pub fn plan(world: &World<'_>) -> Vec<Action> {
    let mut actions = Vec::new();
    if world.deleting {
        return actions;
    }
    let ordered = world.set.spec.pod_management_policy.as_deref() != Some("Parallel");
    let pace = if ordered { Pace::Ordered } else { Pace::Parallel };
    let (replicas, condemned) = world.by_ordinal();
    if grow(world, &replicas, pace, &mut actions) == Flow::Wait
        || shrink(world, &replicas, &condemned, pace, &mut actions) == Flow::Wait
        || !actions.is_empty()
    {
        return actions;
    }
    update(world, &replicas, &mut actions);
    actions
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Pace {
    Ordered,
    Parallel,
}

#[derive(PartialEq, Eq)]
enum Flow {
    GoOn,
    Wait,
}

/// The ordinal in `<set>-<ordinal>`; `None` if the name is not of that form.
pub fn ordinal(set: &str, pod: &str) -> Option<i32> {
    let digits = pod.strip_prefix(set)?.strip_prefix('-')?;
    let canonical = digits == "0" || (!digits.starts_with('0') && digits.bytes().all(|b| b.is_ascii_digit()));
    if canonical { digits.parse().ok() } else { None }
}

fn revision(pod: &Typed<Pod>) -> &str {
    pod.meta().labels.get(REVISION_LABEL).map_or("", String::as_str)
}

impl World<'_> {
    fn desired(&self) -> i32 {
        self.set.spec.replicas.unwrap_or(1)
    }

    fn start(&self) -> i32 {
        self.set.spec.ordinals.as_ref().and_then(|o| o.start).unwrap_or(0)
    }

    fn min_ready(&self) -> i32 {
        self.set.spec.min_ready_seconds.unwrap_or(0)
    }

    fn rolling(&self) -> bool {
        let strategy = self.set.spec.update_strategy.as_ref().and_then(|s| s.type_.as_deref());
        strategy.is_none_or(|s| s == "RollingUpdate")
    }

    fn partition(&self) -> i32 {
        let strategy = self.set.spec.update_strategy.as_ref();
        strategy.and_then(|s| s.rolling_update.as_ref()).and_then(|r| r.partition).unwrap_or(0)
    }

    fn max_unavailable(&self) -> i32 {
        let strategy = self.set.spec.update_strategy.as_ref();
        let max = strategy.and_then(|s| s.rolling_update.as_ref()).and_then(|r| r.max_unavailable.as_ref());
        max.map_or(1, |max| scaled(max, self.desired(), Round::Up).max(1))
    }

    fn is_healthy(&self, pod: &Typed<Pod>) -> bool {
        pods::phase(pod) == "Running"
            && !pod.meta().is_deleting()
            && pods::is_available(pod, self.min_ready(), self.now)
    }

    /// Pods that are wanted by ordinal, and those that are too many, highest ordinal first.
    fn by_ordinal(&self) -> (BTreeMap<i32, Typed<Pod>>, Vec<Typed<Pod>>) {
        let wanted = self.start()..self.start().saturating_add(self.desired());
        let mut replicas = BTreeMap::new();
        let mut condemned = BTreeMap::new();
        for pod in self.pods {
            let Some(ordinal) = ordinal(self.name, pod.name()) else { continue };
            if wanted.contains(&ordinal) {
                replicas.insert(ordinal, pod.clone());
            } else {
                condemned.insert(ordinal, pod.clone());
            }
        }
        (replicas, condemned.into_values().rev().collect())
    }

    fn version(&self, ordinal: i32) -> Version {
        if self.rolling() && ordinal < self.start() + self.partition() { Version::Current } else { Version::Update }
    }
}

/// Creates what is missing. In order, each pod waits for those before it.
fn grow(world: &World<'_>, replicas: &BTreeMap<i32, Typed<Pod>>, pace: Pace, actions: &mut Vec<Action>) -> Flow {
    let start = world.start();
    let mut wait = Flow::GoOn;
    for ordinal in start..start.saturating_add(world.desired()) {
        let Some(pod) = replicas.get(&ordinal) else {
            actions.push(Action::Create(ordinal, world.version(ordinal)));
            if pace == Pace::Ordered {
                return Flow::Wait;
            }
            continue;
        };
        if pods::is_finished(pod) {
            if !pod.meta().is_deleting() {
                actions.push(Action::Delete(pod.clone(), Why::Ended));
            }
            // Its successor is made once it is gone.
            wait = Flow::Wait;
            if pace == Pace::Ordered {
                return wait;
            }
            continue;
        }
        if pace == Pace::Ordered && !world.is_healthy(pod) {
            return Flow::Wait;
        }
    }
    wait
}

/// Deletes what is too much. In order, the last one first, and only when nothing else is unhealthy.
fn shrink(
    world: &World<'_>,
    replicas: &BTreeMap<i32, Typed<Pod>>,
    condemned: &[Typed<Pod>],
    pace: Pace,
    actions: &mut Vec<Action>,
) -> Flow {
    let mut all: Vec<(i32, &Typed<Pod>)> = replicas.iter().map(|(ordinal, pod)| (*ordinal, pod)).collect();
    all.extend(condemned.iter().filter_map(|pod| Some((ordinal(world.name, pod.name())?, pod))));
    all.sort_by_key(|(ordinal, _)| *ordinal);
    let first_unhealthy = all.iter().find(|(_, pod)| !world.is_healthy(pod)).map(|(_, pod)| pod.uid());
    for pod in condemned {
        if pod.meta().is_deleting() {
            if pace == Pace::Ordered {
                return Flow::Wait;
            }
            continue;
        }
        if pace == Pace::Ordered && !world.is_healthy(pod) && first_unhealthy != Some(pod.uid()) {
            return Flow::Wait;
        }
        actions.push(Action::Delete(pod.clone(), Why::Scaled));
        if pace == Pace::Ordered {
            return Flow::Wait;
        }
    }
    Flow::GoOn
}

/// Deletes outdated pods from the last to the partition, at most so many unavailable at a time.
fn update(world: &World<'_>, replicas: &BTreeMap<i32, Typed<Pod>>, actions: &mut Vec<Action>) {
    if !world.rolling() {
        return;
    }
    let most = world.max_unavailable();
    let targets = || replicas.range(world.start() + world.partition()..).rev().map(|(_, pod)| pod);
    let outdated = |pod: &&Typed<Pod>| revision(pod) != world.update && !pod.meta().is_deleting();
    if most == 1 {
        // An outdated pod is replaced even if it is broken; but one that was replaced has to come up first.
        let next = targets().find(|pod| outdated(pod) || !world.is_healthy(pod));
        if let Some(pod) = next.filter(outdated) {
            actions.push(Action::Delete(pod.clone(), Why::Outdated));
        }
        return;
    }
    let mut unavailable = world.desired() - replicas.values().filter(|pod| world.is_healthy(pod)).count() as i32;
    for pod in targets().filter(outdated) {
        if !world.is_healthy(pod) {
            actions.push(Action::Delete(pod.clone(), Why::Outdated));
        } else if unavailable < most {
            actions.push(Action::Delete(pod.clone(), Why::Outdated));
            unavailable += 1;
        }
    }
}

/// The status of the set with these pods.
pub fn status(world: &World<'_>) -> StatefulSetStatus {
    let created: Vec<&Typed<Pod>> = world.pods.iter().filter(|pod| ordinal(world.name, pod.name()).is_some()).collect();
    let count = |test: &dyn Fn(&Typed<Pod>) -> bool| created.iter().filter(|pod| test(pod)).count() as i32;
    let running_ready = |pod: &Typed<Pod>| pods::phase(pod) == "Running" && pods::is_ready(pod);
    let of = |name: &str| count(&|pod| !pod.meta().is_deleting() && revision(pod) == name);
    let (replicas, ready, updated) = (created.len() as i32, count(&running_ready), of(world.update));
    let mut current = (world.current, of(world.current));
    let desired = world.desired();
    if world.rolling() && updated == desired && ready == desired && replicas == desired {
        // The update is complete: what it led to is the current revision from now on.
        current = (world.update, updated);
    }
    let last = world.set.status.as_ref();
    let unless_zero = |n: i32| Some(n).filter(|n| *n != 0);
    StatefulSetStatus {
        observed_generation: Some(world.generation),
        replicas,
        ready_replicas: unless_zero(ready),
        available_replicas: Some(count(&|pod| {
            running_ready(pod) && pods::is_available(pod, world.min_ready(), world.now)
        })),
        current_replicas: unless_zero(current.1),
        updated_replicas: unless_zero(updated),
        current_revision: Some(current.0.to_string()),
        update_revision: Some(world.update.to_string()),
        collision_count: Some(world.collisions),
        conditions: last.and_then(|s| s.conditions.clone()),
    }
}

/// When a pod becomes available by waiting alone.
pub fn again(world: &World<'_>) -> Option<Duration> {
    pods::next_available(world.pods, world.min_ready(), world.now)
}
