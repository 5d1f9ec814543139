//! ReplicationController: the older ReplicaSet.

use crate::check::{Check, filled, path};
use crate::column::{AGE, CONTAINERS, Column, IMAGES, NAME, SelectableField, labels, number};
use crate::core::pod;
use crate::descriptor::{Kind, Part, Rules, Subresource, text};
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
            check.not_negative(at.field("minReadySeconds"), &spec["minReadySeconds"]);
            if !filled(spec, "selector") {
                check.required(at.field("selector"), "");
            }
            check.not_negative(at.field("replicas"), &spec["replicas"]);
            if !spec["template"].is_object() {
                check.required(at.field("template"), "");
                return;
            }
            let selected = json!({"matchLabels": spec["selector"]});
            workload::selected(check, &at, &selected, &spec["template"]);
            workload::template(check, &at.field("template"), &spec["template"], "ReplicationController");
        })
    }

    fn validate_update(&self, new: &Value, old: &Value, part: Part) -> Vec<FieldError> {
        match part {
            Part::Main => self.validate(new),
            Part::Status => Check::run(|check| workload::REPLICAS.check(check, new, old)),
            _ => Vec::new(),
        }
    }

    fn warnings(&self, object: &Value) -> Vec<String> {
        workload::warnings(object)
    }

    fn update_warnings(&self, new: &Value, old: &Value) -> Vec<String> {
        workload::update_warnings(new, old)
    }
}
