//! VolumeAttributesClass: qualities of a volume that may change while it is used.

use super::storage_class::{driver, parameters};
use crate::check::Check;
use crate::column::{AGE, Column, NAME};
use crate::descriptor::{Kind, Part, Rules};
use crate::fields::same;
use crate::place::Place;
use coracle_api::FieldError;
use k8s_openapi::api::storage::v1::VolumeAttributesClass;
use serde_json::Value;

/// The descriptor.
pub static KIND: Kind =
    Kind::new::<VolumeAttributesClass>("volumeattributesclass", "io.k8s.api.storage.v1.VolumeAttributesClass")
        .short(&["vac"])
        .rules(&ClassRules)
        .columns(&[NAME, Column::text("DriverName", |_, o| o["driverName"].clone()), AGE]);

struct ClassRules;

impl Rules for ClassRules {
    fn validate(&self, object: &Value) -> Vec<FieldError> {
        Check::run(|check| class(check, &Place::of(object)))
    }

    fn validate_update(&self, new: &Value, old: &Value, _part: Part) -> Vec<FieldError> {
        Check::run(|check| {
            let at = Place::of(new);
            for field in ["driverName", "parameters"] {
                if !same(&new[field], &old[field]) {
                    check.barred(&at.field(field), &format!("updates to {field} are forbidden."));
                }
            }
            class(check, &at);
        })
    }
}

fn class(check: &mut Check, at: &Place) {
    if check.needs(&at.field("driverName"), "") {
        driver(check, &at.field("driverName"));
    }
    parameters(check, &at.field("parameters"));
    check.needs(&at.field("parameters"), "must contain at least one key/value pair");
}
