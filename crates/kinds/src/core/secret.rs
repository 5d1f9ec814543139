//! Secret: confidential keys and values.

use crate::column::{AGE, Column, NAME, SelectableField, string};
use crate::descriptor::{Defaults, Kind, text};
use crate::fields::{default, ensure, set, take};
use base64::{Engine, prelude::BASE64_STANDARD as BASE64};
use k8s_openapi::api::core::v1::Secret;
use serde_json::{Value, json};

/// The descriptor.
pub static KIND: Kind = Kind::new::<Secret>("secret", "io.k8s.api.core.v1.Secret")
    .selectable(&[SelectableField { path: "type", get: |o| text(&o["type"]) }])
    .rules(&Defaults(defaults))
    .columns(&[
        NAME,
        Column::text("Type", |_, o| o["type"].clone()),
        Column::number("Data", |_, o| json!(o["data"].as_object().map_or(0, serde_json::Map::len))),
        AGE,
    ]);

fn defaults(secret: &mut Value) {
    default(secret, "type", "Opaque");
    // what was given as text is kept as bytes, like the rest
    let Some(plain) = take(secret, "stringData") else { return };
    let plain = plain.as_object().cloned().unwrap_or_default();
    if plain.is_empty() {
        return;
    }
    let data = ensure(secret, "data");
    for (key, value) in plain {
        set(data, &key, BASE64.encode(string(&value)));
    }
}
