//! `storagemigration.k8s.io`: rewriting stored objects.

use crate::check::{Check, IMMUTABLE};
use crate::column::{AGE, Column, NAME, string};
use crate::descriptor::{Kind, Part, Rules, Subresource};
use crate::place::Place;
use coracle_api::FieldError;
use k8s_openapi::api::storagemigration::v1::StorageVersionMigration;
use serde_json::{Value, json};

const SCHEMA: &str = "io.k8s.api.storagemigration.v1.StorageVersionMigration";

/// StorageVersionMigration.
pub static STORAGE_VERSION_MIGRATION: Kind = Kind::new::<StorageVersionMigration>("storageversionmigration", SCHEMA)
    .conditional_update()
    .rules(&MigrationRules)
    .subresources(&[Subresource::status::<StorageVersionMigration>(SCHEMA)])
    .columns(&[
        NAME,
        Column::text("Resource", |_, o| {
            let resource = &o["spec"]["resource"];
            let parts = [string(&resource["resource"]), string(&resource["group"])];
            json!(parts.into_iter().filter(|s| !s.is_empty()).collect::<Vec<_>>().join("."))
        }),
        AGE,
    ]);

struct MigrationRules;

impl Rules for MigrationRules {
    fn validate(&self, object: &Value) -> Vec<FieldError> {
        Check::run(|check| {
            check.needs(&Place::of(object).field("spec.resource.resource"), "resource is required");
        })
    }

    fn validate_update(&self, new: &Value, old: &Value, part: Part) -> Vec<FieldError> {
        if part == Part::Status {
            return Check::run(|check| status(check, &Place::of(new), &Place::of(old)));
        }
        let mut errors = self.validate(new);
        errors.extend(Check::run(|check| {
            // upstream names these fields without what they are in
            for field in ["group", "resource"] {
                let (new, old) = (string(&new["spec"]["resource"][field]), string(&old["spec"]["resource"][field]));
                if new != old {
                    check.push(FieldError::invalid(field, new, IMMUTABLE));
                }
            }
        }));
        errors
    }
}

fn status(check: &mut Check, new: &Place, old: &Place) {
    let at = new.field("status");
    let (version, before) = (at.field("resourceVersion"), old.field("status.resourceVersion"));
    match version.text().parse::<i64>() {
        Ok(number) if number < 0 => check.invalid(version.path.clone(), &json!(number), crate::check::NEGATIVE),
        Err(_) if !version.empty() => {
            let text = coracle_api::status::quoted(version.text());
            let why =
                format!("failed to parse resource version {text}: strconv.ParseInt: parsing {text}: invalid syntax");
            check.bad(&version, why);
        }
        _ => {}
    }
    let conditions = at.field("conditions");
    check.conditions(&conditions);
    if !before.empty() && before.text() != version.text() {
        check.bad(&version, "cannot be updated");
    }
    let is = |object: &Place, kind: &str| {
        object.field("status.conditions").items().any(|c| c.value["type"] == kind && c.value["status"] == "True")
    };
    let [succeeded, failed, running] = ["Succeeded", "Failed", "Running"].map(|kind| is(new, kind));
    for (wrong, why) in [
        (succeeded && failed, "Both success and failed conditions cannot be true at the same time"),
        (succeeded && running, "Running condition cannot be true when success condition is true"),
        (failed && running, "Running condition cannot be true when failed condition is true"),
        (is(old, "Succeeded") && !succeeded, "Success condition cannot be set to false once it is true"),
        (is(old, "Failed") && !failed, "Failed condition cannot be set to false once it is true"),
    ] {
        if wrong {
            check.bad(&conditions, why);
        }
    }
}
