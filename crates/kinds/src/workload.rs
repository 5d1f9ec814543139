//! What workloads have in common: a selector, a template that it must match, and a strategy.

use crate::check::{Check, filled, path};
use crate::column::{items, string};
use crate::core::pod::validate as pod;
use coracle_api::{FieldError, LabelSelector, Path};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Selector and template of an `apps/v1` workload; `named` as its messages call it.
pub fn validate(check: &mut Check, object: &Value, named: &str) {
    let (at, spec) = (path("spec"), &object["spec"]);
    check.none_negative(&at, spec, &["replicas", "minReadySeconds", "revisionHistoryLimit"]);
    let selector = &spec["selector"];
    if !selector.is_object() {
        check.required(at.field("selector"), "");
    } else {
        check.selector(&at.field("selector"), selector);
        if !filled(selector, "matchLabels") && !filled(selector, "matchExpressions") {
            check.invalid(at.field("selector"), selector, format!("empty selector is invalid for {named}"));
        }
    }
    let labels = labels(&spec["template"]);
    let matcher = serde_json::from_value(selector.clone()).ok().and_then(|s| LabelSelector::from_spec(&s).ok());
    if matcher.is_some_and(|m| !m.matches(&labels)) {
        let at = at.field("template").field("metadata").field("labels");
        let why = "`selector` does not match template `labels`";
        check.invalid(at, &json!(labels), why);
    }
    template(check, &at.field("template"), &with_claims(spec), named);
}

/// The template as its pods will be: with a volume for each claim template, which wins over a volume of the same name.
fn with_claims(spec: &Value) -> Value {
    let mut template = spec["template"].clone();
    for claim in items(&spec["volumeClaimTemplates"]) {
        let name = &claim["metadata"]["name"];
        let volumes = &mut template["spec"]["volumes"];
        let mut all = volumes.as_array().cloned().unwrap_or_default();
        all.retain(|volume| volume["name"] != *name);
        all.push(json!({"name": name, "persistentVolumeClaim": {"claimName": name}}));
        *volumes = json!(all);
    }
    template
}

/// The labels of a template.
pub fn labels(template: &Value) -> BTreeMap<String, String> {
    let labels = template["metadata"]["labels"].as_object().into_iter().flatten();
    labels.map(|(key, value)| (key.clone(), string(value).to_string())).collect()
}

/// A template of pods that are replaced when they end.
pub fn template(check: &mut Check, path: &Path, template: &Value, named: &str) {
    pod::template(check, path, template);
    let spec = path.field("spec");
    let policy = string(&template["spec"]["restartPolicy"]);
    if !policy.is_empty() && policy != "Always" {
        check.push(FieldError::not_supported(spec.field("restartPolicy"), policy, &["Always"]));
    }
    if !template["spec"]["activeDeadlineSeconds"].is_null() {
        let why = format!("activeDeadlineSeconds in {named} is not Supported");
        check.forbidden(spec.field("activeDeadlineSeconds"), &why);
    }
}

/// A rolling update's two bounds; `zero` forbids both to be 0.
pub fn rolling(check: &mut Check, path: &Path, rolling: &Value) {
    for field in ["maxUnavailable", "maxSurge"] {
        check.count_or_percent(path.field(field), &rolling[field]);
        let over =
            string(&rolling[field]).strip_suffix('%').and_then(|p| p.parse::<i64>().ok()).is_some_and(|p| p > 100);
        if over && field == "maxUnavailable" {
            check.invalid(path.field(field), &rolling[field], "must not be greater than 100%");
        }
    }
}

/// Whether a count or percentage is zero.
pub fn is_zero(value: &Value) -> bool {
    value == 0 || value == "0%" || value.is_null()
}

/// A template's containers, for tests of emptiness.
pub fn has_template(spec: &Value) -> bool {
    !items(&spec["template"]["spec"]["containers"]).is_empty()
}
