//! Whether the node takes a pod: the last check, after the scheduler's.

use crate::{
    context::Node,
    spec::{self, ports, resources},
};
use k8s_openapi::api::core::v1::Pod;
use std::sync::Arc;

/// Refuses a pod with reason and message.
pub(super) fn check(node: &Node, pod: &Pod) -> Result<(), (String, String)> {
    let others: Vec<Arc<Pod>> = node
        .pods
        .all()
        .into_iter()
        .filter(|(object, _)| object.meta().uid != spec::uid(pod))
        .filter_map(|(object, _)| object.view::<Pod>().ok())
        .filter(|other| {
            let phase = other.status.as_ref().and_then(|s| s.phase.as_deref());
            // those that came later must make room for those that were here
            !matches!(phase, Some("Succeeded" | "Failed"))
                && other.status.as_ref().is_some_and(|s| s.start_time.is_some())
        })
        .collect();
    let os = spec::of(pod).os.as_ref().map_or("linux", |os| os.name.as_str());
    if os != "linux" {
        let message = "Failed to admit pod as the OS field doesn't match node OS".to_string();
        return Err(("PodOSNotSupported".into(), message));
    }
    let allocatable = node.machine.allocatable();
    let room = |name: &str| {
        allocatable
            .get(name)
            .map_or(0, |q| if name == "cpu" { spec::quantity::milli(q) } else { spec::quantity::value(q) })
    };
    fits(pod, &others, room("cpu"), room("memory"), i64::from(node.config.max_pods))
}

fn fits(pod: &Pod, others: &[Arc<Pod>], cpu: i64, memory: i64, pods: i64) -> Result<(), (String, String)> {
    let out_of = |what: &str, requested: i64, used: i64, capacity: i64| {
        let message = format!(
            "Node didn't have enough resource: {what}, requested: {requested}, used: {used}, capacity: {capacity}"
        );
        Err((format!("OutOf{what}"), message))
    };
    let used = others.iter().map(|p| resources::requests(p)).fold((0, 0), |a, b| (a.0 + b.0, a.1 + b.1));
    let asked = resources::requests(pod);
    let count = i64::try_from(others.len()).unwrap_or(i64::MAX);
    if count + 1 > pods {
        return out_of("pods", 1, count, pods);
    }
    if asked.0 > 0 && used.0 + asked.0 > cpu {
        return out_of("cpu", asked.0, used.0, cpu);
    }
    if asked.1 > 0 && used.1 + asked.1 > memory {
        return out_of("memory", asked.1, used.1, memory);
    }
    let mine = ports::host_ports(pod);
    let taken: Vec<_> = others.iter().flat_map(|p| ports::host_ports(p)).collect();
    if mine.iter().any(|(a, _)| taken.iter().any(|(b, _)| ports::conflict(a, b))) {
        return Err(("NodePorts".into(), "Node didn't have free ports for the requested pod ports".into()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    #[test]
    fn what_does_not_fit_is_refused() {
        let pod = |container: Value| -> Arc<Pod> {
            Arc::new(serde_json::from_value(json!({"spec": {"containers": [container]}})).unwrap())
        };
        let cpu = |n: &str| json!({"name": "a", "resources": {"requests": {"cpu": n}}});
        let port = |ip: &str| json!({"name": "a", "ports": [{"containerPort": 80, "hostPort": 8080, "hostIP": ip}]});
        for (new, others, expected) in [
            (cpu("1"), vec![cpu("1")], Ok(())),
            (cpu("1500m"), vec![cpu("1")], Err("OutOfcpu")),
            (json!({"name": "a"}), vec![cpu("2")], Ok(())),
            (json!({"name": "a"}), vec![cpu("0"), cpu("0"), cpu("0")], Err("OutOfpods")),
            (port(""), vec![port("1.2.3.4")], Err("NodePorts")),
            (port("1.2.3.5"), vec![port("1.2.3.4")], Ok(())),
        ] {
            let others: Vec<Arc<Pod>> = others.into_iter().map(pod).collect();
            let got = fits(&pod(new), &others, 2000, 1 << 30, 3).map_err(|(reason, _)| reason);
            assert_eq!(got, expected.map_err(str::to_string));
        }
    }
}
