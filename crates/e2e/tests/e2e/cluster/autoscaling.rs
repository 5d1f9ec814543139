//! What pods use is measured, and an autoscaler answers to it.

use super::items;
use coracle_testkit::in_world;
use serde_json::Value;

const LOAD: &str = include_str!("../../../../../examples/load.yaml");

/// Whether a container of a pod is said to use something.
fn is_busy(pod: &Value, container: &str) -> bool {
    let used = |amount: &Value| amount.as_str().is_some_and(|amount| amount != "0");
    let containers = pod["containers"].as_array().into_iter().flatten();
    containers.into_iter().any(|c| c["name"] == container && used(&c["usage"]["cpu"]) && used(&c["usage"]["memory"]))
}

#[test]
fn load_is_seen_and_answered() {
    in_world(|world| {
        let cluster = world.cluster(1);
        let kubectl = cluster.kubectl();
        let node = kubectl.until("the node's usage", "get nodes.metrics.k8s.io", |list| items(list).first().cloned());
        assert!(node["usage"]["cpu"].is_string() && node["window"].is_string(), "{node}");
        kubectl.apply(LOAD);
        // a container's first measurement may be of the time before it had anything to do
        kubectl.until("the usage of both containers", "get pods.metrics.k8s.io -l app=load", |list| {
            items(list).iter().any(|pod| is_busy(pod, "web") && is_busy(pod, "load")).then_some(())
        });
        assert!(kubectl.ok("top pods --containers -l app=load").contains("load"));
        assert!(kubectl.ok("top nodes").contains("node-1"));
        kubectl.until("as many as there may be", "get deployment load", |d| (d["spec"]["replicas"] == 3).then_some(()));
        let scaler = kubectl.until("the count that is wanted", "get hpa load", |hpa| {
            (hpa["status"]["currentReplicas"] == 3).then(|| hpa.clone())
        });
        let now = &scaler["status"]["currentMetrics"][0]["resource"]["current"];
        assert!(now["averageUtilization"].as_i64().is_some_and(|percent| percent > 50), "{scaler}");
        let events = kubectl.ok("get events --field-selector involvedObject.name=load,reason=SuccessfulRescale");
        assert!(events.contains("cpu resource utilization (percentage of request) above target"), "{events}");
    });
}
