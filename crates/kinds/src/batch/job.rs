//! Job: pods that run until the work is done.

use crate::column::{
    AGE, CONTAINERS, Column, Context, IMAGES, NAME, SELECTOR, SelectableField, human_duration, items, number,
};
use crate::descriptor::{Kind, Subresource, text};
use jiff::Timestamp;
use k8s_openapi::api::batch::v1::Job;
use serde_json::{Value, json};

const SCHEMA: &str = "io.k8s.api.batch.v1.Job";

/// The descriptor.
pub static KIND: Kind = Kind::new::<Job>("job", SCHEMA)
    .categories(&["all"])
    .generation()
    .subresources(&[Subresource::status::<Job>(SCHEMA)])
    .selectable(&[SelectableField {
        path: "status.successful",
        get: |o| text(&json!(number(&o["status"]["succeeded"]))),
    }])
    .columns(&[
        NAME,
        Column::text("Status", |_, o| json!(status(o))),
        Column::text("Completions", |_, o| json!(completions(o))),
        Column::text("Duration", |c, o| json!(duration(c, o))),
        AGE,
        CONTAINERS,
        IMAGES,
        SELECTOR,
    ]);

fn status(job: &Value) -> &'static str {
    let has =
        |kind: &str| items(&job["status"]["conditions"]).iter().any(|c| c["type"] == kind && c["status"] == "True");
    match () {
        () if has("Complete") => "Complete",
        () if has("Failed") => "Failed",
        () if job["metadata"]["deletionTimestamp"].is_string() => "Terminating",
        () if has("Suspended") => "Suspended",
        () if has("FailureTarget") => "FailureTarget",
        () if has("SuccessCriteriaMet") => "SuccessCriteriaMet",
        () => "Running",
    }
}

fn completions(job: &Value) -> String {
    let done = number(&job["status"]["succeeded"]);
    match (job["spec"]["completions"].as_i64(), number(&job["spec"]["parallelism"])) {
        (Some(wanted), _) => format!("{done}/{wanted}"),
        (None, parallelism) if parallelism > 1 => format!("{done}/1 of {parallelism}"),
        (None, _) => format!("{done}/1"),
    }
}

fn duration(context: &Context, job: &Value) -> String {
    let time = |field: &str| job["status"][field].as_str().and_then(|s| s.parse::<Timestamp>().ok());
    let Some(start) = time("startTime") else { return String::new() };
    human_duration(time("completionTime").unwrap_or(context.now).as_second() - start.as_second())
}
