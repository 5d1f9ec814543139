//! PodDisruptionBudget: how many of the pods that it selects may be evicted now.
//!
//! The budget's status is what evictions are decided by: an eviction takes one from `disruptionsAllowed` and notes the pod in
//! `disruptedPods`; this controller counts anew as soon as the pod is seen to go.

use crate::{
    framework::{Context, Controller, Key, Requeue},
    members::{Members, Selector},
    pods,
    rounding::{Round, scaled},
};
use async_trait::async_trait;
use coracle_api::{LabelSelector, Resource, Result};
use coracle_client::{Change, ClientExt, EventType, Kind, Typed, View, ViewExt};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::{
    api::{
        apps::v1::{Deployment, ReplicaSet, StatefulSet},
        core::v1::{Pod, ReplicationController},
        policy::v1::{PodDisruptionBudget, PodDisruptionBudgetStatus},
    },
    apimachinery::pkg::{
        apis::meta::v1::{Condition, Time},
        util::intstr::IntOrString,
    },
};
use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};

/// How long an evicted pod may take until it is seen to be deleted; then it counts again.
const DELETION_TIMEOUT: SignedDuration = SignedDuration::from_secs(120);

/// The disruption controller.
#[derive(Default)]
pub struct Disruption {
    members: Members,
}

/// What stands behind a pod.
#[derive(Clone, Debug, PartialEq)]
enum Scale {
    /// Nobody.
    Unmanaged,
    /// The uid of who keeps it, and how many pods that one wants.
    Of(String, i32),
    /// It cannot be told.
    Unknown(String),
}

/// What a plan is made from.
struct World<'a> {
    budget: &'a Typed<PodDisruptionBudget>,
    pods: &'a [Typed<Pod>],
    scale: &'a dyn Fn(&Typed<Pod>) -> Scale,
    now: Timestamp,
}

/// What follows.
#[derive(Debug, Default)]
struct Plan {
    status: PodDisruptionBudgetStatus,
    /// Type, reason and message of what is said of the budget.
    events: Vec<(EventType, &'static str, String)>,
    /// Pods that should have gone by now.
    not_deleted: Vec<String>,
    again: Option<Duration>,
    failed: Option<String>,
}

fn plan(world: &World<'_>) -> Plan {
    let mut plan = Plan::default();
    let status = world.budget.status.clone().unwrap_or_default();
    let disrupted = disrupted(world, &status, &mut plan);
    let generation = Some(world.budget.meta().generation);
    if world.pods.is_empty() {
        plan.events.push((EventType::Normal, "NoPods", "No matching pods found".into()));
    }
    match expected(world, &mut plan) {
        Ok((expected, desired)) => {
            let healthy = |pod: &&Typed<Pod>| {
                !pod.meta().is_deleting() && !disrupted.contains_key(pod.name()) && pods::is_ready(pod)
            };
            let current = world.pods.iter().filter(healthy).count() as i32;
            let allowed = if expected <= 0 { 0 } else { (current - desired).max(0) };
            plan.status = PodDisruptionBudgetStatus {
                current_healthy: Some(current),
                desired_healthy: Some(desired),
                expected_pods: Some(expected),
                disruptions_allowed: Some(allowed),
                disrupted_pods: Some(disrupted).filter(|all| !all.is_empty()),
                observed_generation: generation,
                conditions: status.conditions.clone(),
            };
            let verdict = if allowed > 0 { ("True", "SufficientPods") } else { ("False", "InsufficientPods") };
            condition(&mut plan.status, verdict, String::new(), world.now);
        }
        Err(why) => {
            let message = format!("Failed to calculate the number of expected pods: {why}");
            plan.events.push((EventType::Warning, "CalculateExpectedPodCountFailed", message));
            // nothing may be evicted while the number is not known
            plan.status = PodDisruptionBudgetStatus { disruptions_allowed: Some(0), ..status };
            condition(&mut plan.status, ("False", "SyncFailed"), why.clone(), world.now);
            plan.failed = Some(why);
        }
    }
    plan
}

/// Evicted pods that are not yet seen to go.
fn disrupted(world: &World<'_>, status: &PodDisruptionBudgetStatus, plan: &mut Plan) -> BTreeMap<String, Time> {
    let mut kept = BTreeMap::new();
    for (name, since) in status.disrupted_pods.iter().flatten() {
        let Some(pod) = world.pods.iter().find(|p| p.name() == name) else { continue };
        if pod.meta().is_deleting() {
            continue;
        }
        let left = (since.0 + DELETION_TIMEOUT).duration_since(world.now);
        if left <= SignedDuration::ZERO {
            plan.not_deleted.push(name.clone());
            continue;
        }
        let wait = Duration::try_from(left).unwrap_or_default();
        plan.again = Some(plan.again.map_or(wait, |other| other.min(wait)));
        kept.insert(name.clone(), since.clone());
    }
    kept
}

/// How many pods there should be, and how many of them have to be healthy.
fn expected(world: &World<'_>, plan: &mut Plan) -> Result<(i32, i32), String> {
    let Some(spec) = &world.budget.spec else { return Ok((0, 0)) };
    let is_percentage = |v: &IntOrString| matches!(v, IntOrString::String(_));
    match (&spec.max_unavailable, &spec.min_available) {
        (Some(max), _) => {
            let expected = scales(world, plan)?;
            Ok((expected, (expected - scaled(max, expected, Round::Up)).max(0)))
        }
        (None, Some(min)) if is_percentage(min) => {
            let expected = scales(world, plan)?;
            Ok((expected, scaled(min, expected, Round::Up)))
        }
        (None, Some(min)) => Ok((world.pods.len() as i32, scaled(min, 0, Round::Up))),
        // a budget that says nothing allows nothing
        (None, None) => Ok((0, 0)),
    }
}

/// The sum of what the pods' owners want.
fn scales(world: &World<'_>, plan: &mut Plan) -> Result<i32, String> {
    let mut owners: HashMap<String, i32> = HashMap::new();
    let mut unmanaged = false;
    for pod in world.pods {
        match (world.scale)(pod) {
            Scale::Unmanaged => unmanaged = true,
            Scale::Of(uid, replicas) => drop(owners.insert(uid, replicas)),
            Scale::Unknown(why) => return Err(why),
        }
    }
    if unmanaged {
        let selector = world.budget.spec.as_ref().and_then(|s| s.selector.as_ref());
        let selector = selector.and_then(|s| LabelSelector::from_spec(s).ok()).unwrap_or_default();
        let message = format!(
            "Pods selected by this PodDisruptionBudget (selector: {selector}) were found to be unmanaged. As a result, the status of the \
             PDB cannot be calculated correctly, which may result in undefined behavior. To account for these pods please set \
             \".spec.minAvailable\" field of the PDB to an integer value."
        );
        plan.events.push((EventType::Warning, "UnmanagedPods", message));
    }
    Ok(owners.values().sum())
}

fn condition(status: &mut PodDisruptionBudgetStatus, verdict: (&str, &str), message: String, now: Timestamp) {
    let all = status.conditions.get_or_insert_default();
    let old = all.iter().find(|c| c.type_ == "DisruptionAllowed");
    let since = old.filter(|c| c.status == verdict.0).map_or(Time(now), |c| c.last_transition_time.clone());
    let new = Condition {
        type_: "DisruptionAllowed".into(),
        status: verdict.0.into(),
        reason: verdict.1.into(),
        message,
        last_transition_time: since,
        observed_generation: status.observed_generation,
    };
    all.retain(|c| c.type_ != "DisruptionAllowed");
    all.push(new);
}

#[async_trait]
impl Controller for Disruption {
    fn name(&self) -> &'static str {
        "disruption-controller"
    }

    fn component(&self) -> &'static str {
        "controllermanager"
    }

    fn watches(&self) -> Vec<Resource> {
        vec![PodDisruptionBudget::resource(), Pod::resource()]
    }

    fn keys(&self, view: &dyn View, change: &Change) -> Vec<Key> {
        let meta = change.object().meta();
        if *change.resource == Pod::resource() {
            let names = if matters(change) { self.members.pod(change) } else { Vec::new() };
            return names.into_iter().map(|name| Key::new(&meta.namespace, &name)).collect();
        }
        let budget = change.new.clone().and_then(|object| Typed::<PodDisruptionBudget>::new(object).ok());
        let selector = budget.as_ref().and_then(|b| b.spec.as_ref()?.selector.as_ref());
        // a missing selector selects nothing, an empty one everything
        let selector = selector.and_then(|selector| {
            let labels = LabelSelector::from_spec(selector).ok()?;
            Some(Selector::new(labels, selector.match_labels.as_ref()))
        });
        self.members.owner(view, &meta.namespace, &meta.name, selector);
        vec![Key::from_change(change)]
    }

    async fn reconcile(&self, ctx: &Context, key: &Key) -> Result<Requeue> {
        let Some(budget) = ctx.view.typed::<PodDisruptionBudget>(&key.namespace, &key.name) else {
            return Ok(Requeue::No);
        };
        let pods = self.members.pods(ctx.view.as_ref(), &key.namespace, &key.name);
        let view = ctx.view.clone();
        let plan = plan(&World {
            budget: &budget,
            pods: &pods,
            scale: &move |pod| scale(view.as_ref(), pod),
            now: ctx.clock.now(),
        });
        apply(ctx, &budget, &pods, plan).await
    }
}

/// Whether a change of a pod can change a budget; most do not.
fn matters(change: &Change) -> bool {
    let (Some(old), Some(new)) = (&change.old, &change.new) else { return true };
    let ready = |object: &Arc<coracle_api::Object>| object.view::<Pod>().is_ok_and(|pod| pods::is_ready(&pod));
    let (was, is) = (old.meta(), new.meta());
    was.uid != is.uid
        || was.labels != is.labels
        || was.owner_references != is.owner_references
        || was.is_deleting() != is.is_deleting()
        || ready(old) != ready(new)
}

async fn apply(ctx: &Context, budget: &Typed<PodDisruptionBudget>, pods: &[Typed<Pod>], plan: Plan) -> Result<Requeue> {
    for (kind, reason, message) in plan.events {
        ctx.events.event(&PodDisruptionBudget::resource(), &budget.object, kind, reason, message);
    }
    for pod in pods.iter().filter(|p| plan.not_deleted.iter().any(|name| name == p.name())) {
        let name = format!("{}/{}", budget.meta().namespace, budget.name());
        let message = format!("Pod was expected by PDB {name} to be deleted but it wasn't");
        ctx.events.event(&Pod::resource(), &pod.object, EventType::Warning, "NotDeleted", message);
    }
    if budget.status.as_ref() != Some(&plan.status) {
        ctx.client.update_status(budget, &plan.status).await?;
    }
    match plan.failed {
        Some(why) => Err(coracle_api::Status::internal(why)),
        None => Ok(Requeue::soonest([plan.again])),
    }
}

/// Who keeps a pod, and how many that one wants.
fn scale(view: &dyn View, pod: &Typed<Pod>) -> Scale {
    let Some(owner) = pod.meta().controller() else { return Scale::Unmanaged };
    let namespace = &pod.meta().namespace;
    let group = owner.api_version.split_once('/').map_or("", |(group, _)| group);
    let found = match (group, owner.kind.as_str()) {
        ("", "ReplicationController") => {
            of(view, namespace, owner, |c: &ReplicationController| c.spec.as_ref()?.replicas)
        }
        ("apps", "StatefulSet") => of(view, namespace, owner, |s: &StatefulSet| s.spec.replicas),
        ("apps", "ReplicaSet") => {
            let set = view.typed::<ReplicaSet>(namespace, &owner.name).filter(|set| set.uid() == owner.uid);
            match set.as_ref().and_then(|set| set.meta().controller()) {
                Some(above) if above.kind == "Deployment" && above.api_version.starts_with("apps/") => {
                    of(view, namespace, above, |d: &Deployment| d.spec.replicas)
                }
                _ => of(view, namespace, owner, |s: &ReplicaSet| s.spec.replicas),
            }
        }
        (group, kind) => {
            let name = format!("{}s.{group}", kind.to_lowercase());
            return Scale::Unknown(format!("{name} does not implement the scale subresource"));
        }
    };
    found.unwrap_or_else(|| Scale::Unknown(format!("found no controllers for pod {:?}", pod.name())))
}

fn of<K: Kind>(
    view: &dyn View,
    namespace: &str,
    owner: &coracle_api::OwnerReference,
    replicas: impl FnOnce(&K) -> Option<i32>,
) -> Option<Scale> {
    let object = view.typed::<K>(namespace, &owner.name).filter(|object| object.uid() == owner.uid)?;
    Some(Scale::Of(owner.uid.clone(), replicas(&object).unwrap_or(1)))
}

#[cfg(test)]
mod tests {
    //! `cases/disruption.txt`.

    use super::*;
    use crate::testing::{self, Line, ago, now};
    use serde_json::json;
    use std::fmt::Write;

    fn found(text: &str) -> String {
        let lines = Line::all(text);
        let line = lines.iter().find(|l| l.what == "budget").expect("a budget");
        let disrupted = lines.iter().filter(|l| l.what == "evicted");
        let disrupted: BTreeMap<_, _> =
            disrupted.map(|l| (l.name(), Time(ago(l.number("age").unwrap_or(1))))).collect();
        let condition = line.text("was").map(|status| {
            json!([{"type": "DisruptionAllowed", "status": status, "reason": "r", "message": "",
                    "lastTransitionTime": Time(ago(100))}])
        });
        let budget = testing::typed(json!({
            "metadata": {"name": "b", "generation": 2},
            "spec": {"minAvailable": line.scaled("min"), "maxUnavailable": line.scaled("max"),
                     "selector": {"matchLabels": {"app": "web"}}},
            "status": {"disruptedPods": disrupted, "conditions": condition},
        }));
        let of_pods = || lines.iter().filter(|l| l.what == "pod");
        let all: Vec<Typed<Pod>> = of_pods().map(testing::pod).collect();
        let scale = |pod: &Typed<Pod>| {
            let line = of_pods().find(|l| l.name() == pod.name()).unwrap();
            let Some(owner) = line.text("owner") else { return Scale::Unmanaged };
            let replicas = lines.iter().find(|l| l.what == "owner" && l.name() == owner);
            replicas.map_or(Scale::Unknown("no owner".into()), |l| {
                Scale::Of(owner.into(), l.number("replicas").unwrap() as i32)
            })
        };
        let plan = plan(&World { budget: &budget, pods: &all, scale: &scale, now: now() });
        let mut out = format!("{}\n", testing::fields(&plan.status));
        for c in plan.status.conditions.iter().flatten() {
            let age = now().duration_since(c.last_transition_time.0).as_secs();
            let _ = writeln!(out, "{} {} since {age}s {}", c.status, c.reason, c.message);
        }
        for (_, reason, message) in &plan.events {
            let _ = writeln!(out, "{reason}: {message:.60}");
        }
        for pod in &plan.not_deleted {
            let _ = writeln!(out, "not deleted: {pod}");
        }
        if let Some(again) = plan.again {
            let _ = writeln!(out, "again in {}s", again.as_secs());
        }
        out
    }

    #[test]
    fn cases() {
        testing::check("disruption.txt", found);
    }
}
