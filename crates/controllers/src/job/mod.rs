//! Job: pods until enough of them have succeeded.
//!
//! [`plan`] decides one step; applying it changes pods, and those changes bring the next step.

mod indexes;
pub mod plan;
mod policy;
#[cfg(test)]
mod tests;

use crate::{
    framework::{Context, Controller, Key, Requeue, controller_keys},
    owners::{self, Orphans},
    pods,
};
use async_trait::async_trait;
use coracle_api::{LabelSelector, Object, Resource, Result, WriteOptions};
use coracle_client::{Change, ClientExt, Kind, Typed, View, ViewExt};
use k8s_openapi::api::{batch::v1::Job, core::v1::Pod};
use plan::{INDEX, INDEX_FAILURES, NewPod, Plan, TRACKING, World};
use serde_json::{Value, json};
use std::{collections::BTreeSet, sync::Arc};

/// `spec.managedBy` of jobs that are ours.
const MANAGED_BY: &str = "kubernetes.io/job-controller";

/// The Job controller.
#[derive(Default)]
pub struct Jobs {
    orphans: Orphans,
}

#[async_trait]
impl Controller for Jobs {
    fn name(&self) -> &'static str {
        "job-controller"
    }

    fn watches(&self) -> Vec<Resource> {
        vec![Job::resource(), Pod::resource()]
    }

    fn keys(&self, view: &dyn View, change: &Change) -> Vec<Key> {
        if *change.resource == Job::resource() {
            let mut keys = vec![Key::from_change(change)];
            if let (None, Some(old)) = (&change.new, &change.old) {
                let left = view.owned_by(&Pod::resource(), &old.meta().uid);
                keys.extend(left.iter().filter(|pod| is_tracked(pod)).map(pod_key));
            }
            return keys;
        }
        self.orphans.note(change);
        let mut keys = controller_keys::<Job>(change);
        if let Some(pod) = &change.new
            && is_tracked(pod)
            && job_of(view, pod).is_none()
        {
            keys.push(pod_key(pod));
        }
        if let Some(pod) = &change.new
            && pod.meta().controller().is_none()
            && !pod.meta().labels.is_empty()
        {
            keys.extend(selecting(view, pod));
        }
        keys
    }

    async fn reconcile(&self, ctx: &Context, key: &Key) -> Result<Requeue> {
        if key.resource.is_some() {
            return free_orphan(ctx, key).await;
        }
        let Some(job) = ctx.view.typed::<Job>(&key.namespace, &key.name).filter(is_ours) else {
            return Ok(Requeue::No);
        };
        let selector = selector(&job)?;
        let claim = owners::claim::<Pod, _>(ctx.view.as_ref(), &job, &selector, &self.orphans);
        let adopted: BTreeSet<String> = claim.adopt.iter().map(|p| p.uid().to_string()).collect();
        let mut pods = owners::settle(ctx, &job, claim).await?;
        for pod in pods.iter_mut().filter(|p| adopted.contains(p.uid()) && !is_tracked(&p.object)) {
            *pod = Typed::new(track(ctx, pod).await?)?;
        }
        let plan = plan::plan(&World { job: &job, pods: &pods, now: ctx.clock.now() });
        let again = plan.again;
        apply(ctx, &job, &pods, plan).await?;
        Ok(Requeue::soonest([again]))
    }
}

fn is_ours(job: &Typed<Job>) -> bool {
    job.spec.as_ref().and_then(|s| s.managed_by.as_deref()).is_none_or(|by| by == MANAGED_BY)
}

fn is_tracked(object: &Arc<Object>) -> bool {
    object.meta().finalizers.iter().any(|f| f == TRACKING)
}

fn pod_key(pod: &Arc<Object>) -> Key {
    Key::of(&Arc::new(Pod::resource()), &pod.meta().namespace, &pod.meta().name)
}

fn selector(job: &Job) -> Result<LabelSelector> {
    let selector = job.spec.as_ref().and_then(|s| s.selector.as_ref());
    selector.map_or_else(|| Ok(LabelSelector::nothing()), LabelSelector::from_spec)
}

/// The job that a pod belongs to, if it exists.
fn job_of(view: &dyn View, pod: &Object) -> Option<Typed<Job>> {
    let owner = pod.meta().controller().filter(|o| o.kind == "Job" && o.api_version == "batch/v1")?;
    view.typed::<Job>(&pod.meta().namespace, &owner.name).filter(|job| job.uid() == owner.uid)
}

/// The jobs that would adopt a pod.
fn selecting(view: &dyn View, pod: &Object) -> Vec<Key> {
    let all = view.typed_list::<Job>(&pod.meta().namespace).into_iter();
    let selecting = all.filter(|job| {
        plan::is_finished(job.status.as_ref()).is_none()
            && selector(job).is_ok_and(|s| !s.is_empty() && s.matches(&pod.meta().labels))
    });
    selecting.map(|job| Key::new(&pod.meta().namespace, job.name())).collect()
}

/// A pod whose job has gone is counted by nobody: it may go too.
async fn free_orphan(ctx: &Context, key: &Key) -> Result<Requeue> {
    let Some(pod) = ctx.view.typed::<Pod>(&key.namespace, &key.name) else { return Ok(Requeue::No) };
    if job_of(ctx.view.as_ref(), &pod.object).is_none() && selecting(ctx.view.as_ref(), &pod.object).is_empty() {
        release(ctx, &pod).await?;
    }
    Ok(Requeue::No)
}

/// Writes the finalizers of a pod, unless it has gone.
async fn finalizers(ctx: &Context, pod: &Typed<Pod>, all: Vec<&str>) -> Result<Arc<Object>> {
    let all = if all.is_empty() { Value::Null } else { json!(all) };
    let patch = json!({"metadata": {
        "uid": pod.uid(), "resourceVersion": pod.object.revision().to_string(), "finalizers": all,
    }});
    let (meta, options) = (pod.meta(), WriteOptions::default());
    let patch = coracle_api::Patch::merge(patch);
    match ctx.client.patch(&Pod::resource(), &meta.namespace, &meta.name, "", patch, &options).await {
        Err(status) if status.is_not_found() => Ok(pod.object.clone()),
        written => written,
    }
}

async fn track(ctx: &Context, pod: &Typed<Pod>) -> Result<Arc<Object>> {
    let all = pod.meta().finalizers.iter().map(String::as_str).chain([TRACKING]).collect();
    finalizers(ctx, pod, all).await
}

async fn release(ctx: &Context, pod: &Typed<Pod>) -> Result<()> {
    if !is_tracked(&pod.object) {
        return Ok(());
    }
    let rest = pod.meta().finalizers.iter().map(String::as_str).filter(|f| *f != TRACKING).collect();
    finalizers(ctx, pod, rest).await.map(drop)
}

async fn apply(ctx: &Context, job: &Typed<Job>, all: &[Typed<Pod>], plan: Plan) -> Result<()> {
    let named = |names: &[String]| -> Vec<Typed<Pod>> {
        all.iter().filter(|p| names.iter().any(|name| name == p.name())).cloned().collect()
    };
    let mut remove = named(&plan.remove);
    for pod in &mut remove {
        release(ctx, pod).await?;
    }
    remove.extend(named(&plan.stop));
    pods::delete_all(ctx, job, &remove).await?;
    let made = plan.create.iter().map(|new| pod(job, new)).collect::<Vec<_>>();
    let created = pods::create_all(ctx, job, made, true).await;
    let mut status = plan.status;
    if created.is_err() {
        // how many came about, the next step sees
        let hoped = plan.create.len() as i32;
        status.active = status.active.map(|n| n - hoped).filter(|n| *n > 0);
    }
    if job.status.as_ref() != Some(&status) {
        ctx.client.update_status(job, &status).await?;
    }
    created?;
    for (kind, reason, message) in plan.events {
        ctx.events.event(&Job::resource(), &job.object, kind, &reason, message);
    }
    for pod in named(&plan.release) {
        release(ctx, &pod).await?;
    }
    Ok(())
}

/// A pod of a job.
fn pod(job: &Typed<Job>, new: &NewPod) -> Pod {
    let template = job.spec.as_ref().map(|s| s.template.clone()).unwrap_or_default();
    let mut pod = pods::from_template(&template, job);
    pod.metadata.finalizers.get_or_insert_default().push(TRACKING.into());
    let Some(index) = new.index else { return pod };
    let text = index.to_string();
    pod.metadata.generate_name = Some(format!("{}-{index}-", job.name()));
    pod.metadata.labels.get_or_insert_default().insert(INDEX.into(), text.clone());
    let annotations = pod.metadata.annotations.get_or_insert_default();
    annotations.insert(INDEX.into(), text);
    if job.spec.as_ref().is_some_and(|s| s.backoff_limit_per_index.is_some()) {
        annotations.insert(INDEX_FAILURES.into(), new.failures.to_string());
    }
    if let Some(spec) = &mut pod.spec {
        spec.hostname.get_or_insert_with(|| format!("{}-{index}", job.name()));
        for container in spec.containers.iter_mut().chain(spec.init_containers.iter_mut().flatten()) {
            let env = container.env.get_or_insert_default();
            if !env.iter().any(|e| e.name == "JOB_COMPLETION_INDEX") {
                env.push(index_variable());
            }
        }
    }
    pod
}

/// The variable by which a container knows its index.
fn index_variable() -> k8s_openapi::api::core::v1::EnvVar {
    use k8s_openapi::api::core::v1::{EnvVar, EnvVarSource, ObjectFieldSelector};
    let field = ObjectFieldSelector { api_version: None, field_path: format!("metadata.labels['{INDEX}']") };
    EnvVar {
        name: "JOB_COMPLETION_INDEX".into(),
        value_from: Some(EnvVarSource { field_ref: Some(field), ..EnvVarSource::default() }),
        ..EnvVar::default()
    }
}
