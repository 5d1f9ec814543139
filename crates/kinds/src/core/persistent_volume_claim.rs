//! PersistentVolumeClaim: a wish for storage.

use crate::check::{Check, path};
use crate::column::{AGE, Column, NAME, access_modes, items, string, string_or};
use crate::descriptor::{Kind, Part, Rules, Subresource};
use crate::fields::{absent, carry, default, ensure, set};
use coracle_api::{FieldError, Path, Status, validation};
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

    fn validate(&self, claim: &Value) -> Vec<FieldError> {
        Check::run(|check| validate(check, &path("spec"), &claim["spec"]))
    }

    fn validate_update(&self, new: &Value, old: &Value, part: Part) -> Vec<FieldError> {
        if part != Part::Main {
            return Vec::new();
        }
        let mut errors = self.validate(new);
        errors.extend(Check::run(|check| changed(check, new, old)));
        errors
    }
}

/// A claim's spec at `path`.
pub fn validate(check: &mut Check, path: &Path, spec: &Value) {
    access(check, path, spec);
    check.selector(&path.field("selector"), &spec["selector"]);
    let storage = &spec["resources"]["requests"]["storage"];
    let at = path.field("resources").key("storage");
    if storage.is_null() {
        check.required(at, "");
    } else if let Some(amount) = check.amount(at.clone(), storage)
        && amount.is_zero()
    {
        check.invalid(at, storage, "must be greater than zero");
    }
    check.text(path.field("storageClassName"), &spec["storageClassName"], validation::dns1123_subdomain);
    check.one_of(path.field("volumeMode"), &spec["volumeMode"], &["Block", "Filesystem"]);
}

/// Access modes of a claim or a volume.
pub(crate) fn access(check: &mut Check, path: &Path, spec: &Value) {
    let at = path.field("accessModes");
    let modes = items(&spec["accessModes"]);
    if modes.is_empty() {
        check.required(at.clone(), "at least 1 access mode is required");
    }
    for mode in modes {
        let known = ["ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod"];
        check.one_of(at.clone(), mode, &known);
    }
    if modes.len() > 1 && modes.iter().any(|m| m == "ReadWriteOncePod") {
        check.forbidden(at, "may not use ReadWriteOncePod with other access modes");
    }
}

const ONLY: &str =
    "spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims";

// A binder may name the volume, a default class may come late, a bound claim may grow.
fn changed(check: &mut Check, new: &Value, old: &Value) {
    let (mut munged, before) = (new["spec"].clone(), &old["spec"]);
    for field in ["volumeName", "storageClassName", "volumeAttributesClassName"] {
        if absent(before, field) && before[field] != "" {
            carry(&mut munged, before, field);
        }
    }
    let bound = old["status"]["phase"] == "Bound";
    if bound {
        carry(&mut munged, before, "volumeAttributesClassName");
        carry(ensure(&mut munged, "resources"), &before["resources"], "requests");
    }
    if munged != *before {
        check.forbidden(path("spec"), ONLY);
        return;
    }
    let size = |v: &Value| string(&v["resources"]["requests"]["storage"]).parse::<coracle_api::Quantity>().ok();
    let capacity = string(&old["status"]["capacity"]["storage"]).parse::<coracle_api::Quantity>().ok();
    let smaller = size(&new["spec"])
        .zip(size(before))
        .is_some_and(|(now, then)| now < then && capacity.is_none_or(|capacity| now < capacity));
    if smaller {
        let at = path("spec").field("resources").field("requests").field("storage");
        check.forbidden(at, "field can not be less than status.capacity");
    }
}
