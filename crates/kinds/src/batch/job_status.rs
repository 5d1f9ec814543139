//! What a Job's status may say, and how it may change. Others than the Job controller may manage a Job (`managedBy`), and clients rely on
//! how it ends.
//!
//! A rule is only applied when what it is about changed: what was wrong before does not keep the rest from being written. Source:
//! `validateJobStatus` in `pkg/apis/batch/validation`, `getStatusValidationOptions` in `pkg/registry/batch/job`.

use super::policies::{count_indexes, overlap, uncounted};
use crate::check::{Check, IMMUTABLE};
use crate::column::items;
use crate::fields::same;
use crate::go::{self, Field, Show};
use crate::place::Place;
use coracle_api::FieldError;
use jiff::Timestamp;
use serde_json::Value;

const UNCOUNTED: &[Field] = &[Field("Succeeded", "succeeded", Show::Null), Field("Failed", "failed", Show::Null)];

fn is(job: &Value, condition: &str) -> bool {
    items(&job["status"]["conditions"]).iter().any(|c| c["type"] == condition && c["status"] == "True")
}

fn finished(job: &Value) -> bool {
    is(job, "Complete") || is(job, "Failed")
}

fn indexed(job: &Value) -> bool {
    job["spec"]["completionMode"] == "Indexed"
}

/// A job before and after.
struct Step<'a> {
    new: &'a Value,
    old: &'a Value,
}

impl Step<'_> {
    fn turned(&self, condition: &str) -> bool {
        is(self.new, condition) != is(self.old, condition)
    }

    fn ended(&self) -> bool {
        finished(self.new) != finished(self.old)
    }

    fn changed(&self, field: &str) -> bool {
        !same(&self.new["status"][field], &self.old["status"][field])
    }
}

/// Judges the status of `new`, which was `old`.
pub(super) fn validate(check: &mut Check, new: &Value, old: &Value) {
    let (step, status) = (Step { new, old }, Place::of(new).field("status"));
    for count in ["active", "succeeded", "failed", "ready", "terminating"] {
        check.natural(&status.field(count));
    }
    uncounted(check, &status.field("uncountedTerminatedPods"));
    ends(check, &step, &status);
    at_rest(check, &step, &status);
    indexes(check, &step, &status);
    counts(check, &step, &status);
    together(check, new, &[("SuccessCriteriaMet", "Failed"), ("SuccessCriteriaMet", "FailureTarget")]);
    if new["spec"]["successPolicy"].is_object() && is(new, "Complete") && !is(new, "SuccessCriteriaMet") {
        conditions(check, "cannot set Complete=True for Job with SuccessPolicy unless SuccessCriteriaMet=True");
    }
    transitions(check, &step, &status);
}

fn conditions(check: &mut Check, why: &str) {
    check.push(FieldError::invalid("status.conditions", Value::Null, why).shown_as(""));
}

fn together(check: &mut Check, job: &Value, pairs: &[(&str, &str)]) {
    for (one, other) in pairs.iter().filter(|(one, other)| is(job, one) && is(job, other)) {
        // upstream writes it so
        let wanted = if *other == "Failed" || *other == "FailureTarget" { "true" } else { "True" };
        conditions(check, &format!("cannot set {one}=True and {other}={wanted} conditions"));
    }
}

/// How a job ends: conditions that go together, and the times that belong to them.
fn ends(check: &mut Check, step: &Step, status: &Place) {
    let job = step.new;
    let (complete, failed) = (is(job, "Complete"), is(job, "Failed"));
    if step.turned("Complete") || step.turned("Failed") {
        together(check, job, &[("Complete", "Failed")]);
    }
    if step.turned("Complete") || step.turned("FailureTarget") {
        together(check, job, &[("Complete", "FailureTarget")]);
    }
    let (start, end) = (status.field("startTime"), status.field("completionTime"));
    if step.turned("Complete") || step.changed("completionTime") {
        match (complete, end.given()) {
            (false, true) => check.bad(&end, "cannot set completionTime when there is no Complete=True condition"),
            (true, false) => check.required(end.path.clone(), "completionTime is required for Complete jobs"),
            _ => {}
        }
    }
    let time = |at: &Place| at.text().parse::<Timestamp>().ok();
    if (step.changed("startTime") || step.changed("completionTime"))
        && let (Some(first), Some(last)) = (time(&start), time(&end))
        && last < first
    {
        check.bad(&end, "must be equal to or after `startTime`");
    }
    if (step.turned("Failed") || step.changed("failedIndexes")) && failed && !is(job, "FailureTarget") {
        conditions(check, "cannot set Failed=True condition without the FailureTarget=true condition");
    }
    if (step.turned("Complete") || step.turned("SuccessCriteriaMet")) && complete && !is(job, "SuccessCriteriaMet") {
        conditions(check, "cannot set Complete=True condition without the SuccessCriteriaMet=true condition");
    }
}

/// A job that is over has begun, and nothing of it is left.
fn at_rest(check: &mut Check, step: &Step, status: &Place) {
    if !finished(step.new) {
        return;
    }
    let turned = |field: &str| step.ended() || step.changed(field);
    let active = status.field("active");
    if turned("active") && active.number() > 0 {
        check.bad(&active, "active>0 is invalid for finished job");
    }
    let never = step.new["spec"]["suspend"] == true && step.new["spec"]["completions"] == 0;
    if turned("startTime") && !never {
        check.needs(&status.field("startTime"), "startTime is required for finished job");
    }
    let pods = status.field("uncountedTerminatedPods");
    if turned("uncountedTerminatedPods") && (!pods.field("failed").empty() || !pods.field("succeeded").empty()) {
        let wrong = FieldError::invalid(&pods.path, pods.value.clone(), "must be empty for finished job");
        check.push(wrong.shown_as(go::show(pods.value, UNCOUNTED)));
    }
}

/// Indexes that were completed or failed.
fn indexes(check: &mut Check, step: &Step, status: &Place) {
    let spec = Place::of(step.new).field("spec");
    let (completions, per_index) = (spec.field("completions"), spec.field("backoffLimitPerIndex").given());
    let (completed, failed) = (status.field("completedIndexes"), status.field("failedIndexes"));
    let changed = (step.changed("completedIndexes"), step.changed("failedIndexes"));
    if let (true, true, Err(why)) =
        (changed.0, completions.given(), count_indexes(completed.text(), completions.number()))
    {
        check.bad(&completed, format!("error parsing completedIndexes: {why}"));
    }
    if let (true, true, Err(why)) =
        (changed.1, completions.given() && per_index, count_indexes(failed.text(), completions.number()))
    {
        check.bad(&failed, format!("error parsing failedIndexes: {why}"));
    }
    if changed.0 && !completed.empty() && !indexed(step.new) {
        check.bad(&completed, "cannot set non-empty completedIndexes when non-indexed completion mode");
    }
    if changed.1 && failed.given() && !per_index {
        check.bad(&failed, "cannot set non-null failedIndexes when backoffLimitPerIndex is null");
    }
    if (changed.0 || changed.1)
        && let Some(shared) = overlap(completed.text(), failed.text(), completions.number())
    {
        check.bad(&failed, format!("failedIndexes and completedIndexes overlap at index: {shared}"));
    }
}

fn counts(check: &mut Check, step: &Step, status: &Place) {
    let (ready, active, terminating) = (status.field("ready"), status.field("active"), status.field("terminating"));
    if (step.ended() || step.changed("terminating")) && terminating.number() > 0 && finished(step.new) {
        check.bad(&terminating, "terminating>0 is invalid for finished job");
    }
    if (step.changed("ready") || step.changed("active")) && ready.number() > active.number() {
        check.bad(&ready, "cannot set more ready pods than active");
    }
}

/// What was said of an end is not taken back.
fn transitions(check: &mut Check, step: &Step, status: &Place) {
    let (new, old) = (step.new, step.old);
    for condition in ["Failed", "Complete", "FailureTarget"] {
        if is(old, condition) && !is(new, condition) {
            conditions(check, &format!("cannot disable the terminal {condition}=True condition"));
        }
    }
    // an indexed job that is scaled with its completions may shrink
    let shrinks = indexed(new) && new["spec"]["completions"] == new["spec"]["parallelism"];
    for (count, may_fall) in [("failed", false), ("succeeded", shrinks)] {
        let now = status.field(count);
        if !may_fall && now.number() < old["status"][count].as_i64().unwrap_or(0) {
            let value = now.number().into();
            check.invalid(now.path, &value, format!("cannot decrease the {count} counter"));
        }
    }
    let (start, end) = (status.field("startTime"), status.field("completionTime"));
    if end.given() && old["status"]["completionTime"].is_string() && step.changed("completionTime") {
        check.bad(&end, IMMUTABLE);
    }
    if old["status"]["startTime"].is_string() && step.changed("startTime") && new["spec"]["suspend"] != true {
        check.required(start.path, "startTime cannot be removed for unsuspended job");
    }
    if is(old, "SuccessCriteriaMet") && !is(new, "SuccessCriteriaMet") {
        conditions(check, "cannot disable the SuccessCriteriaMet=True condition");
    }
    if is(old, "Complete") && !is(old, "SuccessCriteriaMet") && is(new, "SuccessCriteriaMet") {
        conditions(check, "cannot set SuccessCriteriaMet=True for Job already has Complete=true conditions");
    }
}
