//! PodTemplate: a pod description kept for later.

use crate::check::{Check, path};
use crate::column::{Column, NAME, items, labels, string};
use crate::core::pod;
use crate::descriptor::{Kind, Rules};
use crate::fields::ensure;
use crate::place::Place;
use crate::workload;
use coracle_api::{FieldError, Status};
use k8s_openapi::api::core::v1::PodTemplate;
use serde_json::{Value, json};

/// The descriptor.
pub static KIND: Kind = Kind::new::<PodTemplate>("podtemplate", "io.k8s.api.core.v1.PodTemplate")
    .generation()
    .rules(&TemplateRules)
    .columns(&[
        NAME,
        Column::text("Containers", |_, o| joined(o, "name")),
        Column::text("Images", |_, o| joined(o, "image")),
        Column::text("Pod Labels", |_, o| json!(labels(&o["template"]["metadata"]["labels"]))),
    ]);

fn joined(object: &Value, field: &str) -> Value {
    let containers = items(&object["template"]["spec"]["containers"]);
    json!(containers.iter().map(|c| string(&c[field])).collect::<Vec<_>>().join(","))
}

fn defaults(object: &mut Value) {
    pod::defaults::template(ensure(object, "template"));
}

struct TemplateRules;

impl Rules for TemplateRules {
    fn default(&self, object: &mut Value) -> Result<(), Status> {
        defaults(object);
        Ok(())
    }

    fn validate(&self, object: &Value) -> Vec<FieldError> {
        Check::run(|check| {
            pod::validate::template(check, &path("template"), &object["template"]);
        })
    }

    fn warnings(&self, object: &Value) -> Vec<String> {
        pod::warnings::template(&Place::of(object).field("template"))
    }

    fn update_warnings(&self, new: &Value, old: &Value) -> Vec<String> {
        if workload::wants_the_same(new, old) { Vec::new() } else { self.warnings(new) }
    }
}
