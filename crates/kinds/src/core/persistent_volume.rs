//! PersistentVolume: a piece of storage.

use crate::column::{AGE, Column, NAME, access_modes, string, string_or};
use crate::core::pod;
use crate::descriptor::{Kind, Rules, Subresource};
use crate::fields::{default, ensure, set};
use coracle_api::Status;
use k8s_openapi::api::core::v1::PersistentVolume;
use serde_json::{Value, json};

const SCHEMA: &str = "io.k8s.api.core.v1.PersistentVolume";

/// The descriptor.
pub static KIND: Kind = Kind::new::<PersistentVolume>("persistentvolume", SCHEMA)
    .short(&["pv"])
    .subresources(&[Subresource::status::<PersistentVolume>(SCHEMA)])
    .rules(&VolumeRules)
    .columns(&[
        NAME,
        Column::text("Capacity", |_, o| json!(string(&o["spec"]["capacity"]["storage"]))),
        Column::text("Access Modes", |_, o| json!(access_modes(&o["spec"]["accessModes"]))),
        Column::text("Reclaim Policy", |_, o| json!(string(&o["spec"]["persistentVolumeReclaimPolicy"]))),
        Column::text("Status", |_, o| json!(phase(o))),
        Column::text("Claim", |_, o| json!(claim(o))),
        Column::text("StorageClass", |_, o| json!(string(&o["spec"]["storageClassName"]))),
        Column::text("VolumeAttributesClass", |_, o| {
            json!(string_or(&o["spec"]["volumeAttributesClassName"], "<unset>"))
        }),
        Column::text("Reason", |_, o| json!(string(&o["status"]["reason"]))),
        AGE,
        Column::text("VolumeMode", |_, o| json!(string_or(&o["spec"]["volumeMode"], "<unset>"))).wide(),
    ]);

fn phase(object: &Value) -> &str {
    if object["metadata"]["deletionTimestamp"].is_string() { "Terminating" } else { string(&object["status"]["phase"]) }
}

fn claim(object: &Value) -> String {
    let claim = &object["spec"]["claimRef"];
    if claim.is_object() {
        format!("{}/{}", string(&claim["namespace"]), string(&claim["name"]))
    } else {
        String::new()
    }
}

struct VolumeRules;

impl Rules for VolumeRules {
    fn default(&self, object: &mut Value) -> Result<(), Status> {
        let spec = ensure(object, "spec");
        default(spec, "persistentVolumeReclaimPolicy", "Retain");
        default(spec, "volumeMode", "Filesystem");
        pod::defaults::volume_source(spec);
        Ok(())
    }

    fn prepare_create(&self, object: &mut Value) {
        set(object, "status", json!({"phase": "Pending"}));
    }
}
