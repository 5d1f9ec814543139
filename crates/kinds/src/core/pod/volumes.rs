//! What is wrong with a pod's volumes. Their sources are a table of their own.

use super::env::{field_ref, resource_field_ref};
use super::validate::Scope;
use crate::check::Check;
use crate::column::{items, string};
use crate::core::persistent_volume_claim;
use crate::core::volume_sources::{self, OF_PODS, Source, mode, own_path};
use coracle_api::{Path, validation};
use serde_json::{Value, json};

const DOWNWARD: &[&str] =
    &["metadata.annotations", "metadata.labels", "metadata.name", "metadata.namespace", "metadata.uid"];

/// The volumes at `path`; returns those that are well formed, which alone may be mounted.
pub(super) fn validate<'a>(check: &mut Check, path: &Path, volumes: &'a Value, scope: &Scope<'_>) -> Vec<&'a Value> {
    let mut known: Vec<&Value> = Vec::new();
    let pod = scope.pod.map(|metadata| string(&metadata["name"])).filter(|name| !name.is_empty());
    let made: Vec<String> = pod.map_or_else(Vec::new, |pod| {
        let own = items(volumes).iter().filter(|v| v["ephemeral"].is_object());
        own.map(|v| format!("{pod}-{}", string(&v["name"]))).collect()
    });
    for (index, volume) in items(volumes).iter().enumerate() {
        let path = path.index(index);
        let before = check.count();
        let mut also = |check: &mut Check, source: &Source| of_pod(check, &path, volume, source, scope);
        volume_sources::validate(check, &path, volume, OF_PODS, &mut also);
        check.required_text(path.field("name"), &volume["name"], validation::dns1123_label);
        if known.iter().any(|k| k["name"] == volume["name"]) {
            check.duplicate(path.field("name"), string(&volume["name"]));
        }
        if check.count() == before {
            known.push(volume);
        }
        let claim = &volume["persistentVolumeClaim"]["claimName"];
        if made.iter().any(|name| claim == name) {
            let why = "must not reference a PVC that gets created for an ephemeral volume";
            check.invalid(path.field("persistentVolumeClaim").field("claimName"), claim, why);
        }
    }
    known
}

/// What depends on the volume's name, or on whether this is a pod or a template.
fn of_pod(check: &mut Check, path: &Path, volume: &Value, source: &Source, scope: &Scope<'_>) {
    match source.field {
        "iscsi" if !volume["iscsi"]["initiatorName"].is_null() => {
            let name = string(&volume["name"]);
            if name.len() + 1 + string(&volume["iscsi"]["targetPortal"]).len() > 64 {
                let why = "Total length of <volume name>:<iscsi.targetPortal> must be under 64 characters if iscsi.initiatorName is specified.";
                check.invalid(path.field("name"), &volume["name"], why);
            }
        }
        "ephemeral" => {
            let pod = scope.pod.map_or("", |metadata| string(&metadata["name"]));
            let name = string(&volume["name"]);
            if !pod.is_empty() && !name.is_empty() {
                let claim = format!("{pod}-{name}");
                for message in validation::dns1123_subdomain(&claim) {
                    check.invalid(path.field("name"), &volume["name"], format!("PVC name {claim:?}: {message}"));
                }
            }
        }
        "image" if scope.pod.is_some() && string(&volume["image"]["reference"]).is_empty() => {
            check.required(path.field("image").field("reference"), "");
        }
        _ => {}
    }
}

/// A claim made for the pod.
pub(crate) fn ephemeral(check: &mut Check, path: &Path, source: &Value) {
    let (at, template) = (path.field("volumeClaimTemplate"), &source["volumeClaimTemplate"]);
    if !template.is_object() {
        check.required(at, "");
        return;
    }
    let (metadata, given) = (at.field("metadata"), &template["metadata"]);
    check.extend(validation::validate_annotations(&given["annotations"], &metadata.field("annotations")));
    check.labels(&metadata.field("labels"), &given["labels"]);
    for (field, _) in crate::amounts::entries(given).filter(|(_, value)| !value.is_null()) {
        if !matches!(field.as_str(), "annotations" | "labels") {
            check.forbidden(metadata.field(field), "cannot be set");
        }
    }
    persistent_volume_claim::validate(check, &at.field("spec"), &template["spec"]);
}

/// Files with facts of the pod. Upstream names no index here.
pub(crate) fn downward(check: &mut Check, path: &Path, source: &Value) {
    for item in items(&source["items"]) {
        downward_file(check, path, item);
    }
}

/// A file with a fact of the pod.
pub(super) fn downward_file(check: &mut Check, path: &Path, item: &Value) {
    if string(&item["path"]).is_empty() {
        check.required(path.field("path"), "");
    }
    own_path(check, &path.field("path"), &item["path"]);
    let (field, resource) = (&item["fieldRef"], &item["resourceFieldRef"]);
    match (field.is_object(), resource.is_object()) {
        (true, both) => {
            field_ref(check, &path.field("fieldRef"), field, DOWNWARD);
            if both {
                let why = "fieldRef and resourceFieldRef can not be specified simultaneously";
                check.invalid(path.clone(), &json!("resource"), why);
            }
        }
        (false, true) => resource_field_ref(check, &path.field("resourceFieldRef"), resource, true),
        (false, false) => check.required(path.clone(), "one of fieldRef and resourceFieldRef is required"),
    }
    mode(check, path.field("mode"), &item["mode"]);
}
