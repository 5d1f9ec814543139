//! ReplicaSet: so many pods of one template.

use crate::check::{Check, path};
use crate::column::{AGE, CONTAINERS, Column, IMAGES, NAME, SELECTOR, SelectableField, number};
use crate::core::pod;
use crate::descriptor::{Kind, Part, Rules, Subresource, text};
use crate::fields::{default, ensure};
use crate::workload;
use coracle_api::{FieldError, Status};
use k8s_openapi::api::apps::v1::ReplicaSet;
use serde_json::{Value, json};

const SCHEMA: &str = "io.k8s.api.apps.v1.ReplicaSet";

/// The descriptor.
pub static KIND: Kind = Kind::new::<ReplicaSet>("replicaset", SCHEMA)
    .short(&["rs"])
    .categories(&["all"])
    .generation()
    .subresources(&[Subresource::scale("spec.selector"), Subresource::status::<ReplicaSet>(SCHEMA)])
    .selectable(&[SelectableField { path: "status.replicas", get: |o| text(&json!(number(&o["status"]["replicas"]))) }])
    .rules(&ReplicaSetRules)
    .columns(&[
        NAME,
        Column::number("Desired", |_, o| json!(number(&o["spec"]["replicas"]))),
        Column::number("Current", |_, o| json!(number(&o["status"]["replicas"]))),
        Column::number("Ready", |_, o| json!(number(&o["status"]["readyReplicas"]))),
        AGE,
        CONTAINERS,
        IMAGES,
        SELECTOR,
    ]);

fn defaults(object: &mut Value) {
    let spec = ensure(object, "spec");
    default(spec, "replicas", 1);
    pod::defaults::template(ensure(spec, "template"));
}

struct ReplicaSetRules;

impl Rules for ReplicaSetRules {
    fn default(&self, object: &mut Value) -> Result<(), Status> {
        defaults(object);
        Ok(())
    }

    fn validate(&self, object: &Value) -> Vec<FieldError> {
        Check::run(|check| replica_set(check, &object["spec"]))
    }

    fn validate_update(&self, new: &Value, old: &Value, part: Part) -> Vec<FieldError> {
        Check::run(|check| match part {
            Part::Status => workload::REPLICAS.check(check, new, old),
            _ => {
                replica_set(check, &new["spec"]);
                check.immutable(path("spec").field("selector"), &new["spec"]["selector"], &old["spec"]["selector"]);
            }
        })
    }

    fn warnings(&self, object: &Value) -> Vec<String> {
        workload::warnings(object)
    }

    fn update_warnings(&self, new: &Value, old: &Value) -> Vec<String> {
        workload::update_warnings(new, old)
    }
}

fn replica_set(check: &mut Check, spec: &Value) {
    check.none_negative(&path("spec"), spec, &["replicas", "minReadySeconds"]);
    workload::replicated(check, &path("spec"), spec);
}
