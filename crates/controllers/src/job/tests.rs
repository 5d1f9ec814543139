//! `cases/job.txt`.

use super::plan::{INDEX, INDEX_FAILURES, TRACKING, World, plan};
use crate::testing::{self, Line, ago, now};
use coracle_client::Typed;
use coracle_kinds::{Part, batch::job::KIND};
use k8s_openapi::{
    api::{batch::v1::Job, core::v1::Pod},
    apimachinery::pkg::apis::meta::v1::Time,
};
use serde_json::{Value, json};
use std::fmt::Write;

fn list(line: &Line<'_>, key: &str) -> Value {
    line.text(key).map_or(Value::Null, |text| json!(text.split(',').collect::<Vec<_>>()))
}

fn job(lines: &[Line<'_>]) -> Typed<Job> {
    let line = lines.iter().find(|l| l.what == "job").expect("a job");
    let conditions: Vec<Value> = lines
        .iter()
        .filter(|l| l.what == "condition")
        .map(|l| json!({"type": l.name(), "status": "True", "reason": "r", "message": "m"}))
        .collect();
    let rules: Vec<Value> = lines.iter().filter(|l| l.what == "rule").map(rule).collect();
    testing::typed(json!({
        "metadata": {"name": "work", "deletionTimestamp": line.is("deleting").then(|| Time(now()))},
        "spec": {
            "parallelism": line.number("parallelism").unwrap_or(1),
            "completions": line.number("completions"),
            "backoffLimit": line.number("backoff").unwrap_or(6),
            "backoffLimitPerIndex": line.number("perIndex"),
            "maxFailedIndexes": line.number("maxFailed"),
            "activeDeadlineSeconds": line.number("deadline"),
            "completionMode": if line.is("indexed") { "Indexed" } else { "NonIndexed" },
            "suspend": line.is("suspend"),
            "podReplacementPolicy": line.is("patient").then_some("Failed"),
            "podFailurePolicy": (!rules.is_empty()).then(|| json!({"rules": rules})),
            "successPolicy": line.text("enough").map(|i| json!({"rules": [{"succeededIndexes": i, "succeededCount": 1}]})),
            "template": {"spec": {"restartPolicy": line.text("restart").unwrap_or("Never"), "containers": []}},
        },
        "status": {
            "startTime": line.number("started").map(|s| Time(ago(s))),
            "succeeded": line.number("succeeded"), "failed": line.number("failed"),
            "completedIndexes": line.text("completed"),
            "uncountedTerminatedPods": {"succeeded": list(line, "uncountedSucceeded"), "failed": list(line, "uncountedFailed")},
            "conditions": conditions,
        },
    }))
}

fn rule(line: &Line<'_>) -> Value {
    let code = line.number("code").map(|code| json!({"operator": "In", "values": [code]}));
    let condition = line.text("has").map(|kind| json!([{"type": kind, "status": "True"}]));
    json!({"action": line.name(), "onExitCodes": code, "onPodConditions": condition})
}

/// `pod NAME [phase] [counted] [deleting] [index=N] [indexFailures=N] [ended=SECONDS] [code=N] [restarts=N] [has=CONDITION]`
fn pod(line: &Line<'_>) -> Typed<Pod> {
    let mut value = testing::pod(line).object.value();
    let meta = &mut value["metadata"];
    meta["finalizers"] = if line.is("counted") { json!([]) } else { json!([TRACKING]) };
    if let Some(index) = line.text("index") {
        meta["annotations"] = json!({INDEX: index, INDEX_FAILURES: line.text("indexFailures").unwrap_or("0")});
    }
    if let Some(kind) = line.text("has") {
        value["status"]["conditions"] = json!([{"type": kind, "status": "True"}]);
    }
    if line.number("ended").is_some() || line.number("code").is_some() {
        let at = Time(ago(line.number("ended").unwrap_or(0)));
        value["status"]["containerStatuses"] = json!([{
            "name": "c", "restartCount": 0, "ready": false, "image": "", "imageID": "",
            "state": {"terminated": {"exitCode": line.number("code").unwrap_or(0), "finishedAt": at}},
        }]);
    }
    value["spec"]["nodeName"] = json!("n1");
    testing::typed(value)
}

fn found(text: &str) -> String {
    let lines = Line::all(text);
    let job = job(&lines);
    let pods: Vec<_> = lines.iter().filter(|l| l.what == "pod").map(pod).collect();
    let plan = plan(&World { job: &job, pods: &pods, now: now() });
    let mut out = String::new();
    let indexes: Vec<String> = plan
        .create
        .iter()
        .filter_map(|new| Some(format!("{}{}", new.index?, "'".repeat(new.failures as usize))))
        .collect();
    if !plan.create.is_empty() {
        let _ = writeln!(out, "create {} {}", plan.create.len(), indexes.join(","));
    }
    for (verb, names) in [("remove", &plan.remove), ("stop", &plan.stop), ("release", &plan.release)] {
        if !names.is_empty() {
            let _ = writeln!(out, "{verb} {}", names.join(" "));
        }
    }
    // what is planned, the API accepts
    let old = job.object.value();
    let mut new = old.clone();
    new["status"] = json!(plan.status);
    for error in KIND.validate_update(&new, &old, Part::Status) {
        let _ = writeln!(out, "refused: {error}");
    }
    let mut status = plan.status.clone();
    let started = status.start_time.take().map(|t| now().duration_since(t.0).as_secs());
    let _ = writeln!(out, "status {} started={started:?}", testing::fields(&status));
    for c in status.conditions.iter().flatten() {
        let text = |t: &Option<String>| t.clone().unwrap_or_default();
        let _ = writeln!(out, "  {} {} {}: {}", c.type_, c.status, text(&c.reason), text(&c.message));
    }
    for (_, reason, message) in &plan.events {
        let _ = writeln!(out, "{reason}: {message}");
    }
    if let Some(again) = plan.again {
        let _ = writeln!(out, "again in {}s", again.as_secs());
    }
    out
}

#[test]
fn cases() {
    testing::check("job.txt", found);
}
