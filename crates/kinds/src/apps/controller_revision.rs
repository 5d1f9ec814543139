//! ControllerRevision: an unchangeable snapshot of a StatefulSet's or DaemonSet's template.

use crate::check::{Check, path};
use crate::column::{AGE, Column, NAME, items, number, string};
use crate::descriptor::{Kind, Part, Rules};
use coracle_api::FieldError;
use k8s_openapi::api::apps::v1::ControllerRevision;
use serde_json::{Value, json};

/// The descriptor.
pub static KIND: Kind = Kind::new::<ControllerRevision>("controllerrevision", "io.k8s.api.apps.v1.ControllerRevision")
    .rules(&RevisionRules)
    .columns(&[
        NAME,
        Column::text("Controller", |_, o| json!(controller(o))).about("Controller of the object"),
        Column::number("Revision", |_, o| json!(number(&o["revision"]))),
        AGE,
    ]);

fn controller(object: &Value) -> String {
    let owners = items(&object["metadata"]["ownerReferences"]);
    let Some(owner) = owners.iter().find(|o| o["controller"] == true) else { return "<none>".into() };
    let group = string(&owner["apiVersion"]).split_once('/').map_or("", |(group, _)| group);
    let kind = string(&owner["kind"]).to_lowercase();
    let name = string(&owner["name"]);
    if group.is_empty() { format!("{kind}/{name}") } else { format!("{kind}.{group}/{name}") }
}

struct RevisionRules;

impl Rules for RevisionRules {
    fn validate(&self, object: &Value) -> Vec<FieldError> {
        Check::run(|check| {
            if object["data"].is_null() {
                check.required(path("data"), "data is mandatory");
            }
            check.not_negative(path("revision"), &object["revision"]);
        })
    }

    fn validate_update(&self, new: &Value, old: &Value, _: Part) -> Vec<FieldError> {
        let mut errors = self.validate(new);
        errors.extend(Check::run(|check| check.immutable(path("data"), &new["data"], &old["data"])));
        errors
    }
}
