//! ConfigMap: configuration as keys and values.

use crate::column::{AGE, Column, NAME};
use crate::descriptor::Kind;
use k8s_openapi::api::core::v1::ConfigMap;
use serde_json::{Value, json};

/// The descriptor.
pub static KIND: Kind = Kind::new::<ConfigMap>("configmap", "io.k8s.api.core.v1.ConfigMap").short(&["cm"]).columns(&[
    NAME,
    Column::number("Data", |_, o| json!(count(&o["data"]) + count(&o["binaryData"]))),
    AGE,
]);

fn count(map: &Value) -> usize {
    map.as_object().map_or(0, serde_json::Map::len)
}
