//! Whole clusters: `coracle up`, with containers. The six steps of the story are a test each; then what else can happen to a cluster.

mod agent;
mod autoscaling;
mod bench;
mod chart;
mod clients;
mod collector;
mod db;
mod debug;
mod etcd;
mod image;
mod images;
mod pair;
mod proxies;
mod restart;
mod tunnels;
mod up;
mod web;

use coracle_testkit::Kubectl;
use serde_json::Value;

const WEB: &str = include_str!("../../../../../examples/demo/web.yaml");
const DB: &str = include_str!("../../../../../examples/demo/db.yaml");
const COLLECTOR: &str = include_str!("../../../../../examples/demo/collector.yaml");
const PAIR: &str = include_str!("../../../../../examples/demo/pair.yaml");

/// A text in an object; empty if it is not there.
fn text<'a>(object: &'a Value, pointer: &str) -> &'a str {
    object.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

fn name(object: &Value) -> &str {
    text(object, "/metadata/name")
}

fn uid(object: &Value) -> &str {
    text(object, "/metadata/uid")
}

fn node(pod: &Value) -> &str {
    text(pod, "/spec/nodeName")
}

fn ip(pod: &Value) -> &str {
    text(pod, "/status/podIP")
}

fn items(list: &Value) -> Vec<Value> {
    list["items"].as_array().cloned().unwrap_or_default()
}

/// Ready, and not on its way out.
fn ready(object: &Value) -> bool {
    let conditions = object["status"]["conditions"].as_array();
    object["metadata"]["deletionTimestamp"].is_null()
        && conditions.is_some_and(|all| all.iter().any(|c| c["type"] == "Ready" && c["status"] == "True"))
}

/// The containers of a pod: their ids and how often they were restarted.
fn containers(pod: &Value) -> Vec<(String, u64)> {
    let statuses = pod["status"]["containerStatuses"].as_array().into_iter().flatten();
    statuses
        .map(|c| (c["containerID"].as_str().unwrap_or_default().to_string(), c["restartCount"].as_u64().unwrap_or(0)))
        .collect()
}

/// Waits until there are exactly `count` pods with these labels, and all are ready.
fn ready_pods(kubectl: &Kubectl, labels: &str, count: usize) -> Vec<Value> {
    kubectl.until(&format!("{count} ready pods of {labels}"), &format!("get pods -l {labels}"), |list| {
        let pods = items(list);
        (pods.len() == count && pods.iter().all(ready)).then_some(pods)
    })
}
