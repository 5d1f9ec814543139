//! Which part of a pod a request may change; everything else is carried over.

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
