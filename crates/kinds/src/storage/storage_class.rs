//! StorageClass: how volumes of a class are made.

use crate::column::{AGE, Column, NAME, string, string_or};
use crate::descriptor::{Defaults, Kind};
use crate::fields::default;
use k8s_openapi::api::storage::v1::StorageClass;
use serde_json::{Value, json};

/// The descriptor.
pub static KIND: Kind = Kind::new::<StorageClass>("storageclass", "io.k8s.api.storage.v1.StorageClass")
    .short(&["sc"])
    .rules(&Defaults(defaults))
    .columns(&[
        Column { cell: |_, o| json!(name(o)), ..NAME },
        Column::text("Provisioner", |_, o| o["provisioner"].clone()),
        Column::text("ReclaimPolicy", |_, o| json!(string_or(&o["reclaimPolicy"], "Delete"))),
        Column::text("VolumeBindingMode", |_, o| json!(string_or(&o["volumeBindingMode"], "Immediate"))),
        Column::text("AllowVolumeExpansion", |_, o| json!((o["allowVolumeExpansion"] == true).to_string())),
        AGE,
    ]);

fn name(object: &Value) -> String {
    let name = string(&object["metadata"]["name"]);
    let default = &object["metadata"]["annotations"]["storageclass.kubernetes.io/is-default-class"];
    if default == "true" { format!("{name} (default)") } else { name.into() }
}

fn defaults(class: &mut Value) {
    default(class, "reclaimPolicy", "Delete");
    default(class, "volumeBindingMode", "Immediate");
}
