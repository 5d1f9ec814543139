//! StatefulSet: pods with a name, a place and volumes of their own, started and stopped in order.

mod identity;
mod plan;
#[cfg(test)]
mod tests;

use crate::{
    framework::{Context, Controller, Key, Requeue, controller_keys},
    owners::{self, Orphans},
    pods,
    revisions::{self, History, Naming, REVISION_LABEL},
};
use async_trait::async_trait;
use coracle_api::{LabelSelector, Resource, Result, Status};
use coracle_client::{Change, ClientExt, EventType, Kind, Typed, View, ViewExt};
use k8s_openapi::api::{
    apps::v1::{ControllerRevision, StatefulSet},
    core::v1::{PersistentVolumeClaim, Pod, PodTemplateSpec},
};
use plan::{Action, Version, Why, World};
use serde_json::{Value, json};
use std::{collections::BTreeSet, time::Duration};

/// The StatefulSet controller.
#[derive(Default)]
pub struct StatefulSets {
    orphan_pods: Orphans,
    orphan_revisions: Orphans,
}

#[async_trait]
impl Controller for StatefulSets {
    fn name(&self) -> &'static str {
        "statefulset-controller"
    }

    fn watches(&self) -> Vec<Resource> {
        vec![StatefulSet::resource(), Pod::resource(), ControllerRevision::resource()]
    }

    fn keys(&self, view: &dyn View, change: &Change) -> Vec<Key> {
        if *change.resource == StatefulSet::resource() {
            return vec![Key::from_change(change)];
        }
        if *change.resource == ControllerRevision::resource() {
            self.orphan_revisions.note(change);
            return Vec::new();
        }
        self.orphan_pods.note(change);
        let mut keys = controller_keys::<StatefulSet>(change);
        if let Some(pod) = &change.new
            && pod.meta().controller().is_none()
            && !pod.meta().labels.is_empty()
        {
            let all = view.typed_list::<StatefulSet>(&pod.meta().namespace).into_iter();
            let selecting = all.filter(|set| {
                plan::ordinal(set.name(), &pod.meta().name).is_some()
                    && LabelSelector::from_spec(&set.spec.selector).is_ok_and(|s| s.matches(&pod.meta().labels))
            });
            keys.extend(selecting.map(|set| Key::new(&set.meta().namespace, set.name())));
        }
        keys
    }

    async fn reconcile(&self, ctx: &Context, key: &Key) -> Result<Requeue> {
        let Some(set) = ctx.view.typed::<StatefulSet>(&key.namespace, &key.name) else { return Ok(Requeue::No) };
        let selector = LabelSelector::from_spec(&set.spec.selector)?;
        let naming = Naming {
            hash_label: "controller.kubernetes.io/hash",
            collisions: set.status.as_ref().and_then(|s| s.collision_count),
        };
        let history = revisions::sync(ctx, &set, &selector, &set.spec.template, naming, &self.orphan_revisions).await?;
        let pods = self.pods(ctx, &set, &selector).await?;
        let current = current_revision(&set, &history);
        let world = |pods| world(&set, pods, current.name(), &history, ctx.clock.now());
        let actions = plan::plan(&world(&pods));
        let applied = apply(ctx, &set, &pods, actions, &current, &history.newest).await;
        // What was just written is in the view already: one status instead of two.
        let mut after = ctx.view.typed_owned::<Pod>(set.uid());
        after.retain(|pod| selector.matches(&pod.meta().labels));
        let status = plan::status(&world(&after));
        let again = plan::again(&world(&after));
        if set.status.as_ref() != Some(&status) {
            ctx.client.update_status(&set, &status).await?;
        }
        applied?;
        truncate(ctx, &set, &history, &current, &after).await?;
        Ok(Requeue::soonest([again.map(|wait| wait + Duration::from_millis(10))]))
    }
}

impl StatefulSets {
    async fn pods(&self, ctx: &Context, set: &Typed<StatefulSet>, selector: &LabelSelector) -> Result<Vec<Typed<Pod>>> {
        let mut claim = owners::claim::<Pod, _>(ctx.view.as_ref(), set, selector, &self.orphan_pods);
        // Only what is named like a pod of this set can be one.
        claim.adopt.retain(|pod| plan::ordinal(set.name(), pod.name()).is_some());
        owners::settle(ctx, set, claim).await
    }
}

fn world<'a>(
    set: &'a Typed<StatefulSet>,
    pods: &'a [Typed<Pod>],
    current: &'a str,
    history: &'a History,
    now: jiff::Timestamp,
) -> World<'a> {
    World {
        set,
        name: set.name(),
        deleting: set.meta().is_deleting(),
        generation: set.meta().generation,
        pods,
        current,
        update: history.newest.name(),
        collisions: history.collisions,
        now,
    }
}

/// The revision that was complete last; a new set begins with the newest.
fn current_revision(set: &Typed<StatefulSet>, history: &History) -> Typed<ControllerRevision> {
    let name = set.status.as_ref().and_then(|s| s.current_revision.clone()).unwrap_or_default();
    history.all.iter().find(|r| r.name() == name).unwrap_or(&history.newest).clone()
}

async fn truncate(
    ctx: &Context,
    set: &Typed<StatefulSet>,
    history: &History,
    current: &Typed<ControllerRevision>,
    pods: &[Typed<Pod>],
) -> Result<()> {
    let mut live: BTreeSet<String> = pods.iter().filter_map(|p| p.meta().labels.get(REVISION_LABEL).cloned()).collect();
    live.extend([current.name().to_string(), history.newest.name().to_string()]);
    let limit = set.spec.revision_history_limit.unwrap_or(10);
    revisions::truncate(ctx, &history.all, &live, limit, |revision| revision.name().to_string()).await
}

async fn apply(
    ctx: &Context,
    set: &Typed<StatefulSet>,
    pods: &[Typed<Pod>],
    actions: Vec<Action>,
    current: &Typed<ControllerRevision>,
    update: &Typed<ControllerRevision>,
) -> Result<()> {
    if !set.meta().is_deleting() {
        for pod in pods.iter().filter(|pod| !pod.meta().is_deleting()) {
            keep_identity(ctx, set, pod).await?;
        }
    }
    let writes = actions.into_iter().map(|action| async move {
        match action {
            Action::Create(ordinal, version) => {
                let from = if version == Version::Current { current } else { update };
                let template = revisions::template(from)?;
                create(ctx, set, &template, from.name(), ordinal).await
            }
            Action::Delete(pod, why) => delete(ctx, set, &pod, why).await,
        }
    });
    // In order there is one action at a time; in parallel they need not wait for each other.
    futures::future::join_all(writes).await.into_iter().collect()
}

async fn create(
    ctx: &Context,
    set: &Typed<StatefulSet>,
    template: &PodTemplateSpec,
    revision: &str,
    ordinal: i32,
) -> Result<()> {
    let pod = identity::pod(set, template, revision, ordinal);
    let name = pod.metadata.name.clone().unwrap_or_default();
    let created = match ensure_claims(ctx, set, &name, ordinal).await {
        Ok(()) => ctx.client.create_typed(&pod).await.map(drop),
        Err(status) => Err(status),
    };
    match created {
        // Somebody else's pod of that name has to go first; its end is a change that brings us back.
        Err(status) if pods::namespace_terminating(&status) => Ok(()),
        created => {
            say(ctx, set, "create", &format!("Pod {name}"), created.as_ref().err());
            created
        }
    }
}

async fn delete(ctx: &Context, set: &Typed<StatefulSet>, pod: &Typed<Pod>, why: Why) -> Result<()> {
    if why == Why::Ended {
        let meta = set.meta();
        let message = format!("StatefulSet {}/{} is recreating failed Pod {}", meta.namespace, meta.name, pod.name());
        ctx.events.event(&StatefulSet::resource(), &set.object, EventType::Warning, "RecreatingFailedPod", message);
    }
    let deleted = ctx.client.delete_typed(pod, None).await;
    say(ctx, set, "delete", &format!("Pod {}", pod.name()), deleted.as_ref().err());
    deleted
}

fn say(ctx: &Context, set: &Typed<StatefulSet>, verb: &str, what: &str, failure: Option<&Status>) {
    let name = set.name();
    let noun = if verb == "create" { "Create" } else { "Delete" };
    let (kind, reason, message) = match failure {
        None => {
            let reason = format!("Successful{noun}");
            (EventType::Normal, reason, format!("{verb} {what} in StatefulSet {name} successful"))
        }
        Some(status) => {
            let message = format!("{verb} {what} in StatefulSet {name} failed error: {status}");
            (EventType::Warning, format!("Failed{noun}"), message)
        }
    };
    ctx.events.event(&StatefulSet::resource(), &set.object, kind, &reason, message);
}

/// Makes the claims that a pod needs before the pod.
async fn ensure_claims(ctx: &Context, set: &Typed<StatefulSet>, pod: &str, ordinal: i32) -> Result<()> {
    for claim in identity::claims(set, ordinal) {
        let name = claim.metadata.name.clone().unwrap_or_default();
        if let Some(existing) = ctx.view.get(&identity::claim_resource(), &set.meta().namespace, &name) {
            if existing.meta().is_deleting() {
                return Err(Status::conflict(
                    &identity::claim_resource(),
                    &name,
                    format!("pvc {name} is being deleted"),
                ));
            }
            continue;
        }
        match ctx.client.create_typed(&claim).await {
            Err(status) if status.is_already_exists() => {}
            created => {
                let created = created.map(drop);
                say_claim(ctx, set, &name, pod, created.as_ref().err());
                created?;
            }
        }
    }
    Ok(())
}

fn say_claim(ctx: &Context, set: &Typed<StatefulSet>, claim: &str, pod: &str, failure: Option<&Status>) {
    let name = set.name();
    let (kind, reason, message) = match failure {
        None => {
            let message = format!("create Claim {claim} Pod {pod} in StatefulSet {name} success");
            (EventType::Normal, "SuccessfulCreate", message)
        }
        Some(status) => {
            let message = format!("create Claim {claim} for Pod {pod} in StatefulSet {name} failed error: {status}");
            (EventType::Warning, "FailedCreate", message)
        }
    };
    ctx.events.event(&StatefulSet::resource(), &set.object, kind, reason, message);
}

/// Puts right what somebody may have changed: labels, claims that are missing, and to whom the claims belong.
async fn keep_identity(ctx: &Context, set: &Typed<StatefulSet>, pod: &Typed<Pod>) -> Result<()> {
    let meta = pod.meta();
    if let Some(labels) = identity::missing_labels(set, pod) {
        ctx.client.merge::<Pod>(&meta.namespace, &meta.name, "", labels).await?;
    }
    let Some(ordinal) = plan::ordinal(set.name(), pod.name()) else { return Ok(()) };
    for name in identity::claim_names(set, ordinal) {
        let Some(claim) = ctx.view.typed::<PersistentVolumeClaim>(&meta.namespace, &name) else {
            if pods::phase(pod) == "Pending" {
                ensure_claims(ctx, set, pod.name(), ordinal).await?;
            }
            continue;
        };
        if let Some(owners) = identity::owners_of_claim(set, pod, &claim) {
            let owners = if owners.is_empty() { Value::Null } else { json!(owners) };
            let patch = json!({"metadata": {
                "resourceVersion": claim.object.revision().to_string(),
                "ownerReferences": owners,
            }});
            ctx.client.merge::<PersistentVolumeClaim>(&meta.namespace, &name, "", patch).await?;
        }
    }
    Ok(())
}
