//! What workloads have in common: a selector, a template that it must match, bounds of a rolling update, and a status of counts.

use crate::check::{Check, filled, path};
use crate::column::{items, number, string};
use crate::core::pod::{validate as pod, warnings};
use crate::place::Place;
use crate::warn;
use coracle_api::{FieldError, LabelSelector, Path};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// The selector at `path`, which must be there; `named` as its messages call the workload.
pub fn selector(check: &mut Check, path: &Path, selector: &Value, named: &str) {
    if !selector.is_object() {
        check.required(path.clone(), "");
        return;
    }
    check.selector(path, selector);
    empty_selector(check, path, selector, named);
}

/// A selector that is there does not select everything.
pub fn empty_selector(check: &mut Check, path: &Path, selector: &Value, named: &str) {
    if selector.is_object() && !filled(selector, "matchLabels") && !filled(selector, "matchExpressions") {
        check.invalid(path.clone(), selector, format!("empty selector is invalid for {named}"));
    }
}

/// Selector and template, as Deployment and ReplicaSet share them.
pub fn replicated(check: &mut Check, path: &Path, spec: &Value) {
    let (at, of) = (path.field("selector"), &spec["selector"]);
    selector(check, &at, of, "deployment");
    if selected(check, path, of, &spec["template"]) {
        template(check, &path.field("template"), &spec["template"], "ReplicaSet");
    } else {
        check.invalid(at, of, "invalid label selector");
    }
}

/// The selector matches the template's labels; `path` is that of the spec. Says whether the selector can be read at all.
pub fn selected(check: &mut Check, path: &Path, selector: &Value, template: &Value) -> bool {
    let matches = if selector.is_null() {
        Some(false) // nothing is selected without a selector
    } else {
        let readable = serde_json::from_value(selector.clone()).ok();
        readable.and_then(|s| LabelSelector::from_spec(&s).ok()).map(|matcher| matcher.matches(&labels(template)))
    };
    if matches == Some(false) {
        let at = path.field("template").field("metadata").field("labels");
        check.invalid(at, &template["metadata"]["labels"], "`selector` does not match template `labels`");
    }
    matches.is_some()
}

/// Both bounds of a rolling update are counts or percentages.
pub fn bounds(check: &mut Check, path: &Path, rolling: &Value) {
    for field in ["maxUnavailable", "maxSurge"] {
        check.count_or_percent(path.field(field), &rolling[field]);
    }
}

/// The labels of a template.
pub fn labels(template: &Value) -> BTreeMap<String, String> {
    let labels = template["metadata"]["labels"].as_object().into_iter().flatten();
    labels.map(|(key, value)| (key.clone(), string(value).to_string())).collect()
}

/// A template of pods that are replaced when they end.
pub fn template(check: &mut Check, path: &Path, template: &Value, named: &str) {
    pod::template(check, path, template);
    lasting(check, path, template, named);
}

/// Pods that are replaced when they end always start again, and have no deadline.
pub fn lasting(check: &mut Check, path: &Path, template: &Value, named: &str) {
    let spec = path.field("spec");
    let policy = string(&template["spec"]["restartPolicy"]);
    if policy != "Always" {
        check.push(FieldError::not_supported(spec.field("restartPolicy"), policy, &["Always"]));
    }
    if !template["spec"]["activeDeadlineSeconds"].is_null() {
        let why = format!("activeDeadlineSeconds in {named} is not Supported");
        check.forbidden(spec.field("activeDeadlineSeconds"), &why);
    }
}

/// What is accepted of a new workload, but may surprise; pods are called after it.
pub fn warnings(object: &Value) -> Vec<String> {
    let mut said: Vec<String> = warn::hostname(object, "Pod names and hostnames").into_iter().collect();
    said.extend(template_warnings(object));
    said
}

/// What is accepted of a workload's template.
pub fn template_warnings(object: &Value) -> Vec<String> {
    warnings::template(&Place::of(object).field("spec.template"))
}

/// What is accepted of a workload that changed; nothing if what is wanted did not.
pub fn update_warnings(new: &Value, old: &Value) -> Vec<String> {
    if wants_the_same(new, old) { Vec::new() } else { template_warnings(new) }
}

/// Whether an update left alone what is wanted.
pub fn wants_the_same(new: &Value, old: &Value) -> bool {
    new["metadata"]["generation"] == old["metadata"]["generation"]
}

/// A count or percentage of at most 100%.
pub fn at_most_all(check: &mut Check, path: Path, value: &Value) {
    if percentage(value).is_some_and(|p| p > 100) {
        check.invalid(path, value, "must not be greater than 100%");
    }
}

fn percentage(value: &Value) -> Option<i64> {
    value.as_str()?.strip_suffix('%')?.parse().ok()
}

/// Whether a count or percentage is zero.
pub fn is_zero(value: &Value) -> bool {
    percentage(value).unwrap_or_else(|| number(value)) == 0
}

/// A template's containers, for tests of emptiness.
pub fn has_template(spec: &Value) -> bool {
    !items(&spec["template"]["spec"]["containers"]).is_empty()
}

/// The counts of a workload's status: none is negative, and none is larger than those that it is part of.
pub struct Counts {
    /// All of them, in the order in which they are judged.
    pub fields: &'static [&'static str],
    /// (part, whole, what is said if the part is larger).
    pub parts: &'static [(&'static str, &'static str, &'static str)],
}

const OF_ALL: &str = "cannot be greater than status.replicas";

/// ReplicationController and ReplicaSet.
pub const REPLICAS: Counts = Counts {
    fields: &["replicas", "fullyLabeledReplicas", "readyReplicas", "availableReplicas", "observedGeneration"],
    parts: &[
        ("fullyLabeledReplicas", "replicas", OF_ALL),
        ("readyReplicas", "replicas", OF_ALL),
        ("availableReplicas", "replicas", OF_ALL),
        ("availableReplicas", "readyReplicas", "cannot be greater than readyReplicas"),
    ],
};

/// Deployment.
pub const DEPLOYMENT: Counts = Counts {
    fields: &[
        "observedGeneration",
        "replicas",
        "updatedReplicas",
        "readyReplicas",
        "availableReplicas",
        "unavailableReplicas",
        "terminatingReplicas",
        "collisionCount",
    ],
    parts: &[
        ("updatedReplicas", "replicas", OF_ALL),
        ("readyReplicas", "replicas", OF_ALL),
        ("availableReplicas", "replicas", OF_ALL),
        ("availableReplicas", "readyReplicas", "cannot be greater than readyReplicas"),
    ],
};

/// StatefulSet.
pub const STATEFUL_SET: Counts = Counts {
    fields: &[
        "replicas",
        "readyReplicas",
        "currentReplicas",
        "updatedReplicas",
        "availableReplicas",
        "observedGeneration",
        "collisionCount",
    ],
    parts: &[
        ("readyReplicas", "replicas", OF_ALL),
        ("currentReplicas", "replicas", OF_ALL),
        ("updatedReplicas", "replicas", OF_ALL),
        ("availableReplicas", "replicas", OF_ALL),
        ("availableReplicas", "readyReplicas", "cannot be greater than status.readyReplicas"),
    ],
};

/// DaemonSet.
pub const DAEMON_SET: Counts = Counts {
    fields: &[
        "currentNumberScheduled",
        "numberMisscheduled",
        "desiredNumberScheduled",
        "numberReady",
        "observedGeneration",
        "updatedNumberScheduled",
        "numberAvailable",
        "numberUnavailable",
        "collisionCount",
    ],
    parts: &[],
};

impl Counts {
    /// Judges the status of `new`, which was `old`.
    pub fn check(&self, check: &mut Check, new: &Value, old: &Value) {
        let (at, status) = (path("status"), &new["status"]);
        check.none_negative(&at, status, self.fields);
        for (part, whole, why) in self.parts {
            if number(&status[*part]) > number(&status[*whole]) {
                check.invalid(at.field(part), &status[*part], why);
            }
        }
        // a count of names that were taken only grows: it makes the next name
        let (now, before) = (&status["collisionCount"], &old["status"]["collisionCount"]);
        if before.is_number() && number(now) < number(before) {
            check.invalid(at.field("collisionCount"), &json!(number(now)), "cannot be decremented");
        }
    }
}
