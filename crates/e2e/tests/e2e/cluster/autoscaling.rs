//! What pods use is measured, and an autoscaler answers to it.

use super::items;
use coracle_testkit::in_world;

const LOAD: &str = include_str!("../../../../../examples/load.yaml");

#[test]
fn load_is_seen_and_answered() {
    in_world(|world| {
        let cluster = world.cluster(1);
        let kubectl = cluster.kubectl();
        let node = kubectl.until("the node's usage", "get nodes.metrics.k8s.io", |list| items(list).first().cloned());
        assert!(node["usage"]["cpu"].is_string() && node["window"].is_string(), "{node}");
        kubectl.apply(LOAD);
        let pods = kubectl.until("the pods' usage", "get pods.metrics.k8s.io -l app=load", |list| {
            Some(items(list)).filter(|all| !all.is_empty())
        });
        let busy = |name: &str| {
            let containers = pods[0]["containers"].as_array().cloned().unwrap_or_default();
            containers.iter().any(|c| c["name"] == name && c["usage"]["cpu"] != "0" && c["usage"]["memory"] != "0")
        };
        assert!(busy("web") && busy("load"), "{}", pods[0]);
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
