//! DaemonSet: one pod on every node.

use crate::column::{AGE, CONTAINERS, Column, IMAGES, NAME, SELECTOR, labels, number};
use crate::core::pod;
use crate::descriptor::{Defaults, Kind, Subresource};
use crate::fields::{default, ensure};
use k8s_openapi::api::apps::v1::DaemonSet;
use serde_json::{Value, json};

const SCHEMA: &str = "io.k8s.api.apps.v1.DaemonSet";

/// The descriptor.
pub static KIND: Kind = Kind::new::<DaemonSet>("daemonset", SCHEMA)
    .short(&["ds"])
    .categories(&["all"])
    .generation()
    .subresources(&[Subresource::status::<DaemonSet>(SCHEMA)])
    .rules(&Defaults(defaults))
    .columns(&[
        NAME,
        Column::number("Desired", |_, o| json!(number(&o["status"]["desiredNumberScheduled"]))),
        Column::number("Current", |_, o| json!(number(&o["status"]["currentNumberScheduled"]))),
        Column::number("Ready", |_, o| json!(number(&o["status"]["numberReady"]))),
        Column::number("Up-to-date", |_, o| json!(number(&o["status"]["updatedNumberScheduled"]))),
        Column::number("Available", |_, o| json!(number(&o["status"]["numberAvailable"]))),
        Column::text("Node Selector", |_, o| json!(labels(&o["spec"]["template"]["spec"]["nodeSelector"]))),
        AGE,
        CONTAINERS,
        IMAGES,
        SELECTOR,
    ]);

fn defaults(object: &mut Value) {
    let spec = ensure(object, "spec");
    default(spec, "revisionHistoryLimit", 10);
    let strategy = ensure(spec, "updateStrategy");
    default(strategy, "type", "RollingUpdate");
    if strategy["type"] == "RollingUpdate" {
        let rolling = ensure(strategy, "rollingUpdate");
        default(rolling, "maxUnavailable", 1);
        default(rolling, "maxSurge", 0);
    }
    pod::defaults::template(ensure(spec, "template"));
}
