//! CronJob: a job whenever the schedule says so.

mod plan;
#[cfg(test)]
mod tests;

use crate::{
    framework::{Context, Controller, Key, Requeue, controller_keys},
    pods,
};
use async_trait::async_trait;
use coracle_api::{Propagation, Resource, Result};
use coracle_client::{Change, ClientExt, EventType, Kind, Typed, View, ViewExt, typed};
use jiff::tz::TimeZone;
use k8s_openapi::{
    api::batch::v1::{CronJob, Job},
    apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time},
};
use plan::{Plan, Start, World};

/// Annotation of a job: the time that it was started for.
const SCHEDULED: &str = "batch.kubernetes.io/cronjob-scheduled-timestamp";

/// The CronJob controller.
#[derive(Default)]
pub struct CronJobs;

#[async_trait]
impl Controller for CronJobs {
    fn name(&self) -> &'static str {
        "cronjob-controller"
    }

    fn watches(&self) -> Vec<Resource> {
        vec![CronJob::resource(), Job::resource()]
    }

    fn keys(&self, _view: &dyn View, change: &Change) -> Vec<Key> {
        if *change.resource == CronJob::resource() {
            return vec![Key::from_change(change)];
        }
        controller_keys::<CronJob>(change)
    }

    async fn reconcile(&self, ctx: &Context, key: &Key) -> Result<Requeue> {
        let Some(cron) = ctx.view.typed::<CronJob>(&key.namespace, &key.name) else { return Ok(Requeue::No) };
        let mut jobs = ctx.view.typed_owned::<Job>(cron.uid());
        jobs.retain(|job| job.meta().controller().is_some_and(|o| o.uid == cron.uid()));
        let zone = TimeZone::system();
        let plan = plan::plan(&World { cron: &cron, jobs: &jobs, now: ctx.clock.now(), zone: &zone });
        let again = plan.again;
        apply(ctx, &cron, &jobs, plan).await?;
        Ok(Requeue::soonest([again]))
    }
}

async fn apply(ctx: &Context, cron: &Typed<CronJob>, jobs: &[Typed<Job>], plan: Plan) -> Result<()> {
    let tell = |kind, reason: &str, message: String| {
        ctx.events.event(&CronJob::resource(), &cron.object, kind, reason, message);
    };
    for (kind, reason, message) in plan.events {
        tell(kind, reason, message);
    }
    for job in jobs.iter().filter(|job| plan.delete.iter().any(|name| name == job.name())) {
        if let Err(status) = ctx.client.delete_typed(job, Some(Propagation::Background)).await {
            tell(EventType::Warning, "FailedDelete", format!("Deleted job: {status}"));
            return Err(status);
        }
        tell(EventType::Normal, "SuccessfulDelete", format!("Deleted job {}", job.name()));
    }
    let mut status = plan.status;
    if let Some(start) = plan.start {
        match ctx.client.create_typed(&job(cron, &start)).await {
            Ok(job) => {
                tell(EventType::Normal, "SuccessfulCreate", format!("Created job {}", job.name()));
                status.active.get_or_insert_default().push(plan::reference(&job));
                status.last_schedule_time = Some(Time(start.at));
            }
            // somebody else's job has the name: this time is passed over
            Err(error) if error.is_already_exists() => status.last_schedule_time = Some(Time(start.at)),
            Err(error) if pods::namespace_terminating(&error) => return Ok(()),
            Err(error) => {
                tell(EventType::Warning, "FailedCreate", format!("Error creating job: {error}"));
                return Err(error);
            }
        }
    }
    if cron.status.as_ref() != Some(&status) {
        ctx.client.update_status(cron, &status).await?;
    }
    Ok(())
}

/// A job of a cron job for one time.
fn job(cron: &Typed<CronJob>, start: &Start) -> Job {
    let template = cron.spec.job_template.clone();
    let from = template.metadata.unwrap_or_default();
    let mut annotations = from.annotations.unwrap_or_default();
    annotations.insert(SCHEDULED.into(), start.text.clone());
    Job {
        metadata: ObjectMeta {
            name: Some(start.name.clone()),
            namespace: Some(cron.meta().namespace.clone()),
            labels: from.labels,
            annotations: Some(annotations),
            owner_references: Some(vec![typed::controller_reference(cron)]),
            ..ObjectMeta::default()
        },
        spec: template.spec,
        status: None,
    }
}
