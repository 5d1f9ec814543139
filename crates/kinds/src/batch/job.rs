//! Job: pods that run until the work is done.

use crate::check::{Check, path};
use crate::column::{
    AGE, CONTAINERS, Column, Context, IMAGES, NAME, SELECTOR, SelectableField, human_duration, items, number,
};
use crate::core::pod;
use crate::descriptor::{Kind, Part, Rules, Subresource, text};
use crate::fields::{absent, default, each, ensure, set, within};
use coracle_api::{FieldError, Path, Status};
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
    .rules(&JobRules)
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

struct JobRules;

impl Rules for JobRules {
    fn default(&self, job: &mut Value) -> Result<(), Status> {
        let spec = ensure(job, "spec");
        if absent(spec, "completions") && absent(spec, "parallelism") {
            set(spec, "completions", 1);
        }
        default(spec, "parallelism", 1);
        let retries = if absent(spec, "backoffLimitPerIndex") { 6 } else { i32::MAX };
        default(spec, "backoffLimit", retries);
        default(spec, "completionMode", "NonIndexed");
        default(spec, "suspend", false);
        let replace = if absent(spec, "podFailurePolicy") { "TerminatingOrFailed" } else { "Failed" };
        default(spec, "podReplacementPolicy", replace);
        within(spec, "podFailurePolicy", |policy| {
            each(policy, "rules", |rule| each(rule, "onPodConditions", |c| default(c, "status", "True")));
        });
        pod::defaults::template(ensure(spec, "template"));
        Ok(())
    }

    // A job without a selector of its own owns exactly the pods that carry its uid.
    fn prepare_create(&self, job: &mut Value) {
        if job["spec"]["manualSelector"] == true {
            return;
        }
        let (uid, name) = (job["metadata"]["uid"].clone(), job["metadata"]["name"].clone());
        let spec = ensure(job, "spec");
        let labels = ensure(ensure(ensure(spec, "template"), "metadata"), "labels");
        for prefix in ["", "batch.kubernetes.io/"] {
            default(labels, &format!("{prefix}job-name"), name.clone());
            default(labels, &format!("{prefix}controller-uid"), uid.clone());
        }
        let selected = ensure(ensure(spec, "selector"), "matchLabels");
        default(selected, "batch.kubernetes.io/controller-uid", uid);
    }

    fn validate(&self, job: &Value) -> Vec<FieldError> {
        Check::run(|check| spec(check, &path("spec"), &job["spec"]))
    }

    fn validate_update(&self, new: &Value, old: &Value, part: Part) -> Vec<FieldError> {
        if part != Part::Main {
            return Vec::new();
        }
        let mut errors = self.validate(new);
        errors.extend(Check::run(|check| {
            let (now, before) = (&new["spec"], &old["spec"]);
            // A job that never ran may still be placed elsewhere.
            let idle = before["suspend"] == true && old["status"]["startTime"].is_null();
            for field in [
                "completions",
                "selector",
                "template",
                "completionMode",
                "podFailurePolicy",
                "backoffLimitPerIndex",
                "managedBy",
            ] {
                let scaled = field == "completions"
                    && now["completionMode"] == "Indexed"
                    && now["completions"] == now["parallelism"];
                if !(scaled || idle && field == "template") {
                    check.immutable(path("spec").field(field), &now[field], &before[field]);
                }
            }
        }));
        errors
    }
}

/// A job's spec at `path`.
pub(super) fn spec(check: &mut Check, path: &Path, spec: &Value) {
    let counts = [
        "parallelism",
        "completions",
        "activeDeadlineSeconds",
        "backoffLimit",
        "backoffLimitPerIndex",
        "ttlSecondsAfterFinished",
        "maxFailedIndexes",
    ];
    check.none_negative(path, spec, &counts);
    check.one_of(path.field("completionMode"), &spec["completionMode"], &["NonIndexed", "Indexed"]);
    if spec["completionMode"] == "Indexed" && spec["completions"].is_null() {
        check.required(path.field("completions"), "when completion mode is Indexed");
    }
    let at = path.field("template");
    pod::validate::template(check, &at, &spec["template"]);
    if spec["template"]["spec"]["restartPolicy"] == "Always" {
        let at = at.field("spec").field("restartPolicy");
        check.push(FieldError::not_supported(at, "Always", &["OnFailure", "Never"]));
    }
}
