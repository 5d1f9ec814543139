//! Deployment: interchangeable pods that roll from one template to the next.

use crate::column::{AGE, CONTAINERS, Column, IMAGES, NAME, SELECTOR, number};
use crate::core::pod;
use crate::descriptor::{Defaults, Kind, Subresource};
use crate::fields::{default, ensure};
use k8s_openapi::api::apps::v1::Deployment;
use serde_json::{Value, json};

const SCHEMA: &str = "io.k8s.api.apps.v1.Deployment";

/// The descriptor.
pub static KIND: Kind = Kind::new::<Deployment>("deployment", SCHEMA)
    .short(&["deploy"])
    .categories(&["all"])
    .generation()
    .subresources(&[Subresource::scale("spec.selector"), Subresource::status::<Deployment>(SCHEMA)])
    .rules(&Defaults(defaults))
    .columns(&[
        NAME,
        Column::text("Ready", |_, o| {
            json!(format!("{}/{}", number(&o["status"]["readyReplicas"]), number(&o["spec"]["replicas"])))
        })
        .about("Number of the pod with ready state"),
        Column::number("Up-to-date", |_, o| json!(number(&o["status"]["updatedReplicas"]))),
        Column::number("Available", |_, o| json!(number(&o["status"]["availableReplicas"]))),
        AGE,
        CONTAINERS,
        IMAGES,
        SELECTOR,
    ]);

fn defaults(object: &mut Value) {
    let spec = ensure(object, "spec");
    default(spec, "replicas", 1);
    default(spec, "revisionHistoryLimit", 10);
    default(spec, "progressDeadlineSeconds", 600);
    let strategy = ensure(spec, "strategy");
    default(strategy, "type", "RollingUpdate");
    if strategy["type"] == "RollingUpdate" {
        let rolling = ensure(strategy, "rollingUpdate");
        default(rolling, "maxUnavailable", "25%");
        default(rolling, "maxSurge", "25%");
    }
    pod::defaults::template(ensure(spec, "template"));
}
