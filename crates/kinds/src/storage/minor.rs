//! Storage kinds without rules of their own.

use crate::column::{AGE, Column, DEFAULT, NAME, items, or_none, string, string_or};
use crate::descriptor::{Defaults, Kind, Subresource};
use crate::fields::{default, ensure};
use k8s_openapi::api::storage::v1::{CSIDriver, CSINode, CSIStorageCapacity, VolumeAttachment, VolumeAttributesClass};
use serde_json::{Value, json};

const ATTACHMENT: &str = "io.k8s.api.storage.v1.VolumeAttachment";

/// CSIDriver.
pub static CSI_DRIVER: Kind =
    Kind::new::<CSIDriver>("csidriver", "io.k8s.api.storage.v1.CSIDriver").rules(&Defaults(driver)).columns(&[
        NAME,
        Column {
            kind: "boolean",
            ..Column::text("AttachRequired", |_, o| json!(o["spec"]["attachRequired"] != false))
        },
        Column { kind: "boolean", ..Column::text("PodInfoOnMount", |_, o| json!(o["spec"]["podInfoOnMount"] == true)) },
        Column {
            kind: "boolean",
            ..Column::text("StorageCapacity", |_, o| json!(o["spec"]["storageCapacity"] == true))
        },
        Column::text("TokenRequests", |_, o| json!(list(&o["spec"]["tokenRequests"], "audience", "<unset>"))),
        Column {
            kind: "boolean",
            ..Column::text("RequiresRepublish", |_, o| json!(o["spec"]["requiresRepublish"] == true))
        },
        Column::text("Modes", |_, o| {
            let modes = items(&o["spec"]["volumeLifecycleModes"]).iter().map(string).collect::<Vec<_>>().join(",");
            json!(or_none(modes))
        }),
        AGE,
    ]);

/// CSINode.
pub static CSI_NODE: Kind = Kind::new::<CSINode>("csinode", "io.k8s.api.storage.v1.CSINode").columns(&[
    NAME,
    Column::number("Drivers", |_, o| json!(items(&o["spec"]["drivers"]).len())),
    AGE,
]);

/// CSIStorageCapacity.
pub static CSI_STORAGE_CAPACITY: Kind =
    Kind::new::<CSIStorageCapacity>("csistoragecapacity", "io.k8s.api.storage.v1.CSIStorageCapacity").columns(DEFAULT);

/// VolumeAttachment.
pub static VOLUME_ATTACHMENT: Kind = Kind::new::<VolumeAttachment>("volumeattachment", ATTACHMENT)
    .subresources(&[Subresource::status::<VolumeAttachment>(ATTACHMENT)])
    .columns(&[
        NAME,
        Column::text("Attacher", |_, o| o["spec"]["attacher"].clone()),
        Column::text("PV", |_, o| json!(string(&o["spec"]["source"]["persistentVolumeName"]))),
        Column::text("Node", |_, o| o["spec"]["nodeName"].clone()),
        Column { kind: "boolean", ..Column::text("Attached", |_, o| json!(o["status"]["attached"] == true)) },
        AGE,
    ]);

/// VolumeAttributesClass.
pub static VOLUME_ATTRIBUTES_CLASS: Kind =
    Kind::new::<VolumeAttributesClass>("volumeattributesclass", "io.k8s.api.storage.v1.VolumeAttributesClass")
        .short(&["vac"])
        .columns(&[NAME, Column::text("DriverName", |_, o| o["driverName"].clone()), AGE]);

fn list(values: &Value, field: &str, empty: &str) -> String {
    let names = items(values).iter().map(|v| string_or(&v[field], "")).collect::<Vec<_>>();
    if names.is_empty() { empty.into() } else { names.join(",") }
}

fn driver(driver: &mut Value) {
    let spec = ensure(driver, "spec");
    default(spec, "attachRequired", true);
    for field in ["podInfoOnMount", "storageCapacity", "requiresRepublish", "seLinuxMount"] {
        default(spec, field, false);
    }
    default(spec, "fsGroupPolicy", "ReadWriteOnceWithFSType");
    default(spec, "volumeLifecycleModes", json!(["Persistent"]));
}
