//! One look at a cron job: which of its jobs run, whether the next is due, which old ones go.

use crate::job::plan::is_finished;
use coracle_client::{EventType, Typed};
use coracle_kinds::batch::schedule::Schedule;
use jiff::{SignedDuration, Timestamp, tz::TimeZone};
use k8s_openapi::{
    api::{
        batch::v1::{CronJob, CronJobStatus, Job},
        core::v1::ObjectReference,
    },
    apimachinery::pkg::apis::meta::v1::Time,
};
use std::time::Duration;

/// What is known.
pub struct World<'a> {
    /// The cron job.
    pub cron: &'a Typed<CronJob>,
    /// Its jobs.
    pub jobs: &'a [Typed<Job>],
    /// Now.
    pub now: Timestamp,
    /// The time zone of schedules that name none.
    pub zone: &'a TimeZone,
}

/// What follows.
#[derive(Debug, Default)]
pub struct Plan {
    /// The status; a job that is started is not yet in it.
    pub status: CronJobStatus,
    /// The job to start: its name, and the time that it is for as the schedule's zone writes it.
    pub start: Option<Start>,
    /// Jobs to delete.
    pub delete: Vec<String>,
    /// Type, reason, message.
    pub events: Vec<(EventType, &'static str, String)>,
    /// When to look again.
    pub again: Option<Duration>,
}

/// A job to start.
#[derive(Debug, PartialEq, Eq)]
pub struct Start {
    /// Its name.
    pub name: String,
    /// When it was due.
    pub at: Timestamp,
    /// The same for people.
    pub text: String,
}

/// The next step.
pub fn plan(world: &World<'_>) -> Plan {
    let mut plan = Plan::default();
    running(world, &mut plan);
    history(world, &mut plan);
    if !world.cron.meta().is_deleting() {
        start(world, &mut plan);
    }
    plan
}

/// A reference to a job.
pub fn reference(job: &Typed<Job>) -> ObjectReference {
    ObjectReference {
        api_version: Some("batch/v1".into()),
        kind: Some("Job".into()),
        name: Some(job.name().into()),
        namespace: Some(job.meta().namespace.clone()),
        uid: Some(job.uid().into()),
        resource_version: Some(job.object.revision().to_string()),
        ..ObjectReference::default()
    }
}

/// Which jobs run, and what has happened to those that did.
fn running(world: &World<'_>, plan: &mut Plan) {
    let last = world.cron.status.clone().unwrap_or_default();
    let mut successful = last.last_successful_time.clone();
    let mut active = Vec::new();
    for job in world.jobs {
        let known = last.active.iter().flatten().find(|r| r.uid.as_deref() == Some(job.uid()));
        match is_finished(job.status.as_ref()) {
            None => active.push(known.cloned().unwrap_or_else(|| reference(job))),
            Some(end) => {
                if known.is_some() {
                    let message = format!("Saw completed job: {}, condition: {}", job.name(), end.type_);
                    plan.events.push((EventType::Normal, "SawCompletedJob", message));
                }
                let completed = job.status.as_ref().and_then(|s| s.completion_time.clone());
                if let Some(completed) = completed.filter(|_| end.type_ == "Complete")
                    && successful.as_ref().is_none_or(|before| before.0 < completed.0)
                {
                    successful = Some(completed);
                }
            }
        }
    }
    for gone in last.active.iter().flatten() {
        if !world.jobs.iter().any(|job| gone.uid.as_deref() == Some(job.uid())) {
            let name = gone.name.clone().unwrap_or_default();
            plan.events.push((EventType::Normal, "MissingJob", format!("Active job went missing: {name}")));
        }
    }
    plan.status = CronJobStatus {
        active: Some(active).filter(|all| !all.is_empty()),
        last_schedule_time: last.last_schedule_time,
        last_successful_time: successful,
    };
}

/// The oldest of the jobs that are over go.
fn history(world: &World<'_>, plan: &mut Plan) {
    let spec = &world.cron.spec;
    let limits = [("Complete", spec.successful_jobs_history_limit), ("Failed", spec.failed_jobs_history_limit)];
    for (kind, limit) in limits {
        let Some(limit) = limit else { continue };
        let over = world.jobs.iter().filter(|job| is_finished(job.status.as_ref()).is_some_and(|c| c.type_ == kind));
        let mut over: Vec<&Typed<Job>> = over.filter(|job| !job.meta().is_deleting()).collect();
        over.sort_by_key(|job| {
            (job.status.as_ref().and_then(|s| s.start_time.as_ref()).map(|t| t.0), job.name().to_string())
        });
        let surplus = over.len().saturating_sub(limit.max(0) as usize);
        plan.delete.extend(over.iter().take(surplus).map(|job| job.name().to_string()));
    }
}

/// Whether a job is to be started, and when the next may be.
fn start(world: &World<'_>, plan: &mut Plan) {
    let spec = &world.cron.spec;
    if spec.suspend == Some(true) {
        return;
    }
    let zone = match &spec.time_zone {
        None => Ok(world.zone.clone()),
        Some(name) => TimeZone::get(name).map_err(|e| format!("invalid timeZone: {name:?}: {e}")),
    };
    let zone = match zone {
        Ok(zone) => zone,
        Err(why) => return plan.events.push((EventType::Warning, "UnknownTimeZone", why)),
    };
    let schedule = match Schedule::parse(&spec.schedule) {
        Ok(schedule) => schedule,
        Err(why) => {
            let message = format!("unparseable schedule: {:?} : {why}", spec.schedule);
            return plan.events.push((EventType::Warning, "UnparseableSchedule", message));
        }
    };
    let last = plan.status.last_schedule_time.as_ref().map(|t| t.0).or(world.cron.meta().creation_timestamp);
    let deadline = spec.starting_deadline_seconds.map(SignedDuration::from_secs);
    let reach = deadline.and_then(|d| world.now.checked_sub(d).ok()).unwrap_or(Timestamp::MIN);
    let last = last.unwrap_or(world.now);
    let next = |after| schedule.next(after, &zone);
    plan.again = next(world.now.max(last)).and_then(|at| Duration::try_from(at.duration_since(world.now)).ok());
    let Some((at, many)) = schedule.last(last, world.now, &zone) else { return };
    if many && reach <= last {
        let message = "too many missed start times. Set or decrease .spec.startingDeadlineSeconds or check clock skew";
        plan.events.push((EventType::Warning, "TooManyMissedTimes", message.into()));
    }
    if at < reach {
        let message = format!("Missed scheduled time to start a job: {}", at.strftime("%a, %d %b %Y %H:%M:%S +0000"));
        return plan.events.push((EventType::Warning, "MissSchedule", message));
    }
    let name = format!("{}-{}", world.cron.name(), at.as_second() / 60);
    if world.jobs.iter().any(|job| job.name() == name) {
        // started before, but the status could not be written
        plan.status.last_schedule_time = Some(Time(at));
        return;
    }
    let active = plan.status.active.iter().flatten().filter_map(|r| r.name.clone());
    match spec.concurrency_policy.as_deref() {
        Some("Forbid") if plan.status.active.is_some() => {
            let message = "Not starting job because prior execution is running and concurrency policy is Forbid";
            return plan.events.push((EventType::Normal, "JobAlreadyActive", message.into()));
        }
        Some("Replace") => {
            plan.delete.extend(active);
            plan.status.active = None;
        }
        _ => {}
    }
    let text = at.to_zoned(zone).strftime("%Y-%m-%dT%H:%M:%S%:z").to_string().replace("+00:00", "Z");
    plan.start = Some(Start { name, at, text });
}
