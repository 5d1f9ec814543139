//! What a Service keeps when it changes, and what its new type takes away.

use crate::column::{items, number, string};
use crate::fields::{absent, carry, set, take};
use serde_json::{Value, json};

/// `clusterIP` and `clusterIPs[0]` say the same.
pub(super) fn normalize(spec: &mut Value) {
    match (absent(spec, "clusterIP"), items(&spec["clusterIPs"]).is_empty()) {
        (false, true) => {
            let ip = spec["clusterIP"].clone();
            set(spec, "clusterIPs", json!([ip]));
        }
        (true, false) => {
            let ip = spec["clusterIPs"][0].clone();
            set(spec, "clusterIP", ip);
        }
        _ => {}
    }
}

/// Whether a load balancer stands before it.
pub(super) fn is_balanced(spec: &Value) -> bool {
    spec["type"] == "LoadBalancer"
}

/// Whether it can be reached from outside.
pub(super) fn external(spec: &Value) -> bool {
    needs_node_ports(spec) || (spec["type"] == "ClusterIP" && !items(&spec["externalIPs"]).is_empty())
}

/// A client that sends what it once wrote does not lose what it was given.
pub(super) fn carry_allocated(spec: &mut Value, old: &Value) {
    let (has, had) = (needs_address(spec), needs_address(old));
    if has && had && absent(spec, "clusterIP") && items(&spec["clusterIPs"]).is_empty() {
        carry(spec, old, "clusterIP");
        carry(spec, old, "clusterIPs");
    } else if has && had && spec["clusterIP"] != old["clusterIP"] && spec["clusterIPs"] == old["clusterIPs"] {
        // only one of the twins was written
        take(spec, "clusterIPs");
    }
    if !has && had {
        drop_same(spec, old, &["clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"]);
    }
    if has && had {
        for field in ["ipFamilies", "ipFamilyPolicy"] {
            if absent(spec, field) {
                carry(spec, old, field);
            }
        }
    }
    node_ports(spec, old);
    let local = |s: &Value| s["type"] == "LoadBalancer" && s["externalTrafficPolicy"] == "Local";
    if local(spec) && local(old) && number(&spec["healthCheckNodePort"]) == 0 {
        carry(spec, old, "healthCheckNodePort");
    } else if !local(spec) && spec["healthCheckNodePort"] == old["healthCheckNodePort"] {
        take(spec, "healthCheckNodePort");
    }
    if external(old) && !external(spec) {
        drop_same(spec, old, &["externalTrafficPolicy"]);
    }
    if is_balanced(old) && !is_balanced(spec) {
        drop_same(spec, old, &["allocateLoadBalancerNodePorts", "loadBalancerClass"]);
    }
}

/// What was only there because of the former type goes with it, unless it was just written.
fn drop_same(spec: &mut Value, old: &Value, fields: &[&str]) {
    for field in fields {
        if spec[*field] == old[*field] {
            take(spec, field);
        }
    }
}

fn needs_address(spec: &Value) -> bool {
    spec["type"] != "ExternalName"
}

fn needs_node_ports(spec: &Value) -> bool {
    matches!(string(&spec["type"]), "NodePort" | "LoadBalancer")
}

fn node_ports(spec: &mut Value, old: &Value) {
    let keeps = needs_node_ports(spec) && needs_node_ports(old);
    let leaves = !needs_node_ports(spec) && needs_node_ports(old);
    let before = items(&old["ports"]).to_vec();
    let Some(ports) = spec.get_mut("ports").and_then(Value::as_array_mut) else { return };
    let taken: Vec<i64> = ports.iter().map(|p| number(&p["nodePort"])).filter(|n| *n != 0).collect();
    for port in ports {
        let twin = before.iter().find(|p| p["port"] == port["port"] && p["protocol"] == port["protocol"]);
        let Some(twin) = twin else { continue };
        let given = number(&twin["nodePort"]);
        if keeps && number(&port["nodePort"]) == 0 && given != 0 && !taken.contains(&given) {
            set(port, "nodePort", given);
        } else if leaves && number(&port["nodePort"]) == given {
            take(port, "nodePort");
        }
    }
}
