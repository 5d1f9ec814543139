//! `/metrics`: counters in Prometheus' text format.

use super::usage::{self, Counters, PodUsage};
use crate::{context::Node, spec};
use coracle_runtime::{ContainerState, Usage};
use jiff::Timestamp;
use std::fmt::Write as _;

/// Name, kind and meaning of what `/metrics/resource` tells, as upstream's kubelet names it.
const FAMILIES: [(&str, &str, &str); 7] = [
    ("container_cpu_usage_seconds_total", "counter", "Cumulative cpu time consumed by the container in core-seconds"),
    ("container_memory_working_set_bytes", "gauge", "Current working set of the container in bytes"),
    ("container_start_time_seconds", "gauge", "Start time of the container since unix epoch in seconds"),
    ("node_cpu_usage_seconds_total", "counter", "Cumulative cpu time consumed by the node in core-seconds"),
    ("node_memory_working_set_bytes", "gauge", "Current working set of the node in bytes"),
    ("pod_cpu_usage_seconds_total", "counter", "Cumulative cpu time consumed by the pod in core-seconds"),
    ("pod_memory_working_set_bytes", "gauge", "Current working set of the pod in bytes"),
];

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

/// About the node, its pods and their containers, as `/metrics/resource` has it: counters with the time at which they were read.
pub(super) async fn resources(node: &Node) -> String {
    let (all, whole) = (usage::pods(node).await, usage::whole(node).await);
    let mut families = FAMILIES.map(|_| String::new());
    let mut add = |family: usize, labels: &str, value: f64, at: Timestamp| {
        let _ = writeln!(families[family], "{}{labels} {value} {}", FAMILIES[family].0, at.as_millisecond());
    };
    let seconds = |nanos: u64| nanos as f64 / 1e9;
    for PodUsage { pod, containers } in &all {
        let of = format!("namespace=\"{}\",pod=\"{}\"", spec::namespace(pod), spec::name(pod));
        for container in containers {
            let labels = format!("{{container=\"{}\",{of}}}", container.name);
            let Counters { at, used } = container.counters;
            add(0, &labels, seconds(used.cpu_nanos), at);
            add(1, &labels, used.memory_working_set as f64, at);
            if let Some(started) = container.started {
                add(2, &labels, started.as_nanosecond() as f64 / 1e9, at);
            }
        }
        if let Some(at) = containers.iter().map(|c| c.counters.at).max() {
            let sum = |of: fn(&Usage) -> u64| containers.iter().map(|c| of(&c.counters.used)).sum::<u64>();
            let labels = format!("{{{of}}}");
            add(5, &labels, seconds(sum(|u| u.cpu_nanos)), at);
            add(6, &labels, sum(|u| u.memory_working_set) as f64, at);
        }
    }
    add(3, "", seconds(whole.used.cpu_nanos), whole.at);
    add(4, "", whole.used.memory_working_set as f64, whole.at);
    let mut out = String::new();
    for ((name, kind, help), lines) in FAMILIES.iter().zip(&families) {
        head(&mut out, name, kind, help);
        out.push_str(lines);
    }
    head(
        &mut out,
        "resource_scrape_error",
        "gauge",
        "1 if there was an error while getting container metrics, 0 otherwise",
    );
    out.push_str("resource_scrape_error 0\n");
    out
}

fn head(out: &mut String, name: &str, kind: &str, help: &str) {
    let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}");
}
