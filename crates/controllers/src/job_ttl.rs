//! Jobs that are over leave after `ttlSecondsAfterFinished`.

use crate::{
    framework::{Context, Controller, Key, Requeue},
    job::plan::is_finished,
};
use async_trait::async_trait;
use coracle_api::{Propagation, Resource, Result};
use coracle_client::{Change, ClientExt, Kind, View, ViewExt};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::batch::v1::Job;
use std::time::Duration;

/// The controller of finished jobs' time to live.
#[derive(Default)]
pub struct JobTtl;

/// When a job has to leave; none if it is not over, or may stay.
fn end(job: &Job) -> Option<Timestamp> {
    let ttl = job.spec.as_ref()?.ttl_seconds_after_finished?;
    let finished = is_finished(job.status.as_ref())?.last_transition_time.as_ref()?.0;
    finished.checked_add(SignedDuration::from_secs(ttl.into())).ok()
}

#[async_trait]
impl Controller for JobTtl {
    fn name(&self) -> &'static str {
        "ttl-after-finished-controller"
    }

    fn watches(&self) -> Vec<Resource> {
        vec![Job::resource()]
    }

    fn keys(&self, _view: &dyn View, change: &Change) -> Vec<Key> {
        let leaves =
            change.new.as_ref().and_then(|object| object.view::<Job>().ok()).is_some_and(|job| end(&job).is_some());
        if leaves { vec![Key::from_change(change)] } else { Vec::new() }
    }

    async fn reconcile(&self, ctx: &Context, key: &Key) -> Result<Requeue> {
        let Some(job) = ctx.view.typed::<Job>(&key.namespace, &key.name) else { return Ok(Requeue::No) };
        let Some(end) = end(&job).filter(|_| !job.meta().is_deleting()) else { return Ok(Requeue::No) };
        match Duration::try_from(end.duration_since(ctx.clock.now())) {
            Ok(left) if !left.is_zero() => Ok(Requeue::After(left)),
            _ => {
                ctx.client.delete_typed(&job, Some(Propagation::Foreground)).await?;
                Ok(Requeue::No)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{ago, now, typed};
    use coracle_client::Typed;
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
    use serde_json::json;

    #[test]
    fn jobs_leave_when_their_time_is_over() {
        let check = |ttl: Option<i32>, condition: &str, expected: Option<i64>| {
            let job: Typed<Job> = typed(json!({
                "metadata": {"name": "j"},
                "spec": {"ttlSecondsAfterFinished": ttl, "template": {}},
                "status": {"conditions": [{"type": condition, "status": "True", "lastTransitionTime": Time(ago(10))}]},
            }));
            assert_eq!(end(&job).map(|end| end.duration_since(now()).as_secs()), expected, "{ttl:?} {condition}");
        };
        check(Some(30), "Complete", Some(20));
        check(Some(0), "Failed", Some(-10));
        check(Some(30), "FailureTarget", None);
        check(None, "Complete", None);
    }
}
