//! DaemonSet: one pod on every node.

use crate::check::{Check, path};
use crate::column::{AGE, CONTAINERS, Column, IMAGES, NAME, SELECTOR, labels, number, string};
use crate::core::pod;
use crate::descriptor::{Kind, Part, Rules, Subresource};
use crate::fields::{default, ensure};
use crate::go;
use crate::workload::{self, is_zero};
use coracle_api::{FieldError, Path, Status};
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
        Check::run(|check| daemon_set(check, &object["spec"]))
    }

    fn validate_update(&self, new: &Value, old: &Value, part: Part) -> Vec<FieldError> {
        Check::run(|check| match part {
            Part::Status => workload::DAEMON_SET.check(check, new, old),
            _ => {
                daemon_set(check, &new["spec"]);
                check.immutable(path("spec").field("selector"), &new["spec"]["selector"], &old["spec"]["selector"]);
            }
        })
    }

    fn warnings(&self, object: &Value) -> Vec<String> {
        workload::template_warnings(object)
    }

    fn update_warnings(&self, new: &Value, old: &Value) -> Vec<String> {
        let changed = new["spec"]["template"] != old["spec"]["template"];
        if changed { workload::template_warnings(new) } else { Vec::new() }
    }
}

fn daemon_set(check: &mut Check, spec: &Value) {
    let at = path("spec");
    let (selector, template) = (&spec["selector"], &spec["template"]);
    check.selector(&at.field("selector"), selector);
    workload::selected(check, &at, selector, template);
    workload::empty_selector(check, &at.field("selector"), selector, "daemonset");
    workload::template(check, &at.field("template"), template, "DaemonSet");
    check.not_negative(at.field("minReadySeconds"), &spec["minReadySeconds"]);
    strategy(check, &at.field("updateStrategy"), &spec["updateStrategy"]);
    check.not_negative(at.field("revisionHistoryLimit"), &spec["revisionHistoryLimit"]);
}

fn strategy(check: &mut Check, path: &Path, strategy: &Value) {
    let (at, rolling) = (path.field("rollingUpdate"), &strategy["rollingUpdate"]);
    match string(&strategy["type"]) {
        "OnDelete" => {}
        "RollingUpdate" if !rolling.is_object() => check.required(at, ""),
        "RollingUpdate" => {
            workload::bounds(check, &at, rolling);
            for field in ["maxUnavailable", "maxSurge"] {
                workload::at_most_all(check, at.field(field), &rolling[field]);
            }
            match (is_zero(&rolling["maxUnavailable"]), is_zero(&rolling["maxSurge"])) {
                (true, true) => check.required(at.field("maxUnavailable"), "cannot be 0 when maxSurge is 0"),
                (false, false) => {
                    let why = "may not be set when maxUnavailable is non-zero";
                    check.invalid(at.field("maxSurge"), &rolling["maxSurge"], why);
                }
                _ => {}
            }
        }
        _ => {
            let wrong = FieldError::not_supported(path, strategy.clone(), &["RollingUpdate", "OnDelete"]);
            check.push(wrong.shown_as(go::show(strategy, go::STRATEGY)));
        }
    }
}
