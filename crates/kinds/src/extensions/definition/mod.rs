//! CustomResourceDefinition.
//!
//! Source: apiextensions-apiserver `pkg/registry/customresourcedefinition`, `pkg/apis/apiextensions/{v1/defaults.go,validation}`.

mod conversion;
mod defaults;
mod schema;
mod spec;
#[cfg(test)]
mod tests;

pub use conversion::is_bundle;
pub use spec::{Approval, approval_of, is_protected};

use crate::column::{DEFAULT, items, string};
use crate::custom::CLEANUP;
use crate::descriptor::{Kind, Part, Rules, Subresource};
use crate::fields::{default, ensure, within};
use coracle_api::{FieldError, Status};
use coracle_structural::{Schema, is_known_format};
use jiff::Timestamp;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use serde_json::{Value, json};
use std::collections::BTreeSet;

const SCHEMA: &str = "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.CustomResourceDefinition";

/// The descriptor.
pub static KIND: Kind = Kind::new::<CustomResourceDefinition>("customresourcedefinition", SCHEMA)
    .short(&["crd", "crds"])
    .categories(&["api-extensions"])
    .generation()
    .conditional_update()
    .subresources(&[Subresource::status::<CustomResourceDefinition>(SCHEMA)])
    .rules(&DefinitionRules)
    .columns(DEFAULT);

struct DefinitionRules;

impl Rules for DefinitionRules {
    fn default(&self, object: &mut Value) -> Result<(), Status> {
        let spec = ensure(object, "spec");
        within(spec, "names", |names| {
            let kind = string(&names["kind"]).to_string();
            default(names, "singular", kind.to_lowercase());
            if !kind.is_empty() {
                default(names, "listKind", format!("{kind}List"));
            }
        });
        if !spec["conversion"].is_object() {
            spec["conversion"] = json!({"strategy": "None"});
        }
        within(&mut spec["conversion"], "webhook", |hook| {
            within(hook, "clientConfig", |config| within(config, "service", |service| default(service, "port", 443)));
        });
        Ok(())
    }

    fn prepare_create(&self, object: &mut Value) {
        object["status"] = json!({"acceptedNames": {"kind": "", "plural": ""}, "conditions": [], "storedVersions": []});
        store_version(object);
    }

    fn prepare_update(&self, new: &mut Value, _old: &Value, part: Part) {
        if part == Part::Main {
            store_version(new);
        }
    }

    fn validate(&self, object: &Value) -> Vec<FieldError> {
        let mut errors = spec::name_errors(object);
        errors.extend(spec::errors(object, None));
        errors.extend(spec::status_errors(object));
        errors
    }

    fn validate_update(&self, new: &Value, old: &Value, part: Part) -> Vec<FieldError> {
        if part == Part::Status {
            return spec::names_errors(&new["status"]["acceptedNames"], "status.acceptedNames");
        }
        let mut errors = spec::errors(new, Some(old));
        errors.extend(spec::immutable_errors(new, old));
        errors.extend(spec::status_errors(new));
        errors
    }

    fn warnings(&self, object: &Value) -> Vec<String> {
        let (mut formats, mut sets) = (Vec::new(), BTreeSet::new());
        for version in items(&object["spec"]["versions"]) {
            let schema = Schema::parse(&version["schema"]["openAPIV3Schema"]);
            schema.any(&mut |s| {
                if !s.format.is_empty() && !is_known_format(&s.kind, &s.format) {
                    let said = format!("unrecognized format {:?}", s.format);
                    if !formats.contains(&said) {
                        formats.push(said);
                    }
                }
                let item = s.items.as_ref().map(|i| i.kind.as_str()).filter(|k| matches!(*k, "object" | "array"));
                if let (Some("set"), Some(kind)) = (s.list_type.as_deref(), item) {
                    sets.insert(format!("x-kubernetes-list-type: set for items of type {kind:?} is not supported by server-side apply or CEL validation rules"));
                }
                false
            });
        }
        formats.into_iter().chain(sets).collect()
    }

    fn update_warnings(&self, new: &Value, old: &Value) -> Vec<String> {
        let before = self.warnings(old);
        self.warnings(new).into_iter().filter(|warning| !before.contains(warning)).collect()
    }

    /// A definition waits for its objects, and says so at once.
    fn begin_deletion(&self, object: &mut Value, now: Timestamp) {
        let finalizers = ensure(object, "metadata");
        let list = finalizers["finalizers"].as_array().cloned().unwrap_or_default();
        if !list.iter().any(|f| f == CLEANUP) {
            finalizers["finalizers"] = list.into_iter().chain([json!(CLEANUP)]).collect();
        }
        let message = "CustomResourceDefinition marked for deletion; CustomResource deletion will begin soon";
        set_condition(&mut object["status"], "Terminating", "True", "InstanceDeletionPending", message, now);
    }
}

/// The storage version is one of those that objects are stored in.
fn store_version(object: &mut Value) {
    let versions = items(&object["spec"]["versions"]);
    let Some(name) = versions.iter().find(|v| v["storage"] == true).map(|v| v["name"].clone()) else { return };
    let stored = ensure(object, "status");
    let mut list = stored["storedVersions"].as_array().cloned().unwrap_or_default();
    if !list.contains(&name) {
        list.push(name);
    }
    stored["storedVersions"] = Value::Array(list);
}

/// Sets a condition; the time of its last transition moves only if its status changes.
pub fn set_condition(status: &mut Value, of: &str, is: &str, reason: &str, message: &str, now: Timestamp) {
    if !status["conditions"].is_array() {
        status["conditions"] = json!([]);
    }
    let Some(conditions) = status["conditions"].as_array_mut() else { return };
    let now = jiff::fmt::strtime::format("%Y-%m-%dT%H:%M:%SZ", now).unwrap_or_default();
    match conditions.iter_mut().find(|c| c["type"] == of) {
        Some(condition) => {
            if condition["status"] != is {
                condition["lastTransitionTime"] = json!(now);
            }
            condition["status"] = json!(is);
            condition["reason"] = json!(reason);
            condition["message"] = json!(message);
        }
        None => conditions.push(json!({
            "type": of, "status": is, "reason": reason, "message": message, "lastTransitionTime": now,
        })),
    }
}
