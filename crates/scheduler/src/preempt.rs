//! Preemption: for a pod that fits nowhere, the node where pods that matter less can make room for it, and which of them have to go. Pure.
//!
//! Source: `pkg/scheduler/framework/preemption`, `pkg/scheduler/framework/plugins/defaultpreemption`.

use crate::{
    budgets::Budgets,
    cache::NodeInfo,
    decide::{Reasons, rejection},
    nominated::priority,
    plugins::World,
};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use std::{cmp::Reverse, sync::Arc};

/// So many candidates are enough (or all, if there are fewer) …
const ENOUGH: usize = 100;
/// … or this part of the nodes in per cent, if that is more.
const ENOUGH_PERCENT: usize = 10;
/// The condition of a pod that has to go, and its reason when the scheduler wants it.
pub const DISRUPTION: (&str, &str) = ("DisruptionTarget", "PreemptionByScheduler");

/// What can be done for a pod that fits nowhere.
#[derive(Clone, Debug, PartialEq)]
pub enum Preemption {
    /// On this node these have to go; the most important first.
    Evict {
        /// Where the pod will fit.
        node: String,
        /// Not empty.
        victims: Vec<Arc<Pod>>,
    },
    /// Nothing may be done now; where room is being made for the pod stays. Says why.
    Refused(String),
    /// Nothing helps; no room is kept for the pod. Says why, unless there is nothing to say.
    Hopeless(String),
}

impl Preemption {
    /// What it adds to the message about the pod.
    pub fn said(&self) -> String {
        match self {
            Self::Refused(why) | Self::Hopeless(why) if !why.is_empty() => format!(" preemption: {why}"),
            _ => String::new(),
        }
    }
}

/// Who has to go on one node.
struct Candidate<'a> {
    node: &'a NodeInfo,
    /// The most important first.
    victims: Vec<Arc<Pod>>,
    /// Evictions that a budget does not allow.
    violations: usize,
}

/// Seeks room for `pod` on the nodes of `world` that reject it for their pods (`crowded`), beginning with the one at `offset`.
pub fn preempt(world: &World<'_>, pod: &Pod, crowded: &[&NodeInfo], offset: usize) -> Preemption {
    if let Some(why) = refusal(world, pod, crowded) {
        return Preemption::Refused(why.into());
    }
    let mut reasons = Reasons::default();
    match choose(candidates(world, pod, crowded, offset, &mut reasons)) {
        Some(best) => Preemption::Evict { node: best.node.name().to_string(), victims: best.victims },
        None => {
            if world.len() > crowded.len() {
                let helpless = "Preemption is not helpful for scheduling".to_string();
                reasons.count(vec![helpless], world.len() - crowded.len());
            }
            Preemption::Hopeless(reasons.message(world.len()))
        }
    }
}

/// Why `pod` may not evict others: it never may, or it did and those have not gone yet.
fn refusal(world: &World<'_>, pod: &Pod, crowded: &[&NodeInfo]) -> Option<&'static str> {
    if pod.spec.as_ref().and_then(|s| s.preemption_policy.as_deref()) == Some("Never") {
        return Some("not eligible due to preemptionPolicy=Never.");
    }
    let nominated = world.nominated.node_of(pod.metadata.uid.as_deref().unwrap_or_default())?;
    // a node that rejects the pod for reasons of its own is no hope any more
    let node = crowded.iter().find(|node| node.name() == nominated)?;
    let leaving = node.pods.values().any(|other| priority(other) < priority(pod) && is_leaving(other));
    leaving.then_some("not eligible due to a terminating pod on the nominated node.")
}

/// Whether a pod ends because of preemption.
fn is_leaving(pod: &Pod) -> bool {
    let mut conditions = pod.status.iter().flat_map(|s| s.conditions.iter().flatten());
    let target = conditions.find(|c| c.type_ == DISRUPTION.0);
    pod.metadata.deletion_timestamp.is_some()
        && target.is_some_and(|c| c.status == "True" && c.reason.as_deref() == Some(DISRUPTION.1))
}

/// The nodes where evictions help, those without violations of budgets first. Why the others don't is counted.
fn candidates<'a>(
    world: &World<'_>,
    pod: &Pod,
    crowded: &[&'a NodeInfo],
    offset: usize,
    reasons: &mut Reasons,
) -> Vec<Candidate<'a>> {
    if crowded.is_empty() {
        return Vec::new();
    }
    let budgets = Budgets::of(world.view);
    let enough = (crowded.len() * ENOUGH_PERCENT / 100).max(ENOUGH);
    let (before, after) = crowded.split_at(offset % crowded.len());
    let (mut harmless, mut harmful) = (Vec::new(), Vec::new());
    for node in after.iter().chain(before) {
        match dry_run(world, pod, node, &budgets) {
            Ok(candidate) if candidate.violations == 0 => harmless.push(candidate),
            Ok(candidate) => harmful.push(candidate),
            Err(why) => reasons.count(why, 1),
        }
        if !harmless.is_empty() && harmless.len() + harmful.len() >= enough {
            break;
        }
    }
    harmless.append(&mut harmful);
    harmless
}

/// The fewest pods that have to leave `node`: without all that matter less than `pod` it has to fit; then each may stay beside which it
/// still fits, first those that budgets protect, the most important first.
fn dry_run<'a>(
    world: &World<'_>,
    pod: &Pod,
    node: &'a NodeInfo,
    budgets: &Budgets,
) -> Result<Candidate<'a>, Vec<String>> {
    let mut lesser: Vec<(&String, &Arc<Pod>)> =
        node.pods.iter().filter(|(_, other)| priority(other) < priority(pod)).collect();
    if lesser.is_empty() {
        return Err(vec!["No preemption victims found for incoming pod".into()]);
    }
    let mut rest = node.clone();
    lesser.iter().for_each(|(uid, _)| rest.remove(uid));
    if let Some(rejected) = rejection(&world.with(&rest), pod, &rest) {
        return Err(rejected.reasons);
    }
    lesser.sort_by_cached_key(|(uid, other)| (importance(other), (*uid).clone()));
    let protected = budgets.violated(lesser.iter().map(|(_, other)| &***other));
    let (mut victims, mut violations) = (Vec::new(), 0);
    for wanted in [true, false] {
        for ((uid, other), _) in lesser.iter().zip(&protected).filter(|(_, violated)| **violated == wanted) {
            rest.add(uid, (*other).clone());
            if rejection(&world.with(&rest), pod, &rest).is_some() {
                rest.remove(uid);
                victims.push((*other).clone());
                violations += usize::from(wanted);
            }
        }
    }
    if victims.is_empty() {
        return Err(vec![format!("expected at least one victim pod on node \"{}\"", node.name())]);
    }
    victims.sort_by_key(|victim| importance(victim));
    Ok(Candidate { node, victims, violations })
}

fn started(pod: &Pod) -> Timestamp {
    pod.status.as_ref().and_then(|s| s.start_time.as_ref()).map_or(Timestamp::MAX, |time| time.0)
}

/// Orders the more important first: by priority, then by how long it has run.
fn importance(pod: &Pod) -> (Reverse<i32>, Timestamp) {
    (Reverse(priority(pod)), started(pod))
}

/// The node where the least is lost: the fewest violated budgets, the least important first victim, the smallest sum of priorities, the
/// fewest victims, and the most important of them started last.
fn choose(candidates: Vec<Candidate<'_>>) -> Option<Candidate<'_>> {
    candidates.into_iter().min_by_key(|candidate| {
        let highest = candidate.victims.first().map(|victim| priority(victim));
        // each counts as at least one, so that many of a negative priority are no gain
        let sum: i64 = candidate.victims.iter().map(|v| i64::from(priority(v)) - i64::from(i32::MIN)).sum();
        let first = candidate.victims.first().map(|victim| started(victim));
        (candidate.violations, highest, sum, candidate.victims.len(), Reverse(first))
    })
}
