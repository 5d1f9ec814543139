//! What runs here and what it has used so far: one look at all counters, of which [`super::stats`] and [`super::metrics`] tell.

use crate::{context::Node, spec};
use coracle_runtime::{ContainerState, Usage};
use futures::{StreamExt, stream};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Pod;
use parking_lot::Mutex;
use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

/// So many containers' counters are read at a time.
const AT_ONCE: usize = 16;
/// A reading is kept to compare with for at least so long: the window of an average is once to twice this, if somebody asks all the time.
const STEP: SignedDuration = SignedDuration::from_secs(10);
/// What was read longer ago says nothing of now.
const LONGEST: SignedDuration = SignedDuration::from_secs(60);
/// In less time than this nothing can be told.
const SHORTEST: SignedDuration = SignedDuration::from_millis(500);

/// Counters at a moment.
#[derive(Clone, Copy, Debug)]
pub(super) struct Counters {
    /// When they were read.
    pub(super) at: Timestamp,
    /// What they said.
    pub(super) used: Usage,
}

/// A running container.
pub(super) struct Running {
    /// Its id.
    pub(super) id: String,
    /// Its name in its pod.
    pub(super) name: String,
    /// Since when it runs.
    pub(super) started: Option<Timestamp>,
    /// What it has used.
    pub(super) counters: Counters,
}

/// A pod with the containers that run, by name.
pub(super) struct PodUsage {
    /// The pod.
    pub(super) pod: Arc<Pod>,
    /// Its running containers.
    pub(super) containers: Vec<Running>,
}

/// All pods of the node.
pub(super) async fn pods(node: &Node) -> Vec<PodUsage> {
    let sandboxes = node.runtime.sandboxes().await.unwrap_or_default();
    let of: HashMap<String, String> = sandboxes.into_iter().filter(|s| s.ready).map(|s| (s.id, s.spec.uid)).collect();
    let containers = node.runtime.containers(None).await.unwrap_or_default();
    let running = containers.into_iter().filter(|c| c.state == ContainerState::Running);
    let read = stream::iter(running).map(|container| {
        let uid = of.get(&container.sandbox).cloned();
        async move {
            let used = node.runtime.usage(&container.id).await.ok()?;
            let counters = Counters { at: node.clock.now(), used };
            let (id, name) = (container.id, container.spec.name);
            Some((uid?, Running { id, name, started: container.started, counters }))
        }
    });
    let mut by_pod: HashMap<String, Vec<Running>> = HashMap::new();
    for (uid, container) in read.buffer_unordered(AT_ONCE).collect::<Vec<_>>().await.into_iter().flatten() {
        by_pod.entry(uid).or_default().push(container);
    }
    let mut all: Vec<PodUsage> = Vec::new();
    for (object, _) in node.pods.all() {
        let Ok(pod) = object.view::<Pod>() else { continue };
        let mut containers = by_pod.remove(spec::uid(&pod)).unwrap_or_default();
        containers.sort_by(|a, b| a.name.cmp(&b.name));
        all.push(PodUsage { pod, containers });
    }
    all
}

/// The node: the group of processes that it is, if it shares its machine with other nodes, else the machine.
pub(super) async fn whole(node: &Node) -> Counters {
    let own = node.runtime.node_usage().await.ok().flatten();
    let used = own.unwrap_or_else(|| {
        let available = crate::eviction::memory().available;
        let memory = node.machine.memory.saturating_sub(available);
        Usage { cpu_nanos: machine_cpu_nanos(), memory, memory_working_set: memory, pids: 0 }
    });
    Counters { at: node.clock.now(), used }
}

/// Processor time of the machine since it started, without idling, in nanoseconds.
fn machine_cpu_nanos() -> u64 {
    let text = std::fs::read_to_string("/proc/stat").unwrap_or_default();
    busy_ticks(&text) * 10_000_000
}

/// User, nice, system, irq, softirq, steal of the first line, in hundredths of a second.
fn busy_ticks(text: &str) -> u64 {
    let fields: Vec<u64> =
        text.lines().next().unwrap_or_default().split_whitespace().skip(1).filter_map(|f| f.parse().ok()).collect();
    fields.iter().enumerate().filter(|(i, _)| matches!(i, 0..=2 | 5..=7)).map(|(_, v)| v).sum()
}

/// Processor time at a moment.
#[derive(Clone, Copy)]
struct Mark {
    at: Timestamp,
    cpu_nanos: u64,
}

/// Two earlier readings of each container, to tell averages from.
#[derive(Default)]
pub struct Averages(Mutex<HashMap<String, (Mark, Mark)>>);

impl Averages {
    /// Billionths of a processor that `id` used on the average lately; `None` if there is nothing yet to compare with. `started`: since
    /// when it counts, if that is known.
    pub(super) fn tell(&self, id: &str, now: Counters, started: Option<Timestamp>) -> Option<u64> {
        let mark = Mark { at: now.at, cpu_nanos: now.used.cpu_nanos };
        let born = started.map(|at| Mark { at, cpu_nanos: 0 });
        let recent = |m: &Mark| mark.at.duration_since(m.at) <= LONGEST && m.cpu_nanos <= mark.cpu_nanos;
        let mut kept = self.0.lock();
        let known = kept.get(id).copied().filter(|(_, later)| recent(later));
        let (base, later) = match known {
            Some((base, later)) if mark.at.duration_since(later.at) < STEP => (base, later),
            Some((_, later)) => (later, mark),
            None => (born.filter(recent).unwrap_or(mark), mark),
        };
        kept.insert(id.to_string(), (base, later));
        drop(kept);
        let window = mark.at.duration_since(base.at);
        let nanos = u64::try_from(window.as_nanos()).ok().filter(|_| window >= SHORTEST)?;
        let used = u128::from(mark.cpu_nanos.saturating_sub(base.cpu_nanos)) * 1_000_000_000;
        u64::try_from(used / u128::from(nanos)).ok()
    }

    /// Forgets all but these.
    pub(super) fn keep_only(&self, ids: &HashSet<&str>) {
        self.0.lock().retain(|id, _| ids.contains(id.as_str()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn idle_time_does_not_count() {
        assert_eq!(busy_ticks("cpu  1 2 4 100 200 8 16 32 64 64\ncpu0 9 9"), 63);
        assert_eq!(busy_ticks(""), 0);
    }

    #[test]
    fn averages_are_those_of_the_last_seconds() {
        let averages = Averages::default();
        let millis = |ms| Timestamp::from_millisecond(ms).unwrap();
        let tell = |id: &str, at: i64, cpu_ms: u64, started: Option<i64>| {
            let used = Usage { cpu_nanos: cpu_ms * 1_000_000, ..Usage::default() };
            averages.tell(id, Counters { at: millis(at), used }, started.map(millis)).map(|n| n / 1_000_000)
        };
        assert_eq!(tell("old", 1_000_000, 500, Some(0)), None, "nothing to compare with");
        assert_eq!(tell("old", 1_000_100, 600, Some(0)), None, "too soon");
        assert_eq!(tell("old", 1_001_000, 1_000, Some(0)), Some(500));
        assert_eq!(tell("old", 1_010_000, 10_500, Some(0)), Some(1_000));
        assert_eq!(tell("old", 1_020_000, 10_500, Some(0)), Some(0), "the first reading is no longer lately");
        assert_eq!(tell("old", 2_000_000, 20_500, Some(0)), None, "nor is one of long ago");
        assert_eq!(tell("old", 2_001_000, 10, Some(0)), None, "it counts anew");
        assert_eq!(tell("young", 1_000_000, 500, Some(995_000)), Some(100), "since it began");
    }
}
