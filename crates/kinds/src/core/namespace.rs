//! Namespace: a scope for names. Leaves only when everything in it has left.

use crate::check::{Check, path};
use crate::column::{AGE, Column, NAME, SelectableField, items, string};
use crate::descriptor::{Action, Deletion, Kind, NameRule, Part, Rules, Subresource, text};
use crate::fields::{carry, ensure, set};
use coracle_api::{FieldError, Path, Status, validation};
use k8s_openapi::api::core::v1::Namespace;
use serde_json::{Value, json};

const SCHEMA: &str = "io.k8s.api.core.v1.Namespace";

/// The descriptor.
pub static KIND: Kind = {
    let mut kind = Kind::new::<Namespace>("namespace", SCHEMA)
        .short(&["ns"])
        .names(NameRule::DnsLabel)
        .subresources(&[Subresource::status::<Namespace>(SCHEMA), FINALIZE])
        .deletion(Deletion::Namespace)
        .selectable(&[SelectableField { path: "status.phase", get: |o| text(&o["status"]["phase"]) }])
        .rules(&NamespaceRules)
        .columns(&[NAME, Column::text("Status", |_, o| o["status"]["phase"].clone()), AGE]);
    // a collection of namespaces is never deleted in one request
    kind.verbs = &["create", "delete", "get", "list", "patch", "update", "watch"];
    kind
};

const FINALIZE: Subresource =
    Subresource { verbs: &["update"], ..Subresource::of::<Namespace>(Action::Finalize, SCHEMA) };

struct NamespaceRules;

impl Rules for NamespaceRules {
    fn default(&self, object: &mut Value) -> Result<(), Status> {
        let metadata = ensure(object, "metadata");
        let name = metadata["name"].clone();
        // a generated name is not known yet
        if name.as_str().is_some_and(|s| !s.is_empty()) {
            set(ensure(metadata, "labels"), "kubernetes.io/metadata.name", name);
        }
        Ok(())
    }

    fn prepare_create(&self, object: &mut Value) {
        set(object, "status", json!({"phase": "Active"}));
        let spec = ensure(object, "spec");
        let mut finalizers = items(&spec["finalizers"]).to_vec();
        if !finalizers.iter().any(|f| f == "kubernetes") {
            finalizers.push(json!("kubernetes"));
        }
        set(spec, "finalizers", finalizers);
    }

    fn prepare_update(&self, new: &mut Value, old: &Value, part: Part) {
        match part {
            Part::Main => carry(ensure(new, "spec"), &old["spec"], "finalizers"),
            Part::Finalize => {
                let finalizers = new["spec"]["finalizers"].take();
                let revision = new["metadata"]["resourceVersion"].take();
                *new = old.clone();
                if !revision.is_null() {
                    new["metadata"]["resourceVersion"] = revision;
                }
                set(ensure(new, "spec"), "finalizers", finalizers);
            }
            _ => {}
        }
    }

    fn validate(&self, object: &Value) -> Vec<FieldError> {
        Check::run(|check| {
            for finalizer in items(&object["spec"]["finalizers"]) {
                finalizer_name(check, &path("spec").field("finalizers"), finalizer);
            }
        })
    }

    fn validate_update(&self, new: &Value, _old: &Value, part: Part) -> Vec<FieldError> {
        Check::run(|check| match part {
            Part::Status => {
                let (phase, leaving) = (&new["status"]["phase"], new["metadata"]["deletionTimestamp"].is_string());
                let (fits, when) = if leaving { ("Terminating", "is not empty") } else { ("Active", "is empty") };
                if phase != fits {
                    let why = format!("may only be '{fits}' if `deletionTimestamp` {when}");
                    check.invalid(path("status").field("Phase"), &json!(string(phase)), why);
                }
            }
            Part::Finalize => {
                for (index, finalizer) in items(&new["spec"]["finalizers"]).iter().enumerate() {
                    finalizer_name(check, &path("spec").field("finalizers").index(index), finalizer);
                }
            }
            _ => {}
        })
    }
}

fn finalizer_name(check: &mut Check, path: &Path, name: &Value) {
    check.word(path, name, validation::qualified_name);
    if !string(name).contains('/') && !matches!(string(name), "kubernetes" | "orphan" | "foregroundDeletion") {
        check.invalid(path.clone(), name, "name is neither a standard finalizer name nor is it fully qualified");
    }
}
