//! Which part of a pod a request may change; everything else is carried over.

use crate::check::{Check, path};
use crate::column::items;
use crate::descriptor::Part;
use crate::fields::{carry, ensure, set};
use serde_json::{Value, json};

pub(super) fn prepare(new: &mut Value, old: &Value, part: Part) {
    match part {
        Part::Main => {}
        Part::Status => {
            carry(ensure(new, "status"), &old["status"], "qosClass");
            carry(ensure(new, "metadata"), &old["metadata"], "ownerReferences");
        }
        Part::EphemeralContainers => {
            let containers = new["spec"]["ephemeralContainers"].take();
            keep_metadata(new, old);
            if !containers.is_null() {
                set(ensure(new, "spec"), "ephemeralContainers", containers);
            }
        }
        Part::Resize => resize(new, old),
        Part::Approval | Part::Finalize => {}
    }
}

// Labels and the like belong to the main resource.
fn keep_metadata(new: &mut Value, old: &Value) {
    let revision = new["metadata"]["resourceVersion"].take();
    let managers = new["metadata"]["managedFields"].take();
    *new = old.clone();
    for (field, value) in [("resourceVersion", revision), ("managedFields", managers)] {
        if !value.is_null() {
            new["metadata"][field] = value;
        }
    }
}

fn resize(new: &mut Value, old: &Value) {
    let wanted: Vec<(&str, Value, Vec<(Value, Value, Value)>)> = ["containers", "initContainers"]
        .into_iter()
        .map(|list| {
            let parts = items(&new["spec"][list]).iter();
            (
                list,
                json!(null),
                parts.map(|c| (c["name"].clone(), c["resources"].clone(), c["resizePolicy"].clone())).collect(),
            )
        })
        .collect();
    keep_metadata(new, old);
    for (list, _, parts) in wanted {
        for (name, resources, policy) in parts {
            let Some(all) = new["spec"][list].as_array_mut() else { continue };
            let Some(container) = all.iter_mut().find(|c| c["name"] == name) else { continue };
            set(container, "resources", resources);
            if !policy.is_null() {
                set(container, "resizePolicy", policy);
            }
        }
    }
}

const MAY_CHANGE: &str = "pod updates may not change fields other than `spec.containers[*].image`,\
`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),\
`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)";

/// What is wrong with an update of a pod's main part.
pub(super) fn validate(check: &mut Check, new: &Value, old: &Value) {
    let spec = path("spec");
    for list in ["containers", "initContainers"] {
        if items(&new["spec"][list]).len() != items(&old["spec"][list]).len() {
            check.forbidden(spec.field(list), "pod updates may not add or remove containers");
            return;
        }
    }
    deadline(check, &new["spec"]["activeDeadlineSeconds"], &old["spec"]["activeDeadlineSeconds"]);
    let added_only = items(&old["spec"]["tolerations"])
        .iter()
        .all(|t| items(&new["spec"]["tolerations"]).iter().any(|n| same_toleration(n, t)));
    if !added_only {
        check.forbidden(
            spec.field("tolerations"),
            "existing toleration can not be modified except its tolerationSeconds",
        );
    }
    let gates = &new["spec"]["schedulingGates"];
    let had = items(&old["spec"]["schedulingGates"]);
    if items(gates).iter().any(|g| !had.contains(g)) {
        check.forbidden(spec.field("schedulingGates"), "only deletion is allowed, but found new scheduling gate");
    }
    let munged = munge(new, old);
    if munged["spec"] != old["spec"] {
        check.forbidden(spec, MAY_CHANGE);
    }
}

fn same_toleration(new: &Value, old: &Value) -> bool {
    ["key", "operator", "value", "effect"].iter().all(|f| new[*f] == old[*f])
}

fn deadline(check: &mut Check, new: &Value, old: &Value) {
    let at = path("spec").field("activeDeadlineSeconds");
    match (new.as_i64(), old.as_i64()) {
        (Some(now), Some(before)) if now > before => {
            check.invalid(at, new, format!("must be less than or equal to previous value: {before}"));
        }
        (None, Some(_)) => check.invalid(at, new, "must not update from a positive integer to nil value"),
        _ => {}
    }
}

// `new` with everything that may change put back.
fn munge(new: &Value, old: &Value) -> Value {
    let mut munged = new.clone();
    let before = &old["spec"];
    let gated = !items(&before["schedulingGates"]).is_empty();
    let spec = &mut munged["spec"];
    for list in ["containers", "initContainers"] {
        if let Some(containers) = spec.get_mut(list).and_then(Value::as_array_mut) {
            for (container, was) in containers.iter_mut().zip(items(&before[list])) {
                carry(container, was, "image");
            }
        }
    }
    for field in ["activeDeadlineSeconds", "tolerations", "schedulingGates"] {
        carry(spec, before, field);
    }
    if before["terminationGracePeriodSeconds"].as_i64().is_some_and(|n| n < 0)
        && spec["terminationGracePeriodSeconds"] == 1
    {
        carry(spec, before, "terminationGracePeriodSeconds");
    }
    // A gated pod may still be narrowed to fewer nodes.
    if gated {
        let narrower = before["nodeSelector"]
            .as_object()
            .is_none_or(|old| old.iter().all(|(key, value)| spec["nodeSelector"].get(key) == Some(value)));
        if narrower {
            carry(spec, before, "nodeSelector");
        }
        if before["affinity"]["nodeAffinity"].is_null() && !spec["affinity"].is_null() {
            let affinity = ensure(spec, "affinity");
            carry(affinity, &before["affinity"], "nodeAffinity");
            if affinity.as_object().is_some_and(serde_json::Map::is_empty) {
                carry(spec, before, "affinity");
            }
        }
    }
    munged
}
