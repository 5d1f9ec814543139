//! PersistentVolume: a piece of storage.

use crate::check::{Check, path};
use crate::column::{AGE, Column, NAME, access_modes, string, string_or};
use crate::core::{persistent_volume_claim, pod};
use crate::descriptor::{Kind, Part, Rules, Subresource};
use crate::fields::{default, ensure, set};
use coracle_api::{FieldError, Status, validation};
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

    fn validate(&self, volume: &Value) -> Vec<FieldError> {
        Check::run(|check| validate(check, &volume["spec"]))
    }

    fn validate_update(&self, new: &Value, old: &Value, part: Part) -> Vec<FieldError> {
        if part != Part::Main {
            return Vec::new();
        }
        let mut errors = self.validate(new);
        errors.extend(Check::run(|check| changed(check, &new["spec"], &old["spec"])));
        errors
    }
}

// Everything in the spec of a volume that is not its source.
const PLAIN: &[&str] = &[
    "accessModes",
    "capacity",
    "claimRef",
    "mountOptions",
    "nodeAffinity",
    "persistentVolumeReclaimPolicy",
    "storageClassName",
    "volumeAttributesClassName",
    "volumeMode",
];

fn sources(spec: &Value) -> Vec<&String> {
    spec.as_object().into_iter().flat_map(|m| m.keys()).filter(|k| !PLAIN.contains(&k.as_str())).collect()
}

fn validate(check: &mut Check, spec: &Value) {
    let at = path("spec");
    persistent_volume_claim::access(check, &at, spec);
    let capacity = &spec["capacity"]["storage"];
    if capacity.is_null() {
        check.required(at.field("capacity"), "");
    } else if let Some(amount) = check.amount(at.field("capacity").key("storage"), capacity)
        && amount.is_zero()
    {
        check.invalid(at.field("capacity").key("storage"), capacity, "must be greater than zero");
    }
    let policies = ["Delete", "Recycle", "Retain"];
    check.one_of(at.field("persistentVolumeReclaimPolicy"), &spec["persistentVolumeReclaimPolicy"], &policies);
    check.one_of(at.field("volumeMode"), &spec["volumeMode"], &["Block", "Filesystem"]);
    check.text(at.field("storageClassName"), &spec["storageClassName"], validation::dns1123_subdomain);
    let given = sources(spec);
    if given.is_empty() {
        check.required(at.clone(), "must specify a volume type");
    }
    for more in given.iter().skip(1) {
        check.forbidden(at.field(more), "may not specify more than 1 volume type");
    }
    if spec["hostPath"].is_object() {
        pod::volumes::host_path(check, &at.field("hostPath"), &spec["hostPath"]);
    }
    let affinity = &spec["nodeAffinity"]["required"];
    if affinity.is_object() {
        pod::validate::node_selector(check, &at.field("nodeAffinity").field("required"), affinity);
    } else if spec["local"].is_object() {
        check.required(at.field("nodeAffinity"), "Local volume requires node affinity");
    }
    if spec["local"].is_object() && string(&spec["local"]["path"]).is_empty() {
        check.required(at.field("local").field("path"), "");
    }
}

fn changed(check: &mut Check, new: &Value, old: &Value) {
    let at = path("spec");
    let same = sources(new) == sources(old) && sources(new).into_iter().all(|s| new[s.as_str()] == old[s.as_str()]);
    if !same {
        let why = "spec.persistentvolumesource is immutable after creation";
        check.forbidden(at.field("persistentvolumesource"), why);
    }
    check.immutable(at.field("volumeMode"), &new["volumeMode"], &old["volumeMode"]);
    if !old["nodeAffinity"].is_null() {
        check.immutable(at.field("nodeAffinity"), &new["nodeAffinity"], &old["nodeAffinity"]);
    }
}
