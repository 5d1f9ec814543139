//! Deployment: interchangeable pods that roll from one template to the next.

use crate::check::{Check, path};
use crate::column::{AGE, CONTAINERS, Column, IMAGES, NAME, SELECTOR, number};
use crate::core::pod;
use crate::descriptor::{Kind, Part, Rules, Subresource};
use crate::fields::{default, ensure};
use crate::workload;
use coracle_api::{FieldError, Status};
use k8s_openapi::api::apps::v1::Deployment;
use serde_json::{Value, json};

const SCHEMA: &str = "io.k8s.api.apps.v1.Deployment";

/// The descriptor.
pub static KIND: Kind = Kind::new::<Deployment>("deployment", SCHEMA)
    .short(&["deploy"])
    .categories(&["all"])
    .generation()
    .subresources(&[Subresource::scale("spec.selector"), Subresource::status::<Deployment>(SCHEMA)])
    .rules(&DeploymentRules)
    .columns(&[
        NAME,
        Column::text("Ready", |_, o| {
            json!(format!("{}/{}", number(&o["status"]["readyReplicas"]), number(&o["spec"]["replicas"])))
        })
        .about("Number of the pod with ready state"),
        Column::number("Up-to-date", |_, o| json!(number(&o["status"]["updatedReplicas"]))),
        Column::number("Available", |_, o| json!(number(&o["status"]["availableReplicas"]))),
        AGE,
        CONTAINERS,
        IMAGES,
        SELECTOR,
    ]);

fn defaults(object: &mut Value) {
    let spec = ensure(object, "spec");
    default(spec, "replicas", 1);
    default(spec, "revisionHistoryLimit", 10);
    default(spec, "progressDeadlineSeconds", 600);
    let strategy = ensure(spec, "strategy");
    default(strategy, "type", "RollingUpdate");
    if strategy["type"] == "RollingUpdate" {
        let rolling = ensure(strategy, "rollingUpdate");
        default(rolling, "maxUnavailable", "25%");
        default(rolling, "maxSurge", "25%");
    }
    pod::defaults::template(ensure(spec, "template"));
}

struct DeploymentRules;

impl Rules for DeploymentRules {
    fn default(&self, object: &mut Value) -> Result<(), Status> {
        defaults(object);
        Ok(())
    }

    fn validate(&self, object: &Value) -> Vec<FieldError> {
        Check::run(|check| {
            workload::validate(check, object, "deployment");
            let (at, spec) = (path("spec"), &object["spec"]);
            let (under, strategy) = (at.field("strategy"), &spec["strategy"]);
            check.required_one_of(under.field("type"), &strategy["type"], &["Recreate", "RollingUpdate"]);
            let rolling = &strategy["rollingUpdate"];
            if strategy["type"] == "Recreate" && rolling.is_object() {
                let why = "may not be specified when strategy `type` is 'Recreate'";
                check.forbidden(under.field("rollingUpdate"), why);
            } else if rolling.is_object() {
                let under = under.field("rollingUpdate");
                workload::rolling(check, &under, rolling);
                if workload::is_zero(&rolling["maxUnavailable"]) && workload::is_zero(&rolling["maxSurge"]) {
                    let why = "may not be 0 when `maxSurge` is 0";
                    check.invalid(under.field("maxUnavailable"), &rolling["maxUnavailable"], why);
                }
            }
            check.not_negative(at.field("progressDeadlineSeconds"), &spec["progressDeadlineSeconds"]);
            let deadline = spec["progressDeadlineSeconds"].as_i64();
            if deadline.is_some_and(|d| d <= spec["minReadySeconds"].as_i64().unwrap_or(0)) {
                let why = "must be greater than minReadySeconds";
                check.invalid(at.field("progressDeadlineSeconds"), &spec["progressDeadlineSeconds"], why);
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
