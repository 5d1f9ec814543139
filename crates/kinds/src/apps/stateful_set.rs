//! StatefulSet: pods with names, records and volumes of their own.

use crate::column::{AGE, CONTAINERS, Column, IMAGES, NAME, number};
use crate::core::{persistent_volume_claim, pod};
use crate::descriptor::{Defaults, Kind, Subresource};
use crate::fields::{default, each, ensure, set};
use k8s_openapi::api::apps::v1::StatefulSet;
use serde_json::{Value, json};

const SCHEMA: &str = "io.k8s.api.apps.v1.StatefulSet";

/// The descriptor.
pub static KIND: Kind = Kind::new::<StatefulSet>("statefulset", SCHEMA)
    .short(&["sts"])
    .categories(&["all"])
    .generation()
    .subresources(&[Subresource::scale("spec.selector"), Subresource::status::<StatefulSet>(SCHEMA)])
    .rules(&Defaults(defaults))
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

fn defaults(object: &mut Value) {
    let spec = ensure(object, "spec");
    default(spec, "replicas", 1);
    default(spec, "revisionHistoryLimit", 10);
    default(spec, "podManagementPolicy", "OrderedReady");
    let strategy = ensure(spec, "updateStrategy");
    default(strategy, "type", "RollingUpdate");
    if strategy["type"] == "RollingUpdate" {
        default(ensure(strategy, "rollingUpdate"), "partition", 0);
    }
    let retention = ensure(spec, "persistentVolumeClaimRetentionPolicy");
    default(retention, "whenDeleted", "Retain");
    default(retention, "whenScaled", "Retain");
    each(spec, "volumeClaimTemplates", |claim| {
        set(claim, "apiVersion", "v1");
        set(claim, "kind", "PersistentVolumeClaim");
        persistent_volume_claim::defaults(claim);
        default(ensure(claim, "status"), "phase", "Pending");
    });
    pod::defaults::template(ensure(spec, "template"));
}
