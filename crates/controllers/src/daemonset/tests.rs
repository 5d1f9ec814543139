//! `cases/daemonset.txt`.

use super::plan::{self, World};
use crate::testing::{self, Line, now, typed};
use k8s_openapi::api::{apps::v1::DaemonSet, core::v1::Node};
use serde_json::{Value, json};
use std::fmt::Write;

fn set(line: &Line<'_>) -> coracle_client::Typed<DaemonSet> {
    let mut template = testing::template_value("v1");
    template["spec"]["nodeSelector"] = line.text("disk").map_or(Value::Null, |disk| json!({"disk": disk}));
    template["spec"]["tolerations"] =
        line.text("tolerates").map_or(Value::Null, |key| json!([{"key": key, "operator": "Exists"}]));
    let rolling = json!({"maxSurge": line.scaled("surge"), "maxUnavailable": line.scaled("unavailable")});
    typed(json!({
        "metadata": {"name": "logs", "generation": 1},
        "spec": {
            "selector": {"matchLabels": {"app": "web"}}, "template": template,
            "minReadySeconds": line.number("minReady"),
            "updateStrategy": if line.is("ondelete") { json!({"type": "OnDelete"}) } else {
                json!({"type": "RollingUpdate", "rollingUpdate": rolling}) },
        },
    }))
}

/// `node NAME [disk=D] [cordoned] [taint=KEY:EFFECT]`
fn node(line: &Line<'_>) -> coracle_client::Typed<Node> {
    let taint = line.text("taint").map(|t| t.split_once(':').unwrap());
    typed(json!({
        "metadata": {"name": line.name(), "labels": {"disk": line.text("disk")}},
        "spec": {
            "unschedulable": line.is("cordoned"),
            "taints": taint.map(|(key, effect)| json!([{"key": key, "effect": effect}])),
        },
    }))
}

fn found(text: &str) -> String {
    let lines = Line::all(text);
    let line = lines.iter().find(|l| l.what == "set").expect("a set");
    let set = set(line);
    let nodes: Vec<_> = lines.iter().filter(|l| l.what == "node").map(node).collect();
    let pods: Vec<_> = lines.iter().filter(|l| l.what == "pod").map(testing::pod).collect();
    let hash = line.text("hash").unwrap_or("a");
    let world = World { set: &set, generation: 1, nodes: &nodes, pods: &pods, hash, collisions: 0, now: now() };
    let plan = plan::plan(&world);
    let mut out = String::new();
    for node in &plan.create {
        let _ = writeln!(out, "create on {node}");
    }
    for pod in &plan.delete {
        let _ = writeln!(out, "delete {}", pod.name());
    }
    for (node, pod) in &plan.ended {
        let _ = writeln!(out, "replace {} on {node}", pod.name());
    }
    let _ = writeln!(out, "status {}", testing::fields(&plan::status(&world)));
    out
}

#[test]
fn cases() {
    testing::check("daemonset.txt", found);
}
