//! `cases/cronjob.txt`. Now is 2023-11-14 22:13:20 UTC.

use super::plan::{World, plan};
use crate::testing::{self, Line, ago, now};
use coracle_client::Typed;
use jiff::tz::TimeZone;
use k8s_openapi::{
    api::batch::v1::{CronJob, Job},
    apimachinery::pkg::apis::meta::v1::Time,
};
use serde_json::{Value, json};
use std::fmt::Write;

/// `job NAME [age=SECONDS] [complete|failed] [known]`
fn job(line: &Line<'_>) -> Typed<Job> {
    let end = ["Complete", "Failed"].into_iter().find(|kind| line.is(&kind.to_lowercase()));
    let age = line.number("age").unwrap_or(100);
    testing::typed(json!({
        "metadata": {"name": line.name()},
        "status": {
            "startTime": Time(ago(age)),
            "completionTime": end.filter(|e| *e == "Complete").map(|_| Time(ago(age - 5))),
            "conditions": end.map(|kind| json!([{"type": kind, "status": "True"}])),
        },
    }))
}

fn found(text: &str) -> String {
    let lines = Line::all(text);
    let line = lines.iter().find(|l| l.what == "cron").expect("a cron job");
    let known = lines.iter().filter(|l| l.is("known"));
    let active: Vec<Value> = known.map(|l| json!({"name": l.name(), "uid": format!("uid-{}", l.name())})).collect();
    let cron: Typed<CronJob> = testing::typed(json!({
        "metadata": {"name": "c", "creationTimestamp": Time(ago(line.number("age").unwrap_or(30)))},
        "spec": {
            "schedule": line.text("schedule").unwrap_or("* * * * *").replace('_', " "),
            "timeZone": line.text("zone"),
            "suspend": line.is("suspend"),
            "startingDeadlineSeconds": line.number("deadline"),
            "concurrencyPolicy": line.text("policy").unwrap_or("Allow"),
            "successfulJobsHistoryLimit": line.number("keep").unwrap_or(3), "failedJobsHistoryLimit": 1,
            "jobTemplate": {"spec": {"template": {}}},
        },
        "status": {"lastScheduleTime": line.number("last").map(|s| Time(ago(s))), "active": active},
    }));
    let jobs: Vec<Typed<Job>> = lines.iter().filter(|l| l.what == "job").map(job).collect();
    let plan = plan(&World { cron: &cron, jobs: &jobs, now: now(), zone: &TimeZone::UTC });
    let mut out = String::new();
    if let Some(start) = &plan.start {
        let _ = writeln!(out, "start {} for {}", start.name, start.text);
    }
    if !plan.delete.is_empty() {
        let _ = writeln!(out, "delete {}", plan.delete.join(" "));
    }
    let active: Vec<String> = plan.status.active.iter().flatten().filter_map(|r| r.name.clone()).collect();
    let ago = |t: &Option<Time>| t.as_ref().map_or("-".into(), |t| format!("{}s", now().duration_since(t.0).as_secs()));
    let (scheduled, successful) = (ago(&plan.status.last_schedule_time), ago(&plan.status.last_successful_time));
    let _ = writeln!(out, "active=[{}] scheduled={scheduled} successful={successful}", active.join(" "));
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
    testing::check("cronjob.txt", found);
}
