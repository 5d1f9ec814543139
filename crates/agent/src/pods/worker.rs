//! The task of one pod: observe, plan, apply, report; again whenever something happens.

use super::{
    Nudge, Wanted, admission,
    backoff::Backoffs,
    deadline, image,
    observed::Observed,
    plan::{Action, Health, Input, Plan, Waiting, plan},
    setup::{self, Prepared},
    start, status, stop,
};
use crate::{context::Node, logs, probes::Probes, spec, volumes};
use coracle_api::{DeleteOptions, Object, Patch, Resource, WriteOptions, options::Preconditions};
use coracle_base::Backoff;
use coracle_client::{EventType, Reference};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value, json};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};
use tokio::{
    sync::watch,
    task::{AbortHandle, JoinSet},
};

/// How often volumes are brought up to date even if nothing was seen to change (tokens).
const REFRESH: Duration = Duration::from_secs(60);

/// What an operation came to.
enum Done {
    Setup(Result<Prepared, setup::Failure>),
    Started(String, Result<(), Waiting>),
    BackingOff(String),
    Stopped(String),
    SandboxStopped,
    TornDown(Result<(), String>),
    Quiet,
}

/// The one operation on the whole pod that is under way.
enum Busy {
    /// Makes the sandbox or a container: given up when the pod is to end.
    Building(AbortHandle),
    /// Takes things away: runs to its end.
    Ending,
}

struct Worker {
    node: Arc<Node>,
    wanted: watch::Receiver<Wanted>,
    nudge: Arc<Nudge>,
    pod: Arc<Pod>,
    old_status: Value,
    prepared: Option<Prepared>,
    setup_backoff: Backoff,
    setup_after: Option<Timestamp>,
    setup_error: Option<String>,
    backoffs: Backoffs,
    pulls: Arc<parking_lot::Mutex<Backoffs>>,
    errors: BTreeMap<String, Waiting>,
    stopping: BTreeMap<String, i64>,
    /// Containers that were stopped to be started again, by id.
    again: BTreeSet<String>,
    busy: Option<Busy>,
    operations: JoinSet<Done>,
    probes: Probes,
    rejected: bool,
    /// Why the node has ended the pod, if it has: reason and message.
    failed: Option<(&'static str, &'static str)>,
    torn_down: bool,
    told: BTreeMap<String, Timestamp>,
    reported: Option<Value>,
}

/// Runs a pod until it is gone.
pub(super) async fn run(node: Arc<Node>, wanted: watch::Receiver<Wanted>, nudge: Arc<Nudge>) {
    let object = wanted.borrow().object.clone();
    let uid = object.meta().uid.clone();
    let Ok(pod) = object.view::<Pod>() else {
        tracing::error!(pod = ?object, "the pod cannot be decoded");
        return;
    };
    node.references.hold(&pod);
    let probes = Probes::new(node.clone(), nudge.clone());
    let mut worker = Worker {
        node: node.clone(),
        wanted,
        nudge,
        old_status: object.value()["status"].take(),
        pod,
        prepared: None,
        setup_backoff: Backoff::new(Duration::from_millis(500), Duration::from_secs(60)),
        setup_after: None,
        setup_error: None,
        backoffs: Backoffs::default(),
        pulls: Arc::default(),
        errors: BTreeMap::new(),
        stopping: BTreeMap::new(),
        again: BTreeSet::new(),
        busy: None,
        operations: JoinSet::new(),
        probes,
        rejected: false,
        failed: None,
        torn_down: false,
        told: BTreeMap::new(),
        reported: None,
    };
    worker.admit().await;
    worker.work().await;
    worker.operations.abort_all();
    node.references.release(&uid);
    node.tokens.forget(&uid);
    node.pods.remove(&uid);
}

impl Worker {
    fn uid(&self) -> &str {
        spec::uid(&self.pod)
    }

    /// A pod that is new here must fit; one that ran before does.
    async fn admit(&mut self) {
        if self.old_status["startTime"].is_string() || self.ending().is_some() {
            return;
        }
        if let Err((reason, message)) = admission::check(&self.node, &self.pod) {
            let now = self.node.clock.now();
            self.event("", EventType::Warning, &reason, &message);
            let status = status::rejected(&self.pod, &self.old_status, &reason, &message, now);
            self.rejected = true;
            self.write_status(status).await;
        }
    }

    /// Seconds to go, if the pod is being deleted.
    fn ending(&self) -> Option<i64> {
        let wanted = self.wanted.borrow();
        let meta = wanted.object.meta();
        let own = spec::of(&self.pod).termination_grace_period_seconds.unwrap_or(30);
        let grace = meta.deletion_grace_period_seconds.unwrap_or(own).max(2);
        match (meta.is_deleting(), wanted.gone) {
            (true, _) => Some(grace),
            // taken from the API at once: as short as a deletion can be
            (false, true) => Some(own.clamp(2, 30)),
            (false, false) => None,
        }
    }

    fn over(&self) -> bool {
        self.rejected
            || self.failed.is_some()
            || matches!(self.old_status["phase"].as_str(), Some("Succeeded" | "Failed"))
    }

    async fn work(&mut self) {
        loop {
            self.take_changes();
            if self.torn_down && (self.wanted.borrow().gone || self.finish().await) {
                return;
            }
            let wake = if self.torn_down { None } else { self.step().await };
            let sleep = wake.map_or(REFRESH, |at| {
                let wait = at.duration_since(self.node.clock.now()).max(SignedDuration::from_millis(1));
                Duration::try_from(wait).unwrap_or(REFRESH).min(REFRESH)
            });
            tokio::select! {
                () = self.nudge.wake.notified() => {}
                Some(done) = self.operations.join_next(), if !self.operations.is_empty() => self.done(done),
                () = self.node.clock.sleep(sleep) => {
                    if sleep == REFRESH {
                        self.refresh();
                    }
                }
            }
        }
    }

    fn take_changes(&mut self) {
        let object = self.wanted.borrow_and_update().object.clone();
        if let Ok(pod) = object.view::<Pod>()
            && !Arc::ptr_eq(&pod, &self.pod)
        {
            self.pod = pod;
            // what ephemeral containers refer to was not there before
            self.node.references.hold(&self.pod);
            self.old_status = object.value()["status"].take();
            self.reported = None;
        }
        if self.nudge.take_refresh() {
            self.refresh();
            // what was missing may be there now
            for error in self.errors.values_mut().filter(|e| e.reason == "CreateContainerConfigError") {
                error.until = None;
            }
            if self.prepared.is_none() {
                self.setup_after = None;
            }
        }
    }

    fn refresh(&mut self) {
        if self.prepared.is_none() || self.ending().is_some() || self.over() {
            return;
        }
        let (node, pod, addresses) = (self.node.clone(), self.pod.clone(), self.addresses());
        self.operations.spawn(async move {
            volumes::refresh(&node, &pod, &addresses).await;
            Done::Quiet
        });
    }

    /// One round; when to look again.
    async fn step(&mut self) -> Option<Timestamp> {
        let observed = self.observe().await?;
        let now = self.node.clock.now();
        self.errors.retain(|name, _| {
            observed.latest(name).is_none_or(|c| c.state != coracle_runtime::ContainerState::Running)
        });
        let deadline = self.keep_deadline(now);
        let was_ready = |id: &str| was_ready(&self.old_status, id);
        self.probes.follow(&self.pod, &observed, self.pod_ip(), was_ready, self.ending().is_some());
        let health: BTreeMap<String, Health> =
            observed.running().map(|c| (c.id.clone(), self.probes.health(&c.id))).collect();
        let waits = self.setup_after.is_some_and(|at| at > now);
        let planned = plan(&Input {
            pod: &self.pod,
            observed: &observed,
            health: &health,
            errors: &self.errors,
            backoffs: &self.backoffs,
            stopping: &self.stopping,
            busy: self.busy.is_some() || (waits && self.prepared.is_none() && self.ending().is_none()),
            prepared: self.prepared.is_some(),
            ending: self.ending(),
            over: self.over(),
            now,
        });
        let mut waiting = self.errors.clone();
        waiting.extend(planned.waiting.clone());
        self.tell_backoff(&planned, now);
        let wake = [planned.wake, deadline, self.setup_after.filter(|at| *at > now)].into_iter().flatten().min();
        if !self.rejected {
            self.report(&observed, &health, &waiting, now).await;
        }
        // a pull or a setup under way serves nothing any more; a teardown does
        if (self.ending().is_some() || self.over())
            && let Some(Busy::Building(task)) = self.busy.take_if(|busy| matches!(busy, Busy::Building(_)))
        {
            task.abort();
            self.nudge.now();
        }
        for action in planned.actions {
            self.apply(action, &observed, now);
        }
        wake
    }

    /// Fails the pod when it has been active for too long; else, when that will be.
    fn keep_deadline(&mut self, now: Timestamp) -> Option<Timestamp> {
        if self.over() || self.ending().is_some() {
            return None;
        }
        let at = deadline::of(&self.pod, &self.old_status)?;
        if at > now {
            return Some(at);
        }
        self.event("", EventType::Normal, deadline::REASON, deadline::MESSAGE);
        self.failed = Some((deadline::REASON, deadline::MESSAGE));
        None
    }

    async fn observe(&mut self) -> Option<Observed> {
        let uid = self.uid().to_string();
        let sandboxes = self.node.runtime.sandboxes().await;
        let mine: Vec<_> = match sandboxes {
            Ok(all) => all.into_iter().filter(|s| s.spec.uid == uid).collect(),
            Err(error) => {
                tracing::warn!(%error, "the runtime does not answer");
                self.node.clock.sleep(Duration::from_secs(1)).await;
                self.nudge.now();
                return None;
            }
        };
        let mut containers = Vec::new();
        for sandbox in &mine {
            self.node.pods.belongs(&sandbox.id, &uid);
            containers.extend(self.node.runtime.containers(Some(&sandbox.id)).await.unwrap_or_default());
        }
        for container in &mut containers {
            start::read_message(&self.node, &self.pod, container);
        }
        self.again.retain(|id| containers.iter().any(|c| c.id == *id));
        let mut observed = Observed::new(mine, containers);
        observed.again.clone_from(&self.again);
        if observed.ready_sandbox().is_none() {
            // what was prepared belonged to a sandbox that is gone
            self.prepared = None;
        }
        Some(observed)
    }

    fn pod_ip(&self) -> Option<String> {
        self.prepared.as_ref().and_then(|p| p.ips.first().cloned())
    }

    fn addresses(&self) -> spec::fieldref::Addresses {
        spec::fieldref::Addresses {
            host_ips: vec![self.node.config.node_ip.to_string()],
            pod_ips: self.prepared.as_ref().map(|p| p.ips.clone()).unwrap_or_default(),
        }
    }

    fn apply(&mut self, action: Action, observed: &Observed, now: Timestamp) {
        let (node, pod) = (self.node.clone(), self.pod.clone());
        match action {
            Action::Setup { attempt } => {
                let observed = observed.clone();
                let task = async move { Done::Setup(setup::run(&node, &pod, &observed, attempt).await) };
                self.busy = Some(Busy::Building(self.operations.spawn(task)));
            }
            Action::Start { name, attempt, failed } => {
                let (Some(prepared), Some(sandbox)) = (self.prepared.clone(), observed.ready_sandbox()) else { return };
                if let Some(failed) = failed {
                    self.backoffs.next(&name, failed, now);
                }
                let request = start::Request {
                    node,
                    pod,
                    sandbox: sandbox.id.clone(),
                    name: name.clone(),
                    attempt,
                    prepared,
                    pulls: self.pulls.clone(),
                };
                let task = async move { Done::Started(name, start::run(request).await) };
                self.busy = Some(Busy::Building(self.operations.spawn(task)));
            }
            Action::Stop { name, id, grace, message, again } => {
                self.event(&name, EventType::Normal, "Killing", &message);
                if again {
                    self.again.insert(id.clone());
                }
                self.stopping.insert(id.clone(), grace);
                let ip = self.pod_ip();
                self.operations.spawn(async move {
                    stop::run(&node, &pod, &name, &id, grace, ip).await;
                    Done::Stopped(id)
                });
            }
            Action::Remove { id } => {
                self.operations.spawn(async move {
                    stop::remove(&node, &pod, &id).await;
                    Done::Quiet
                });
            }
            Action::StopSandbox => {
                let sandbox = observed.sandbox.as_ref().map(|s| s.id.clone());
                let task = async move {
                    stop::stop_sandbox(&node, &pod, sandbox.as_deref()).await;
                    Done::SandboxStopped
                };
                self.operations.spawn(task);
                self.busy = Some(Busy::Ending);
            }
            Action::TearDown => {
                let mut sandboxes = observed.old_sandboxes.clone();
                sandboxes.extend(observed.sandbox.as_ref().map(|s| s.id.clone()));
                let task = async move { Done::TornDown(stop::tear_down(&node, &pod, &sandboxes).await) };
                self.operations.spawn(task);
                self.busy = Some(Busy::Ending);
            }
        }
    }

    fn done(&mut self, done: Result<Done, tokio::task::JoinError>) {
        let done = match done {
            Ok(done) => done,
            Err(error) => {
                if !error.is_cancelled() {
                    tracing::error!(%error, pod = spec::label(&self.pod), "an operation on a pod broke");
                    self.busy = None;
                }
                return;
            }
        };
        match done {
            Done::Quiet => {}
            Done::BackingOff(name) => {
                let pod = self.pod.clone();
                if let (Some(container), Some(error)) = (spec::container(&pod, &name), self.errors.get_mut(&name))
                    && error.reason == "ErrImagePull"
                {
                    *error = image::backing_off(&self.node, &pod, &container, error);
                }
            }
            Done::Stopped(id) => {
                self.stopping.remove(&id);
                self.probes.forget(&id);
            }
            Done::SandboxStopped => {
                self.busy = None;
                self.prepared = None;
                self.node.pods.set_ip(spec::uid(&self.pod), None);
            }
            Done::TornDown(Ok(())) => {
                self.busy = None;
                self.torn_down = true;
            }
            Done::TornDown(Err(error)) => {
                self.busy = None;
                self.event("", EventType::Warning, "FailedKillPod", &format!("error killing pod: {error}"));
                // not at once: what holds it must let go first
                let nudge = self.nudge.clone();
                let sleep = self.node.clock.sleep(Duration::from_secs(2));
                self.operations.spawn(async move {
                    sleep.await;
                    nudge.now();
                    Done::Quiet
                });
            }
            Done::Setup(result) => self.set_up(result),
            Done::Started(name, result) => {
                self.busy = None;
                match result {
                    Ok(()) => {
                        self.errors.remove(&name);
                    }
                    Err(waiting) => {
                        if waiting.reason == "ErrImagePull" {
                            // soon after a failed pull, the pod says that it backs off
                            let (name, sleep) = (name.clone(), self.node.clock.sleep(Duration::from_secs(1)));
                            self.operations.spawn(async move {
                                sleep.await;
                                Done::BackingOff(name)
                            });
                        }
                        self.errors.insert(name, waiting);
                    }
                }
            }
        }
    }

    fn set_up(&mut self, result: Result<Prepared, setup::Failure>) {
        self.busy = None;
        match result {
            Ok(prepared) => {
                self.setup_backoff.reset();
                self.setup_after = None;
                self.setup_error = None;
                let shared = spec::host_network(&self.pod);
                let ip = prepared.ips.first().cloned().filter(|_| !shared);
                self.node.pods.set_ip(spec::uid(&self.pod), ip);
                self.prepared = Some(prepared);
            }
            Err(failure) => {
                if self.setup_error.as_deref() != Some(failure.message.as_str()) {
                    self.event("", EventType::Warning, failure.reason, &failure.message);
                }
                self.setup_error = Some(failure.message);
                let delay = self.setup_backoff.next_delay();
                self.setup_after = Some(self.node.clock.now() + SignedDuration::try_from(delay).unwrap_or_default());
            }
        }
    }

    fn tell_backoff(&mut self, planned: &Plan, now: Timestamp) {
        for (name, waiting) in &planned.waiting {
            // told once per wait
            if waiting.until.is_some() && self.told.get(name).copied() != waiting.until {
                self.told.insert(name.clone(), waiting.until.unwrap_or(now));
                let message = format!("Back-off restarting failed container {name} in pod {}", spec::label(&self.pod));
                self.event(name, EventType::Warning, "BackOff", &message);
            }
        }
    }

    async fn report(
        &mut self,
        observed: &Observed,
        health: &BTreeMap<String, Health>,
        waiting: &BTreeMap<String, Waiting>,
        now: Timestamp,
    ) {
        let old_ips = self.old_status["podIPs"].as_array().cloned().unwrap_or_default();
        let old_ips: Vec<String> = old_ips.iter().filter_map(|i| i["ip"].as_str().map(str::to_string)).collect();
        let ips = self.prepared.as_ref().map_or(old_ips, |p| p.ips.clone());
        let status = status::build(&status::Facts {
            pod: &self.pod,
            old: &self.old_status,
            observed,
            health,
            waiting,
            pod_ips: &ips,
            host_ips: &[self.node.config.node_ip.to_string()],
            ending: self.ending().is_some() || self.over(),
            failed: self.failed,
            now,
        });
        self.write_status(status).await;
    }

    /// Writes the status if it says something new.
    async fn write_status(&mut self, status: Value) {
        if self.wanted.borrow().gone || self.reported.as_ref() == Some(&status) || is_part(&status, &self.old_status) {
            return;
        }
        let mut body = json!({"metadata": {"uid": self.uid()}, "status": status});
        for key in ["reason", "message", "podIP", "podIPs"] {
            if status.get(key).is_none() && self.old_status.get(key).is_some() {
                body["status"][key] = Value::Null;
            }
        }
        let pods = Resource::of::<Pod>();
        let (namespace, name) = (spec::namespace(&self.pod).to_string(), spec::name(&self.pod).to_string());
        let options = WriteOptions::default();
        let written = self.node.client.patch(&pods, &namespace, &name, "status", Patch::merge(body), &options).await;
        match written {
            Ok(object) => self.wrote(&object, status),
            Err(error) if error.is_not_found() || error.is_conflict() => {}
            Err(error) => {
                tracing::debug!(%error, pod = name, "the pod's status could not be written");
                let (nudge, sleep) = (self.nudge.clone(), self.node.clock.sleep(Duration::from_secs(1)));
                self.operations.spawn(async move {
                    sleep.await;
                    nudge.now();
                    Done::Quiet
                });
            }
        }
    }

    fn wrote(&mut self, object: &Arc<Object>, status: Value) {
        self.old_status = object.value()["status"].take();
        self.reported = Some(status);
    }

    /// The last step of a deletion. Whether nothing is left to do.
    async fn finish(&mut self) -> bool {
        let pods = Resource::of::<Pod>();
        let preconditions = Preconditions { uid: Some(self.uid().to_string()), resource_version: None };
        let options = DeleteOptions {
            grace_period_seconds: Some(0),
            preconditions: Some(preconditions),
            ..DeleteOptions::default()
        };
        let (namespace, name) = (spec::namespace(&self.pod), spec::name(&self.pod));
        match self.node.client.delete(&pods, namespace, name, &options).await {
            Ok(_) => true,
            Err(error) if error.is_not_found() || error.is_conflict() => true,
            Err(error) => {
                tracing::debug!(%error, pod = name, "the pod could not be deleted");
                self.node.clock.sleep(Duration::from_secs(1)).await;
                self.nudge.now();
                false
            }
        }
    }

    /// An event about the pod, or one of its containers.
    fn event(&self, container: &str, kind: EventType, reason: &str, message: &str) {
        event(&self.node, &self.pod, container, kind, reason, message);
    }
}

/// Writes an event about a pod (`container` empty) or one of its containers.
pub(crate) fn event(node: &Node, pod: &Pod, container: &str, kind: EventType, reason: &str, message: &str) {
    let mut about = Reference {
        api_version: "v1".into(),
        kind: "Pod".into(),
        namespace: spec::namespace(pod).into(),
        name: spec::name(pod).into(),
        uid: spec::uid(pod).into(),
        field_path: String::new(),
    };
    if spec::init_containers(pod).iter().any(|c| c.name == container) {
        about = about.init_container(container);
    } else if spec::ephemeral::find(pod, container).is_some() {
        about = about.ephemeral_container(container);
    } else if !container.is_empty() {
        about = about.container(container);
    }
    node.events.about(about, kind, reason, message);
}

/// Whether the status says of a container that it is ready.
fn was_ready(status: &Value, id: &str) -> bool {
    let id = format!("coracle://{id}");
    ["containerStatuses", "initContainerStatuses"].iter().any(|list| {
        let list = status[*list].as_array();
        list.into_iter().flatten().any(|s| s["containerID"] == id.as_str() && s["ready"] == true)
    })
}

/// Whether everything in `part` is in `whole`, too.
fn is_part(part: &Value, whole: &Value) -> bool {
    match (part, whole) {
        (Value::Object(part), Value::Object(whole)) => part.iter().all(|(key, value)| {
            let found = whole.get(key).unwrap_or(&Value::Null);
            is_part(value, found) || (*found == Value::Null && value.as_object().is_some_and(|o| o.is_empty()))
        }),
        (Value::Array(part), Value::Array(whole)) => {
            part.len() == whole.len() && part.iter().zip(whole).all(|(a, b)| is_part(a, b))
        }
        _ => part == whole,
    }
}

/// Keeps logs small. Never returns.
pub(crate) async fn rotate_logs(node: Arc<Node>) {
    loop {
        node.clock.sleep(Duration::from_secs(10)).await;
        let Ok(containers) = node.runtime.containers(None).await else { continue };
        let Ok(sandboxes) = node.runtime.sandboxes().await else { continue };
        for container in containers.iter().filter(|c| c.state == coracle_runtime::ContainerState::Running) {
            let Some(sandbox) = sandboxes.iter().find(|s| s.id == container.sandbox) else { continue };
            let path = sandbox.spec.log_dir.join(&container.spec.log_path);
            match logs::rotate(&path) {
                Ok(true) => {
                    if let Err(error) = node.runtime.reopen_log(&container.id).await {
                        tracing::warn!(%error, container = container.id, "the log could not be reopened");
                    }
                }
                Ok(false) => {}
                Err(error) => tracing::debug!(%error, path = %path.display(), "the log could not be rotated"),
            }
        }
    }
}
