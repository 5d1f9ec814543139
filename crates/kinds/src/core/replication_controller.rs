//! ReplicationController: the older ReplicaSet.

use crate::check::{Check, filled, path};
use crate::column::{AGE, CONTAINERS, Column, IMAGES, NAME, SelectableField, labels, number};
use crate::core::pod;
use crate::descriptor::{Kind, Rules, Subresource, text};
use crate::fields::{default, ensure, set};
use crate::workload;
use coracle_api::{FieldError, Status};
use k8s_openapi::api::core::v1::ReplicationController;
use serde_json::{Value, json};

const SCHEMA: &str = "io.k8s.api.core.v1.ReplicationController";

/// The descriptor.
pub static KIND: Kind = Kind::new::<ReplicationController>("replicationcontroller", SCHEMA)
    .short(&["rc"])
    .categories(&["all"])
    .generation()
    .subresources(&[Subresource::status::<ReplicationController>(SCHEMA), Subresource::scale("spec.selector")])
    .selectable(&[SelectableField { path: "status.replicas", get: |o| text(&json!(number(&o["status"]["replicas"]))) }])
    .rules(&ReplicationControllerRules)
    .columns(&[
        NAME,
        Column::number("Desired", |_, o| json!(number(&o["spec"]["replicas"]))),
        Column::number("Current", |_, o| json!(number(&o["status"]["replicas"]))),
        Column::number("Ready", |_, o| json!(number(&o["status"]["readyReplicas"]))),
        AGE,
        CONTAINERS,
        IMAGES,
        Column::text("Selector", |_, o| json!(labels(&o["spec"]["selector"]))).wide(),
    ]);

fn defaults(object: &mut Value) {
    let spec = ensure(object, "spec");
    default(spec, "replicas", 1);
    if spec["template"].is_object() {
        pod::defaults::template(&mut spec["template"]);
    }
    // What the template's pods are called is what it selects, and what it is called itself.
    let labels = spec["template"]["metadata"]["labels"].clone();
    if labels.as_object().is_some_and(|l| !l.is_empty()) {
        if spec["selector"].as_object().is_none_or(serde_json::Map::is_empty) {
            set(spec, "selector", labels.clone());
        }
        let metadata = ensure(object, "metadata");
        if metadata["labels"].as_object().is_none_or(serde_json::Map::is_empty) {
            set(metadata, "labels", labels);
        }
    }
}

struct ReplicationControllerRules;

impl Rules for ReplicationControllerRules {
    fn default(&self, object: &mut Value) -> Result<(), Status> {
        defaults(object);
        Ok(())
    }

    fn validate(&self, object: &Value) -> Vec<FieldError> {
        Check::run(|check| {
            let (at, spec) = (path("spec"), &object["spec"]);
            check.none_negative(&at, spec, &["replicas", "minReadySeconds"]);
            if !filled(spec, "selector") {
                check.required(at.field("selector"), "");
            }
            if !spec["template"].is_object() {
                check.required(at.field("template"), "");
                return;
            }
            let labels = workload::labels(&spec["template"]);
            let selected = spec["selector"].as_object().into_iter().flatten();
            if selected.into_iter().any(|(key, value)| labels.get(key).map(String::as_str) != value.as_str()) {
                let at = at.field("template").field("metadata").field("labels");
                check.invalid(at, &json!(labels), "`selector` does not match template `labels`");
            }
            workload::template(check, &at.field("template"), &spec["template"], "ReplicationController");
        })
    }
}
