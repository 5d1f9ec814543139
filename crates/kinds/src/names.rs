//! Names and metadata: the checks that every kind shares.

use crate::column::items;
use crate::descriptor::{Kind, NameRule};
use coracle_api::{FieldError, Path, validation};
use serde_json::Value;

fn rule_of(rule: NameRule) -> Option<validation::NameRule> {
    match rule {
        NameRule::DnsSubdomain => Some(validation::subdomain_name),
        NameRule::DnsLabel => Some(validation::label_name),
        NameRule::Dns1035Label => Some(validation::dns1035_name),
        NameRule::PathSegment => Some(validation::path_segment_name),
        NameRule::Address => Some(|name, _| validation::canonical_ip(name)),
        NameRule::Key => Some(|name, _| validation::config_map_key(name)),
        NameRule::None => None,
    }
}

/// What is wrong with `name` by `rule`; `prefix`: it is a `generateName`.
pub fn check(rule: NameRule, name: &str, prefix: bool) -> Vec<String> {
    rule_of(rule).map(|rule| rule(name, prefix)).unwrap_or_default()
}

/// What is wrong with a new object's metadata.
pub fn metadata_errors(kind: &Kind, object: &Value) -> Vec<FieldError> {
    let Some(rule) = rule_of(kind.name_rule) else { return Vec::new() };
    let path = Path::root("metadata");
    let mut errors = validation::validate_object_meta(&object["metadata"], rule, kind.resource.namespaced, &path);
    if has_core_rules(kind) {
        errors.extend(standard_finalizers(&object["metadata"], &path));
    }
    errors
}

/// Kinds of other programs upstream (definitions, API services, custom resources) keep the rules of all objects only.
fn has_core_rules(kind: &Kind) -> bool {
    !matches!(&*kind.resource.group, "apiextensions.k8s.io" | "apiregistration.k8s.io")
        && kind.schema.custom().is_none()
}

/// Without a domain, only Kubernetes' own finalizers have names.
fn standard_finalizers(metadata: &Value, path: &Path) -> Vec<FieldError> {
    let all = items(&metadata["finalizers"]).iter().enumerate();
    let strange = all.filter(|(_, f)| {
        let name = f.as_str().unwrap_or_default();
        !name.contains('/') && !matches!(name, "kubernetes" | "orphan" | "foregroundDeletion")
    });
    let why = "name is neither a standard finalizer name nor is it fully qualified";
    strange.map(|(i, f)| FieldError::invalid(path.field("finalizers").index(i), f.clone(), why)).collect()
}

/// What is wrong with a change of metadata.
pub fn metadata_update_errors(kind: &Kind, new: &Value, old: &Value) -> Vec<FieldError> {
    let (new, old) = (&new["metadata"], &old["metadata"]);
    let mut errors = metadata_errors_of_labels(kind, new);
    if old["deletionTimestamp"].is_string() {
        errors.extend(new_finalizers(new, old));
    }
    for field in ["name", "namespace", "uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds"] {
        if new[field] != old[field] {
            errors.push(FieldError::invalid(format!("metadata.{field}"), new[field].clone(), "field is immutable"));
        }
    }
    errors
}

/// Nothing new may wait for an object that is being deleted.
fn new_finalizers(new: &Value, old: &Value) -> Option<FieldError> {
    let known = items(&old["finalizers"]);
    let added = items(&new["finalizers"]).iter().filter(|f| !known.contains(f)).map(ToString::to_string);
    let added: Vec<String> = added.collect::<std::collections::BTreeSet<_>>().into_iter().collect();
    (!added.is_empty()).then(|| {
        let why = format!(
            "no new finalizers can be added if the object is being deleted, found new finalizers []string{{{}}}",
            added.join(", ")
        );
        FieldError::forbidden("metadata.finalizers", why)
    })
}

// A name that was once accepted stays so, as long as it can stand in a URL; what can change is judged again.
fn metadata_errors_of_labels(kind: &Kind, metadata: &Value) -> Vec<FieldError> {
    let rule = if kind.name_rule == NameRule::None { |_: &str, _| Vec::new() } else { validation::path_segment_name };
    let path = Path::root("metadata");
    let mut errors = validation::validate_object_meta(metadata, rule, kind.resource.namespaced, &path);
    if has_core_rules(kind) {
        errors.extend(standard_finalizers(metadata, &path));
    }
    errors
}
