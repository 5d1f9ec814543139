//! ReplicaSet and ReplicationController: as many pods as wanted, no more and no fewer.
//!
//! Missing pods are created all at once. Which pods go first when there are too many, is upstream's order (`ActivePodsWithRanks`).

use crate::{
    conditions,
    framework::{Context, Controller, Key, Requeue, controller_keys},
    owners::{self, Orphans},
    pods,
};
use async_trait::async_trait;
use coracle_api::{LabelSelector, Resource, Result, Status};
use coracle_client::{Change, ClientExt, Kind, Typed, View, ViewExt};
use jiff::Timestamp;
use k8s_openapi::{
    api::{
        apps::v1::{ReplicaSet, ReplicaSetCondition, ReplicaSetStatus},
        core::v1::{Pod, PodTemplateSpec, ReplicationController},
    },
    apimachinery::pkg::apis::meta::v1::Time,
};
use std::{cmp::Ordering, collections::HashMap, marker::PhantomData, time::Duration};

/// What a replica set and a replication controller have in common.
pub trait Replicated: Kind {
    /// The controller's name.
    const CONTROLLER: &'static str;
    /// What is wanted. An absent selector matches nothing.
    fn wanted(&self) -> Result<Wanted>;
    /// The last status written.
    fn last_status(&self) -> ReplicaSetStatus;
}

/// What is wanted.
pub struct Wanted {
    replicas: i32,
    min_ready: i32,
    selector: LabelSelector,
    template: PodTemplateSpec,
}

impl Replicated for ReplicaSet {
    const CONTROLLER: &'static str = "replicaset-controller";

    fn wanted(&self) -> Result<Wanted> {
        let spec = self.spec.clone();
        Ok(Wanted {
            replicas: spec.replicas.unwrap_or(1),
            min_ready: spec.min_ready_seconds.unwrap_or(0),
            selector: LabelSelector::from_spec(&spec.selector)?,
            template: spec.template.unwrap_or_default(),
        })
    }

    fn last_status(&self) -> ReplicaSetStatus {
        self.status.clone().unwrap_or_default()
    }
}

impl Replicated for ReplicationController {
    const CONTROLLER: &'static str = "replication-controller";

    fn wanted(&self) -> Result<Wanted> {
        let spec = self.spec.clone().unwrap_or_default();
        Ok(Wanted {
            replicas: spec.replicas.unwrap_or(1),
            min_ready: spec.min_ready_seconds.unwrap_or(0),
            selector: spec.selector.as_ref().map_or_else(LabelSelector::nothing, LabelSelector::from_map),
            template: spec.template.unwrap_or_default(),
        })
    }

    fn last_status(&self) -> ReplicaSetStatus {
        let status = serde_json::to_value(&self.status).unwrap_or_default();
        serde_json::from_value(status).unwrap_or_default()
    }
}

/// The controller of one of the two kinds.
pub struct Replicas<K> {
    orphans: Orphans,
    kind: PhantomData<fn() -> K>,
}

/// The ReplicaSet controller.
pub fn replica_sets() -> Replicas<ReplicaSet> {
    Replicas { orphans: Orphans::default(), kind: PhantomData }
}

/// The ReplicationController controller.
pub fn replication_controllers() -> Replicas<ReplicationController> {
    Replicas { orphans: Orphans::default(), kind: PhantomData }
}

/// What to do about the number of pods.
#[derive(Debug)]
pub struct Plan {
    create: usize,
    delete: Vec<Typed<Pod>>,
}

/// Compares wanted and active pods. `neighbours` counts, per node, the active pods of all sets of the same owner: of two pods alike the one
/// with more company goes first.
fn plan(wanted: &Wanted, active: &[Typed<Pod>], neighbours: &HashMap<String, usize>, now: Timestamp) -> Plan {
    let (want, have) = (wanted.replicas.max(0) as usize, active.len());
    let mut delete = Vec::new();
    if have > want {
        delete = active.to_vec();
        delete.sort_by(|a, b| deletion_order(a, b, neighbours, now));
        delete.truncate((have - want).min(pods::BURST));
    }
    Plan { create: want.saturating_sub(have).min(pods::BURST), delete }
}

fn deletion_order(a: &Typed<Pod>, b: &Typed<Pod>, neighbours: &HashMap<String, usize>, now: Timestamp) -> Ordering {
    let node = |p: &Typed<Pod>| p.spec.as_ref().and_then(|s| s.node_name.clone()).unwrap_or_default();
    let phase = |p: &Typed<Pod>| match pods::phase(p) {
        "Running" => 2,
        "Unknown" => 1,
        _ => 0,
    };
    let cost = |p: &Typed<Pod>| {
        let cost = p.meta().annotations.get("controller.kubernetes.io/pod-deletion-cost");
        cost.and_then(|c| c.parse::<i32>().ok()).unwrap_or(0)
    };
    let company = |p: &Typed<Pod>| neighbours.get(&node(p)).copied().unwrap_or(0);
    let restarts = |p: &Typed<Pod>| {
        let containers = p.status.as_ref().and_then(|s| s.container_statuses.as_ref());
        containers.into_iter().flatten().map(|c| c.restart_count).max().unwrap_or(0)
    };
    let ready = |p: &Typed<Pod>| pods::ready_since(p).map(|t| age_class(t, now));
    let created = |p: &Typed<Pod>| age_class(p.meta().creation_timestamp.unwrap_or(now), now);
    (!node(a).is_empty())
        .cmp(&!node(b).is_empty())
        .then_with(|| phase(a).cmp(&phase(b)))
        .then_with(|| pods::is_ready(a).cmp(&pods::is_ready(b)))
        .then_with(|| cost(a).cmp(&cost(b)))
        .then_with(|| company(b).cmp(&company(a)))
        .then_with(|| ready(a).cmp(&ready(b)))
        .then_with(|| restarts(b).cmp(&restarts(a)))
        .then_with(|| created(a).cmp(&created(b)))
        .then_with(|| a.uid().cmp(b.uid()))
}

/// Ages compare by their magnitude only, so that among pods of about one age chance decides and not the clock.
fn age_class(since: Timestamp, now: Timestamp) -> i64 {
    let age = now.duration_since(since).as_nanos();
    if age <= 0 { -1 } else { i64::from(age.ilog2()) }
}

/// The status of a set that has `all` pods. `failure` is what went wrong in this round.
fn status(
    wanted: &Wanted,
    last: &ReplicaSetStatus,
    generation: i64,
    all: &[Typed<Pod>],
    failure: Option<&Failure>,
    now: Timestamp,
) -> ReplicaSetStatus {
    let labels = wanted.template.metadata.as_ref().and_then(|m| m.labels.as_ref());
    let labelled = LabelSelector::from_map(labels.into_iter().flatten());
    let active: Vec<&Typed<Pod>> = all.iter().filter(|p| pods::is_active(p)).collect();
    let count = |test: &dyn Fn(&Typed<Pod>) -> bool| Some(active.iter().filter(|p| test(p)).count() as i32);
    let mut conditions = last.conditions.clone().unwrap_or_default();
    match failure {
        Some(failure) => conditions::set(
            &mut conditions,
            ReplicaSetCondition {
                type_: Some("ReplicaFailure".into()),
                status: Some("True".into()),
                reason: Some(failure.reason.into()),
                message: Some(failure.status.message.clone()),
                last_transition_time: Some(Time(now)),
            },
        ),
        None => conditions::remove(&mut conditions, "ReplicaFailure"),
    }
    let unless_zero = |n: Option<i32>| n.filter(|n| *n != 0);
    ReplicaSetStatus {
        replicas: active.len() as i32,
        fully_labeled_replicas: unless_zero(count(&|p| labelled.matches(&p.meta().labels))),
        ready_replicas: unless_zero(count(&|p| pods::is_ready(p))),
        available_replicas: unless_zero(count(&|p| pods::is_available(p, wanted.min_ready, now))),
        terminating_replicas: Some(all.iter().filter(|p| pods::is_terminating(p)).count() as i32),
        observed_generation: Some(generation),
        conditions: Some(conditions).filter(|c| !c.is_empty()),
    }
}

struct Failure {
    reason: &'static str,
    status: Status,
}

#[async_trait]
impl<K: Replicated> Controller for Replicas<K> {
    fn name(&self) -> &'static str {
        K::CONTROLLER
    }

    fn watches(&self) -> Vec<Resource> {
        vec![K::resource(), Pod::resource()]
    }

    fn keys(&self, view: &dyn View, change: &Change) -> Vec<Key> {
        if *change.resource != Pod::resource() {
            return vec![Key::from_change(change)];
        }
        self.orphans.note(change);
        let mut keys = controller_keys::<K>(change);
        if let Some(pod) = &change.new
            && pod.meta().controller().is_none()
            && !pod.meta().labels.is_empty()
        {
            // An orphan may be anybody's who selects it; there are few of them.
            let sets = view.typed_list::<K>(&pod.meta().namespace).into_iter();
            let selecting = sets.filter(|set| {
                set.wanted().is_ok_and(|w| !w.selector.is_empty() && w.selector.matches(&pod.meta().labels))
            });
            keys.extend(selecting.map(|set| Key::new(&set.meta().namespace, set.name())));
        }
        keys
    }

    async fn reconcile(&self, ctx: &Context, key: &Key) -> Result<Requeue> {
        let Some(set) = ctx.view.typed::<K>(&key.namespace, &key.name) else { return Ok(Requeue::No) };
        let wanted = set.wanted()?;
        let claim = owners::claim::<Pod, K>(ctx.view.as_ref(), &set, &wanted.selector, &self.orphans);
        let owned = owners::settle(ctx, &set, claim).await?;
        let failure = if set.meta().is_deleting() { None } else { manage(ctx, &set, &wanted, &owned).await };
        // What was just written is in the view already: one status instead of two.
        let now = ctx.clock.now();
        let after = owners::claim::<Pod, K>(ctx.view.as_ref(), &set, &wanted.selector, &self.orphans).owned;
        write_status(
            ctx,
            &set,
            status(&wanted, &set.last_status(), set.meta().generation, &after, failure.as_ref(), now),
        )
        .await?;
        if let Some(failure) = failure {
            return Err(failure.status);
        }
        let active: Vec<Typed<Pod>> = after.into_iter().filter(pods::is_active).collect();
        Ok(Requeue::soonest([pods::next_available(&active, wanted.min_ready, now).map(round_up)]))
    }
}

/// Whole seconds are what timestamps carry.
fn round_up(wait: Duration) -> Duration {
    wait + Duration::from_millis(10)
}

async fn manage<K: Replicated>(
    ctx: &Context,
    set: &Typed<K>,
    wanted: &Wanted,
    owned: &[Typed<Pod>],
) -> Option<Failure> {
    let active: Vec<Typed<Pod>> = owned.iter().filter(|p| pods::is_active(p)).cloned().collect();
    let too_many = active.len() > wanted.replicas.max(0) as usize;
    let neighbours = if too_many { neighbours(ctx.view.as_ref(), set) } else { HashMap::new() };
    let plan = plan(wanted, &active, &neighbours, ctx.clock.now());
    if plan.create > 0 {
        let template = vec![pods::from_template(&wanted.template, set); plan.create];
        let failed_before =
            conditions::get(&set.last_status().conditions.unwrap_or_default(), "ReplicaFailure").is_some();
        let created = pods::create_all(ctx, set, template, failed_before).await;
        return created.err().map(|status| Failure { reason: "FailedCreate", status });
    }
    let deleted = pods::delete_all(ctx, set, &plan.delete).await;
    deleted.err().map(|status| Failure { reason: "FailedDelete", status })
}

/// Active pods per node of all sets that the owner of `set` has.
fn neighbours<K: Kind>(view: &dyn View, set: &Typed<K>) -> HashMap<String, usize> {
    let siblings = match set.meta().controller() {
        Some(owner) => view.typed_owned::<K>(&owner.uid),
        None => vec![set.clone()],
    };
    let mut per_node = HashMap::new();
    for pod in siblings.iter().flat_map(|s| view.typed_owned::<Pod>(s.uid())).filter(pods::is_active) {
        if let Some(node) = pod.spec.as_ref().and_then(|s| s.node_name.clone()) {
            *per_node.entry(node).or_insert(0) += 1;
        }
    }
    per_node
}

async fn write_status<K: Replicated>(ctx: &Context, set: &Typed<K>, mut new: ReplicaSetStatus) -> Result<()> {
    let mut last = set.last_status();
    if K::KIND == "ReplicationController" {
        // The older kind has no such field.
        (new.terminating_replicas, last.terminating_replicas) = (None, None);
    }
    if new != last {
        ctx.client.update_status(set, &new).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    //! `cases/replicaset.txt`.

    use super::*;
    use crate::testing::{self, Line, now};
    use std::fmt::Write;

    fn found(text: &str) -> String {
        let lines = Line::all(text);
        let line = lines.iter().find(|l| l.what == "set").expect("a set");
        let wanted = Wanted {
            replicas: line.number("replicas").unwrap() as i32,
            min_ready: line.number("minReady").unwrap_or(0) as i32,
            selector: LabelSelector::parse("app=web").unwrap(),
            template: testing::template("v1"),
        };
        let all: Vec<Typed<Pod>> = lines.iter().filter(|l| l.what == "pod").map(testing::pod).collect();
        let neighbours = lines.iter().filter(|l| l.what == "node");
        let neighbours = neighbours.map(|l| (l.name().to_string(), l.number("pods").unwrap() as usize)).collect();
        let active: Vec<_> = all.iter().filter(|p| pods::is_active(p)).cloned().collect();
        let plan = plan(&wanted, &active, &neighbours, now());
        let mut out = String::new();
        if plan.create > 0 {
            let _ = writeln!(out, "create {}", plan.create);
        }
        for pod in &plan.delete {
            let _ = writeln!(out, "delete {}", pod.name());
        }
        let failure = line
            .text("failure")
            .map(|message| Failure { reason: "FailedCreate", status: Status::new(403, "Forbidden", message) });
        let status = status(&wanted, &ReplicaSetStatus::default(), 1, &all, failure.as_ref(), now());
        let _ = writeln!(out, "status {}", testing::fields(&status));
        for c in status.conditions.iter().flatten() {
            let text = |t: &Option<String>| t.clone().unwrap_or_default();
            let _ = writeln!(out, "  {} {} {}: {}", text(&c.type_), text(&c.status), text(&c.reason), text(&c.message));
        }
        out
    }

    #[test]
    fn cases() {
        testing::check("replicaset.txt", found);
    }
}
