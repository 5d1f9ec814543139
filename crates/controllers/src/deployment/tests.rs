//! `cases/deployment.txt`.

use super::plan::{self, DESIRED_REPLICAS, MAX_REPLICAS, REVISION, REVISION_HISTORY, Set, World};
use crate::testing::{self, Line, now, typed};
use k8s_openapi::{
    api::apps::v1::{Deployment, ReplicaSet},
    apimachinery::pkg::apis::meta::v1::Time,
};
use serde_json::{Value, json};
use std::fmt::Write;

fn deployment(line: &Line<'_>, conditions: Vec<Value>, sets: &[Set]) -> coracle_client::Typed<Deployment> {
    let number = |key: &str| line.number(key);
    let strategy = if line.is("recreate") {
        json!({"type": "Recreate"})
    } else {
        let bounds = json!({"maxSurge": line.scaled("surge"), "maxUnavailable": line.scaled("unavailable")});
        json!({"type": "RollingUpdate", "rollingUpdate": bounds})
    };
    // What the status said before: the counts that the sets have now, unless the case says otherwise.
    let sum = |of: &dyn Fn(&Set) -> i32| sets.iter().map(of).sum::<i32>();
    typed(json!({
        "metadata": {
            "name": "web", "generation": 1,
            "deletionTimestamp": line.is("deleting").then(|| Time(now())),
            "annotations": {REVISION: line.text("revision"), "note": line.text("note")},
        },
        "spec": {
            "replicas": number("replicas"), "paused": line.is("paused"), "minReadySeconds": number("minReady"),
            "progressDeadlineSeconds": number("deadline"), "revisionHistoryLimit": number("history"),
            "selector": {"matchLabels": {"app": "web"}}, "strategy": strategy,
            "template": testing::template_value(line.text("template").unwrap_or("v1")),
        },
        "status": {
            "replicas": number("was").unwrap_or(sum(&|s| s.status.replicas).into()),
            "updatedReplicas": number("wasUpdated").unwrap_or(0),
            "readyReplicas": sum(&|s| s.status.ready_replicas.unwrap_or(0)),
            "availableReplicas": sum(&Set::available),
            "conditions": conditions,
        },
    }))
}

fn set(line: &Line<'_>) -> Set {
    let replicas = line.number("replicas").unwrap_or(0);
    let pods = line.number("pods").unwrap_or(replicas);
    let available = line.number("available").unwrap_or(pods);
    let failure = line.text("failure").map(
        |message| json!([{"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": message}]),
    );
    let set = typed::<ReplicaSet>(json!({
        "metadata": {
            "name": line.name(), "generation": 1,
            "creationTimestamp": Time(testing::ago(line.number("age").unwrap_or(100))),
            "annotations": {
                REVISION: line.text("revision"), REVISION_HISTORY: line.text("history"),
                DESIRED_REPLICAS: line.text("desired"), MAX_REPLICAS: line.text("max"), "note": line.text("note"),
            },
        },
        "spec": {
            "replicas": replicas, "minReadySeconds": 0, "selector": {"matchLabels": {"app": "web"}},
            "template": testing::template_value(line.text("template").unwrap_or("v1")),
        },
        "status": {
            "replicas": pods, "readyReplicas": available, "availableReplicas": available, "observedGeneration": 1,
            "conditions": failure,
        },
    }));
    Set::new(set.meta(), &set)
}

fn found(world: &str) -> String {
    let lines = Line::all(world);
    let sets: Vec<Set> = lines.iter().filter(|l| l.what == "set").map(set).collect();
    let conditions = lines.iter().filter(|l| l.what == "condition").map(|l| {
        json!({"type": l.words[0], "status": l.words[1], "reason": l.words[2],
            "lastUpdateTime": Time(testing::ago(l.number("updated").unwrap_or(50)))})
    });
    let line = lines.iter().find(|l| l.what == "deployment").expect("a deployment");
    let deployment = deployment(line, conditions.collect(), &sets);
    let running = lines.iter().any(|l| l.what == "oldpods");
    let plan = plan::plan(&World {
        meta: deployment.meta(),
        deployment: &deployment,
        sets,
        old_pods_running: &|_| running,
        now: now(),
    });
    let mut out = String::new();
    if let Some(new) = &plan.create {
        let _ = writeln!(out, "create {} replicas={} {}", new.name, new.replicas, annotations(&new.annotations));
    }
    for (before, after) in &plan.update {
        if before.replicas != after.replicas {
            let _ = writeln!(out, "scale {} from {} to {}", after.name, before.replicas, after.replicas);
        }
        if before.annotations != after.annotations {
            let _ = writeln!(out, "annotate {} {}", after.name, annotations(&after.annotations));
        }
    }
    for name in &plan.delete {
        let _ = writeln!(out, "delete {name}");
    }
    if let Some(revision) = &plan.revision {
        let _ = writeln!(out, "revision {revision}");
    }
    let _ = writeln!(out, "status {}", testing::fields(&plan.status));
    for c in plan.status.conditions.iter().flatten() {
        let text = |t: &Option<String>| t.clone().unwrap_or_default();
        let _ = writeln!(out, "  {} {} {}: {}", text(&c.type_), text(&c.status), text(&c.reason), text(&c.message));
    }
    if let Some(again) = plan.again {
        let _ = writeln!(out, "again in {}s", again.as_secs());
    }
    out
}

fn annotations(all: &std::collections::BTreeMap<String, String>) -> String {
    all.iter().map(|(k, v)| format!("{}={v}", k.rsplit('/').next().unwrap())).collect::<Vec<_>>().join(" ")
}

#[test]
fn cases() {
    testing::check("deployment.txt", found);
}
