//! `/metrics`: counters in Prometheus' text format.

use super::stats::node_cpu_nanos;
use crate::{context::Node, pods, spec};
use coracle_runtime::ContainerState;
use k8s_openapi::api::core::v1::Pod;
use std::fmt::Write as _;

/// About the agent itself.
pub(super) async fn agent(node: &Node) -> String {
    let pods = node.pods.all().len();
    let containers = node.runtime.containers(None).await.unwrap_or_default();
    let mut out = String::new();
    head(&mut out, "kubelet_node_name", "gauge", "The node's name. The count is always 1.");
    let _ = writeln!(out, "kubelet_node_name{{node=\"{}\"}} 1", node.config.node_name);
    head(&mut out, "kubelet_running_pods", "gauge", "Number of pods that have a running pod sandbox");
    let _ = writeln!(out, "kubelet_running_pods {pods}");
    head(&mut out, "kubelet_running_containers", "gauge", "Number of containers currently running");
    for (state, name) in
        [(ContainerState::Created, "created"), (ContainerState::Running, "running"), (ContainerState::Exited, "exited")]
    {
        let count = containers.iter().filter(|c| c.state == state).count();
        let _ = writeln!(out, "kubelet_running_containers{{container_state=\"{name}\"}} {count}");
    }
    out
}

/// About containers, as `/metrics/resource` has it.
pub(super) async fn containers(node: &Node) -> String {
    let mut cpu = String::new();
    let mut memory = String::new();
    for (object, _) in node.pods.all() {
        let Ok(pod) = object.view::<Pod>() else { continue };
        for found in pods::containers(node, &pod).await.containers {
            if found.state != ContainerState::Running {
                continue;
            }
            let Ok(usage) = node.runtime.usage(&found.id).await else { continue };
            let labels = format!(
                "{{container=\"{}\",namespace=\"{}\",pod=\"{}\"}}",
                found.spec.name,
                spec::namespace(&pod),
                spec::name(&pod)
            );
            let _ = writeln!(cpu, "container_cpu_usage_seconds_total{labels} {}", usage.cpu_nanos as f64 / 1e9);
            let _ = writeln!(memory, "container_memory_working_set_bytes{labels} {}", usage.memory_working_set);
        }
    }
    let mut out = String::new();
    let help = "Cumulative cpu time consumed by the container in core-seconds";
    head(&mut out, "container_cpu_usage_seconds_total", "counter", help);
    out.push_str(&cpu);
    head(&mut out, "container_memory_working_set_bytes", "gauge", "Current working set of the container in bytes");
    out.push_str(&memory);
    let help = "Cumulative cpu time consumed by the node in core-seconds";
    head(&mut out, "node_cpu_usage_seconds_total", "counter", help);
    let _ = writeln!(out, "node_cpu_usage_seconds_total {}", node_cpu_nanos() as f64 / 1e9);
    head(&mut out, "node_memory_working_set_bytes", "gauge", "Current working set of the node in bytes");
    let used = node.machine.memory.saturating_sub(crate::eviction::memory().available);
    let _ = writeln!(out, "node_memory_working_set_bytes {used}");
    out
}

fn head(out: &mut String, name: &str, kind: &str, help: &str) {
    let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}");
}
