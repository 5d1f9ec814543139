//! PodDisruptionBudget: how many pods may be taken away at once.

use crate::check::{Check, path};
use crate::column::{AGE, Column, NAME, number};
use crate::descriptor::{Kind, Rules, Subresource, text};
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
        Check::run(|check| {
            let (at, spec) = (path("spec"), &object["spec"]);
            if !spec["minAvailable"].is_null() && !spec["maxUnavailable"].is_null() {
                check.invalid(at.clone(), spec, "minAvailable and maxUnavailable cannot be both set");
            }
            for field in ["minAvailable", "maxUnavailable"] {
                check.count_or_percent(at.field(field), &spec[field]);
            }
            check.selector(&at.field("selector"), &spec["selector"]);
            let policies = ["AlwaysAllow", "IfHealthyBudget"];
            check.one_of(at.field("unhealthyPodEvictionPolicy"), &spec["unhealthyPodEvictionPolicy"], &policies);
        })
    }
}
