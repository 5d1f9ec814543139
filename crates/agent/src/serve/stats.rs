//! `/stats/summary`: what pods use, for `kubectl top` and autoscalers.

use crate::{context::Node, pods, spec};
use coracle_runtime::ContainerState;
use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value, json};

pub(super) async fn summary(node: &Node) -> Value {
    let now = pods::status::time(node.clock.now());
    let mut listed = Vec::new();
    for (object, _) in node.pods.all() {
        let Ok(pod) = object.view::<Pod>() else { continue };
        let mut containers = Vec::new();
        let (mut cpu, mut memory) = (0, 0);
        for found in pods::containers(node, &pod).await.containers {
            if found.state != ContainerState::Running {
                continue;
            }
            let Ok(usage) = node.runtime.usage(&found.id).await else { continue };
            cpu += usage.cpu_nanos;
            memory += usage.memory_working_set;
            containers.push(json!({
                "name": found.spec.name,
                "startTime": found.started.map(pods::status::time),
                "cpu": {"time": now, "usageCoreNanoSeconds": usage.cpu_nanos},
                "memory": {"time": now, "usageBytes": usage.memory, "workingSetBytes": usage.memory_working_set},
            }));
        }
        listed.push(json!({
            "podRef": {"name": spec::name(&pod), "namespace": spec::namespace(&pod), "uid": spec::uid(&pod)},
            "startTime": pod.status.as_ref().and_then(|s| s.start_time.clone()),
            "containers": containers,
            "cpu": {"time": now, "usageCoreNanoSeconds": cpu},
            "memory": {"time": now, "workingSetBytes": memory},
        }));
    }
    let available = crate::eviction::memory().available;
    json!({
        "node": {
            "nodeName": node.config.node_name,
            "cpu": {"time": now, "usageCoreNanoSeconds": node_cpu_nanos()},
            "memory": {
                "time": now, "availableBytes": available,
                "workingSetBytes": node.machine.memory.saturating_sub(available),
            },
        },
        "pods": listed,
    })
}

/// CPU time of the machine since it started, without idling, in nanoseconds.
pub(super) fn node_cpu_nanos() -> u64 {
    let text = std::fs::read_to_string("/proc/stat").unwrap_or_default();
    busy_ticks(&text) * 10_000_000
}

/// User, nice, system, irq, softirq, steal of the first line, in hundredths of a second.
fn busy_ticks(text: &str) -> u64 {
    let fields: Vec<u64> =
        text.lines().next().unwrap_or_default().split_whitespace().skip(1).filter_map(|f| f.parse().ok()).collect();
    fields.iter().enumerate().filter(|(i, _)| matches!(i, 0..=2 | 5..=7)).map(|(_, v)| v).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn idle_time_does_not_count() {
        assert_eq!(busy_ticks("cpu  1 2 4 100 200 8 16 32 64 64\ncpu0 9 9"), 63);
        assert_eq!(busy_ticks(""), 0);
    }
}
