//! StorageClass: how volumes of a class are made.

use crate::check::Check;
use crate::column::{AGE, Column, NAME, string, string_or};
use crate::descriptor::{Kind, Part, Rules};
use crate::fields::default;
use crate::place::Place;
use crate::warn;
use coracle_api::{FieldError, Status, validation};
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
        Check::run(|check| class(check, &Place::of(object)))
    }

    fn validate_update(&self, new: &Value, old: &Value, part: Part) -> Vec<FieldError> {
        if part != Part::Main {
            return Vec::new();
        }
        Check::run(|check| {
            let at = Place::of(new);
            class(check, &at);
            for field in ["provisioner", "parameters", "reclaimPolicy", "volumeBindingMode"] {
                check.declared_unchanged(&at.field(field), &old[field]);
            }
        })
    }

    fn warnings(&self, object: &Value) -> Vec<String> {
        let terms = Place::of(object).field("allowedTopologies").items();
        let keys = terms.flat_map(|term| term.field("matchLabelExpressions").items().collect::<Vec<_>>());
        let told = |at: Place| {
            let key = at.field("key");
            Some(format!("{}: {}", key.path, warn::old_label(key.text())?))
        };
        keys.filter_map(told).collect()
    }
}

fn class(check: &mut Check, at: &Place) {
    if check.declared(&at.field("provisioner")) {
        driver(check, &at.field("provisioner"));
    }
    parameters(check, &at.field("parameters"));
    if !at.field("reclaimPolicy").empty() {
        check.among(&at.field("reclaimPolicy"), &["Delete", "Retain"]);
    }
    let mode = at.field("volumeBindingMode");
    match mode.given() {
        true => check.among(&mode, &["Immediate", "WaitForFirstConsumer"]),
        false => check.required(mode.path, ""),
    }
    let topologies = at.field("allowedTopologies");
    let mut seen: Vec<Vec<(&str, Vec<&str>)>> = Vec::new();
    for term in topologies.items() {
        let found = topology(check, &term);
        for _ in seen.iter().filter(|s| **s == found) {
            check.push(FieldError::duplicate(term.path.field("matchLabelExpressions"), ""));
        }
        seen.push(found);
    }
}

/// The name of a driver in a class, in letters of either case.
pub(super) fn driver(check: &mut Check, at: &Place) {
    for message in validation::qualified_name(&at.text().to_lowercase()) {
        check.invalid(at.path.clone(), &json!(at.text().to_lowercase()), message);
    }
}

const MOST_PARAMETERS: usize = 512;
const MOST_BYTES: usize = 256 * 1024;

/// What a class says to its driver: bounded in number and size.
pub(super) fn parameters(check: &mut Check, at: &Place) {
    if at.len() > MOST_PARAMETERS {
        return check.too_long(at, MOST_PARAMETERS);
    }
    if at.entries().any(|(key, _)| key.is_empty()) {
        check.invalid(at.path.clone(), &json!(""), "field can not be empty.");
    }
    if at.entries().map(|(key, value)| key.len() + value.text().len()).sum::<usize>() > MOST_BYTES {
        check.too_long(at, MOST_BYTES);
    }
}

// The keys of a term with their values, in order, so that terms can be compared.
fn topology<'v>(check: &mut Check, term: &Place<'v>) -> Vec<(&'v str, Vec<&'v str>)> {
    let mut found: Vec<(&str, Vec<&str>)> = Vec::new();
    for at in term.field("matchLabelExpressions").items() {
        let (key, values) = (at.field("key"), at.field("values"));
        check.needs(&values, "");
        check.all_differ(&values, Place::clone);
        check.keeps(&key, validation::qualified_name);
        if found.iter().any(|(known, _)| *known == key.text()) {
            check.push(FieldError::duplicate(&key.path, key.text()));
        }
        let mut texts: Vec<&str> = values.items().map(|v| v.text()).collect();
        texts.sort_unstable();
        found.push((key.text(), texts));
    }
    found.sort_unstable();
    found
}
