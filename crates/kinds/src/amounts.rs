//! Names and amounts of resources: what containers, quotas and limit ranges may ask for and bound.
//!
//! Source: `pkg/apis/core/helper`, `validateResourceName` and its kin in `pkg/apis/core/validation`.

use crate::check::{Check, NEGATIVE};
use crate::column::string;
use coracle_api::{Path, Quantity, validation};
use serde_json::{Value, json};

const COMPUTE: &[&str] = &["cpu", "memory", "ephemeral-storage"];
const COUNTED: &[&str] = &[
    "pods",
    "resourcequotas",
    "services",
    "replicationcontrollers",
    "secrets",
    "configmaps",
    "persistentvolumeclaims",
    "services.nodeports",
    "services.loadbalancers",
];
const QUOTA: &[&str] = &[
    "requests.cpu",
    "requests.memory",
    "requests.storage",
    "requests.ephemeral-storage",
    "limits.cpu",
    "limits.memory",
    "limits.ephemeral-storage",
];

/// `hugepages-2Mi`.
pub fn is_huge_pages(name: &str) -> bool {
    name.starts_with("hugepages-")
}

fn is_quota_huge_pages(name: &str) -> bool {
    is_huge_pages(name) || name.starts_with("requests.hugepages-")
}

/// Whether a name belongs to Kubernetes: it has no prefix, or its own.
pub fn is_native(name: &str) -> bool {
    !name.contains('/') || name.contains("kubernetes.io/")
}

/// Whether limits may lie above requests.
pub fn may_overcommit(name: &str) -> bool {
    is_native(name) && !is_huge_pages(name)
}

/// Whether a name is one of a device or the like, counted in whole.
pub fn is_extended(name: &str) -> bool {
    !is_native(name)
        && !name.starts_with("requests.")
        && validation::qualified_name(&format!("requests.{name}")).is_empty()
}

/// Whether a quota knows the name without a prefix.
pub fn is_quota(name: &str) -> bool {
    COMPUTE.contains(&name) || COUNTED.contains(&name) || QUOTA.contains(&name) || is_quota_huge_pages(name)
}

fn is_whole(name: &str) -> bool {
    COUNTED.contains(&name) || is_extended(name)
}

/// Whether pods as a whole may ask for it.
pub fn is_pod_level(name: &str) -> bool {
    matches!(name, "cpu" | "memory") || is_huge_pages(name)
}

/// The amount in a value, nothing if there is none or it cannot be read.
pub fn amount(value: &Value) -> Option<Quantity> {
    value.as_str()?.parse().ok()
}

/// A rule for the name of a resource.
pub type NameRule = fn(&mut Check, &Path, &str);

/// Any resource.
pub fn any_name(check: &mut Check, path: &Path, name: &str) {
    let wrong = validation::qualified_name(name);
    if wrong.is_empty() && !name.contains('/') && !is_quota(name) && name != "storage" {
        check.invalid(path.clone(), &json!(name), "must be a standard resource type or fully qualified");
    }
    check.messages(path, &json!(name), wrong);
}

/// What a container may ask for.
pub fn container_name(check: &mut Check, path: &Path, name: &str) {
    any_name(check, path, name);
    if !name.contains('/') {
        if !COMPUTE.contains(&name) && !is_huge_pages(name) {
            check.invalid(path.clone(), &json!(name), "must be a standard resource for containers");
        }
    } else if !is_native(name) && !is_extended(name) {
        check.invalid(path.clone(), &json!(name), "doesn't follow extended resource name standard");
    }
}

/// What a pod as a whole may ask for.
pub fn pod_name(check: &mut Check, path: &Path, name: &str) {
    let before = check.count();
    any_name(check, path, name);
    if check.count() == before && !is_pod_level(name) {
        check.push(coracle_api::FieldError::not_supported(path, name, &["cpu", "hugepages-", "memory"]));
    }
}

/// What a quota may bound.
pub fn quota_name(check: &mut Check, path: &Path, name: &str) {
    any_name(check, path, name);
    if !name.contains('/') && !is_quota(name) {
        check.invalid(path.clone(), &json!(name), "must be a standard resource for quota");
    }
}

/// The amount of a resource: not negative, and whole where it is counted.
pub fn value(check: &mut Check, path: &Path, name: &str, given: &Value) {
    let Some(amount) = amount(given) else { return };
    if amount.is_negative() {
        check.invalid(path.clone(), given, NEGATIVE);
    }
    if is_whole(name) && amount.milli_value() % 1000 != 0 {
        check.invalid(path.clone(), given, "must be an integer");
    }
}

/// An amount that is more than nothing.
pub fn positive(check: &mut Check, path: &Path, given: &Value) {
    if amount(given).is_some_and(|a| a.is_negative() || a.is_zero()) {
        check.invalid(path.clone(), given, "must be greater than zero");
    }
}

/// An amount at all.
pub fn basic(check: &mut Check, path: &Path, given: &Value) {
    if let Some(amount) = amount(given).filter(|a| a.value() < 0) {
        check.invalid(path.clone(), &json!(amount.value()), "must be a valid resource quantity");
    }
}

/// The entries of a list of resources.
pub fn entries(list: &Value) -> impl Iterator<Item = (&String, &Value)> {
    list.as_object().into_iter().flatten()
}

/// Names and amounts of a quota at `path`.
pub fn quota(check: &mut Check, path: &Path, list: &Value) {
    for (name, given) in entries(list) {
        let at = path.key(name);
        quota_name(check, &at, name);
        value(check, &at, name, given);
    }
}

/// Requests and limits at `path`; `claims` are the names of claims that they may refer to.
pub fn requirements(check: &mut Check, path: &Path, requirements: &Value, name_rule: NameRule, claims: &[&str]) {
    let (limits, requests) = (path.field("limits"), path.field("requests"));
    for (name, given) in entries(&requirements["limits"]) {
        let at = limits.key(name);
        name_rule(check, &at, name);
        value(check, &at, name, given);
        huge(check, &at, name, given);
    }
    for (name, given) in entries(&requirements["requests"]) {
        let at = requests.key(name);
        name_rule(check, &at, name);
        value(check, &at, name, given);
        match (amount(given), amount(&requirements["limits"][name])) {
            (Some(wanted), Some(most)) if wanted != most && !may_overcommit(name) => {
                check.invalid(requests.clone(), given, format!("must be equal to {name} limit of {most}"));
            }
            (Some(wanted), Some(most)) if wanted > most => {
                check.invalid(requests.clone(), given, format!("must be less than or equal to {name} limit of {most}"));
            }
            (_, None) if !may_overcommit(name) => {
                check.required(limits.clone(), "Limit must be set for non overcommitable resources");
            }
            _ => {}
        }
        huge(check, &at, name, given);
    }
    let names = || entries(&requirements["limits"]).chain(entries(&requirements["requests"])).map(|(name, _)| name);
    if names().any(|n| is_huge_pages(n)) && !names().any(|n| n == "cpu" || n == "memory") {
        check.forbidden(path.clone(), "HugePages require cpu or memory");
    }
    claim_names(check, &path.field("claims"), &requirements["claims"], claims);
}

fn huge(check: &mut Check, path: &Path, name: &str, given: &Value) {
    let Some(size) = name.strip_prefix("hugepages-") else { return };
    let divisible = match (size.parse::<Quantity>(), amount(given)) {
        (Ok(size), Some(given)) => size.value() > 0 && given.value() % size.value() == 0,
        _ => false,
    };
    if !divisible {
        check.invalid(path.clone(), given, format!("{} is not positive integer multiple of {name}", string(given)));
    }
}

fn claim_names(check: &mut Check, path: &Path, used: &Value, known: &[&str]) {
    let mut seen: Vec<String> = Vec::new();
    for (index, claim) in crate::column::items(used).iter().enumerate() {
        let (at, name, request) = (path.index(index), string(&claim["name"]), string(&claim["request"]));
        if name.is_empty() {
            check.required(at, "");
            continue;
        }
        if seen.iter().any(|s| s == name) {
            check.duplicate(at.clone(), name);
        } else {
            let mut key = name.to_string();
            if !request.is_empty() {
                check.word(&at.field("request"), &claim["request"], validation::dns1123_label);
                key = format!("{name}/{request}");
            }
            if seen.contains(&key) {
                check.duplicate(at.clone(), key.as_str());
            } else if request.is_empty() {
                let overlaps = seen.iter().filter(|s| s.split_once('/').is_some_and(|(claim, _)| claim == name));
                for _ in overlaps {
                    check.duplicate(at.clone(), name);
                }
            }
            seen.push(key);
        }
        if !known.contains(&name) {
            let mut sorted = known.to_vec();
            sorted.sort_unstable();
            let rest = if sorted.is_empty() { " which is empty".into() } else { format!(": {}", sorted.join(", ")) };
            let why = format!("must be one of the names in pod.spec.resourceClaims{rest}");
            check.push(coracle_api::FieldError::new(at, coracle_api::FieldErrorKind::NotFound(json!(name)), why));
        }
    }
}
