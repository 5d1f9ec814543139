//! What is wrong with a ResourceQuota.

use crate::amounts::{self, entries};
use crate::check::{Check, IMMUTABLE, path};
use crate::column::{items, string};
use crate::descriptor::{Part, Rules};
use crate::go;
use coracle_api::{FieldError, Path};
use serde_json::{Value, json};
use std::collections::BTreeSet;

pub(super) struct QuotaRules;

impl Rules for QuotaRules {
    fn validate(&self, quota: &Value) -> Vec<FieldError> {
        Check::run(|check| {
            spec(check, &path("spec"), &quota["spec"]);
        })
    }

    fn validate_update(&self, new: &Value, old: &Value, part: Part) -> Vec<FieldError> {
        Check::run(|check| match part {
            Part::Main => {
                spec(check, &path("spec"), &new["spec"]);
                let set = |quota: &Value| -> BTreeSet<String> {
                    items(&quota["spec"]["scopes"]).iter().map(|s| string(s).to_string()).collect()
                };
                if set(new) != set(old) {
                    check.invalid(path("spec").field("scopes"), &new["spec"]["scopes"], IMMUTABLE);
                }
            }
            Part::Status => {
                for list in ["hard", "used"] {
                    amounts::quota(check, &path("status").field(list), &new["status"][list]);
                }
            }
            _ => {}
        })
    }
}

/// What a scope can be asked for: a scope of pods for pods and what they use, one of claims for claims.
fn fits(scope: &str, resource: &str) -> bool {
    const COMPUTE: &[&str] = &["cpu", "memory", "limits.cpu", "limits.memory", "requests.cpu", "requests.memory"];
    match scope {
        "BestEffort" => resource == "pods",
        "Terminating" | "NotTerminating" | "NotBestEffort" | "PriorityClass" | "CrossNamespacePodAffinity" => {
            resource == "pods" || COMPUTE.contains(&resource)
        }
        "VolumeAttributesClass" => matches!(resource, "persistentvolumeclaims" | "requests.storage"),
        _ => true,
    }
}

const SCOPES: &[&str] = &[
    "Terminating",
    "NotTerminating",
    "BestEffort",
    "NotBestEffort",
    "PriorityClass",
    "CrossNamespacePodAffinity",
    "VolumeAttributesClass",
];

fn spec(check: &mut Check, at: &Path, spec: &Value) {
    amounts::quota(check, &at.field("hard"), &spec["hard"]);
    let standard: Vec<&String> =
        entries(&spec["hard"]).map(|(name, _)| name).filter(|n| amounts::is_quota(n)).collect();
    let unfit = |scope: &str| standard.iter().filter(|name| !fits(scope, name)).count();
    let list = at.field("scopes");
    for scope in items(&spec["scopes"]) {
        if !SCOPES.contains(&string(scope)) {
            check.invalid(list.clone(), &spec["scopes"], "unsupported scope");
        }
        for _ in 0..unfit(string(scope)) {
            check.invalid(list.clone(), &spec["scopes"], "unsupported scope applied to resource");
        }
    }
    conflicts(check, &list, &spec["scopes"], items(&spec["scopes"]).iter().map(string).collect());
    let (list, selector) = (at.field("scopeSelector").field("matchExpressions"), &spec["scopeSelector"]);
    let terms = items(&selector["matchExpressions"]);
    for term in terms {
        let scope = string(&term["scopeName"]);
        if !SCOPES.contains(&scope) {
            check.invalid(list.field("scopeName"), &json!(scope), "unsupported scope");
        }
        for _ in 0..unfit(scope) {
            let error = FieldError::invalid(&list, selector.clone(), "unsupported scope applied to resource");
            check.push(error.shown_as(shown(selector)));
        }
        expression(check, &list, term);
    }
    conflicts(check, &list, &spec["scopes"], terms.iter().map(|t| string(&t["scopeName"])).collect());
}

fn shown(selector: &Value) -> String {
    const TERM: &[go::Field] = &[
        go::Field("ScopeName", "scopeName", go::Show::Text),
        go::Field("Operator", "operator", go::Show::Text),
        go::Field("Values", "values", go::Show::Null),
    ];
    let terms = go::list(&selector["matchExpressions"], |term| go::show(term, TERM));
    format!("{{\"MatchExpressions\":{terms}}}")
}

fn conflicts(check: &mut Check, at: &Path, shown: &Value, scopes: Vec<&str>) {
    for pair in [["BestEffort", "NotBestEffort"], ["Terminating", "NotTerminating"]] {
        if pair.iter().all(|scope| scopes.contains(scope)) {
            check.invalid(at.clone(), shown, "conflicting scopes");
        }
    }
}

fn expression(check: &mut Check, list: &Path, term: &Value) {
    const ONLY_EXISTS: &str = "must be 'Exists' when scope is any of ResourceQuotaScopeTerminating, ResourceQuotaScopeNotTerminating, ResourceQuotaScopeBestEffort, ResourceQuotaScopeNotBestEffort or ResourceQuotaScopeCrossNamespacePodAffinity";
    let (operator, values) = (string(&term["operator"]), items(&term["values"]));
    let named = matches!(string(&term["scopeName"]), "PriorityClass" | "VolumeAttributesClass");
    if SCOPES.contains(&string(&term["scopeName"])) && !named && operator != "Exists" {
        check.invalid(list.field("operator"), &json!(operator), ONLY_EXISTS);
    }
    match operator {
        "In" | "NotIn" if values.is_empty() => {
            let why = "must be at least one value when `operator` is 'In' or 'NotIn' for scope selector";
            check.required(list.field("values"), why);
        }
        "Exists" | "DoesNotExist" if !values.is_empty() => {
            let why = "must be no value when `operator` is 'Exist' or 'DoesNotExist' for scope selector";
            check.invalid(list.field("values"), &term["values"], why);
        }
        "In" | "NotIn" | "Exists" | "DoesNotExist" => {}
        other => check.invalid(list.field("operator"), &json!(other), "not a valid selector operator"),
    }
}
