//! CSIDriver, CSINode and CSIStorageCapacity: what drivers are, where they run, and how much room they have.

use crate::check::{Check, IMMUTABLE};
use crate::column::{AGE, Column, DEFAULT, NAME, items, or_none, string, string_or};
use crate::descriptor::{Kind, Part, Rules};
use crate::fields::{default, ensure, same, set, take};
use crate::go::{self, Field, Show};
use crate::place::Place;
use crate::warn;
use coracle_api::{FieldError, Status, validation};
use k8s_openapi::api::storage::v1::{CSIDriver, CSINode, CSIStorageCapacity};
use serde_json::{Value, json};

/// CSIDriver.
pub static DRIVER: Kind = Kind::new::<CSIDriver>("csidriver", "io.k8s.api.storage.v1.CSIDriver")
    .generation()
    .conditional_update()
    .rules(&DriverRules)
    .columns(&[
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
pub static NODE: Kind = Kind::new::<CSINode>("csinode", "io.k8s.api.storage.v1.CSINode")
    .conditional_update()
    .rules(&NodeRules)
    .columns(&[NAME, Column::number("Drivers", |_, o| json!(items(&o["spec"]["drivers"]).len())), AGE]);

/// CSIStorageCapacity.
pub static STORAGE_CAPACITY: Kind =
    Kind::new::<CSIStorageCapacity>("csistoragecapacity", "io.k8s.api.storage.v1.CSIStorageCapacity")
        .conditional_update()
        .rules(&CapacityRules)
        .columns(DEFAULT);

fn list(values: &Value, field: &str, empty: &str) -> String {
    let names = items(values).iter().map(|v| string_or(&v[field], "")).collect::<Vec<_>>();
    if names.is_empty() { empty.into() } else { names.join(",") }
}

struct DriverRules;

impl Rules for DriverRules {
    fn default(&self, object: &mut Value) -> Result<(), Status> {
        let spec = ensure(object, "spec");
        default(spec, "attachRequired", true);
        for field in ["podInfoOnMount", "storageCapacity", "requiresRepublish", "seLinuxMount"] {
            default(spec, field, false);
        }
        default(spec, "fsGroupPolicy", "ReadWriteOnceWithFSType");
        if items(&spec["volumeLifecycleModes"]).is_empty() {
            set(spec, "volumeLifecycleModes", json!(["Persistent"]));
        }
        Ok(())
    }

    fn validate(&self, object: &Value) -> Vec<FieldError> {
        Check::run(|check| driver(check, &Place::of(object).field("spec")))
    }

    fn validate_update(&self, new: &Value, old: &Value, _part: Part) -> Vec<FieldError> {
        Check::run(|check| {
            let at = Place::of(new).field("spec");
            driver(check, &at);
            // upstream calls the field so
            check
                .unchanged(&at.called("attachedRequired", &at.value["attachRequired"]), &old["spec"]["attachRequired"]);
            check.unchanged(&at.field("volumeLifecycleModes"), &old["spec"]["volumeLifecycleModes"]);
        })
    }
}

fn driver(check: &mut Check, at: &Place) {
    check.may_be(&at.field("fsGroupPolicy"), &["File", "None", "ReadWriteOnceWithFSType"]);
    let mut audiences: Vec<&str> = Vec::new();
    for request in at.field("tokenRequests").items() {
        let (audience, seconds) = (request.field("audience"), request.field("expirationSeconds"));
        if audiences.contains(&audience.text()) {
            check.push(FieldError::duplicate(&audience.path, audience.text()));
            continue;
        }
        audiences.push(audience.text());
        if seconds.given() && seconds.number() < 600 {
            check.bad(&seconds, "may not specify a duration less than 10 minutes");
        }
        if seconds.number() > 1 << 32 {
            check.bad(&seconds, "may not specify a duration larger than 2^32 seconds");
        }
    }
    let in_secrets = at.field("serviceAccountTokenInSecrets");
    let modes = at.field("volumeLifecycleModes");
    for mode in modes.items() {
        check.among(&Place::at(modes.path.clone(), mode.value), &["Persistent", "Ephemeral"]);
    }
    let period = at.field("nodeAllocatableUpdatePeriodSeconds");
    if period.given() && period.number() < 10 {
        check.bad(&period, "must be greater than or equal to 10 seconds");
    }
    if in_secrets.given() && at.field("tokenRequests").empty() {
        check.bad(&in_secrets, "serviceAccountTokenInSecrets is set but no tokenRequests are specified");
    }
}

struct NodeRules;

impl Rules for NodeRules {
    fn validate(&self, object: &Value) -> Vec<FieldError> {
        Check::run(|check| drivers_of_node(check, &Place::of(object).field("spec.drivers")))
    }

    // A driver may leave and come back, but not change while it is there; how many volumes it takes may change.
    fn validate_update(&self, new: &Value, old: &Value, _part: Part) -> Vec<FieldError> {
        Check::run(|check| {
            let (at, old) = (Place::of(new).field("spec.drivers"), Place::of(old).field("spec.drivers"));
            drivers_of_node(check, &at);
            for old in old.items() {
                for new in at.items().filter(|new| new.field("name").text() == old.field("name").text()) {
                    if !same(&without_count(new.value), &without_count(old.value)) {
                        let error = FieldError::invalid(&at.path, new.value.clone(), IMMUTABLE);
                        check.push(error.shown_as(go::show(new.value, DRIVER_ON_NODE)));
                    }
                }
            }
        })
    }
}

fn without_count(driver: &Value) -> Value {
    let mut driver = driver.clone();
    take(&mut driver, "allocatable");
    driver
}

const DRIVER_ON_NODE: &[Field] = &[
    Field("Name", "name", Show::Text),
    Field("NodeID", "nodeID", Show::Text),
    Field("TopologyKeys", "topologyKeys", Show::Null),
    // not compared, and so not shown
    Field("Allocatable", "", Show::Null),
];

const LONGEST_NODE_ID: usize = 256;

fn drivers_of_node(check: &mut Check, list: &Place) {
    let mut names: Vec<&str> = Vec::new();
    for at in list.items() {
        let (name, id, count) = (at.field("name"), at.field("nodeID"), at.field("allocatable.count"));
        check.driver_name(&name);
        check.needs(&id, "");
        if id.text().len() > LONGEST_NODE_ID {
            check.bad(&id, format!("must be {LONGEST_NODE_ID} characters or less"));
        }
        check.natural(&count);
        if names.contains(&name.text()) {
            check.push(FieldError::duplicate(&name.path, name.text()));
        }
        names.push(name.text());
        let mut keys: Vec<&str> = Vec::new();
        // the path of a key is that of its driver
        for key in at.field("topologyKeys").items().map(|key| Place::at(at.path.clone(), key.value)) {
            check.needs(&key, "");
            if keys.contains(&key.text()) {
                check.push(FieldError::duplicate(&key.path, key.text()));
            }
            keys.push(key.text());
            check.keeps(&key, validation::qualified_name);
        }
    }
}

struct CapacityRules;

impl Rules for CapacityRules {
    fn validate(&self, object: &Value) -> Vec<FieldError> {
        Check::run(|check| capacity(check, &Place::of(object)))
    }

    fn validate_update(&self, new: &Value, old: &Value, _part: Part) -> Vec<FieldError> {
        Check::run(|check| {
            let at = Place::of(new);
            capacity(check, &at);
            check.unchanged(&at.field("nodeTopology"), &old["nodeTopology"]);
            check.unchanged(&at.field("storageClassName"), &old["storageClassName"]);
        })
    }

    fn warnings(&self, object: &Value) -> Vec<String> {
        let selector = Place::of(object).field("nodeTopology");
        let expressions = selector.field("matchExpressions").items().filter_map(|at| warn::requirement(&at));
        let labels = selector.field("matchLabels");
        // upstream writes these keys as fields
        let told = |(key, _)| Some(format!("{}: {}", labels.path.field(key), warn::old_label(key)?));
        expressions.chain(labels.entries().filter_map(told)).collect()
    }
}

fn capacity(check: &mut Check, at: &Place) {
    check.selects(&at.field("nodeTopology"));
    check.keeps(&at.field("storageClassName"), validation::dns1123_subdomain);
    if at.field("capacity").given() {
        check.amount(at.path.field("capacity"), &at.value["capacity"]);
    }
}
