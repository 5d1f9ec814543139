//! ReplicationController: the older ReplicaSet.

use crate::column::{AGE, CONTAINERS, Column, IMAGES, NAME, SelectableField, labels, number};
use crate::descriptor::{Kind, Subresource, text};
use k8s_openapi::api::core::v1::ReplicationController;
use serde_json::json;

const SCHEMA: &str = "io.k8s.api.core.v1.ReplicationController";

/// The descriptor.
pub static KIND: Kind = Kind::new::<ReplicationController>("replicationcontroller", SCHEMA)
    .short(&["rc"])
    .categories(&["all"])
    .generation()
    .subresources(&[Subresource::status::<ReplicationController>(SCHEMA), Subresource::scale("spec.selector")])
    .selectable(&[SelectableField { path: "status.replicas", get: |o| text(&json!(number(&o["status"]["replicas"]))) }])
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
