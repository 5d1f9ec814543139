//! One step of a job: what its pods mean, whether it is over, which pods come and go.
//!
//! Every pod of a job carries a finalizer until it is counted, so that none is missed or counted twice, whoever deletes it and whenever
//! this program stops: first the status says that the pod's end is about to be counted (`uncountedTerminatedPods`), then the finalizer
//! goes, then the number grows.

use super::{
    indexes,
    policy::{self, Verdict},
};
use crate::{conditions, pods};
use coracle_client::{EventType, Typed};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::{
    api::{
        batch::v1::{Job, JobCondition, JobSpec, JobStatus, UncountedTerminatedPods},
        core::v1::Pod,
    },
    apimachinery::pkg::apis::meta::v1::Time,
};
use std::{cmp::Reverse, collections::BTreeSet, time::Duration};

/// The finalizer of pods that are not yet counted.
pub const TRACKING: &str = "batch.kubernetes.io/job-tracking";
/// Label and annotation of a pod of an indexed job: its index.
pub const INDEX: &str = "batch.kubernetes.io/job-completion-index";
/// Annotation of such a pod: how often its index had failed before.
pub const INDEX_FAILURES: &str = "batch.kubernetes.io/job-index-failure-count";

/// How long a job waits after its first failure; each further one doubles it …
const FIRST_BACKOFF: SignedDuration = SignedDuration::from_secs(10);
/// … up to this.
const LONGEST_BACKOFF: SignedDuration = SignedDuration::from_secs(600);
/// Uids in the status at a time; the rest waits for the next step.
const UNCOUNTED: usize = 500;

/// What is known.
pub struct World<'a> {
    /// The job.
    pub job: &'a Typed<Job>,
    /// Its pods.
    pub pods: &'a [Typed<Pod>],
    /// Now.
    pub now: Timestamp,
}

/// A pod to be made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NewPod {
    /// Its index, in an indexed job.
    pub index: Option<i32>,
    /// How often that index has failed.
    pub failures: i32,
}

/// What follows.
#[derive(Debug, Default)]
pub struct Plan {
    /// The status after the step.
    pub status: JobStatus,
    /// Pods to be made.
    pub create: Vec<NewPod>,
    /// Pods that are too many: deleted without being counted.
    pub remove: Vec<String>,
    /// Pods that end because the job does: deleted, and counted as failed.
    pub stop: Vec<String>,
    /// Pods that lose their finalizer once the status is written.
    pub release: Vec<String>,
    /// Type, reason, message.
    pub events: Vec<(EventType, String, String)>,
    /// When to look again.
    pub again: Option<Duration>,
}

/// Whether a job is over.
pub fn is_finished(status: Option<&JobStatus>) -> Option<&JobCondition> {
    let conditions = status?.conditions.as_ref()?;
    conditions.iter().find(|c| c.status == "True" && (c.type_ == "Complete" || c.type_ == "Failed"))
}

/// The pod's index in an indexed job.
fn index_of(pod: &Typed<Pod>) -> Option<i32> {
    pod.meta().annotations.get(INDEX)?.parse().ok()
}

fn is_tracked(pod: &Typed<Pod>) -> bool {
    pod.meta().finalizers.iter().any(|f| f == TRACKING)
}

/// The numbers of one step.
struct Tally<'a> {
    spec: &'a JobSpec,
    succeeded: i32,
    failed: i32,
    uncounted: UncountedTerminatedPods,
    completed: BTreeSet<i32>,
    failed_indexes: BTreeSet<i32>,
    active: Vec<&'a Typed<Pod>>,
    terminating: Vec<&'a Typed<Pod>>,
    release: Vec<String>,
    fails_job: Option<String>,
}

impl<'a> Tally<'a> {
    fn of(world: &World<'a>, spec: &'a JobSpec, status: &JobStatus) -> Self {
        let completions = spec.completions.unwrap_or(0);
        let set = |text: &Option<String>| indexes::parse(text.as_deref().unwrap_or_default(), completions);
        let mut tally = Self {
            spec,
            succeeded: status.succeeded.unwrap_or(0),
            failed: status.failed.unwrap_or(0),
            uncounted: status.uncounted_terminated_pods.clone().unwrap_or_default(),
            completed: set(&status.completed_indexes),
            failed_indexes: set(&status.failed_indexes),
            active: world.pods.iter().filter(|p| pods::is_active(p)).collect(),
            terminating: world.pods.iter().filter(|p| pods::is_terminating(p)).collect(),
            release: Vec::new(),
            fails_job: None,
        };
        tally.count_released(world.pods);
        for pod in world.pods.iter().filter(|p| is_tracked(p)) {
            tally.take(world, pod);
        }
        tally.count_index_failures(world.pods);
        tally
    }

    fn is_indexed(&self) -> bool {
        self.spec.completion_mode.as_deref() == Some("Indexed")
    }

    /// Announced pods whose finalizer has gone are counted.
    fn count_released(&mut self, pods: &[Typed<Pod>]) {
        let waits: BTreeSet<&str> = pods.iter().filter(|p| is_tracked(p)).map(Typed::uid).collect();
        let count = |list: &mut Option<Vec<String>>| {
            let Some(list) = list else { return 0 };
            let before = list.len();
            list.retain(|uid| waits.contains(uid.as_str()));
            (before - list.len()) as i32
        };
        self.succeeded += count(&mut self.uncounted.succeeded);
        self.failed += count(&mut self.uncounted.failed);
    }

    /// What the end of a pod that is not yet counted means.
    fn take(&mut self, world: &World<'_>, pod: &Typed<Pod>) {
        let announced = [&self.uncounted.succeeded, &self.uncounted.failed];
        let room = announced.iter().map(|l| l.as_ref().map_or(0, Vec::len)).sum::<usize>() < UNCOUNTED;
        if announced.iter().any(|list| list.iter().flatten().any(|uid| uid == pod.uid())) {
            self.release.push(pod.name().into());
            return;
        }
        let succeeded = pods::phase(pod) == "Succeeded";
        if !room || !(succeeded || self.has_failed(pod)) {
            return;
        }
        if succeeded && self.is_indexed() {
            self.completed.extend(index_of(pod).filter(|i| *i < self.spec.completions.unwrap_or(0)));
        } else if succeeded {
            self.uncounted.succeeded.get_or_insert_default().push(pod.uid().into());
        } else {
            match if pods::phase(pod) == "Failed" { policy::verdict(world.job, pod) } else { Verdict::Count } {
                Verdict::Ignore => {}
                verdict => {
                    if let Verdict::FailJob(why) = &verdict {
                        self.fails_job.get_or_insert_with(|| why.clone());
                    }
                    if verdict == Verdict::FailIndex {
                        self.failed_indexes.extend(index_of(pod));
                    }
                    self.uncounted.failed.get_or_insert_default().push(pod.uid().into());
                }
            }
        }
        self.release.push(pod.name().into());
    }

    /// Whether a pod counts as failed. One that is being deleted does, unless the job waits for the real end of each pod.
    fn has_failed(&self, pod: &Typed<Pod>) -> bool {
        let on_a_node = pod.spec.as_ref().is_some_and(|s| s.node_name.is_some());
        let deleted = pod.meta().is_deleting() && (!self.replaces_only_failed() || !on_a_node);
        pods::phase(pod) == "Failed" || (deleted && pods::phase(pod) != "Succeeded")
    }

    fn replaces_only_failed(&self) -> bool {
        self.spec.pod_replacement_policy.as_deref() == Some("Failed")
    }

    fn count_index_failures(&mut self, pods: &[Typed<Pod>]) {
        let Some(limit) = self.spec.backoff_limit_per_index else { return };
        let failed = pods.iter().filter_map(index_of).filter(|index| index_failures(self, pods, *index) > limit);
        let failed: Vec<i32> = failed.filter(|index| !self.completed.contains(index)).collect();
        self.failed_indexes.extend(failed);
    }

    /// All that succeeded, announced ones included.
    fn successes(&self) -> i32 {
        if self.is_indexed() {
            return self.completed.len() as i32;
        }
        self.succeeded + self.uncounted.succeeded.as_ref().map_or(0, Vec::len) as i32
    }

    /// All that failed, announced ones included.
    fn failures(&self) -> i32 {
        self.failed + self.uncounted.failed.as_ref().map_or(0, Vec::len) as i32
    }

    fn is_settled(&self) -> bool {
        let empty = |list: &Option<Vec<String>>| list.as_ref().is_none_or(Vec::is_empty);
        let counted = empty(&self.uncounted.succeeded) && empty(&self.uncounted.failed);
        counted && self.release.is_empty() && self.active.is_empty() && self.terminating.is_empty()
    }
}

/// How often an index has failed, as far as its pods tell.
fn index_failures(tally: &Tally<'_>, pods: &[Typed<Pod>], index: i32) -> i32 {
    let failed = pods.iter().filter(|p| index_of(p) == Some(index) && tally.has_failed(p));
    let before = |p: &Typed<Pod>| p.meta().annotations.get(INDEX_FAILURES).and_then(|n| n.parse().ok()).unwrap_or(0);
    failed.map(|p| before(p) + 1).max().unwrap_or(0)
}

/// How a job ends.
struct End {
    complete: bool,
    reason: String,
    message: String,
}

impl End {
    fn failed(reason: &str, message: impl Into<String>) -> Option<Self> {
        Some(Self { complete: false, reason: reason.into(), message: message.into() })
    }

    fn complete(reason: &str, message: impl Into<String>) -> Option<Self> {
        Some(Self { complete: true, reason: reason.into(), message: message.into() })
    }
}

/// Whether the job ends now, or is about to since an earlier step.
fn end(tally: &Tally<'_>, status: &JobStatus, now: Timestamp) -> Option<End> {
    let all = status.conditions.as_deref().unwrap_or_default();
    for (kind, complete) in [("FailureTarget", false), ("SuccessCriteriaMet", true)] {
        if let Some(found) = conditions::get(all, kind).filter(|c| c.status == "True") {
            let text = |t: &Option<String>| t.clone().unwrap_or_default();
            return Some(End { complete, reason: text(&found.reason), message: text(&found.message) });
        }
    }
    let spec = tally.spec;
    if let Some(why) = &tally.fails_job {
        return End::failed("PodFailurePolicy", why.as_str());
    }
    let limit = spec.backoff_limit.unwrap_or(6);
    if tally.failures() > limit || restarted_too_often(tally, limit) {
        return End::failed("BackoffLimitExceeded", "Job has reached the specified backoff limit");
    }
    if left(spec, status, now).is_some_and(|left| left <= SignedDuration::ZERO) {
        return End::failed("DeadlineExceeded", "Job was active longer than specified deadline");
    }
    if spec.max_failed_indexes.is_some_and(|max| tally.failed_indexes.len() as i32 > max) {
        let message = "Job has exceeded the specified maximal number of failed indexes";
        return End::failed("MaxFailedIndexesExceeded", message);
    }
    if let Some(rule) = success_rule(tally) {
        return End::complete("SuccessPolicy", format!("Matched rules at index {rule}"));
    }
    let reached = "Reached expected number of succeeded pods";
    match spec.completions {
        Some(wanted) if tally.successes() >= wanted => End::complete("CompletionsReached", reached),
        Some(wanted) if tally.is_indexed() && !tally.failed_indexes.is_empty() => {
            let over = (tally.completed.len() + tally.failed_indexes.len()) as i32 >= wanted;
            over.then(|| End::failed("FailedIndexes", "Job has failed indexes")).flatten()
        }
        None if tally.successes() > 0 && tally.active.is_empty() => End::complete("CompletionsReached", reached),
        _ => None,
    }
}

/// Containers that start again in their pod count too.
fn restarted_too_often(tally: &Tally<'_>, limit: i32) -> bool {
    if tally.spec.template.spec.as_ref().and_then(|s| s.restart_policy.as_deref()) != Some("OnFailure") {
        return false;
    }
    let statuses = tally.active.iter().filter_map(|p| p.status.as_ref());
    let all =
        statuses.flat_map(|s| s.container_statuses.iter().flatten().chain(s.init_container_statuses.iter().flatten()));
    let restarts: i32 = all.map(|c| c.restart_count).sum();
    if limit == 0 { restarts > 0 } else { restarts >= limit }
}

/// How much of the job's time is left, if it has an end.
fn left(spec: &JobSpec, status: &JobStatus, now: Timestamp) -> Option<SignedDuration> {
    let start = status.start_time.as_ref().filter(|_| spec.suspend != Some(true))?;
    let until = start.0.saturating_add(SignedDuration::from_secs(spec.active_deadline_seconds?)).ok()?;
    Some(until.duration_since(now))
}

/// The first rule of the success policy that is met.
fn success_rule(tally: &Tally<'_>) -> Option<usize> {
    let rules = &tally.spec.success_policy.as_ref().filter(|_| tally.is_indexed())?.rules;
    let completions = tally.spec.completions.unwrap_or(0);
    rules.iter().position(|rule| {
        let among = rule.succeeded_indexes.as_ref().map(|text| indexes::parse(text, completions));
        let met = match &among {
            Some(among) => among.intersection(&tally.completed).count(),
            None => tally.completed.len(),
        };
        let wanted = rule.succeeded_count.map_or(among.map_or(usize::MAX, |a| a.len()), |n| n.max(0) as usize);
        met >= wanted
    })
}

/// The next step.
pub fn plan(world: &World<'_>) -> Plan {
    let mut status = world.job.status.clone().unwrap_or_default();
    let names = |pods: &mut dyn Iterator<Item = &Typed<Pod>>| pods.map(|p| p.name().to_string()).collect::<Vec<_>>();
    let Some(spec) = &world.job.spec else { return Plan { status, ..Plan::default() } };
    if is_finished(Some(&status)).is_some() {
        let release = names(&mut world.pods.iter().filter(|p| is_tracked(p)));
        return Plan { status, release, ..Plan::default() };
    }
    let mut plan = Plan::default();
    let suspended = spec.suspend == Some(true);
    if status.start_time.is_none() && !suspended {
        status.start_time = Some(Time(world.now));
    }
    let tally = Tally::of(world, spec, &status);
    let mut active = tally.active.len() as i32;
    match end(&tally, &status, world.now) {
        Some(end) => {
            plan.stop = names(&mut tally.active.iter().copied());
            active = 0;
            finish(&mut status, &mut plan, &tally, &end, world.now);
        }
        None if world.job.meta().is_deleting() => {}
        None if suspended => {
            plan.remove = names(&mut tally.active.iter().copied());
            active = 0;
            suspend(&mut status, &mut plan, world.now);
        }
        None => {
            resume(&mut status, &mut plan, world.now);
            manage(world, &tally, &mut plan);
            active += plan.create.len() as i32 - plan.remove.len() as i32;
            let left = left(spec, &status, world.now).and_then(|left| Duration::try_from(left).ok());
            plan.again = [plan.again, left].into_iter().flatten().min();
        }
    }
    numbers(&mut status, tally, active, &mut plan);
    plan.status = status;
    plan
}

/// Puts the numbers into the status.
fn numbers(status: &mut JobStatus, tally: Tally<'_>, active: i32, plan: &mut Plan) {
    let unless_zero = |n: i32| Some(n).filter(|n| *n != 0);
    let gone = |p: &&&Typed<Pod>| !plan.stop.iter().chain(&plan.remove).any(|name| name == p.name());
    status.active = unless_zero(active);
    status.ready = Some(tally.active.iter().filter(gone).filter(|p| pods::is_ready(p)).count() as i32);
    status.terminating = Some(tally.terminating.len() as i32);
    if tally.is_indexed() {
        status.succeeded = unless_zero(tally.completed.len() as i32);
        status.completed_indexes = Some(indexes::text(&tally.completed)).filter(|text| !text.is_empty());
        let failed = Some(indexes::text(&tally.failed_indexes)).filter(|text| !text.is_empty());
        status.failed_indexes = failed;
    } else {
        status.succeeded = unless_zero(tally.succeeded);
    }
    status.failed = unless_zero(tally.failed);
    let some = |list: Option<Vec<String>>| list.filter(|list| !list.is_empty());
    let uncounted =
        UncountedTerminatedPods { succeeded: some(tally.uncounted.succeeded), failed: some(tally.uncounted.failed) };
    let any = uncounted.succeeded.is_some() || uncounted.failed.is_some();
    status.uncounted_terminated_pods = any.then_some(uncounted);
    plan.release = tally.release;
}

fn condition(status: &mut JobStatus, kind: &str, value: &str, reason: &str, message: &str, now: Timestamp) {
    let new = JobCondition {
        type_: kind.into(),
        status: value.into(),
        reason: Some(reason.into()),
        message: Some(message.into()),
        last_probe_time: Some(Time(now)),
        last_transition_time: Some(Time(now)),
    };
    conditions::set(status.conditions.get_or_insert_default(), new);
}

/// A job that ends says so at once, and is over when its last pod is counted.
fn finish(status: &mut JobStatus, plan: &mut Plan, tally: &Tally<'_>, end: &End, now: Timestamp) {
    let (first, last) = if end.complete { ("SuccessCriteriaMet", "Complete") } else { ("FailureTarget", "Failed") };
    condition(status, first, "True", &end.reason, &end.message, now);
    if !tally.is_settled() {
        return;
    }
    condition(status, last, "True", &end.reason, &end.message, now);
    if end.complete {
        status.completion_time = Some(Time(now));
        plan.events.push((EventType::Normal, "Completed".into(), "Job completed".into()));
    } else {
        plan.events.push((EventType::Warning, end.reason.clone(), end.message.clone()));
    }
}

fn suspend(status: &mut JobStatus, plan: &mut Plan, now: Timestamp) {
    let all = status.conditions.as_deref().unwrap_or_default();
    if conditions::get(all, "Suspended").is_none_or(|c| c.status != "True") {
        condition(status, "Suspended", "True", "JobSuspended", "Job suspended", now);
        plan.events.push((EventType::Normal, "Suspended".into(), "Job suspended".into()));
    }
    status.start_time = None;
}

fn resume(status: &mut JobStatus, plan: &mut Plan, now: Timestamp) {
    let all = status.conditions.as_deref().unwrap_or_default();
    if conditions::get(all, "Suspended").is_some_and(|c| c.status == "True") {
        condition(status, "Suspended", "False", "JobResumed", "Job resumed", now);
        status.start_time = Some(Time(now));
        plan.events.push((EventType::Normal, "Resumed".into(), "Job resumed".into()));
    }
}

/// Pods that are missing, and pods that are too many.
fn manage(world: &World<'_>, tally: &Tally<'_>, plan: &mut Plan) {
    let spec = tally.spec;
    let parallelism = spec.parallelism.unwrap_or(1).max(0);
    let active = tally.active.len() as i32;
    let want = match spec.completions {
        // nobody begins a new pod once one has succeeded
        None if tally.successes() > 0 => active.min(parallelism),
        None => parallelism,
        Some(wanted) => (wanted - tally.successes()).clamp(0, parallelism),
    };
    let spare = unwanted(tally, (active - want).max(0) as usize);
    plan.remove = spare.iter().map(|p| p.name().to_string()).collect();
    let holding = if tally.replaces_only_failed() { tally.terminating.len() as i32 } else { 0 };
    let missing = (want - (active - spare.len() as i32) - holding).clamp(0, pods::BURST as i32) as usize;
    if missing == 0 {
        return;
    }
    if !tally.is_indexed() {
        match wait(tally, world.pods, world.now) {
            None => plan.create = vec![NewPod::default(); missing],
            again => plan.again = again,
        }
        return;
    }
    let held = tally.active.iter().filter(|p| !plan.remove.iter().any(|name| name == p.name()));
    let held = held.chain(tally.terminating.iter().filter(|_| tally.replaces_only_failed()));
    let held: BTreeSet<i32> = held.filter_map(|p| index_of(p)).collect();
    let per_index = spec.backoff_limit_per_index.is_some();
    let together = if per_index { None } else { wait(tally, world.pods, world.now) };
    let free = (0..spec.completions.unwrap_or(0)).filter(|index| {
        !held.contains(index) && !tally.completed.contains(index) && !tally.failed_indexes.contains(index)
    });
    for index in free.take(missing) {
        let wait = if per_index {
            let own: Vec<_> = world.pods.iter().filter(|p| index_of(p) == Some(index)).cloned().collect();
            wait(tally, &own, world.now)
        } else {
            together
        };
        match wait {
            None => {
                let failures = if per_index { index_failures(tally, world.pods, index) } else { 0 };
                plan.create.push(NewPod { index: Some(index), failures });
            }
            again => plan.again = [plan.again, again].into_iter().flatten().min(),
        }
    }
}

/// How long to wait before pods are made again: the longer the more have failed since the last success.
fn wait(tally: &Tally<'_>, pods: &[Typed<Pod>], now: Timestamp) -> Option<Duration> {
    let success = pods.iter().filter(|p| pods::phase(p) == "Succeeded").map(ended).max().unwrap_or(Timestamp::MIN);
    let failed = pods.iter().filter(|p| tally.has_failed(p)).map(ended);
    let failures: Vec<Timestamp> = failed.filter(|at| *at > success).collect();
    let last = failures.iter().max()?;
    let doubled = 1_i32 << (failures.len() - 1).min(10);
    let delay = (FIRST_BACKOFF * doubled).min(LONGEST_BACKOFF);
    let left = (*last + delay).duration_since(now);
    Duration::try_from(left).ok().filter(|left| !left.is_zero())
}

/// When a pod ended, as exactly as it says.
fn ended(pod: &Typed<Pod>) -> Timestamp {
    let statuses = pod.status.as_ref().and_then(|s| s.container_statuses.as_ref()).into_iter().flatten();
    let finished = statuses.filter_map(|c| Some(c.state.as_ref()?.terminated.as_ref()?.finished_at.as_ref()?.0)).max();
    let meta = pod.meta();
    finished.or(meta.deletion_timestamp).or(meta.creation_timestamp).unwrap_or(Timestamp::MIN)
}

/// The active pods to do without: those whose index is not wanted or taken twice, then as many as are too many, the least advanced first.
fn unwanted<'a>(tally: &Tally<'a>, count: usize) -> Vec<&'a Typed<Pod>> {
    let mut order = tally.active.clone();
    let on_a_node = |p: &Typed<Pod>| p.spec.as_ref().is_some_and(|s| s.node_name.is_some());
    order.sort_by_key(|p| {
        (on_a_node(p), pods::phase(p) == "Running", pods::is_ready(p), Reverse(p.meta().creation_timestamp))
    });
    if !tally.is_indexed() {
        order.truncate(count);
        return order;
    }
    let (mut taken, mut out, mut rest) = (BTreeSet::new(), Vec::new(), Vec::new());
    for pod in order.into_iter().rev() {
        let wanted = index_of(pod).is_some_and(|index| {
            (0..tally.spec.completions.unwrap_or(0)).contains(&index)
                && !tally.completed.contains(&index)
                && !tally.failed_indexes.contains(&index)
                && taken.insert(index)
        });
        if wanted { rest.push(pod) } else { out.push(pod) }
    }
    let more = count.saturating_sub(out.len());
    out.extend(rest.into_iter().rev().take(more));
    out
}
