//! `scheduling.k8s.io`: which pods matter more.

use crate::check::{Check, path};
use crate::column::string;
use crate::column::{AGE, Column, NAME, number, string_or};
use crate::descriptor::{Kind, Part, Rules};
use crate::fields::default;
use coracle_api::{FieldError, Status};
use k8s_openapi::api::scheduling::v1::PriorityClass;
use serde_json::{Value, json};

/// PriorityClass.
pub static PRIORITY_CLASS: Kind = Kind::new::<PriorityClass>("priorityclass", "io.k8s.api.scheduling.v1.PriorityClass")
    .short(&["pc"])
    .rules(&PriorityRules)
    .columns(&[
        NAME,
        Column::number("Value", |_, o| json!(number(&o["value"]))),
        Column { kind: "boolean", ..Column::text("Global-Default", |_, o| json!(o["globalDefault"] == true)) },
        AGE,
        Column::text("PreemptionPolicy", |_, o| json!(string_or(&o["preemptionPolicy"], "PreemptLowerPriority"))),
    ]);

fn defaults(class: &mut Value) {
    default(class, "preemptionPolicy", "PreemptLowerPriority");
}

struct PriorityRules;

impl Rules for PriorityRules {
    fn default(&self, object: &mut Value) -> Result<(), Status> {
        defaults(object);
        Ok(())
    }

    fn validate(&self, object: &Value) -> Vec<FieldError> {
        Check::run(|check| {
            let name = string(&object["metadata"]["name"]);
            let value = object["value"].as_i64().unwrap_or(0);
            let builtin = matches!(
                (name, value),
                ("system-node-critical", 2_000_001_000) | ("system-cluster-critical", 2_000_000_000)
            );
            if name.starts_with("system-") && !builtin {
                let why = "priority class names with 'system-' prefix are reserved for system use only";
                check.forbidden(path("metadata").field("name"), why);
            }
            if value > 1_000_000_000 && !builtin {
                check.forbidden(path("value"), "maximum allowed value of a user defined priority is 1000000000");
            }
            let policies = ["Never", "PreemptLowerPriority"];
            check.one_of(path("preemptionPolicy"), &object["preemptionPolicy"], &policies);
        })
    }

    fn validate_update(&self, new: &Value, old: &Value, part: Part) -> Vec<FieldError> {
        if part != Part::Main {
            return Vec::new();
        }
        let mut errors = self.validate(new);
        errors.extend(Check::run(|check| {
            if number(&new["value"]) != number(&old["value"]) {
                check.forbidden(path("value"), "may not be changed in an update.");
            }
            check.immutable(path("preemptionPolicy"), &new["preemptionPolicy"], &old["preemptionPolicy"]);
        }));
        errors
    }
}
