//! Secret: confidential keys and values.

use crate::column::{AGE, Column, NAME, SelectableField};
use crate::descriptor::{Kind, text};
use k8s_openapi::api::core::v1::Secret;
use serde_json::json;

/// The descriptor.
pub static KIND: Kind = Kind::new::<Secret>("secret", "io.k8s.api.core.v1.Secret")
    .selectable(&[SelectableField { path: "type", get: |o| text(&o["type"]) }])
    .columns(&[
        NAME,
        Column::text("Type", |_, o| o["type"].clone()),
        Column::number("Data", |_, o| json!(o["data"].as_object().map_or(0, serde_json::Map::len))),
        AGE,
    ]);
