//! What to do next for one pod: a pure function of what is wanted and what is there.

use super::{
    backoff::{Backoffs, shown},
    observed::{Observed, finished},
    status::IMAGE_ASKED,
};
use crate::spec;
use coracle_runtime::{Container as Found, ContainerState};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Container, Pod};
use std::collections::BTreeMap;

/// One step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Make volumes, sandbox and network ready.
    Setup {
        /// How often the sandbox was made before.
        attempt: u32,
    },
    /// Start a container.
    Start {
        /// Its name.
        name: String,
        /// How often it was started before.
        attempt: u32,
        /// When the one before ended, if there was one.
        failed: Option<Timestamp>,
    },
    /// Stop a container.
    Stop {
        /// Its name.
        name: String,
        /// Its id.
        id: String,
        /// Seconds to go.
        grace: i64,
        /// For the event.
        message: String,
        /// It is stopped to be started again, whatever it ends with.
        again: bool,
    },
    /// Remove a dead container.
    Remove {
        /// Its id.
        id: String,
    },
    /// The pod has ended: free its network and its processes, keep logs and state.
    StopSandbox,
    /// The pod is being deleted and nothing runs: take everything away.
    TearDown,
}

/// Why a container is not running.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Waiting {
    /// `CrashLoopBackOff`, `ErrImagePull`, …
    pub reason: String,
    /// More.
    pub message: String,
    /// Not to be tried before.
    pub until: Option<Timestamp>,
}

/// What probes say about a container.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Health {
    /// It has started (its startup probe succeeded, or it has none).
    pub started: bool,
    /// It is ready.
    pub ready: bool,
    /// It must be stopped: message, and the probe's own grace period.
    pub failed: Option<(String, Option<i64>)>,
}

/// What a plan is made from.
pub struct Input<'a> {
    /// What is wanted.
    pub pod: &'a Pod,
    /// What is there.
    pub observed: &'a Observed,
    /// What probes say, by container id.
    pub health: &'a BTreeMap<String, Health>,
    /// Why containers could not be started, by name.
    pub errors: &'a BTreeMap<String, Waiting>,
    /// Backoffs of containers.
    pub backoffs: &'a Backoffs,
    /// Containers being stopped, by id, with their grace period.
    pub stopping: &'a BTreeMap<String, i64>,
    /// Whether a setup or a start is under way, or setup must wait.
    pub busy: bool,
    /// Whether volumes and network are ready in this run of the agent.
    pub prepared: bool,
    /// Seconds to go, if the pod is to end.
    pub ending: Option<i64>,
    /// The pod is over already (status says so) or was refused.
    pub over: bool,
    /// Now.
    pub now: Timestamp,
}

/// What to do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// Steps, to be taken now.
    pub actions: Vec<Action>,
    /// Why containers wait (backoff).
    pub waiting: BTreeMap<String, Waiting>,
    /// Look again then, even if nothing happens.
    pub wake: Option<Timestamp>,
}

/// Whether a container that ended is started again.
pub fn restarts(pod: &Pod, container: &Container, exit: i32) -> bool {
    let policy = container.restart_policy.as_deref().or(spec::of(pod).restart_policy.as_deref()).unwrap_or("Always");
    match policy {
        "Never" => false,
        "OnFailure" => exit != 0,
        _ => true,
    }
}

/// Whether a container that ended is started again: by its policy, or as it was stopped for that.
pub fn comes_again(pod: &Pod, container: &Container, observed: &Observed, found: &Found) -> bool {
    observed.again.contains(&found.id) || restarts(pod, container, found.exit_code.unwrap_or(1))
}

/// Whether the pod names another image than the one that runs. Annotations of containers that an older agent started say nothing of it.
fn is_changed(container: &Container, found: &Found) -> bool {
    let asked = found.spec.annotations.get(IMAGE_ASKED);
    asked.is_some_and(|asked| container.image.as_deref().is_some_and(|image| image != asked))
}

/// Plans.
pub fn plan(input: &Input<'_>) -> Plan {
    let mut planner = Planner { input, plan: Plan::default() };
    if let Some(grace) = input.ending {
        planner.end(grace, Action::TearDown);
    } else if input.over {
        planner.end(spec::of(input.pod).termination_grace_period_seconds.unwrap_or(30), Action::StopSandbox);
    } else {
        planner.run();
    }
    planner.plan
}

struct Planner<'a> {
    input: &'a Input<'a>,
    plan: Plan,
}

/// How far init containers are.
#[derive(PartialEq, Eq)]
enum Init {
    Done,
    Pending,
}

impl Planner<'_> {
    fn wake(&mut self, at: Timestamp) {
        self.plan.wake = Some(self.plan.wake.map_or(at, |w| w.min(at)));
    }

    /// Stops containers first, sidecars after them in reverse order; then `last`.
    fn end(&mut self, grace: i64, last: Action) {
        let pod = self.input.pod;
        let sidecar =
            |name: &str| spec::init_containers(pod).iter().position(|c| c.name == name && spec::is_sidecar(c));
        let running: Vec<&Found> = self.input.observed.running().collect();
        let (sidecars, mains): (Vec<&Found>, Vec<&Found>) =
            running.iter().copied().partition(|c| sidecar(&c.spec.name).is_some());
        if !mains.is_empty() {
            for container in mains {
                self.stop(container, grace, format!("Stopping container {}", container.spec.name), false);
            }
        } else if let Some(container) = sidecars.into_iter().max_by_key(|c| sidecar(&c.spec.name)) {
            self.stop(container, grace, format!("Stopping container {}", container.spec.name), false);
        } else if !self.input.busy && self.input.stopping.is_empty() {
            let done = last == Action::StopSandbox && self.input.observed.ready_sandbox().is_none();
            if !done {
                self.plan.actions.push(last);
            }
        }
    }

    fn stop(&mut self, container: &Found, grace: i64, message: String, again: bool) {
        if self.input.stopping.get(&container.id).is_some_and(|known| *known <= grace) {
            return;
        }
        let (name, id) = (container.spec.name.clone(), container.id.clone());
        self.plan.actions.push(Action::Stop { name, id, grace, message, again });
    }

    fn run(&mut self) {
        let (pod, observed) = (self.input.pod, self.input.observed);
        for container in observed.superfluous() {
            self.plan.actions.push(Action::Remove { id: container.id.clone() });
        }
        if self.nothing_left_to_run() {
            let grace = spec::of(pod).termination_grace_period_seconds.unwrap_or(30);
            return self.end(grace, Action::StopSandbox);
        }
        if observed.ready_sandbox().is_none() || !self.input.prepared {
            if !self.input.busy {
                let attempt = match (&observed.sandbox, observed.ready_sandbox()) {
                    (Some(old), None) => old.spec.attempt + 1,
                    (_, Some(ready)) => ready.spec.attempt,
                    (None, None) => 0,
                };
                self.plan.actions.push(Action::Setup { attempt });
            }
            return;
        }
        // wherever the pod stands: those who debug it may want to see why it does not get on
        for container in spec::ephemeral::all(pod) {
            if observed.latest(&container.name).is_none() {
                self.start(&container.name, 0, None);
            }
        }
        match self.init() {
            Init::Pending => {}
            Init::Done => {
                for container in &spec::of(pod).containers {
                    self.container(container, observed.latest(&container.name));
                }
            }
        }
    }

    /// Whether every container of the pod itself ended for good, or none can start any more.
    fn nothing_left_to_run(&self) -> bool {
        if self.init_failed() {
            return true;
        }
        let (pod, observed) = (self.input.pod, self.input.observed);
        let over = |c: &Container| match observed.latest(&c.name) {
            Some(found) if found.state == ContainerState::Exited => !comes_again(pod, c, observed, found),
            _ => false,
        };
        spec::of(pod).containers.iter().all(over)
    }

    /// Whether an init container failed that is not tried again: sidecars before it are not either.
    fn init_failed(&self) -> bool {
        let (pod, observed) = (self.input.pod, self.input.observed);
        let failed = |c: &Container| {
            let found = observed.latest(&c.name).filter(|found| found.state == ContainerState::Exited);
            !spec::is_sidecar(c) && found.is_some_and(|found| found.exit_code != Some(0))
        };
        let tried_once = spec::of(pod).restart_policy.as_deref() == Some("Never");
        tried_once && !observed.main_started(pod) && spec::init_containers(pod).iter().any(failed)
    }

    fn init(&mut self) -> Init {
        let (pod, observed) = (self.input.pod, self.input.observed);
        let started = observed.main_started(pod);
        for container in spec::init_containers(pod) {
            let current = observed.current(&container.name);
            if spec::is_sidecar(container) {
                self.container(container, current);
                let up = current
                    .filter(|c| c.state == ContainerState::Running)
                    .is_some_and(|c| self.input.health.get(&c.id).is_some_and(|h| h.started));
                if !up && !started {
                    return Init::Pending;
                }
                continue;
            }
            match current {
                _ if started => {}
                Some(c) if c.state == ContainerState::Exited && c.exit_code == Some(0) => {}
                _ => {
                    self.container(container, current);
                    return Init::Pending;
                }
            }
        }
        Init::Done
    }

    /// One container: start it, start it again, stop it, or leave it.
    fn container(&mut self, container: &Container, found: Option<&Found>) {
        let (pod, name) = (self.input.pod, &container.name);
        // an init container of an image that is no longer asked for ends first, as upstream
        let init = spec::init_containers(pod).iter().any(|c| c.name == *name) && !spec::is_sidecar(container);
        let Some(found) = found else {
            let attempt = self.input.observed.latest(name).map_or(0, |c| c.spec.attempt + 1);
            return self.start(name, attempt, None);
        };
        match found.state {
            ContainerState::Running => {
                let failed = self.input.health.get(&found.id).and_then(|h| h.failed.clone());
                let pods = spec::of(pod).termination_grace_period_seconds;
                if let Some((message, own)) = failed {
                    self.stop(found, own.or(pods).unwrap_or(30), message, restarts(pod, container, 1));
                } else if !init && is_changed(container, found) {
                    // regardless of the restart policy, as upstream
                    let message = format!("Container {name} definition changed, will be restarted");
                    self.stop(found, pods.unwrap_or(30), message, true);
                }
            }
            ContainerState::Exited => {
                if init || comes_again(pod, container, self.input.observed, found) {
                    if is_changed(container, found) {
                        // what crashed was another image
                        return self.start(name, found.spec.attempt + 1, None);
                    }
                    self.again(name, found);
                }
            }
            // made and never started: its start failed, or the agent ended in between
            ContainerState::Created => self.again(name, found),
        }
    }

    fn again(&mut self, name: &str, found: &Found) {
        let ended = finished(found);
        if let Some((until, delay)) = self.input.backoffs.until(name, ended, self.input.now) {
            let message = format!(
                "back-off {} restarting failed container={name} pod={}",
                shown(delay),
                spec::label(self.input.pod)
            );
            let waiting = Waiting { reason: "CrashLoopBackOff".into(), message, until: Some(until) };
            self.plan.waiting.insert(name.to_string(), waiting);
            return self.wake(until);
        }
        self.start(name, found.spec.attempt + 1, Some(ended));
    }

    fn start(&mut self, name: &str, attempt: u32, failed: Option<Timestamp>) {
        if let Some(until) = self.input.errors.get(name).and_then(|e| e.until).filter(|until| *until > self.input.now) {
            return self.wake(until);
        }
        // one after another, in the order of the spec: hooks may rely on it
        let starting = self.plan.actions.iter().any(|a| matches!(a, Action::Start { .. }));
        if !self.input.busy && !starting {
            self.plan.actions.push(Action::Start { name: name.to_string(), attempt, failed });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use coracle_runtime::{ContainerSpec, Sandbox, SandboxSpec};
    use serde_json::{Value, json};

    const NOW: i64 = 1_000_000;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn found(text: &str, i: usize) -> Found {
        // name state [exit]
        let mut words = text.split(' ');
        // name@image: started from it
        let name = words.next().unwrap();
        let (name, image) = name.split_once('@').map_or((name, None), |(name, image)| (name, Some(image)));
        let name = name.to_string();
        let annotations = image.map(|image| (IMAGE_ASKED.to_string(), image.to_string())).into_iter().collect();
        let state = match words.next().unwrap() {
            "running" => ContainerState::Running,
            "exited" => ContainerState::Exited,
            _ => ContainerState::Created,
        };
        let exit_code = words.next().map(|e| e.parse().unwrap());
        let attempt = i as u32;
        let exited = state == ContainerState::Exited;
        Found {
            id: format!("{name}-id"),
            sandbox: "s".into(),
            spec: ContainerSpec { name, attempt, annotations, ..ContainerSpec::default() },
            state,
            pid: None,
            created: at(NOW - 100 + i as i64),
            started: Some(at(NOW - 50)),
            finished: exited.then(|| at(NOW - 1)),
            exit_code,
            signal: None,
            reason: String::new(),
            message: String::new(),
        }
    }

    fn show(plan: &Plan) -> String {
        let mut out: Vec<String> = plan
            .actions
            .iter()
            .map(|a| match a {
                Action::Setup { attempt } => format!("setup {attempt}"),
                Action::Start { name, attempt, .. } => format!("start {name} {attempt}"),
                Action::Stop { name, grace, .. } => format!("stop {name} {grace}"),
                Action::Remove { id } => format!("remove {id}"),
                Action::StopSandbox => "stop-sandbox".into(),
                Action::TearDown => "tear-down".into(),
            })
            .collect();
        out.extend(plan.waiting.iter().map(|(n, w)| format!("{n} {}", w.reason)));
        out.join(", ")
    }

    struct Case {
        spec: Value,
        sandbox: Option<bool>,
        containers: &'static [&'static str],
        ending: Option<i64>,
        unhealthy: Option<&'static str>,
        unstarted: Option<&'static str>,
        crashed: Option<&'static str>,
        stopped_to_start: Option<&'static str>,
        prepared: bool,
    }

    fn case(spec: Value, containers: &'static [&'static str]) -> Case {
        Case {
            spec,
            sandbox: Some(true),
            containers,
            ending: None,
            unhealthy: None,
            unstarted: None,
            crashed: None,
            stopped_to_start: None,
            prepared: true,
        }
    }

    fn check(case: Case, expected: &str) {
        let pod = json!({"metadata": {"name": "p", "namespace": "n", "uid": "u"}, "spec": case.spec});
        let pod: Pod = serde_json::from_value(pod).unwrap();
        let sandbox = case.sandbox.map(|ready| Sandbox {
            id: "s".into(),
            spec: SandboxSpec::default(),
            ready,
            netns: None,
            created: at(NOW - 200),
        });
        let containers: Vec<Found> = case.containers.iter().enumerate().map(|(i, t)| found(t, i)).collect();
        let mut observed = Observed::new(sandbox.into_iter().collect(), containers);
        observed.again.extend(case.stopped_to_start.map(|name| format!("{name}-id")));
        let health = observed
            .running()
            .map(|c| {
                let failed = (case.unhealthy == Some(&c.spec.name)).then(|| ("bad".to_string(), Some(7)));
                let started = case.unstarted != Some(&c.spec.name);
                (c.id.clone(), Health { started, ready: started, failed })
            })
            .collect();
        let mut backoffs = Backoffs::default();
        if let Some(name) = case.crashed {
            backoffs.next(name, at(NOW - 60), at(NOW - 60));
        }
        let input = Input {
            pod: &pod,
            observed: &observed,
            health: &health,
            errors: &BTreeMap::new(),
            backoffs: &backoffs,
            stopping: &BTreeMap::new(),
            busy: false,
            prepared: case.prepared,
            ending: case.ending,
            over: false,
            now: at(NOW),
        };
        assert_eq!(show(&plan(&input)), expected, "{} {:?}", case.spec, case.containers);
    }

    #[test]
    fn pods_without_init_containers() {
        let two = || json!({"containers": [{"name": "a"}, {"name": "b"}]});
        let never = || json!({"restartPolicy": "Never", "containers": [{"name": "a"}]});
        let on_failure = || json!({"restartPolicy": "OnFailure", "containers": [{"name": "a"}]});
        check(Case { sandbox: None, ..case(two(), &[]) }, "setup 0");
        check(Case { sandbox: Some(false), ..case(two(), &["a running", "b running"]) }, "setup 1");
        check(Case { prepared: false, ..case(two(), &["a running", "b running"]) }, "setup 0");
        check(case(two(), &[]), "start a 0");
        check(case(two(), &["a running"]), "start b 0");
        check(case(two(), &["a running", "b running"]), "");
        check(case(two(), &["a exited 1", "b running"]), "start a 1");
        check(Case { crashed: Some("a"), ..case(two(), &["a exited 0", "b running"]) }, "a CrashLoopBackOff");
        check(Case { unhealthy: Some("a"), ..case(two(), &["a running", "b running"]) }, "stop a 7");
        check(case(never(), &["a exited 1"]), "stop-sandbox");
        check(Case { sandbox: Some(false), ..case(never(), &["a exited 0"]) }, "");
        check(case(on_failure(), &["a exited 0"]), "stop-sandbox");
        check(case(on_failure(), &["a exited 3"]), "start a 1");
        check(case(two(), &["a exited 1", "a exited 1", "a running", "b running"]), "remove a-id");
    }

    #[test]
    fn another_image_restarts_a_container() {
        let pod = |policy: &str| json!({"restartPolicy": policy, "containers": [{"name": "a", "image": "new"}]});
        check(case(pod("Always"), &["a@new running"]), "");
        check(case(pod("Always"), &["a running"]), "");
        check(case(pod("Always"), &["a@old running"]), "stop a 30");
        check(Case { crashed: Some("a"), ..case(pod("Always"), &["a@old exited 143"]) }, "start a 1");
        check(case(pod("OnFailure"), &["a@old running"]), "stop a 30");
        check(case(pod("Never"), &["a@old running"]), "stop a 30");
        // it came to its end before, or was stopped for the new image
        check(case(pod("OnFailure"), &["a@old exited 0"]), "stop-sandbox");
        check(case(pod("OnFailure"), &["a@old exited 1"]), "start a 1");
        let stopped = |case| Case { stopped_to_start: Some("a"), ..case };
        check(stopped(case(pod("OnFailure"), &["a@old exited 0"])), "start a 1");
        check(stopped(case(pod("Never"), &["a@old exited 143"])), "start a 1");
        let init = json!({"initContainers": [{"name": "i", "image": "new"}], "containers": [{"name": "a"}]});
        check(case(init, &["i@old running"]), "");
    }

    #[test]
    fn a_container_stopped_as_unhealthy_comes_again_whatever_it_ends_with() {
        let pod = json!({"restartPolicy": "OnFailure", "containers": [{"name": "a"}]});
        check(Case { stopped_to_start: Some("a"), ..case(pod, &["a exited 0"]) }, "start a 1");
    }

    #[test]
    fn init_containers_and_sidecars() {
        let init = |policy: &str| json!({"restartPolicy": policy, "initContainers": [{"name": "i"}, {"name": "j"}], "containers": [{"name": "a"}]});
        let side = || json!({"restartPolicy": "Never", "initContainers": [{"name": "s", "restartPolicy": "Always"}, {"name": "i"}], "containers": [{"name": "a"}]});
        check(case(init("Always"), &[]), "start i 0");
        check(case(init("Always"), &["i running"]), "");
        check(case(init("Always"), &["i exited 0"]), "start j 0");
        check(case(init("Always"), &["i exited 1"]), "start i 1");
        check(case(init("Never"), &["i exited 1"]), "stop-sandbox");
        check(case(init("Always"), &["i exited 0", "j exited 0"]), "start a 0");
        check(case(side(), &["s running", "i exited 1"]), "stop s 30");
        check(case(side(), &["s exited 0", "i exited 1"]), "stop-sandbox");
        check(case(side(), &[]), "start s 0");
        check(Case { unstarted: Some("s"), ..case(side(), &["s running"]) }, "");
        check(case(side(), &["s running"]), "start i 0");
        check(case(side(), &["s running", "i exited 0"]), "start a 0");
        check(case(side(), &["s exited 1", "i exited 0", "a running"]), "start s 1");
        check(case(side(), &["s running", "i exited 0", "a exited 0"]), "stop s 30");
        check(case(side(), &["s exited 0", "i exited 0", "a exited 0"]), "stop-sandbox");
    }

    #[test]
    fn ephemeral_containers_start_once() {
        let spec =
            || json!({"restartPolicy": "Never", "containers": [{"name": "a"}], "ephemeralContainers": [{"name": "e"}]});
        let stuck = || json!({"initContainers": [{"name": "i"}], "containers": [{"name": "a"}], "ephemeralContainers": [{"name": "e"}]});
        check(case(spec(), &["a running"]), "start e 0");
        check(case(spec(), &["a running", "e running"]), "");
        check(case(spec(), &["a running", "e exited 1"]), "");
        check(case(stuck(), &["i running"]), "start e 0");
        check(case(spec(), &["a exited 0", "e running"]), "stop e 30");
        check(case(spec(), &["a exited 0", "e exited 0"]), "stop-sandbox");
    }

    #[test]
    fn pods_that_end() {
        let spec = || json!({"initContainers": [{"name": "s", "restartPolicy": "Always"}, {"name": "t", "restartPolicy": "Always"}], "containers": [{"name": "a"}, {"name": "b"}]});
        let ending = |containers| Case { ending: Some(5), ..case(spec(), containers) };
        check(ending(&["s running", "t running", "a running", "b running"]), "stop a 5, stop b 5");
        check(ending(&["s running", "t running", "a exited 0", "b exited 0"]), "stop t 5");
        check(ending(&["s running", "t exited 0", "a exited 0", "b exited 0"]), "stop s 5");
        check(ending(&["s exited 0", "a exited 0"]), "tear-down");
        check(ending(&[]), "tear-down");
    }
}
