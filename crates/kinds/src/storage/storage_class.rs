//! StorageClass: how volumes of a class are made.

use crate::check::{Check, path};
use crate::column::{AGE, Column, NAME, string, string_or};
use crate::descriptor::{Kind, Part, Rules};
use crate::fields::default;
use coracle_api::{FieldError, Status};
use k8s_openapi::api::storage::v1::StorageClass;
use serde_json::{Value, json};

/// The descriptor.
pub static KIND: Kind = Kind::new::<StorageClass>("storageclass", "io.k8s.api.storage.v1.StorageClass")
    .short(&["sc"])
    .rules(&StorageClassRules)
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

struct StorageClassRules;

impl Rules for StorageClassRules {
    fn default(&self, object: &mut Value) -> Result<(), Status> {
        defaults(object);
        Ok(())
    }

    fn validate(&self, object: &Value) -> Vec<FieldError> {
        Check::run(|check| {
            if string(&object["provisioner"]).is_empty() {
                check.required(path("provisioner"), "");
            }
            check.required_one_of(path("reclaimPolicy"), &object["reclaimPolicy"], &["Delete", "Retain"]);
            let modes = ["Immediate", "WaitForFirstConsumer"];
            check.required_one_of(path("volumeBindingMode"), &object["volumeBindingMode"], &modes);
        })
    }

    fn validate_update(&self, new: &Value, old: &Value, part: Part) -> Vec<FieldError> {
        if part != Part::Main {
            return Vec::new();
        }
        let mut errors = self.validate(new);
        errors.extend(Check::run(|check| {
            for field in ["parameters", "provisioner", "reclaimPolicy"] {
                if new[field] != old[field] {
                    check.forbidden(path(field), &format!("updates to {field} are forbidden."));
                }
            }
            check.immutable(path("volumeBindingMode"), &new["volumeBindingMode"], &old["volumeBindingMode"]);
        }));
        errors
    }
}
