//! PersistentVolumeClaim: a wish for storage.

use crate::column::{AGE, Column, NAME, access_modes, string, string_or};
use crate::descriptor::{Kind, Rules, Subresource};
use crate::fields::{default, ensure, set};
use coracle_api::Status;
use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use serde_json::{Value, json};

const SCHEMA: &str = "io.k8s.api.core.v1.PersistentVolumeClaim";

/// The descriptor.
pub static KIND: Kind = Kind::new::<PersistentVolumeClaim>("persistentvolumeclaim", SCHEMA)
    .short(&["pvc"])
    .subresources(&[Subresource::status::<PersistentVolumeClaim>(SCHEMA)])
    .rules(&ClaimRules)
    .columns(&[
        NAME,
        Column::text("Status", |_, o| json!(phase(o))),
        Column::text("Volume", |_, o| json!(string(&o["spec"]["volumeName"]))),
        Column::text("Capacity", |_, o| json!(if bound(o) { string(&o["status"]["capacity"]["storage"]) } else { "" })),
        Column::text("Access Modes", |_, o| {
            json!(if bound(o) { access_modes(&o["status"]["accessModes"]) } else { String::new() })
        }),
        Column::text("StorageClass", |_, o| json!(string(&o["spec"]["storageClassName"]))),
        Column::text("VolumeAttributesClass", |_, o| {
            json!(string_or(&o["spec"]["volumeAttributesClassName"], "<unset>"))
        }),
        AGE,
        Column::text("VolumeMode", |_, o| json!(string_or(&o["spec"]["volumeMode"], "<unset>"))).wide(),
    ]);

fn bound(object: &Value) -> bool {
    !string(&object["spec"]["volumeName"]).is_empty()
}

fn phase(object: &Value) -> &str {
    if object["metadata"]["deletionTimestamp"].is_string() { "Terminating" } else { string(&object["status"]["phase"]) }
}

/// Defaults of a claim, also of one in a StatefulSet's templates.
pub fn defaults(claim: &mut Value) {
    default(ensure(claim, "spec"), "volumeMode", "Filesystem");
}

struct ClaimRules;

impl Rules for ClaimRules {
    fn default(&self, object: &mut Value) -> Result<(), Status> {
        defaults(object);
        Ok(())
    }

    fn prepare_create(&self, object: &mut Value) {
        set(object, "status", json!({"phase": "Pending"}));
    }
}
