//! `scheduling.k8s.io`: which pods matter more.

use crate::check::Check;
use crate::column::{AGE, Column, NAME, number, string, string_or};
use crate::descriptor::{Kind, Part, Rules};
use crate::fields::default;
use crate::place::Place;
use coracle_api::{FieldError, Status};
use k8s_openapi::api::scheduling::v1::PriorityClass;
use serde_json::{Value, json};

/// PriorityClass.
pub static PRIORITY_CLASS: Kind = Kind::new::<PriorityClass>("priorityclass", "io.k8s.api.scheduling.v1.PriorityClass")
    .short(&["pc"])
    .generation()
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
            let at = Place::of(object);
            let (name, value) = (at.field("metadata.name"), at.field("value"));
            if name.text().starts_with("system-") {
                if let Some(why) = not_of_the_system(object) {
                    let reserved =
                        "priority class names with 'system-' prefix are reserved for system use only. error: ";
                    check.barred(&name, &format!("{reserved}{why}"));
                }
            } else if value.number() > HIGHEST {
                check.barred(&value, &format!("maximum allowed value of a user defined priority is {HIGHEST}"));
            }
            let policy = at.field("preemptionPolicy");
            match (policy.given(), policy.empty()) {
                (true, true) => check.required(policy.path, ""),
                (true, false) => check.among(&policy, &["PreemptLowerPriority", "Never"]),
                _ => {}
            }
        })
    }

    fn validate_update(&self, new: &Value, old: &Value, _part: Part) -> Vec<FieldError> {
        Check::run(|check| {
            let at = Place::of(new);
            if number(&new["value"]) != number(&old["value"]) {
                check.barred(&at.field("value"), "may not be changed in an update.");
            }
            check.unchanged(&at.field("preemptionPolicy"), &old["preemptionPolicy"]);
        })
    }

    fn refuses_deletion(&self, name: &str) -> Option<&'static str> {
        let of_the_system = SYSTEM.iter().any(|(known, _)| *known == name);
        of_the_system.then_some("this is a system priority class and cannot be deleted")
    }

    // what a class means never changes
    fn desired_state_changed(&self, _new: &Value, _old: &Value) -> bool {
        false
    }
}

const HIGHEST: i64 = 1_000_000_000;

/// The classes of the system itself, with their values.
pub const SYSTEM: &[(&str, i64)] =
    &[("system-node-critical", 2 * HIGHEST + 1000), ("system-cluster-critical", 2 * HIGHEST)];

fn not_of_the_system(class: &Value) -> Option<String> {
    let name = string(&class["metadata"]["name"]);
    match SYSTEM.iter().find(|(known, _)| *known == name) {
        None => Some(format!("{name} is not a known system priority class")),
        Some((_, value)) if number(&class["value"]) != *value => {
            Some(format!("value of {name} PriorityClass must be {value}"))
        }
        Some(_) if class["globalDefault"] == true => {
            Some(format!("globalDefault of {name} PriorityClass must be false"))
        }
        Some(_) => None,
    }
}
