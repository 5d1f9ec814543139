//! PersistentVolume: a piece of storage.

use crate::amounts;
use crate::check::{Check, path};
use crate::column::{AGE, Column, NAME, access_modes, items, string, string_or};
use crate::core::volume_sources::{self, OF_VOLUMES, Source};
use crate::core::{persistent_volume_claim, pod};
use crate::descriptor::{Kind, Part, Rules, Subresource};
use crate::fields::{default, each, ensure, same, set, take, within};
use crate::place::Place;
use crate::warn::{self, Values};
use coracle_api::{FieldError, Path, Status, validation};
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
        Check::run(|check| validate(check, volume))
    }

    fn validate_update(&self, new: &Value, old: &Value, part: Part) -> Vec<FieldError> {
        Check::run(|check| {
            if part == Part::Main {
                validate(check, new);
                changed(check, &new["spec"], &old["spec"]);
            }
        })
    }

    fn warnings(&self, volume: &Value) -> Vec<String> {
        let spec = Place::of(volume).field("spec");
        let mut said: Vec<String> = warn::storage_class(volume).into_iter().collect();
        if spec.field(RECLAIM).text() == "Recycle" {
            let why = "The Recycle reclaim policy is deprecated. Instead, the recommended approach is to use dynamic provisioning.";
            said.push(format!("{}: {why}", spec.field(RECLAIM).path));
        }
        let terms = spec.field("nodeAffinity.required.nodeSelectorTerms").items();
        said.extend(terms.flat_map(|term| warn::node_term(&term, Values::Taken)));
        said.extend(warn::old_plugins(&spec, &["flocker", "quobyte"]));
        said
    }
}

const RECLAIM: &str = "persistentVolumeReclaimPolicy";

fn validate(check: &mut Check, volume: &Value) {
    let (at, spec) = (path("spec"), &volume["spec"]);
    if items(&spec["accessModes"]).is_empty() {
        check.required(at.field("accessModes"), "");
    }
    persistent_volume_claim::access(check, &at, spec);
    capacity(check, &at.field("capacity"), &spec["capacity"]);
    let policies = ["Delete", "Recycle", "Retain"];
    check.one_of(at.field("persistentVolumeReclaimPolicy"), &spec["persistentVolumeReclaimPolicy"], &policies);
    let (field, affinity) = (at.field("nodeAffinity"), &spec["nodeAffinity"]);
    if affinity["required"].is_object() {
        pod::validate::node_selector(check, &field.field("required"), &affinity["required"]);
    } else if affinity.is_object() {
        check.required(field.field("required"), "must specify required node constraints");
    }
    source(check, &at, spec, string(&volume["metadata"]["name"]));
    check.text(at.field("storageClassName"), &spec["storageClassName"], validation::dns1123_subdomain);
    check.exactly_one_of(at.field("volumeMode"), &spec["volumeMode"], persistent_volume_claim::MODES);
    let (field, class) = (at.field(CLASS), &spec[CLASS]);
    if class.is_string() {
        if string(class).is_empty() {
            check.required(field.clone(), "an empty string is disallowed");
        }
        check.text(field, class, validation::dns1123_subdomain);
        if !spec["csi"].is_object() {
            check.required(at.field("csi"), "has to be specified when using volumeAttributesClassName");
        }
    }
}

/// The specification of a volume that is written where it is used (VolumeAttachment): of a CSI driver, without what binding is about.
pub(crate) fn inline(check: &mut Check, at: &Path, spec: &Value) {
    const HERE: &str = "in the context of inline volumes";
    let given = |field: &str| match &spec[field] {
        Value::Null => false,
        Value::String(text) => !text.is_empty(),
        Value::Object(map) if field == "capacity" => !map.is_empty(),
        _ => true,
    };
    let none = |check: &mut Check, field: &str| {
        if given(field) {
            check.forbidden(at.field(field), &format!("may not be specified {HERE}"));
        }
    };
    none(check, "claimRef");
    none(check, "capacity");
    if !given("csi") {
        check.required(at.field("csi"), &format!("has to be specified {HERE}"));
    }
    if items(&spec["accessModes"]).is_empty() {
        check.required(at.field("accessModes"), "");
    }
    persistent_volume_claim::access(check, at, spec);
    let policy = &spec["persistentVolumeReclaimPolicy"];
    if !matches!(string(policy), "" | "Retain") {
        check.forbidden(at.field("persistentVolumeReclaimPolicy"), &format!("may only be Retain {HERE}"));
    }
    none(check, "nodeAffinity");
    source(check, at, spec, "");
    none(check, "storageClassName");
    if !matches!(string(&spec["volumeMode"]), "" | "Filesystem") {
        let why = format!("may not specify volumeMode other than Filesystem {HERE}");
        check.forbidden(at.field("volumeMode"), &why);
    }
    none(check, CLASS);
}

/// What the volume is made of; `name` is that of the object.
fn source(check: &mut Check, at: &Path, spec: &Value, name: &str) {
    let mut also = |check: &mut Check, source: &Source| match source.field {
        "local" if !spec["nodeAffinity"].is_object() => {
            check.required(at.field("nodeAffinity"), "Local volume requires node affinity");
        }
        "iscsi" if spec["iscsi"]["initiatorName"].is_string() => {
            let portal = &spec["iscsi"]["targetPortal"];
            if name.len() + 1 + string(portal).len() > 64 {
                let why = "Total length of <volume name>:<iscsi.targetPortal> must be under 64 characters if iscsi.initiatorName is specified.";
                check.invalid(at.field("iscsi").field("targetportal"), portal, why);
            }
        }
        _ => {}
    };
    volume_sources::validate(check, at, spec, OF_VOLUMES, &mut also);
    let root = |path: &str| !path.is_empty() && path.split('/').all(|part| part.is_empty() || part == ".");
    if root(string(&spec["hostPath"]["path"])) && spec["persistentVolumeReclaimPolicy"] == "Recycle" {
        let why = "may not be 'recycle' for a hostPath mount of '/'";
        check.forbidden(at.field("persistentVolumeReclaimPolicy"), why);
    }
}

const CLASS: &str = "volumeAttributesClassName";

fn capacity(check: &mut Check, at: &Path, capacity: &Value) {
    let entries = || amounts::entries(capacity);
    if entries().next().is_none() {
        check.required(at.clone(), "");
    }
    if capacity["storage"].is_null() || entries().count() > 1 {
        check.push(FieldError::not_supported(at, capacity.clone(), &["storage"]));
    }
    for (name, given) in entries() {
        amounts::basic(check, &at.key(name), given);
        amounts::positive(check, &at.key(name), given);
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
    CLASS,
    "volumeMode",
];

fn sources(spec: &Value) -> Value {
    let mut sources = spec.clone();
    if let Some(map) = sources.as_object_mut() {
        map.retain(|field, _| !PLAIN.contains(&field.as_str()));
    }
    sources
}

fn changed(check: &mut Check, new: &Value, old: &Value) {
    let (mut now, before) = (sources(new), sources(old));
    // how to grow may be told later
    if before["csi"].is_object() && before["csi"]["controllerExpandSecretRef"].is_null() {
        within(&mut now, "csi", |csi| drop(take(csi, "controllerExpandSecretRef")));
    }
    if !same(&now, &before) {
        let why = "spec.persistentvolumesource is immutable after creation";
        let why = format!("{why}\n{}", pod::changes(&before, &now));
        check.push(FieldError::forbidden(path("spec").field("persistentvolumesource"), why));
    }
    check.immutable(path("volumeMode"), &new["volumeMode"], &old["volumeMode"]);
    if old["nodeAffinity"].is_object() && !same(&renamed(&new["nodeAffinity"]), &renamed(&old["nodeAffinity"])) {
        let why = "field is immutable, except for updating from beta label to GA";
        let terms = &new["nodeAffinity"]["required"]["nodeSelectorTerms"];
        let shown = if new["nodeAffinity"].is_object() {
            let terms = crate::go::list(terms, crate::go::node_selector_term);
            format!("{{\"Required\":{{\"NodeSelectorTerms\":{terms}}}}}")
        } else {
            "\"null\"".into()
        };
        let error = FieldError::invalid(path("nodeAffinity"), new["nodeAffinity"].clone(), why);
        check.push(error.shown_as(shown));
    }
    if old[CLASS].is_string() && new[CLASS].is_null() {
        check.forbidden(path("spec").field(CLASS), "update from non-nil value to nil is forbidden");
    }
}

/// Older names of labels as their newer ones.
fn renamed(affinity: &Value) -> Value {
    const LABELS: &[(&str, &str)] = &[
        ("failure-domain.beta.kubernetes.io/zone", "topology.kubernetes.io/zone"),
        ("failure-domain.beta.kubernetes.io/region", "topology.kubernetes.io/region"),
        ("beta.kubernetes.io/os", "kubernetes.io/os"),
        ("beta.kubernetes.io/arch", "kubernetes.io/arch"),
        ("beta.kubernetes.io/instance-type", "node.kubernetes.io/instance-type"),
    ];
    let mut affinity = affinity.clone();
    within(&mut affinity, "required", |required| {
        each(required, "nodeSelectorTerms", |term| {
            each(term, "matchExpressions", |expression| {
                if let Some((_, new)) = LABELS.iter().find(|(old, _)| expression["key"] == *old) {
                    set(expression, "key", *new);
                }
            });
        });
    });
    affinity
}
