//! What the controllers of pods have in common: making pods from a template, creating and deleting many, telling their state.

use crate::framework::Context;
use coracle_api::{Result, Status};
use coracle_client::{ClientExt, EventType, Kind, Typed, typed};
use futures::future::join_all;
use jiff::Timestamp;
use k8s_openapi::{
    api::core::v1::{Pod, PodTemplateSpec},
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use std::time::Duration;

/// At most so many pods are created or deleted in one reconciliation.
pub const BURST: usize = 500;

/// Whether a pod still works or will: neither finished nor being deleted.
pub fn is_active(pod: &Typed<Pod>) -> bool {
    !is_finished(pod) && !pod.meta().is_deleting()
}

/// Whether a pod is on its way out but not yet finished.
pub fn is_terminating(pod: &Typed<Pod>) -> bool {
    pod.meta().is_deleting() && !is_finished(pod)
}

/// Whether all containers ended for good.
pub fn is_finished(pod: &Pod) -> bool {
    matches!(phase(pod), "Succeeded" | "Failed")
}

/// `status.phase`; empty if not yet known.
pub fn phase(pod: &Pod) -> &str {
    pod.status.as_ref().and_then(|s| s.phase.as_deref()).unwrap_or_default()
}

/// Since when the pod has been ready; `None` if it is not.
pub fn ready_since(pod: &Pod) -> Option<Timestamp> {
    let conditions = pod.status.as_ref()?.conditions.as_ref()?;
    let ready = conditions.iter().find(|c| c.type_ == "Ready" && c.status == "True")?;
    Some(ready.last_transition_time.as_ref().map_or(Timestamp::MIN, |t| t.0))
}

/// Whether the pod's `Ready` condition is true.
pub fn is_ready(pod: &Pod) -> bool {
    ready_since(pod).is_some()
}

/// How far a pod is from being available.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Availability {
    /// Ready for long enough.
    Yes,
    /// Ready, but for long enough only after this long.
    In(Duration),
    /// Not ready.
    No,
}

/// Whether the pod has been ready for `min_ready` seconds.
pub fn availability(pod: &Pod, min_ready: i32, now: Timestamp) -> Availability {
    let Some(since) = ready_since(pod) else { return Availability::No };
    if min_ready <= 0 {
        return Availability::Yes;
    }
    let at = since.saturating_add(jiff::SignedDuration::from_secs(min_ready.into())).unwrap_or(Timestamp::MAX);
    match Duration::try_from(at.duration_since(now)) {
        Ok(left) if !left.is_zero() => Availability::In(left),
        _ => Availability::Yes,
    }
}

/// Whether the pod has been ready for `min_ready` seconds.
pub fn is_available(pod: &Pod, min_ready: i32, now: Timestamp) -> bool {
    availability(pod, min_ready, now) == Availability::Yes
}

/// When the next of these pods becomes available by waiting alone.
pub fn next_available(pods: &[Typed<Pod>], min_ready: i32, now: Timestamp) -> Option<Duration> {
    let waits = pods.iter().filter_map(|pod| match availability(pod, min_ready, now) {
        Availability::In(left) => Some(left),
        _ => None,
    });
    waits.min()
}

/// A pod of `owner` as `template` says, its name made by the server from the owner's.
pub fn from_template<K: Kind>(template: &PodTemplateSpec, owner: &Typed<K>) -> Pod {
    let from = template.metadata.clone().unwrap_or_default();
    Pod {
        metadata: ObjectMeta {
            generate_name: Some(name_prefix(owner.name())),
            namespace: Some(owner.meta().namespace.clone()),
            labels: from.labels,
            annotations: from.annotations,
            finalizers: from.finalizers,
            owner_references: Some(vec![typed::controller_reference(owner)]),
            ..ObjectMeta::default()
        },
        spec: template.spec.clone(),
        status: None,
    }
}

/// `<owner>-`, unless that makes no valid name (then the owner's name alone).
fn name_prefix(owner: &str) -> String {
    if owner.len() < 253 { format!("{owner}-") } else { owner.to_string() }
}

/// Creates pods, all at once; `careful` begins with one and doubles while that succeeds, so that a quota or a webhook that refuses is asked
/// once and not hundreds of times.
///
/// # Errors
/// The first error; pods after it may have been created.
pub async fn create_all<K: Kind>(ctx: &Context, owner: &Typed<K>, pods: Vec<Pod>, careful: bool) -> Result<()> {
    let resource = K::resource();
    let mut rest = pods.as_slice();
    let mut batch = if careful { 1 } else { rest.len().max(1) };
    while !rest.is_empty() {
        let (now, later) = rest.split_at(batch.min(rest.len()));
        let results = join_all(now.iter().map(|pod| ctx.client.create_typed(pod))).await;
        let mut failed = None;
        for result in results {
            match result {
                Ok(pod) => {
                    let message = format!("Created pod: {}", pod.name());
                    ctx.events.event(&resource, &owner.object, EventType::Normal, "SuccessfulCreate", message);
                }
                // A namespace that is going away takes no pods; that is no news.
                Err(status) if namespace_terminating(&status) => return Ok(()),
                Err(status) => {
                    let message = format!("Error creating: {status}");
                    ctx.events.event(&resource, &owner.object, EventType::Warning, "FailedCreate", message);
                    failed = failed.or(Some(status));
                }
            }
        }
        if let Some(status) = failed {
            return Err(status);
        }
        (rest, batch) = (later, batch * 2);
    }
    Ok(())
}

/// Deletes pods, all at once. A pod that has gone already is no error.
///
/// # Errors
/// The first error.
pub async fn delete_all<K: Kind>(ctx: &Context, owner: &Typed<K>, pods: &[Typed<Pod>]) -> Result<()> {
    let resource = K::resource();
    let results = join_all(pods.iter().map(|pod| ctx.client.delete_typed(pod, None))).await;
    let mut failed = None;
    for (pod, result) in pods.iter().zip(results) {
        match result {
            Ok(()) => {
                let message = format!("Deleted pod: {}", pod.name());
                ctx.events.event(&resource, &owner.object, EventType::Normal, "SuccessfulDelete", message);
            }
            Err(status) => {
                let message = format!("Error deleting: {status}");
                ctx.events.event(&resource, &owner.object, EventType::Warning, "FailedDelete", message);
                failed = failed.or(Some(status));
            }
        }
    }
    failed.map_or(Ok(()), Err)
}

/// Whether a create failed because the namespace is being deleted.
pub fn namespace_terminating(status: &Status) -> bool {
    let causes = status.details["causes"].as_array();
    status.code == 403 && causes.is_some_and(|all| all.iter().any(|c| c["reason"] == "NamespaceTerminating"))
}
