//! DaemonSet: one pod on every node.

use crate::check::{Check, path};
use crate::column::{AGE, CONTAINERS, Column, IMAGES, NAME, SELECTOR, labels, number};
use crate::core::pod;
use crate::descriptor::{Kind, Part, Rules, Subresource};
use crate::fields::{default, ensure};
use crate::workload;
use coracle_api::{FieldError, Status};
use k8s_openapi::api::apps::v1::DaemonSet;
use serde_json::{Value, json};

const SCHEMA: &str = "io.k8s.api.apps.v1.DaemonSet";

/// The descriptor.
pub static KIND: Kind = Kind::new::<DaemonSet>("daemonset", SCHEMA)
    .short(&["ds"])
    .categories(&["all"])
    .generation()
    .subresources(&[Subresource::status::<DaemonSet>(SCHEMA)])
    .rules(&DaemonSetRules)
    .columns(&[
        NAME,
        Column::number("Desired", |_, o| json!(number(&o["status"]["desiredNumberScheduled"]))),
        Column::number("Current", |_, o| json!(number(&o["status"]["currentNumberScheduled"]))),
        Column::number("Ready", |_, o| json!(number(&o["status"]["numberReady"]))),
        Column::number("Up-to-date", |_, o| json!(number(&o["status"]["updatedNumberScheduled"]))),
        Column::number("Available", |_, o| json!(number(&o["status"]["numberAvailable"]))),
        Column::text("Node Selector", |_, o| json!(labels(&o["spec"]["template"]["spec"]["nodeSelector"]))),
        AGE,
        CONTAINERS,
        IMAGES,
        SELECTOR,
    ]);

fn defaults(object: &mut Value) {
    let spec = ensure(object, "spec");
    default(spec, "revisionHistoryLimit", 10);
    let strategy = ensure(spec, "updateStrategy");
    default(strategy, "type", "RollingUpdate");
    if strategy["type"] == "RollingUpdate" {
        let rolling = ensure(strategy, "rollingUpdate");
        default(rolling, "maxUnavailable", 1);
        default(rolling, "maxSurge", 0);
    }
    pod::defaults::template(ensure(spec, "template"));
}

struct DaemonSetRules;

impl Rules for DaemonSetRules {
    fn default(&self, object: &mut Value) -> Result<(), Status> {
        defaults(object);
        Ok(())
    }

    fn validate(&self, object: &Value) -> Vec<FieldError> {
        Check::run(|check| {
            workload::validate(check, object, "daemon set");
            let under = path("spec").field("updateStrategy");
            let strategy = &object["spec"]["updateStrategy"];
            check.required_one_of(under.field("type"), &strategy["type"], &["RollingUpdate", "OnDelete"]);
            let rolling = &strategy["rollingUpdate"];
            if strategy["type"] == "RollingUpdate" {
                let under = under.field("rollingUpdate");
                workload::rolling(check, &under, rolling);
                match (workload::is_zero(&rolling["maxUnavailable"]), workload::is_zero(&rolling["maxSurge"])) {
                    (true, true) => check.required(under.field("maxUnavailable"), "cannot be 0 when maxSurge is 0"),
                    (false, false) => {
                        let why = "may not be set when maxUnavailable is non-zero";
                        check.invalid(under.field("maxSurge"), &rolling["maxSurge"], why);
                    }
                    _ => {}
                }
            }
        })
    }

    fn validate_update(&self, new: &Value, old: &Value, part: Part) -> Vec<FieldError> {
        if part != Part::Main {
            return Vec::new();
        }
        let mut errors = self.validate(new);
        errors.extend(Check::run(|check| {
            check.immutable(path("spec").field("selector"), &new["spec"]["selector"], &old["spec"]["selector"]);
        }));
        errors
    }
}
