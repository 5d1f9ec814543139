//! ReplicaSet: so many pods of one template.

use crate::column::{AGE, CONTAINERS, Column, IMAGES, NAME, SELECTOR, SelectableField, number};
use crate::core::pod;
use crate::descriptor::{Defaults, Kind, Subresource, text};
use crate::fields::{default, ensure};
use k8s_openapi::api::apps::v1::ReplicaSet;
use serde_json::{Value, json};

const SCHEMA: &str = "io.k8s.api.apps.v1.ReplicaSet";

/// The descriptor.
pub static KIND: Kind = Kind::new::<ReplicaSet>("replicaset", SCHEMA)
    .short(&["rs"])
    .categories(&["all"])
    .generation()
    .subresources(&[Subresource::scale("spec.selector"), Subresource::status::<ReplicaSet>(SCHEMA)])
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
        SELECTOR,
    ]);

fn defaults(object: &mut Value) {
    let spec = ensure(object, "spec");
    default(spec, "replicas", 1);
    pod::defaults::template(ensure(spec, "template"));
}
