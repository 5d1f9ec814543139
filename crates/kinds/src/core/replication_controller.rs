//! ReplicationController: the older ReplicaSet.

use crate::column::{AGE, CONTAINERS, Column, IMAGES, NAME, SelectableField, labels, number};
use crate::core::pod;
use crate::descriptor::{Defaults, Kind, Subresource, text};
use crate::fields::{default, ensure, set};
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
    .rules(&Defaults(defaults))
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
