//! The node's status as a kubelet reports it: addresses, capacity, conditions, images.

use crate::{eviction::Pressure, machine::Machine};
use coracle_runtime::Image;
use jiff::Timestamp;
use parking_lot::Mutex;
use serde_json::{Value, json};
use std::net::Ipv4Addr;
use tokio::sync::Notify;

/// What decides the conditions.
#[derive(Default)]
pub struct NodeState {
    /// Why the pod network is not there; `None`: it is.
    network_missing: Mutex<Option<String>>,
    /// Signalled when the status should be looked at again.
    pub changed: Notify,
}

impl NodeState {
    /// A node whose network is not there yet.
    pub fn new() -> Self {
        let why = "no pod CIDR was given to the node yet".to_string();
        Self { network_missing: Mutex::new(Some(why)), changed: Notify::new() }
    }

    /// Says whether the network is there (`None`), or why not.
    pub fn set_network(&self, missing: Option<String>) {
        *self.network_missing.lock() = missing;
        self.changed.notify_one();
    }

    /// Why the network is not there.
    pub fn network_missing(&self) -> Option<String> {
        self.network_missing.lock().clone()
    }
}

/// What a status is made from.
pub struct Facts<'a> {
    /// The machine.
    pub machine: &'a Machine,
    /// The node's name.
    pub name: &'a str,
    /// Its address.
    pub address: Ipv4Addr,
    /// What the runtime says it is.
    pub runtime: &'a str,
    /// Images on the node.
    pub images: &'a [Image],
    /// Why the pod network is not there.
    pub network_missing: Option<String>,
    /// What the node is short of.
    pub pressure: Pressure,
    /// Port of the agent's server.
    pub port: u16,
}

/// The status. Conditions that others set are kept; those of ours that did not change keep their transition time.
pub fn build(facts: &Facts<'_>, old: &Value, now: Timestamp) -> Value {
    let now = now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    let old_conditions = old["conditions"].as_array().cloned().unwrap_or_default();
    let mut conditions = wanted(facts);
    for condition in &mut conditions {
        let before = old_conditions.iter().find(|c| c["type"] == condition["type"]);
        let kept = before.filter(|b| b["status"] == condition["status"]).map(|b| b["lastTransitionTime"].clone());
        condition["lastTransitionTime"] = kept.filter(|t| t.is_string()).unwrap_or_else(|| json!(now));
        condition["lastHeartbeatTime"] = json!(now);
    }
    let ours = |c: &&Value| conditions.iter().any(|w| w["type"] == c["type"]);
    let mut all: Vec<Value> = old_conditions.iter().filter(|c| !ours(c)).cloned().collect();
    all.extend(conditions);
    let (capacity, allocatable) = amounts(facts.machine, old);
    json!({
        "addresses": [
            {"type": "InternalIP", "address": facts.address.to_string()},
            {"type": "Hostname", "address": facts.name},
        ],
        "capacity": capacity,
        "allocatable": allocatable,
        "conditions": all,
        "daemonEndpoints": {"kubeletEndpoint": {"Port": facts.port}},
        "images": images(facts.images),
        "nodeInfo": facts.machine.info(facts.runtime),
    })
}

/// What the machine has, and what pods may have of it. What others advertise as capacity (extended resources) is theirs to count, and pods
/// may have all of it; what they take back is `null`, which removes it.
fn amounts(machine: &Machine, old: &Value) -> (Value, Value) {
    let (mut capacity, mut allocatable) = (machine.capacity(), json!(machine.allocatable()));
    for (name, amount) in old["capacity"].as_object().into_iter().flatten() {
        if capacity.get(name).is_none() {
            capacity[name] = amount.clone();
            allocatable[name] = amount.clone();
        }
    }
    for name in old["allocatable"].as_object().into_iter().flat_map(|old| old.keys()) {
        if allocatable.get(name).is_none() {
            allocatable[name] = Value::Null;
        }
    }
    (capacity, allocatable)
}

fn wanted(facts: &Facts<'_>) -> Vec<Value> {
    let condition = |kind: &str, holds: bool, reason: &str, message: String| json!({"type": kind, "status": if holds { "True" } else { "False" }, "reason": reason, "message": message});
    let pressure = |kind: &str, holds: bool, yes: (&str, &str), no: (&str, &str)| {
        let (reason, message) = if holds { yes } else { no };
        condition(kind, holds, reason, message.to_string())
    };
    let ready = match &facts.network_missing {
        None => condition("Ready", true, "KubeletReady", "kubelet is posting ready status".into()),
        Some(why) => condition(
            "Ready",
            false,
            "KubeletNotReady",
            format!(
                "container runtime network not ready: NetworkReady=false reason:NetworkPluginNotReady message:{why}"
            ),
        ),
    };
    vec![
        pressure(
            "MemoryPressure",
            facts.pressure.memory,
            ("KubeletHasInsufficientMemory", "kubelet has insufficient memory available"),
            ("KubeletHasSufficientMemory", "kubelet has sufficient memory available"),
        ),
        pressure(
            "DiskPressure",
            facts.pressure.disk,
            ("KubeletHasDiskPressure", "kubelet has disk pressure"),
            ("KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
        ),
        pressure(
            "PIDPressure",
            facts.pressure.pids,
            ("KubeletHasInsufficientPID", "kubelet has insufficient PID available"),
            ("KubeletHasSufficientPID", "kubelet has sufficient PID available"),
        ),
        ready,
    ]
}

/// The fifty largest images.
fn images(images: &[Image]) -> Value {
    let mut sorted: Vec<&Image> = images.iter().collect();
    sorted.sort_by(|a, b| b.size.cmp(&a.size).then_with(|| a.id.cmp(&b.id)));
    let shown = sorted.iter().take(50).map(|image| {
        let names: Vec<&String> = image.digests.iter().chain(&image.tags).take(5).collect();
        json!({"names": names, "sizeBytes": image.size})
    });
    shown.collect()
}

/// Whether two statuses differ in more than heartbeats.
pub fn differs(a: &Value, b: &Value) -> bool {
    let calm = |status: &Value| {
        let mut status = status.clone();
        for condition in status["conditions"].as_array_mut().into_iter().flatten() {
            if let Some(condition) = condition.as_object_mut() {
                condition.remove("lastHeartbeatTime");
            }
        }
        status
    };
    let (a, b) = (calm(a), calm(b));
    // others may have added fields; only ours count
    b.as_object().into_iter().flatten().any(|(key, value)| &a[key] != value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions_follow_the_facts_and_keep_their_times() {
        let machine = Machine::default();
        let facts = |missing: Option<&str>, disk: bool| Facts {
            machine: &machine,
            name: "n",
            address: Ipv4Addr::LOCALHOST,
            runtime: "coracle://1",
            images: &[],
            network_missing: missing.map(str::to_string),
            pressure: Pressure { disk, ..Pressure::default() },
            port: 10250,
        };
        let old = json!({"conditions": [
            {"type": "NetworkUnavailable", "status": "False"},
            {"type": "Ready", "status": "True", "lastTransitionTime": "2020-01-01T00:00:00Z"}]});
        let now: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        for (missing, disk, expected) in [
            (None, false, "Ready=True@2020 DiskPressure=False"),
            (Some("x"), true, "Ready=False@2026 DiskPressure=True"),
        ] {
            let status = build(&facts(missing, disk), &old, now);
            let find = |kind: &str| {
                status["conditions"].as_array().unwrap().iter().find(|c| c["type"] == kind).unwrap().clone()
            };
            let (ready, pressure) = (find("Ready"), find("DiskPressure"));
            let year = &ready["lastTransitionTime"].as_str().unwrap()[..4];
            let shown = format!(
                "Ready={}@{year} DiskPressure={}",
                ready["status"].as_str().unwrap(),
                pressure["status"].as_str().unwrap()
            );
            assert_eq!(shown, expected);
            find("NetworkUnavailable");
            let later = build(&facts(missing, disk), &status, "2027-01-01T00:00:00Z".parse().unwrap());
            assert!(!differs(&status, &later) && differs(&old, &status));
        }
    }

    #[test]
    fn what_others_advertise_can_be_allocated() {
        let machine = Machine::default();
        for (old, expected) in [
            (json!({"capacity": {"a.b/c": "3", "cpu": "99"}}), json!(["3", "3"])),
            (json!({"capacity": {"a.b/c": "3"}, "allocatable": {"a.b/c": "5"}}), json!(["3", "3"])),
            (json!({"capacity": {}, "allocatable": {"a.b/c": "5"}}), json!([null, null])),
        ] {
            let (capacity, allocatable) = amounts(&machine, &old);
            assert_eq!(json!([capacity.get("a.b/c"), allocatable.get("a.b/c")]), expected, "{old}");
            assert_eq!(capacity["cpu"], machine.capacity()["cpu"]);
        }
    }
}
