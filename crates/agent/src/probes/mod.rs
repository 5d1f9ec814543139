//! Probes: each a task on a timer; what they find decides readiness and restarts.

mod check;
mod threshold;

pub use check::{Outcome, http, tcp};

use crate::{
    context::Node,
    pods::{Nudge, observed::Observed, plan::Health, worker::event},
    spec,
};
use coracle_client::EventType;
use coracle_runtime::ContainerState;
use k8s_openapi::api::core::v1::{Container, Pod, Probe};
use parking_lot::Mutex;
use rand::Rng;
use std::{collections::HashMap, sync::Arc, time::Duration};
use threshold::{Threshold, Verdict};
use tokio::task::AbortHandle;

/// The three kinds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Startup,
    Liveness,
    Readiness,
}

impl Kind {
    fn shown(self) -> &'static str {
        match self {
            Self::Startup => "Startup",
            Self::Liveness => "Liveness",
            Self::Readiness => "Readiness",
        }
    }
}

struct Probed {
    health: Arc<Mutex<Health>>,
    tasks: Vec<AbortHandle>,
    /// Readiness and liveness begin when the container has started.
    waiting: Vec<(Kind, Probe)>,
}

impl Drop for Probed {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

/// The probes of one pod.
pub(crate) struct Probes {
    node: Arc<Node>,
    nudge: Arc<Nudge>,
    containers: HashMap<String, Probed>,
}

impl Probes {
    pub(crate) fn new(node: Arc<Node>, nudge: Arc<Nudge>) -> Self {
        Self { node, nudge, containers: HashMap::new() }
    }

    /// What is known of a running container.
    pub(crate) fn health(&self, id: &str) -> Health {
        self.containers.get(id).map(|p| p.health.lock().clone()).unwrap_or_default()
    }

    /// Stops probing a container.
    pub(crate) fn forget(&mut self, id: &str) {
        self.containers.remove(id);
    }

    /// Begins to probe containers that run, ends with those that don't. While the pod is ending, only readiness is looked at.
    pub(crate) fn follow(
        &mut self,
        pod: &Arc<Pod>,
        observed: &Observed,
        ip: Option<String>,
        was_ready: impl Fn(&str) -> bool,
        ending: bool,
    ) {
        self.containers.retain(|id, _| observed.running().any(|c| c.id == *id));
        for found in observed.running().filter(|c| c.state == ContainerState::Running) {
            if !self.containers.contains_key(&found.id)
                && let Some(container) = spec::container(pod, &found.spec.name)
            {
                let begun = found.started.unwrap_or(found.created);
                let probed =
                    begin(&container, was_ready(&found.id), self.node.clock.now().duration_since(begun).as_secs());
                self.containers.insert(found.id.clone(), probed);
            }
            let Some(probed) = self.containers.get_mut(&found.id) else { continue };
            // without an address yet, only commands could be probed
            if ip.is_none() && !spec::host_network(pod) {
                continue;
            }
            let started = probed.health.lock().started;
            let (now, later): (Vec<_>, Vec<_>) =
                probed.waiting.drain(..).partition(|(kind, _)| started || *kind == Kind::Startup);
            probed.waiting = later;
            for (kind, probe) in now {
                if ending && kind != Kind::Readiness {
                    continue;
                }
                let task = Task {
                    node: self.node.clone(),
                    nudge: self.nudge.clone(),
                    pod: pod.clone(),
                    container: found.spec.name.clone(),
                    id: found.id.clone(),
                    ip: ip.clone().unwrap_or_else(|| self.node.config.node_ip.to_string()),
                    health: probed.health.clone(),
                    begun: found.started.unwrap_or(found.created),
                    kind,
                    probe,
                };
                probed.tasks.push(tokio::spawn(task.run()).abort_handle());
            }
        }
    }
}

/// What holds before the first probe. A container that was ready before the agent was restarted stays so.
fn begin(container: &Container, was_ready: bool, _age: i64) -> Probed {
    let kinds = [
        (Kind::Startup, &container.startup_probe),
        (Kind::Liveness, &container.liveness_probe),
        (Kind::Readiness, &container.readiness_probe),
    ];
    let waiting: Vec<(Kind, Probe)> = kinds.into_iter().filter_map(|(k, p)| Some((k, p.clone()?))).collect();
    let started = container.startup_probe.is_none() || was_ready;
    let ready = started && (container.readiness_probe.is_none() || was_ready);
    let waiting = waiting.into_iter().filter(|(k, _)| !(was_ready && *k == Kind::Startup)).collect();
    let health = Health { started, ready, failed: None };
    Probed { health: Arc::new(Mutex::new(health)), tasks: Vec::new(), waiting }
}

struct Task {
    node: Arc<Node>,
    nudge: Arc<Nudge>,
    pod: Arc<Pod>,
    container: String,
    id: String,
    ip: String,
    health: Arc<Mutex<Health>>,
    begun: jiff::Timestamp,
    kind: Kind,
    probe: Probe,
}

fn seconds(value: Option<i32>, default: u64) -> Duration {
    Duration::from_secs(value.and_then(|v| u64::try_from(v).ok()).filter(|v| *v > 0).unwrap_or(default))
}

impl Task {
    async fn run(self) {
        let period = seconds(self.probe.period_seconds, 10);
        let initial = Duration::from_secs(u64::try_from(self.probe.initial_delay_seconds.unwrap_or(0)).unwrap_or(0));
        let age = Duration::try_from(self.node.clock.now().duration_since(self.begun)).unwrap_or_default();
        if age < initial {
            self.node.clock.sleep(initial - age).await;
        } else if age > period {
            // after a restart of the agent, not all at once
            let share = rand::rng().random_range(0.0..1.0);
            self.node.clock.sleep(period.mul_f64(share)).await;
        }
        let counts =
            |v: Option<i32>, default| v.and_then(|v| u32::try_from(v).ok()).filter(|v| *v > 0).unwrap_or(default);
        let mut threshold =
            Threshold::new(counts(self.probe.success_threshold, 1), counts(self.probe.failure_threshold, 3));
        loop {
            let outcome = self.once().await;
            if let Outcome::Failure(why) = &outcome {
                let message = format!("{} probe failed: {why}", self.kind.shown());
                event(&self.node, &self.pod, &self.container, EventType::Warning, "Unhealthy", &message);
            }
            if self.take(threshold.record(outcome == Outcome::Success)) {
                return;
            }
            self.node.clock.sleep(period).await;
        }
    }

    async fn once(&self) -> Outcome {
        match spec::container(&self.pod, &self.container) {
            Some(container) => check::run(&self.node, &container, &self.id, &self.probe, &self.ip).await,
            None => Outcome::Failure("the container is gone".into()),
        }
    }

    /// Acts on a verdict; whether the probe is over.
    fn take(&self, verdict: Verdict) -> bool {
        let mut health = self.health.lock();
        let before = health.clone();
        let over = match (self.kind, verdict) {
            (_, Verdict::Undecided) => false,
            (Kind::Startup, Verdict::Good) => {
                health.started = true;
                let probed = spec::container(&self.pod, &self.container).is_some_and(|c| c.readiness_probe.is_some());
                health.ready = health.ready || !probed;
                true
            }
            (Kind::Readiness, verdict) => {
                health.ready = verdict == Verdict::Good;
                false
            }
            (Kind::Liveness, Verdict::Good) => false,
            (Kind::Liveness | Kind::Startup, Verdict::Bad) => {
                let kind = self.kind.shown().to_lowercase();
                let message = format!("Container {} failed {kind} probe, will be restarted", self.container);
                health.failed = Some((message, self.probe.termination_grace_period_seconds));
                true
            }
        };
        if *health != before {
            self.nudge.now();
        }
        over
    }
}
