//! PodDisruptionBudget: how many pods may be taken away at once.

use crate::column::{AGE, Column, NAME, number};
use crate::descriptor::{Kind, Subresource, text};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use serde_json::{Value, json};

const SCHEMA: &str = "io.k8s.api.policy.v1.PodDisruptionBudget";

/// The descriptor.
pub static KIND: Kind = Kind::new::<PodDisruptionBudget>("poddisruptionbudget", SCHEMA)
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
