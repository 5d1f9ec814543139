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
    for field in ["name", "namespace", "uid", "creationTimestamp"] {
        if new[field] != old[field] {
            errors.push(FieldError::invalid(format!("metadata.{field}"), new[field].clone(), "field is immutable"));
        }
    }
    let added: Vec<String> = items(&new["finalizers"])
        .iter()
        .filter(|f| !items(&old["finalizers"]).contains(f))
        .map(ToString::to_string)
        .collect();
    if old["deletionTimestamp"].is_string() && !added.is_empty() {
        let why = format!(
            "no new finalizers can be added if the object is being deleted, found new finalizers []string{{{}}}",
            added.join(", ")
        );
        errors.push(FieldError::forbidden("metadata.finalizers", why));
    }
    errors
}

// A name that was once accepted stays so: only what can change is judged again.
fn metadata_errors_of_labels(kind: &Kind, metadata: &Value) -> Vec<FieldError> {
    const ANY: validation::NameRule = |_, _| Vec::new();
    let path = Path::root("metadata");
    let mut errors = validation::validate_object_meta(metadata, ANY, kind.resource.namespaced, &path);
    if has_core_rules(kind) {
        errors.extend(standard_finalizers(metadata, &path));
    }
    errors
}
