//! `node.k8s.io`: how containers are run.

use crate::amounts;
use crate::check::Check;
use crate::column::{AGE, Column, NAME};
use crate::core::pod::scheduling::tolerations;
use crate::descriptor::{Kind, Part, Rules};
use crate::place::Place;
use crate::warn;
use coracle_api::{FieldError, validation};
use k8s_openapi::api::node::v1::RuntimeClass;
use serde_json::{Value, json};

/// RuntimeClass.
pub static RUNTIME_CLASS: Kind = Kind::new::<RuntimeClass>("runtimeclass", "io.k8s.api.node.v1.RuntimeClass")
    .conditional_update()
    .rules(&ClassRules)
    .columns(&[NAME, Column::text("Handler", |_, o| o["handler"].clone()), AGE]);

struct ClassRules;

impl Rules for ClassRules {
    fn validate(&self, object: &Value) -> Vec<FieldError> {
        Check::run(|check| {
            let at = Place::of(object);
            check.later(|check| check.must_keep(&at.field("handler"), validation::dns1123_label));
            let (fixed, scheduling) = (at.field("overhead.podFixed"), at.field("scheduling"));
            if !fixed.empty() {
                // judged as the limits of a container
                let limits = json!({"limits": fixed.value});
                amounts::requirements(check, &at.path.field("overhead"), &limits, amounts::container_name, &[]);
            }
            check.extend(validation::validate_labels(
                scheduling.field("nodeSelector").value,
                &scheduling.path.field("nodeSelector"),
            ));
            tolerations(check, &scheduling.path.field("tolerations"), scheduling.field("tolerations").value);
        })
    }

    fn validate_update(&self, new: &Value, old: &Value, _part: Part) -> Vec<FieldError> {
        Check::run(|check| {
            let handler = Place::of(new).field("handler");
            check.later(|check| check.must_keep(&handler, validation::dns1123_label));
            check.declared_unchanged(&handler, &old["handler"]);
        })
    }

    fn warnings(&self, object: &Value) -> Vec<String> {
        let selector = Place::of(object).field("scheduling.nodeSelector");
        // upstream names the whole selector
        let told = |(key, _)| Some(format!("{}: {}", selector.path, warn::old_label(key)?));
        selector.entries().filter_map(told).collect()
    }
}
