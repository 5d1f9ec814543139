//! PersistentVolumeClaim: a wish for storage.

use crate::amounts::{self, amount, entries};
use crate::check::{Check, IMMUTABLE, path};
use crate::column::{AGE, Column, NAME, access_modes, items, string, string_or};
use crate::descriptor::{Kind, Part, Rules, Subresource};
use crate::fields::{absent, carry, default, ensure, same, set, take};
use crate::place::Place;
use crate::warn;
use coracle_api::{FieldError, Path, Quantity, Status, validation};
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
        drop_foreign(object, &Value::Null);
        data_sources(object);
    }

    fn prepare_update(&self, new: &mut Value, old: &Value, part: Part) {
        if part == Part::Main {
            drop_foreign(new, old);
            data_sources(new);
        }
    }

    fn validate(&self, claim: &Value) -> Vec<FieldError> {
        Check::run(|check| validate(check, &path("spec"), &claim["spec"]))
    }

    fn validate_update(&self, new: &Value, old: &Value, part: Part) -> Vec<FieldError> {
        Check::run(|check| match part {
            Part::Main => {
                validate(check, &path("spec"), &new["spec"]);
                changed(check, new, old);
            }
            Part::Status => status(check, new),
            _ => {}
        })
    }

    fn warnings(&self, claim: &Value) -> Vec<String> {
        let class = warn::storage_class(claim).into_iter();
        class.chain(warn::claim_spec(&Place::of(claim).field("spec"))).collect()
    }
}

/// Sources of other namespaces are a feature that is off (CrossNamespaceVolumeDataSource).
fn drop_foreign(claim: &mut Value, old: &Value) {
    let foreign = !string(&claim["spec"]["dataSourceRef"]["namespace"]).is_empty();
    if foreign && !old["spec"]["dataSourceRef"].is_object() {
        take(&mut claim["spec"], "dataSourceRef");
    }
}

/// `dataSource` and `dataSourceRef` say the same, unless the latter names another namespace.
fn data_sources(claim: &mut Value) {
    let spec = ensure(claim, "spec");
    let foreign = !string(&spec["dataSourceRef"]["namespace"]).is_empty();
    match (spec["dataSource"].is_object(), spec["dataSourceRef"].is_object()) {
        (true, false) => {
            let source = spec["dataSource"].clone();
            set(spec, "dataSourceRef", source);
        }
        (false, true) if !foreign => {
            let mut source = spec["dataSourceRef"].clone();
            take(&mut source, "namespace");
            set(spec, "dataSource", source);
        }
        _ => {}
    }
}

/// A claim's spec at `path`.
pub fn validate(check: &mut Check, path: &Path, spec: &Value) {
    if items(&spec["accessModes"]).is_empty() {
        check.required(path.field("accessModes"), "at least 1 access mode is required");
    }
    check.selector(&path.field("selector"), &spec["selector"]);
    access(check, path, spec);
    let storage = &spec["resources"]["requests"]["storage"];
    let at = path.field("resources").key("storage");
    if storage.is_null() {
        check.required(at, "");
    } else {
        amounts::positive(check, &at, storage);
    }
    check.text(path.field("storageClassName"), &spec["storageClassName"], validation::dns1123_subdomain);
    check.exactly_one_of(path.field("volumeMode"), &spec["volumeMode"], MODES);
    let (source, reference) = (&spec["dataSource"], &spec["dataSourceRef"]);
    for (field, source) in [("dataSource", source), ("dataSourceRef", reference)] {
        data_source(check, &path.field(field), source);
    }
    // what is wrong is told by its path here
    let shown = json!(path.field("dataSource").to_string());
    if source.is_object() && !string(&reference["namespace"]).is_empty() {
        check.invalid(path.clone(), &shown, "may not be specified when dataSourceRef.namespace is specified");
    } else if source.is_object() && reference.is_object() {
        let same = ["apiGroup", "kind", "name"].iter().all(|field| source[*field] == reference[*field]);
        if !same {
            check.invalid(path.clone(), &shown, "must match dataSourceRef");
        }
    }
    let class = &spec["volumeAttributesClassName"];
    check.text(path.field("volumeAttributesClassName"), class, validation::dns1123_subdomain);
}

/// How a volume is seen by pods.
pub(crate) const MODES: &[&str] = &["Block", "Filesystem"];

/// Access modes of a claim or a volume.
pub(crate) fn access(check: &mut Check, path: &Path, spec: &Value) {
    const KNOWN: &[&str] = &["ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod"];
    let (at, modes) = (path.field("accessModes"), items(&spec["accessModes"]));
    for mode in modes {
        check.exactly_one_of(at.clone(), mode, KNOWN);
    }
    let alone = |mode: &&Value| *mode == "ReadWriteOncePod";
    if modes.iter().any(|m| alone(&m)) && modes.iter().any(|m| !alone(&m) && KNOWN.contains(&string(m))) {
        check.forbidden(at, "may not use ReadWriteOncePod with other access modes");
    }
}

fn data_source(check: &mut Check, path: &Path, source: &Value) {
    if !source.is_object() {
        return;
    }
    for field in ["name", "kind"] {
        if string(&source[field]).is_empty() {
            check.required(path.field(field), "");
        }
    }
    if string(&source["apiGroup"]).is_empty() && source["kind"] != "PersistentVolumeClaim" {
        let why = "must be 'PersistentVolumeClaim' when referencing the default apiGroup";
        check.invalid(path.clone(), &json!(string(&source["kind"])), why);
    }
    check.text(path.field("apiGroup"), &source["apiGroup"], validation::dns1123_subdomain);
    check.text(path.field("namespace"), &source["namespace"], validation::dns1123_label);
}

const ONLY: &str =
    "spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims";
const BETA_CLASS: &str = "volume.beta.kubernetes.io/storage-class";

// A binder may name the volume, a default class may come late, a bound claim may grow.
fn changed(check: &mut Check, new: &Value, old: &Value) {
    let (mut munged, mut before) = (new["spec"].clone(), old["spec"].clone());
    if absent(&before, "volumeName") {
        carry(&mut before, &munged, "volumeName");
    }
    storage_class(check, &mut munged, new, old);
    let class = "volumeAttributesClassName";
    if new["status"]["phase"] == "Bound" {
        if munged["resources"]["requests"].is_object() {
            carry(&mut munged["resources"]["requests"], &before["resources"]["requests"], "storage");
        }
        if !munged[class].is_null() {
            carry(&mut munged, &before, class);
        }
    }
    if !same(&munged, &before) {
        let why = format!("{ONLY}\n{}", crate::core::pod::changes(&before, &munged));
        check.push(FieldError::forbidden(path("spec"), why));
    }
    let size = |v: &Value| amount(&v["spec"]["resources"]["requests"]["storage"]).unwrap_or(Quantity::ZERO);
    let capacity = amount(&old["status"]["capacity"]["storage"]).unwrap_or(Quantity::ZERO);
    if size(new) < size(old) && size(new) <= capacity {
        let at = path("spec").field("resources").field("requests").field("storage");
        check.forbidden(at, "field can not be less than status.capacity");
    }
    check.immutable(path("volumeMode"), &new["spec"]["volumeMode"], &old["spec"]["volumeMode"]);
    let at = path("spec").field(class);
    match (old["spec"][class].as_str(), new["spec"][class].as_str()) {
        (Some(_), None) => check.forbidden(at, "update from non-nil value to nil is forbidden"),
        (Some(was), Some("")) if !was.is_empty() => {
            check.forbidden(at, "update from non-nil value to an empty string is forbidden");
        }
        _ => {}
    }
}

/// The class may move from its older place to the newer one, and come late where there is none.
fn storage_class(check: &mut Check, munged: &mut Value, new: &Value, old: &Value) {
    let beta = |claim: &Value| claim["metadata"]["annotations"][BETA_CLASS].as_str().map(str::to_string);
    let (had, has) = (beta(old), beta(new));
    let class = |claim: &Value| claim["spec"]["storageClassName"].as_str().map(str::to_string);
    let moved = had.is_some() && class(old).is_none() && class(new) == had && (has.is_none() || has == had);
    if moved {
        take(munged, "storageClassName");
        return;
    }
    if had.clone().unwrap_or_default() != has.clone().unwrap_or_default() {
        let at = path("metadata").field("annotations").field(BETA_CLASS);
        check.invalid(at, &json!(has.unwrap_or_default()), IMMUTABLE);
    }
    if class(old).is_none() && class(new).is_some() && (had.is_none() || class(new) == had) {
        take(munged, "storageClassName");
    }
}

const RESIZES: &[&str] = &[
    "ControllerResizeInProgress",
    "ControllerResizeInfeasible",
    "NodeResizeInProgress",
    "NodeResizeInfeasible",
    "NodeResizePending",
];

fn status(check: &mut Check, new: &Value) {
    let (at, status) = (path("status"), &new["status"]);
    if items(&new["spec"]["accessModes"]).is_empty() {
        check.required(path("Spec").field("accessModes"), "");
    }
    for (name, given) in entries(&status["capacity"]) {
        amounts::basic(check, &at.field("capacity").key(name), given);
    }
    let resizes = at.field("allocatedResourceStatus");
    for (name, state) in entries(&status["allocatedResourceStatuses"]) {
        resource_key(check, &resizes, name);
        if !RESIZES.contains(&string(state)) {
            check.push(FieldError::not_supported(&resizes, name.as_str(), RESIZES));
        }
    }
    let allocated = at.field("allocatedResources");
    for (name, given) in entries(&status["allocatedResources"]) {
        let before = check.count();
        resource_key(check, &allocated, name);
        if check.count() == before {
            amounts::basic(check, &allocated.key(name), given);
        }
    }
}

/// Claims are for storage, and for what others define.
fn resource_key(check: &mut Check, path: &Path, name: &str) {
    let wrong = validation::qualified_name(name);
    if wrong.is_empty() && amounts::is_native(name) && name != "storage" {
        check.push(FieldError::not_supported(path, name, &["storage"]));
    }
    check.messages(path, &json!(name), wrong);
}
