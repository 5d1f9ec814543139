//! Deployment: rollouts from one replica set to the next.
//!
//! [`plan`] decides one step; applying it changes a replica set, and that change brings the next step.

mod plan;
mod status;
#[cfg(test)]
mod tests;

use crate::{
    framework::{Context, Controller, Key, Requeue, controller_keys},
    owners::{self, Orphans},
    pods,
};
use async_trait::async_trait;
use coracle_api::{LabelSelector, Propagation, Resource, Result, Status};
use coracle_client::{Change, ClientExt, EventType, Kind, Typed, View, ViewExt, typed};
use k8s_openapi::{
    api::{
        apps::v1::{Deployment, DeploymentStatus, ReplicaSet, ReplicaSetSpec},
        core::v1::Pod,
    },
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use plan::{NewSet, Plan, Set, TEMPLATE_HASH, World};
use serde_json::{Value, json};

/// The Deployment controller.
#[derive(Default)]
pub struct Deployments {
    orphans: Orphans,
}

#[async_trait]
impl Controller for Deployments {
    fn name(&self) -> &'static str {
        "deployment-controller"
    }

    fn watches(&self) -> Vec<Resource> {
        vec![Deployment::resource(), ReplicaSet::resource(), Pod::resource()]
    }

    fn keys(&self, view: &dyn View, change: &Change) -> Vec<Key> {
        if *change.resource == Pod::resource() {
            return pod_ended(view, change).into_iter().collect();
        }
        if *change.resource == Deployment::resource() {
            return vec![Key::from_change(change)];
        }
        self.orphans.note(change);
        let mut keys = controller_keys::<Deployment>(change);
        if let Some(set) = &change.new
            && set.meta().controller().is_none()
        {
            let all = view.typed_list::<Deployment>(&set.meta().namespace).into_iter();
            let selecting = all.filter(|d| selector(d).is_ok_and(|s| !s.is_empty() && s.matches(&set.meta().labels)));
            keys.extend(selecting.map(|d| Key::new(&d.meta().namespace, d.name())));
        }
        keys
    }

    async fn reconcile(&self, ctx: &Context, key: &Key) -> Result<Requeue> {
        let Some(deployment) = ctx.view.typed::<Deployment>(&key.namespace, &key.name) else { return Ok(Requeue::No) };
        let selector = selector(&deployment)?;
        if selector.is_everything() {
            let message = "This deployment is selecting all pods. A non-empty selector is required.";
            ctx.events.event(&Deployment::resource(), &deployment.object, EventType::Warning, "SelectingAll", message);
            return Ok(Requeue::No);
        }
        let claim = owners::claim::<ReplicaSet, _>(ctx.view.as_ref(), &deployment, &selector, &self.orphans);
        let sets = owners::settle(ctx, &deployment, claim).await?;
        let view = ctx.view.clone();
        let plan = plan::plan(&World {
            meta: deployment.meta(),
            deployment: &deployment,
            sets: sets.iter().map(|s| Set::new(s.meta(), s)).collect(),
            old_pods_running: &move |old| old.iter().any(|set| has_running_pods(view.as_ref(), &set.uid)),
            now: ctx.clock.now(),
        });
        let again = plan.again;
        apply(ctx, deployment, &sets, plan).await?;
        Ok(Requeue::soonest([again]))
    }
}

fn selector(deployment: &Deployment) -> Result<LabelSelector> {
    LabelSelector::from_spec(&deployment.spec.selector)
}

/// The last old pod's end is what a deployment that recreates waits for.
fn pod_ended(view: &dyn View, change: &Change) -> Option<Key> {
    let pod = change.old.as_ref().filter(|_| change.new.is_none())?;
    let owner = pod.meta().controller().filter(|o| o.kind == "ReplicaSet")?;
    let set = view.get(&ReplicaSet::resource(), &pod.meta().namespace, &owner.name)?;
    let owner = set.meta().controller().filter(|o| o.kind == "Deployment")?;
    let deployment = view.typed::<Deployment>(&pod.meta().namespace, &owner.name)?;
    let strategy = deployment.spec.strategy.as_ref()?;
    (strategy.type_.as_deref() == Some("Recreate")).then(|| Key::new(&pod.meta().namespace, &owner.name))
}

fn has_running_pods(view: &dyn View, set_uid: &str) -> bool {
    view.typed_owned::<Pod>(set_uid).iter().any(|pod| !pods::is_finished(pod))
}

async fn apply(ctx: &Context, deployment: Typed<Deployment>, sets: &[Typed<ReplicaSet>], plan: Plan) -> Result<()> {
    let mut status = plan.status;
    if let Some(new) = &plan.create {
        match create(ctx, &deployment, new).await {
            Ok(()) => {}
            Err(failure) => {
                blame(&mut status, &deployment, &failure, ctx.clock.now());
                write_status(ctx, &deployment, status).await?;
                return Err(failure.status);
            }
        }
    }
    for (before, after) in &plan.update {
        if let Some(set) = sets.iter().find(|s| s.uid() == before.uid) {
            update(ctx, &deployment, set, before, after).await?;
        }
    }
    for name in &plan.delete {
        if let Some(set) = sets.iter().find(|s| s.name() == name) {
            ctx.client.delete_typed(set, Some(Propagation::Background)).await?;
        }
    }
    let mut deployment = deployment;
    if let Some(revision) = plan.revision {
        let annotate = |value: &mut Value| value["metadata"]["annotations"][plan::REVISION] = json!(revision);
        deployment = ctx.client.update_with(&deployment, annotate).await?;
    }
    write_status(ctx, &deployment, status).await
}

async fn write_status(ctx: &Context, deployment: &Typed<Deployment>, status: DeploymentStatus) -> Result<()> {
    if deployment.status.as_ref() != Some(&status) {
        ctx.client.update_status(deployment, &status).await?;
    }
    Ok(())
}

struct Failure {
    status: Status,
    collision: bool,
}

/// What the status says after a replica set could not be created.
fn blame(status: &mut DeploymentStatus, deployment: &Typed<Deployment>, failure: &Failure, now: jiff::Timestamp) {
    let all = status.conditions.get_or_insert_default();
    if failure.collision {
        *status.collision_count.get_or_insert(0) += 1;
        return;
    }
    if status::has_deadline(&deployment.spec) {
        let message = format!("Failed to create new replica set: {}", failure.status);
        crate::conditions::remove(all, "Progressing");
        all.push(status::condition("Progressing", "False", "ReplicaSetCreateError", message, now));
    }
}

async fn create(ctx: &Context, deployment: &Typed<Deployment>, new: &NewSet) -> Result<(), Failure> {
    let set = replica_set(deployment, new);
    match ctx.client.create_typed(&set).await {
        Ok(set) => {
            if new.replicas > 0 {
                scaled(ctx, deployment, set.name(), 0, new.replicas);
            }
            Ok(())
        }
        Err(status) if status.is_already_exists() => {
            // Made by us a moment ago, or another template with the same hash.
            let existing = ctx.view.typed::<ReplicaSet>(&deployment.meta().namespace, &new.name);
            let ours = existing.is_some_and(|e| {
                let template = e.spec.template.clone().unwrap_or_default();
                let wanted = &deployment.spec.template;
                e.meta().controller().is_some_and(|o| o.uid == deployment.uid())
                    && plan::same_template(&template, wanted)
            });
            if ours { Ok(()) } else { Err(Failure { status, collision: true }) }
        }
        Err(status) if pods::namespace_terminating(&status) => Ok(()),
        Err(status) => {
            let message = format!("Failed to create new replica set {:?}: {status}", new.name);
            ctx.events.event(
                &Deployment::resource(),
                &deployment.object,
                EventType::Warning,
                "ReplicaSetCreateError",
                message,
            );
            Err(Failure { status, collision: false })
        }
    }
}

fn replica_set(deployment: &Typed<Deployment>, new: &NewSet) -> ReplicaSet {
    let spec = deployment.spec.clone();
    let mut template = spec.template;
    let labels = template.metadata.get_or_insert_default().labels.get_or_insert_default();
    labels.insert(TEMPLATE_HASH.into(), new.hash.clone());
    let labels = labels.clone();
    let mut selector = spec.selector;
    selector.match_labels.get_or_insert_default().insert(TEMPLATE_HASH.into(), new.hash.clone());
    ReplicaSet {
        metadata: ObjectMeta {
            name: Some(new.name.clone()),
            namespace: Some(deployment.meta().namespace.clone()),
            labels: Some(labels),
            annotations: Some(new.annotations.clone()),
            owner_references: Some(vec![typed::controller_reference(deployment)]),
            ..ObjectMeta::default()
        },
        spec: ReplicaSetSpec {
            replicas: Some(new.replicas),
            min_ready_seconds: spec.min_ready_seconds,
            selector,
            template: Some(template),
        },
        status: None,
    }
}

async fn update(
    ctx: &Context,
    deployment: &Typed<Deployment>,
    set: &Typed<ReplicaSet>,
    before: &Set,
    after: &Set,
) -> Result<()> {
    ctx.client
        .update_with(set, |value| {
            value["metadata"]["annotations"] = json!(after.annotations);
            value["spec"]["replicas"] = json!(after.replicas);
            if after.min_ready != before.min_ready {
                value["spec"]["minReadySeconds"] = json!(after.min_ready);
            }
        })
        .await?;
    if before.replicas != after.replicas {
        scaled(ctx, deployment, &after.name, before.replicas, after.replicas);
    }
    Ok(())
}

fn scaled(ctx: &Context, deployment: &Typed<Deployment>, set: &str, from: i32, to: i32) {
    let way = if to > from { "up" } else { "down" };
    let message = format!("Scaled {way} replica set {set} from {from} to {to}");
    ctx.events.event(&Deployment::resource(), &deployment.object, EventType::Normal, "ScalingReplicaSet", message);
}
