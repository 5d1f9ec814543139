//! What the runtime knows of one pod, as values.

use crate::spec;
use coracle_runtime::{Container, ContainerState, Sandbox};
use k8s_openapi::api::core::v1::Pod;
use std::collections::BTreeSet;

/// Sandboxes and containers of one pod.
#[derive(Clone, Debug, Default)]
pub struct Observed {
    /// The newest sandbox.
    pub sandbox: Option<Sandbox>,
    /// Older ones.
    pub old_sandboxes: Vec<String>,
    /// Containers of all sandboxes, oldest first.
    pub containers: Vec<Container>,
    /// Ids of those that the agent stopped to start them again, as far as it remembers.
    pub again: BTreeSet<String>,
}

impl Observed {
    /// Sorts what the runtime gave. Containers whose sandbox is gone have ended, whatever was written last.
    pub fn new(mut sandboxes: Vec<Sandbox>, mut containers: Vec<Container>) -> Self {
        sandboxes.sort_by_key(|s| (s.spec.attempt, s.created));
        let sandbox = sandboxes.pop();
        let live = |id: &str| sandbox.as_ref().is_some_and(|s| s.ready && s.id == id);
        for container in &mut containers {
            if container.state == ContainerState::Running && !live(&container.sandbox) {
                container.state = ContainerState::Exited;
                container.exit_code.get_or_insert(137);
                container.finished.get_or_insert(container.started.unwrap_or(container.created));
                container.reason = "ContainerStatusUnknown".into();
                container.message = "The container could not be located when the pod was terminated".into();
            }
        }
        containers.sort_by_key(|c| (c.created, c.spec.attempt));
        Self {
            old_sandboxes: sandboxes.into_iter().map(|s| s.id).collect(),
            sandbox,
            containers,
            again: BTreeSet::new(),
        }
    }

    /// The sandbox, if it can take containers.
    pub fn ready_sandbox(&self) -> Option<&Sandbox> {
        self.sandbox.as_ref().filter(|s| s.ready)
    }

    /// The newest container of a name.
    pub fn latest(&self, name: &str) -> Option<&Container> {
        self.containers.iter().rev().find(|c| c.spec.name == name)
    }

    /// The one before.
    pub fn previous(&self, name: &str) -> Option<&Container> {
        self.containers.iter().rev().filter(|c| c.spec.name == name).nth(1)
    }

    /// The newest container of a name in the newest sandbox.
    pub fn current(&self, name: &str) -> Option<&Container> {
        let sandbox = &self.sandbox.as_ref()?.id;
        self.latest(name).filter(|c| c.sandbox == *sandbox)
    }

    /// Running containers.
    pub fn running(&self) -> impl Iterator<Item = &Container> {
        self.containers.iter().filter(|c| c.state == ContainerState::Running)
    }

    /// Containers that are worth nothing any more: for each name all but the two newest.
    pub fn superfluous(&self) -> Vec<&Container> {
        let mut seen: std::collections::HashMap<&str, usize> = std::collections::HashMap::new();
        let mut out = Vec::new();
        for container in self.containers.iter().rev() {
            let count = seen.entry(&container.spec.name).or_default();
            *count += 1;
            if *count > 2 && container.state != ContainerState::Running {
                out.push(container);
            }
        }
        out
    }

    /// Whether a container of the pod itself (not an init container) was made in the newest sandbox.
    pub fn main_started(&self, pod: &Pod) -> bool {
        spec::of(pod).containers.iter().any(|c| self.current(&c.name).is_some())
    }
}

/// When a container ended, as well as it is known.
pub fn finished(container: &Container) -> jiff::Timestamp {
    container.finished.or(container.started).unwrap_or(container.created)
}
