//! Core kinds that are little but columns; rules of those that have some stand in files of their own.

use crate::column::{AGE, Column, DEFAULT, NAME, items, string};
use crate::descriptor::{Kind, Subresource};
use k8s_openapi::api::core::v1::{ComponentStatus, LimitRange, ResourceQuota};
use serde_json::{Value, json};

/// ComponentStatus: read-only, and deprecated upstream; the list is what the server says about itself.
pub static COMPONENT_STATUS: Kind = {
    let mut kind = Kind::new::<ComponentStatus>("componentstatus", "io.k8s.api.core.v1.ComponentStatus")
        .short(&["cs"])
        .columns(&[
            NAME,
            Column::text("Status", |_, o| json!(if healthy(o)["status"] == "True" { "Healthy" } else { "Unhealthy" })),
            Column::text("Message", |_, o| json!(string(&healthy(o)["message"]))),
            Column::text("Error", |_, o| json!(string(&healthy(o)["error"]))),
        ]);
    kind.verbs = &["get", "list"];
    kind
};

/// LimitRange.
pub static LIMIT_RANGE: Kind = Kind::new::<LimitRange>("limitrange", "io.k8s.api.core.v1.LimitRange")
    .short(&["limits"])
    .rules(&super::limit_range::LimitRangeRules)
    .columns(DEFAULT);

/// ResourceQuota.
pub static RESOURCE_QUOTA: Kind = Kind::new::<ResourceQuota>("resourcequota", QUOTA)
    .short(&["quota"])
    .rules(&super::resource_quota::QuotaRules)
    .subresources(&[Subresource::status::<ResourceQuota>(QUOTA)])
    .columns(&[
        NAME,
        Column::text("Request", |_, o| json!(usage(o, |name| !name.starts_with("limits.")))),
        Column::text("Limit", |_, o| json!(usage(o, |name| name.starts_with("limits.")))),
        AGE,
    ]);

const QUOTA: &str = "io.k8s.api.core.v1.ResourceQuota";

fn healthy(object: &Value) -> Value {
    items(&object["conditions"]).iter().find(|c| c["type"] == "Healthy").cloned().unwrap_or_default()
}

fn usage(quota: &Value, wanted: fn(&str) -> bool) -> String {
    let hard = quota["status"]["hard"].as_object();
    let pairs = hard.into_iter().flatten().filter(|(name, _)| wanted(name)).map(|(name, hard)| {
        let used = quota["status"]["used"][name].as_str().unwrap_or("0");
        format!("{name}: {used}/{}", string(hard))
    });
    pairs.collect::<Vec<_>>().join(", ")
}
