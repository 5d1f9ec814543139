//! Deployment: interchangeable pods that roll from one template to the next.

use crate::check::{Check, path};
use crate::column::{AGE, CONTAINERS, Column, IMAGES, NAME, SELECTOR, number, string};
use crate::core::pod;
use crate::descriptor::{Kind, Part, Rules, Subresource};
use crate::fields::{default, ensure};
use crate::go;
use crate::workload::{self, is_zero};
use coracle_api::{FieldError, Path, Status};
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
        Check::run(|check| deployment(check, &object["spec"]))
    }

    fn validate_update(&self, new: &Value, old: &Value, part: Part) -> Vec<FieldError> {
        Check::run(|check| match part {
            Part::Status => workload::DEPLOYMENT.check(check, new, old),
            _ => {
                deployment(check, &new["spec"]);
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

fn deployment(check: &mut Check, spec: &Value) {
    let at = path("spec");
    check.not_negative(at.field("replicas"), &spec["replicas"]);
    workload::replicated(check, &at, spec);
    strategy(check, &at.field("strategy"), &spec["strategy"]);
    check.none_negative(&at, spec, &["minReadySeconds", "revisionHistoryLimit", "progressDeadlineSeconds"]);
    let deadline = &spec["progressDeadlineSeconds"];
    if deadline.as_i64().is_some_and(|d| d <= number(&spec["minReadySeconds"])) {
        check.invalid(at.field("progressDeadlineSeconds"), deadline, "must be greater than minReadySeconds");
    }
}

fn strategy(check: &mut Check, path: &Path, strategy: &Value) {
    let (at, rolling) = (path.field("rollingUpdate"), &strategy["rollingUpdate"]);
    match string(&strategy["type"]) {
        "Recreate" if rolling.is_object() => {
            check.forbidden(at, "may not be specified when strategy `type` is 'Recreate'");
        }
        "Recreate" => {}
        "RollingUpdate" if !rolling.is_object() => check.required(at, "this should be defaulted and never be nil"),
        "RollingUpdate" => {
            workload::bounds(check, &at, rolling);
            let least = &rolling["maxUnavailable"];
            if is_zero(least) && is_zero(&rolling["maxSurge"]) {
                check.invalid(at.field("maxUnavailable"), least, "may not be 0 when `maxSurge` is 0");
            }
            workload::at_most_all(check, at.field("maxUnavailable"), least);
        }
        _ => {
            let wrong = FieldError::not_supported(path, strategy.clone(), &["Recreate", "RollingUpdate"]);
            check.push(wrong.shown_as(go::show(strategy, go::STRATEGY)));
        }
    }
}
