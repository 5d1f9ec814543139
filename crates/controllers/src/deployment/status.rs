//! A Deployment's status: counts, and the conditions Available, Progressing and ReplicaFailure. Pure.

use super::plan::{Numbers, Set, World};
use crate::conditions;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::{
    api::apps::v1::{DeploymentCondition, DeploymentSpec, DeploymentStatus},
    apimachinery::pkg::apis::meta::v1::Time,
};
use std::time::Duration;

/// Whether progress is being judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outlook {
    /// A rollout: it progresses, completes or times out.
    Rolling,
    /// Paused, scaled or being deleted: conditions about progress stay.
    Still,
}

/// A new condition, as of `now`.
pub fn condition(
    kind: &str,
    status: &str,
    reason: &str,
    message: impl Into<String>,
    now: Timestamp,
) -> DeploymentCondition {
    DeploymentCondition {
        type_: Some(kind.into()),
        status: Some(status.into()),
        reason: Some(reason.into()),
        message: Some(message.into()),
        last_transition_time: Some(Time(now)),
        last_update_time: Some(Time(now)),
    }
}

/// Whether lack of progress is ever reported.
pub fn has_deadline(spec: &DeploymentSpec) -> bool {
    spec.progress_deadline_seconds.is_some_and(|s| s != i32::MAX)
}

/// Says that a deployment was paused or resumed, so that the time in between is not held against it.
pub fn note_pause(conditions: &mut Vec<DeploymentCondition>, spec: &DeploymentSpec, paused: bool, now: Timestamp) {
    if !has_deadline(spec) {
        return;
    }
    let reason = conditions::get(conditions, "Progressing").and_then(|c| c.reason.clone()).unwrap_or_default();
    let was_paused = reason == "DeploymentPaused";
    if reason == "ProgressDeadlineExceeded" {
        return;
    }
    if paused && !was_paused {
        let paused = condition("Progressing", "Unknown", "DeploymentPaused", "Deployment is paused", now);
        conditions::set(conditions, paused);
    } else if !paused && was_paused {
        let resumed = condition("Progressing", "Unknown", "DeploymentResumed", "Deployment is resumed", now);
        conditions::set(conditions, resumed);
    }
}

/// The counts, and Available.
pub fn counted(world: &World<'_>, sets: &[Set], newest: Option<usize>) -> DeploymentStatus {
    let sum = |of: &dyn Fn(&Set) -> i32| sets.iter().map(of).sum::<i32>();
    let replicas = sum(&|s| s.status.replicas);
    let available = sum(&Set::available);
    let unless_zero = |n: i32| Some(n).filter(|n| *n != 0);
    DeploymentStatus {
        observed_generation: Some(world.meta.generation),
        replicas: unless_zero(replicas),
        updated_replicas: unless_zero(newest.map_or(0, |n| sets[n].status.replicas)),
        ready_replicas: unless_zero(sum(&|s| s.status.ready_replicas.unwrap_or(0))),
        available_replicas: unless_zero(available),
        unavailable_replicas: unless_zero((sum(&|s| s.replicas) - available).max(0)),
        terminating_replicas: Some(sum(&|s| s.status.terminating_replicas.unwrap_or(0))),
        collision_count: world.deployment.status.as_ref().and_then(|s| s.collision_count),
        conditions: None,
    }
}

/// Whether everything wanted is there and of the newest template.
pub fn is_complete(world: &World<'_>, numbers: &Numbers, status: &DeploymentStatus) -> bool {
    status.updated_replicas.unwrap_or(0) == numbers.desired
        && status.replicas.unwrap_or(0) == numbers.desired
        && status.available_replicas.unwrap_or(0) == numbers.desired
        && status.observed_generation.unwrap_or(0) >= world.meta.generation
}

fn progressed(old: &DeploymentStatus, new: &DeploymentStatus) -> bool {
    let n = |v: Option<i32>| v.unwrap_or(0);
    n(new.updated_replicas) > n(old.updated_replicas)
        || n(new.replicas) - n(new.updated_replicas) < n(old.replicas) - n(old.updated_replicas)
        || n(new.ready_replicas) > n(old.ready_replicas)
        || n(new.available_replicas) > n(old.available_replicas)
}

/// Sets the conditions; when to look again for the deadline's sake.
pub fn judge(
    world: &World<'_>,
    spec: &DeploymentSpec,
    numbers: &Numbers,
    sets: &[Set],
    newest: Option<&Set>,
    pending: Option<&str>,
    outlook: Outlook,
    conditions: &mut Vec<DeploymentCondition>,
    status: &mut DeploymentStatus,
) -> Option<Duration> {
    let now = world.now;
    let available = if status.available_replicas.unwrap_or(0) >= numbers.desired - numbers.unavailable {
        let message = "Deployment has minimum availability.";
        condition("Available", "True", "MinimumReplicasAvailable", message, now)
    } else {
        let message = "Deployment does not have minimum availability.";
        condition("Available", "False", "MinimumReplicasUnavailable", message, now)
    };
    conditions::set(conditions, available);
    if outlook == Outlook::Still {
        return None;
    }
    let failures = newest.into_iter().chain(sets.iter().filter(|s| newest.is_none_or(|n| n.uid != s.uid)));
    let failure = failures
        .filter_map(|s| conditions::get(s.status.conditions.as_deref().unwrap_or_default(), "ReplicaFailure"))
        .next();
    match failure {
        Some(f) => {
            let (reason, message) = (f.reason.as_deref().unwrap_or_default(), f.message.clone().unwrap_or_default());
            conditions::set(
                conditions,
                condition("ReplicaFailure", f.status.as_deref().unwrap_or("True"), reason, message, now),
            );
        }
        None => conditions::remove(conditions, "ReplicaFailure"),
    }
    if !has_deadline(spec) {
        conditions::remove(conditions, "Progressing");
        return None;
    }
    if pending.is_none() {
        judge_progress(world, spec, numbers, newest, conditions, status);
    }
    until_deadline(spec, conditions, now)
}

fn judge_progress(
    world: &World<'_>,
    spec: &DeploymentSpec,
    numbers: &Numbers,
    newest: Option<&Set>,
    conditions: &mut Vec<DeploymentCondition>,
    status: &DeploymentStatus,
) {
    let (now, name) = (world.now, &world.meta.name);
    let subject = newest.map_or_else(|| format!("Deployment {name:?}"), |s| format!("ReplicaSet {:?}", s.name));
    let current = conditions::get(conditions, "Progressing").cloned();
    let reason = current.as_ref().and_then(|c| c.reason.clone()).unwrap_or_default();
    let all_updated = status.replicas.unwrap_or(0) == status.updated_replicas.unwrap_or(0);
    if all_updated && reason == "NewReplicaSetAvailable" {
        return;
    }
    let last = world.deployment.status.clone().unwrap_or_default();
    if is_complete(world, numbers, status) {
        let message = format!("{subject} has successfully progressed.");
        conditions::set(conditions, condition("Progressing", "True", "NewReplicaSetAvailable", message, now));
    } else if progressed(&last, status) {
        let message = format!("{subject} is progressing.");
        let mut new = condition("Progressing", "True", "ReplicaSetUpdated", message, now);
        if let Some(current) = current.filter(|c| c.status.as_deref() == Some("True")) {
            new.last_transition_time = current.last_transition_time;
        }
        // Replaced even if it says the same, for the time of the last progress.
        conditions::remove(conditions, "Progressing");
        conditions.push(new);
    } else if timed_out(spec, current.as_ref(), now) {
        let message = format!("{subject} has timed out progressing.");
        conditions::set(conditions, condition("Progressing", "False", "ProgressDeadlineExceeded", message, now));
    }
}

fn deadline(spec: &DeploymentSpec, progressing: &DeploymentCondition) -> Option<Timestamp> {
    let seconds = spec.progress_deadline_seconds?;
    let last = progressing.last_update_time.as_ref()?.0;
    last.saturating_add(SignedDuration::from_secs(seconds.into())).ok()
}

fn timed_out(spec: &DeploymentSpec, progressing: Option<&DeploymentCondition>, now: Timestamp) -> bool {
    let Some(progressing) = progressing else { return false };
    match progressing.reason.as_deref() {
        Some("NewReplicaSetAvailable") => false,
        Some("ProgressDeadlineExceeded") => true,
        _ => deadline(spec, progressing).is_some_and(|at| at < now),
    }
}

fn until_deadline(spec: &DeploymentSpec, conditions: &[DeploymentCondition], now: Timestamp) -> Option<Duration> {
    let progressing = conditions::get(conditions, "Progressing")?;
    if matches!(progressing.reason.as_deref(), Some("NewReplicaSetAvailable" | "ProgressDeadlineExceeded")) {
        return None;
    }
    let left = deadline(spec, progressing)?.duration_since(now);
    // A second more, because timestamps carry whole seconds.
    Some(Duration::try_from(left).unwrap_or_default() + Duration::from_secs(1))
}
