//! What a LimitRange means where it is silent, and what is wrong with one.

use crate::amounts::{self, amount, entries};
use crate::check::{Check, filled, path};
use crate::column::{items, string};
use crate::descriptor::Rules;
use crate::fields::{default, each, ensure};
use coracle_api::{FieldError, Path, Quantity, Status, validation};
use serde_json::{Value, json};
use std::collections::BTreeSet;

pub(super) struct LimitRangeRules;

impl Rules for LimitRangeRules {
    fn default(&self, object: &mut Value) -> Result<(), Status> {
        each(ensure(object, "spec"), "limits", |limit| {
            if limit["type"] == "Container" {
                inherit(limit, "max", "default");
                inherit(limit, "default", "defaultRequest");
                inherit(limit, "min", "defaultRequest");
            }
        });
        Ok(())
    }

    fn validate(&self, object: &Value) -> Vec<FieldError> {
        Check::run(|check| {
            let mut seen: Vec<&str> = Vec::new();
            for (index, limit) in items(&object["spec"]["limits"]).iter().enumerate() {
                let at = path("spec").field("limits").index(index);
                let kind = string(&limit["type"]);
                kind_name(check, &at.field("type"), kind);
                if seen.contains(&kind) {
                    check.duplicate(at.field("type"), kind);
                }
                seen.push(kind);
                names(check, &at, limit);
                for name in all_names(limit) {
                    amounts_of(check, &at, limit, &name);
                }
            }
        })
    }
}

/// What `to` lacks is as in `from`.
fn inherit(limit: &mut Value, from: &str, to: &str) {
    for (name, amount) in limit[from].as_object().cloned().unwrap_or_default() {
        default(ensure(limit, to), &name, amount);
    }
}

fn kind_name(check: &mut Check, path: &Path, kind: &str) {
    let wrong = validation::qualified_name(kind);
    let known = matches!(kind, "Pod" | "Container" | "PersistentVolumeClaim") || kind.contains('/');
    if wrong.is_empty() && !known {
        check.invalid(path.clone(), &json!(kind), "must be a standard limit type or fully qualified");
    }
    check.messages(path, &json!(kind), wrong);
}

fn names(check: &mut Check, at: &Path, limit: &Value) {
    let rule =
        if matches!(string(&limit["type"]), "Pod" | "Container") { amounts::container_name } else { amounts::any_name };
    for list in ["max", "min", "default", "defaultRequest", "maxLimitRequestRatio"] {
        if list == "maxLimitRequestRatio" && limit["type"] == "PersistentVolumeClaim" {
            let bounded = ["min", "max"].iter().any(|list| !limit[*list]["storage"].is_null());
            if !bounded {
                let why = "either minimum or maximum storage value is required, but neither was provided";
                check.required(at.field("limits"), why);
            }
        }
        if limit["type"] == "Pod" && list.starts_with("default") {
            if filled(limit, list) {
                check.forbidden(at.field(list), "may not be specified when `type` is 'Pod'");
            }
            continue;
        }
        for (name, _) in entries(&limit[list]) {
            rule(check, &at.field(list).key(name), name);
        }
    }
}

fn all_names(limit: &Value) -> BTreeSet<String> {
    let lists = ["max", "min", "default", "defaultRequest", "maxLimitRequestRatio"];
    lists.iter().flat_map(|list| entries(&limit[*list])).map(|(name, _)| name.clone()).collect()
}

/// Bounds and defaults of one resource fit together.
fn amounts_of(check: &mut Check, at: &Path, limit: &Value, name: &str) {
    let pod = limit["type"] == "Pod";
    let get = |list: &str| amount(&limit[list][name]).filter(|_| !(pod && list.starts_with("default")));
    let (min, max) = (get("min"), get("max"));
    let (limited, requested, ratio) = (get("default"), get("defaultRequest"), get("maxLimitRequestRatio"));
    // (which list is named, the smaller and its name, the larger and its name, the amount that is shown)
    let pairs = [
        ("min", ("min value", min), ("max value", max), min),
        ("defaultRequest", ("min value", min), ("default request value", requested), requested),
        ("defaultRequest", ("default request value", requested), ("max value", max), requested),
        ("defaultRequest", ("default request value", requested), ("default limit value", limited), requested),
        ("default", ("min value", min), ("default value", limited), min),
        ("default", ("default value", limited), ("max value", max), max),
    ];
    for (list, (small, low), (large, high), shown) in pairs {
        if let (Some(low), Some(high), Some(shown)) = (low, high, shown)
            && low > high
        {
            let why = format!("{small} {low} is greater than {large} {high}");
            check.invalid(at.field(list).key(name), &json!(shown.to_string()), why);
        }
    }
    if let Some(ratio) = ratio {
        ratio_of(check, &at.field("maxLimitRequestRatio").key(name), ratio, min.zip(max));
    }
    if let (Some(limited), Some(requested)) = (limited, requested)
        && !amounts::may_overcommit(name)
        && limited != requested
    {
        let why = format!("default value {limited} must equal to defaultRequest value {requested} in {name}");
        check.invalid(at.field("defaultRequest").key(name), &json!(requested.to_string()), why);
    }
}

fn ratio_of(check: &mut Check, at: &Path, ratio: Quantity, bounds: Option<(Quantity, Quantity)>) {
    let shown = json!(ratio.to_string());
    if ratio < Quantity::from_millis(1000) {
        check.invalid(at.clone(), &shown, format!("ratio {ratio} is less than 1"));
    }
    if let Some((min, max)) = bounds {
        let most = max.as_f64() / min.as_f64();
        if ratio.as_f64() > most {
            check.invalid(at.clone(), &shown, format!("ratio {ratio} is greater than max/min = {most:.6}"));
        }
    }
}
