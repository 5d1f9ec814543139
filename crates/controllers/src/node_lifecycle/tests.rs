//! `cases/node_lifecycle.txt`.

use super::{
    disruption::Eviction,
    plan::{self, World},
};
use crate::testing::{self, Line, ago, now, typed};
use k8s_openapi::api::core::v1::Node;
use serde_json::json;
use std::fmt::Write;

/// `node [Ready=STATUS] [MemoryPressure=…] [taints=KEY:EFFECT,…] [cordoned] [age=SECONDS] heard=SECONDS [hold|lift]`
fn found(text: &str) -> String {
    let lines = Line::all(text);
    let line = lines.iter().find(|l| l.what == "node").expect("a node");
    let kinds = ["Ready", "MemoryPressure", "DiskPressure", "PIDPressure", "NetworkUnavailable"];
    let conditions = kinds.iter().filter_map(|kind| line.text(kind).map(|s| json!({"type": kind, "status": s})));
    let taints = line.text("taints").map(|all| {
        let one = |t: &str| t.split_once(':').map(|(key, effect)| json!({"key": key, "effect": effect}));
        all.split(',').filter_map(one).collect::<Vec<_>>()
    });
    let node = typed::<Node>(json!({
        "metadata": {"name": "n"},
        "spec": {"taints": taints, "unschedulable": line.is("cordoned").then_some(true)},
        "status": {"conditions": conditions.collect::<Vec<_>>()},
    }));
    let eviction = match (line.is("hold"), line.is("lift")) {
        (true, _) => Eviction::Hold,
        (_, true) => Eviction::Lift,
        _ => Eviction::Allowed,
    };
    let heard = ago(line.number("heard").unwrap_or(0));
    let plan = plan::plan(&World { node: &node, heard, now: now(), eviction });
    let mut out = String::new();
    for c in plan.conditions.iter().flatten() {
        let _ = writeln!(out, "{} {} {}", c.type_, c.status, c.reason.as_deref().unwrap_or_default());
    }
    if let Some(taints) = &plan.taints {
        let shown: Vec<String> = taints.iter().map(|t| format!("{}:{}", t.key, t.effect)).collect();
        let _ = writeln!(out, "taints [{}]", shown.join(" "));
    }
    for (holds, what) in [(plan.lost, "pods are not ready"), (plan.evicts, "pods are driven off")] {
        if holds {
            let _ = writeln!(out, "{what}");
        }
    }
    if let Some(wait) = plan.again {
        let _ = writeln!(out, "again in {} s", wait.as_secs());
    }
    out
}

#[test]
fn cases() {
    testing::check("node_lifecycle.txt", found);
}
