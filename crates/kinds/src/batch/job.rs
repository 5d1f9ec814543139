//! Job: pods that run until the work is done.

use super::{job_status, policies};
use crate::check::{Check, filled, path};
use crate::column::{
    AGE, CONTAINERS, Column, Context, IMAGES, NAME, SELECTOR, SelectableField, human_duration, items, number, string,
};
use crate::core::pod;
use crate::descriptor::{Kind, Part, Rules, Subresource, text};
use crate::fields::{absent, carry, default, each, ensure, set, within};
use crate::place::Place;
use crate::warn;
use crate::workload;
use coracle_api::{FieldError, LabelSelector, Path, Status, validation};
use jiff::Timestamp;
use k8s_openapi::api::batch::v1::Job;
use serde_json::{Value, json};
use std::collections::BTreeMap;

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
        default(spec, "manualSelector", false);
        let replace = if absent(spec, "podFailurePolicy") { "TerminatingOrFailed" } else { "Failed" };
        default(spec, "podReplacementPolicy", replace);
        within(spec, "podFailurePolicy", |policy| {
            each(policy, "rules", |rule| each(rule, "onPodConditions", |c| default(c, "status", "True")));
        });
        pod::defaults::template(ensure(spec, "template"));
        labelled(job);
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
        for prefix in ["", PREFIX] {
            default(labels, &format!("{prefix}job-name"), name.clone());
            default(labels, &format!("{prefix}controller-uid"), uid.clone());
        }
        let selected = ensure(ensure(spec, "selector"), "matchLabels");
        default(selected, "batch.kubernetes.io/controller-uid", uid);
    }

    fn validate(&self, job: &Value) -> Vec<FieldError> {
        Check::run(|check| whole(check, job, true))
    }

    fn validate_update(&self, new: &Value, old: &Value, part: Part) -> Vec<FieldError> {
        Check::run(|check| match part {
            Part::Status => job_status::validate(check, new, old),
            _ => {
                let labels = &old["spec"]["template"]["metadata"]["labels"];
                let prefixed = ["job-name", "controller-uid"].iter().all(|l| !labels[format!("{PREFIX}{l}")].is_null());
                whole(check, new, prefixed);
                changed(check, new, old);
            }
        })
    }

    fn warnings(&self, job: &Value) -> Vec<String> {
        warnings(job, &Place::of(job).field("spec"))
    }

    fn update_warnings(&self, new: &Value, old: &Value) -> Vec<String> {
        if workload::wants_the_same(new, old) { Vec::new() } else { spec_warnings(&Place::of(new).field("spec")) }
    }
}

/// What is accepted of a new object with the spec of a job at `spec`, but may surprise.
pub(super) fn warnings(object: &Value, spec: &Place) -> Vec<String> {
    let mut said: Vec<String> = warn::hostname(object, "Pod names and hostnames").into_iter().collect();
    said.extend(spec_warnings(spec));
    said
}

/// What is accepted of the spec of a job.
pub(super) fn spec_warnings(spec: &Place) -> Vec<String> {
    let mut said = Vec::new();
    let indexed = spec.field("completionMode").text() == "Indexed";
    if indexed && spec.field("completions").number() > 100_000 && spec.field("parallelism").number() > 10_000 {
        let why = "In Indexed Jobs with a number of completions higher than 10^5 and a parallelism higher than 10^4, Kubernetes might not be able to track completedIndexes when a big number of indexes fail";
        said.push(format!("{}: {why}", spec.path));
    }
    said.extend(pod::warnings::template(&spec.field("template")));
    said
}

const PREFIX: &str = "batch.kubernetes.io/";

/// A job without labels has those of its pods.
fn labelled(job: &mut Value) {
    let labels = job["spec"]["template"]["metadata"]["labels"].clone();
    if labels.is_object() && !filled(&job["metadata"], "labels") {
        set(ensure(job, "metadata"), "labels", labels);
    }
}

/// `prefixed`: whether the labels with a prefix are asked for too; jobs of old have none.
fn whole(check: &mut Check, job: &Value, prefixed: bool) {
    let (at, object) = (path("spec"), &job["spec"]);
    generated_selector(check, job, prefixed);
    spec(check, &at, object);
    let selector = &object["selector"];
    if selector.is_null() {
        check.required(at.field("selector"), "");
    } else {
        check.selector(&at.field("selector"), selector);
    }
    workload::selected(check, &at, selector, &object["template"]);
    // the hostname of the last pod
    let completions = number(&object["completions"]);
    if object["completionMode"] == "Indexed" && completions > 0 {
        let name = string(&job["metadata"]["name"]);
        let host = format!("{name}-{}", completions - 1);
        if !validation::dns1123_label(&host).is_empty() {
            let why = format!("will not able to create pod with invalid DNS label: {host}");
            check.invalid(path("metadata").field("name"), &json!(name), why);
        }
    }
}

/// Labels and selector that tell this job's pods from all others, unless it is said to manage its own.
fn generated_selector(check: &mut Check, job: &Value, prefixed: bool) {
    let (metadata, spec) = (Place::of(job).field("metadata"), Place::of(job).field("spec"));
    if spec.value["manualSelector"] == true || !spec.field("selector").given() {
        return;
    }
    check.needs(&metadata.field("uid"), "");
    let (uid, name) = (metadata.field("uid").text(), metadata.field("name").text());
    let template = spec.field("template.metadata");
    let mut expected = BTreeMap::new();
    for prefix in ["", PREFIX].into_iter().filter(|prefix| prefixed || prefix.is_empty()) {
        for (label, value) in [("controller-uid", uid), ("job-name", name)] {
            let label = format!("{prefix}{label}");
            let (at, labels) = (template.path.field("labels").key(&label), &template.value["labels"]);
            let why = format!("must be '{value}'");
            if labels[&label].is_null() {
                check.required(at, &why);
            } else if labels[&label] != value {
                check.invalid(at, labels, why);
            }
            expected.insert(label, value.to_string());
        }
    }
    let selector = spec.field("selector");
    let matcher = serde_json::from_value(selector.value.clone()).ok().and_then(|s| LabelSelector::from_spec(&s).ok());
    if matcher.is_some_and(|matcher| !matcher.matches(&expected)) {
        check.bad(&selector, "`selector` not auto-generated");
    }
}

/// What an update may not change.
fn changed(check: &mut Check, new: &Value, old: &Value) {
    let (at, now, before) = (path("spec"), &new["spec"], &old["spec"]);
    let completions = &now["completions"];
    if now["completionMode"] != "Indexed" {
        check.immutable(at.field("completions"), completions, &before["completions"]);
    } else if !completions.is_null() && *completions != before["completions"] && *completions != now["parallelism"] {
        check.invalid(at.field("completions"), completions, "can only be modified in tandem with spec.parallelism");
    }
    check.immutable(at.field("selector"), &now["selector"], &before["selector"]);
    template_changed(check, &at.field("template"), now, old);
    for field in ["completionMode", "podFailurePolicy", "backoffLimitPerIndex", "managedBy", "successPolicy"] {
        check.immutable(at.field(field), &now[field], &before[field]);
    }
}

/// A job that is suspended and has no pods may be placed elsewhere, and be given other resources.
fn template_changed(check: &mut Check, path: &Path, now: &Value, old: &Value) {
    let (template, mut before) = (&now["template"], old["spec"]["template"].clone());
    if old["spec"]["suspend"] != true || number(&old["status"]["active"]) > 0 {
        check.immutable(path.clone(), template, &before);
        return;
    }
    let (spec, former) = (&template["spec"], ensure(&mut before, "spec"));
    for field in ["nodeSelector", "tolerations", "schedulingGates"] {
        carry(former, spec, field);
    }
    let mut affinity = former["affinity"].take();
    carry(&mut affinity, &spec["affinity"], "nodeAffinity");
    set(former, "affinity", affinity);
    for list in ["containers", "initContainers"] {
        let given = items(&spec[list]);
        if items(&former[list]).len() == given.len() {
            let mut given = given.iter();
            each(former, list, |container| {
                if let Some(new) = given.next().filter(|new| new["name"] == container["name"]) {
                    carry(container, new, "resources");
                }
            });
        }
    }
    check.immutable(path.field("spec"), spec, former);
}

/// A job's spec at `path`.
pub(super) fn spec(check: &mut Check, path: &Path, spec: &Value) {
    let place = Place::at(path.clone(), spec);
    const COUNTS: &[&str] = &[
        "parallelism",
        "completions",
        "activeDeadlineSeconds",
        "backoffLimit",
        "ttlSecondsAfterFinished",
        "backoffLimitPerIndex",
        "maxFailedIndexes",
    ];
    check.none_negative(path, spec, COUNTS);
    if place.field("maxFailedIndexes").given() && !place.field("backoffLimitPerIndex").given() {
        check.required(path.field("backoffLimitPerIndex"), "when maxFailedIndexes is specified");
    }
    let manager = place.field("managedBy");
    if manager.given() {
        check.domain_prefixed_path(&manager);
        check.no_longer(&manager, 63);
    }
    check.may_be(&place.field("completionMode"), &["NonIndexed", "Indexed"]);
    by_index(check, &place);
    if place.field("podFailurePolicy").given() {
        policies::failure(check, &place);
    }
    if place.field("successPolicy").given() {
        policies::success(check, &place);
    }
    let replaced =
        if place.field("podFailurePolicy").given() { &["Failed"][..] } else { &["Failed", "TerminatingOrFailed"] };
    check.may_be(&place.field("podReplacementPolicy"), replaced);
    pod::validate::template(check, &path.field("template"), &spec["template"]);
    let restart = place.field("template.spec.restartPolicy");
    match restart.text() {
        "" | "Always" => check.required(restart.path, "valid values: \"OnFailure\", \"Never\""),
        "OnFailure" if place.field("podFailurePolicy").given() => {
            check.bad(&restart, "only \"Never\" is supported when podFailurePolicy is specified");
        }
        _ => check.among(&restart, &["OnFailure", "Never"]),
    }
}

/// Beyond so many completions indexes are only counted with less of everything.
const MANY: i64 = 100_000;
const FEW: i64 = 10_000;

fn by_index(check: &mut Check, spec: &Place) {
    let [completions, parallelism, failed, backoff] =
        ["completions", "parallelism", "maxFailedIndexes", "backoffLimitPerIndex"].map(|field| spec.field(field));
    match spec.field("completionMode").text() {
        "Indexed" => {}
        "" | "NonIndexed" => {
            for field in [backoff, failed].iter().filter(|field| field.given()) {
                check.bad(field, "requires indexed completion mode");
            }
            return;
        }
        _ => return,
    }
    if !completions.given() {
        check.required(completions.path.clone(), "when completion mode is Indexed");
    }
    let at_most = |check: &mut Check, at: &Place, most: i64, when: &str| {
        if at.number() > most {
            check.bad(at, format!("must be less than or equal to {most}{when}"));
        }
    };
    at_most(check, &parallelism, MANY, " when completion mode is Indexed");
    if completions.given() && failed.number() > completions.number() {
        check.bad(&failed, "must be less than or equal to completions");
    }
    at_most(check, &failed, MANY, "");
    if completions.number() > MANY && backoff.given() {
        if !failed.given() {
            let why = format!("must be specified when completions is above {MANY}");
            check.required(failed.path.clone(), &why);
        }
        let when = format!(" when completions are above {MANY} and used with backoff limit per index");
        at_most(check, &parallelism, FEW, &when);
        at_most(check, &failed, FEW, &when);
    }
}
