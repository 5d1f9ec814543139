//! PodDisruptionBudget: how many pods may be taken away at once.

use crate::check::{Check, path};
use crate::column::{AGE, Column, NAME, number};
use crate::descriptor::{Kind, Part, Rules, Subresource, text};
use crate::go;
use crate::place::Place;
use crate::workload;
use coracle_api::FieldError;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use serde_json::{Value, json};

const SCHEMA: &str = "io.k8s.api.policy.v1.PodDisruptionBudget";

/// The descriptor.
pub static KIND: Kind = Kind::new::<PodDisruptionBudget>("poddisruptionbudget", SCHEMA)
    .rules(&BudgetRules)
    .short(&["pdb"])
    .generation()
    .subresources(&[Subresource::status::<PodDisruptionBudget>(SCHEMA)])
    .columns(&[
        NAME,
        Column::text("Min Available", |_, o| json!(or_na(&o["spec"]["minAvailable"]))),
        Column::text("Max Unavailable", |_, o| json!(or_na(&o["spec"]["maxUnavailable"]))),
        Column::number("Allowed Disruptions", |_, o| json!(number(&o["status"]["disruptionsAllowed"]))),
        AGE,
    ]);

fn or_na(value: &Value) -> String {
    if value.is_null() { "N/A".into() } else { text(value) }
}

struct BudgetRules;

impl Rules for BudgetRules {
    fn validate(&self, object: &Value) -> Vec<FieldError> {
        Check::run(|check| budget(check, &object["spec"]))
    }

    fn validate_update(&self, new: &Value, _: &Value, part: Part) -> Vec<FieldError> {
        Check::run(|check| match part {
            Part::Status => {
                let at = path("status");
                check.conditions(&Place::at(at.field("conditions"), &new["status"]["conditions"]));
                check.none_negative(&at, &new["status"], COUNTS);
            }
            _ => budget(check, &new["spec"]),
        })
    }
}

const COUNTS: &[&str] = &["disruptionsAllowed", "currentHealthy", "desiredHealthy", "expectedPods"];

fn budget(check: &mut Check, spec: &Value) {
    let at = path("spec");
    if !spec["minAvailable"].is_null() && !spec["maxUnavailable"].is_null() {
        let wrong = FieldError::invalid(&at, spec.clone(), "minAvailable and maxUnavailable cannot be both set");
        check.push(wrong.shown_as(go::show(spec, go::BUDGET)));
    }
    for field in ["minAvailable", "maxUnavailable"] {
        check.count_or_percent(at.field(field), &spec[field]);
        workload::at_most_all(check, at.field(field), &spec[field]);
    }
    check.selector(&at.field("selector"), &spec["selector"]);
    let policies = ["AlwaysAllow", "IfHealthyBudget"];
    check.exactly_one_of(at.field("unhealthyPodEvictionPolicy"), &spec["unhealthyPodEvictionPolicy"], &policies);
}
