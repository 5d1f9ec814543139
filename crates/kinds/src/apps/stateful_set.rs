//! StatefulSet: pods with names, records and volumes of their own.

use crate::column::{AGE, CONTAINERS, Column, IMAGES, NAME, number};
use crate::descriptor::{Kind, Subresource};
use k8s_openapi::api::apps::v1::StatefulSet;
use serde_json::json;

const SCHEMA: &str = "io.k8s.api.apps.v1.StatefulSet";

/// The descriptor.
pub static KIND: Kind = Kind::new::<StatefulSet>("statefulset", SCHEMA)
    .short(&["sts"])
    .categories(&["all"])
    .generation()
    .subresources(&[Subresource::scale("spec.selector"), Subresource::status::<StatefulSet>(SCHEMA)])
    .columns(&[
        NAME,
        Column::text("Ready", |_, o| {
            json!(format!("{}/{}", number(&o["status"]["readyReplicas"]), number(&o["spec"]["replicas"])))
        })
        .about("Number of the pod with ready state"),
        AGE,
        CONTAINERS,
        IMAGES,
    ]);
