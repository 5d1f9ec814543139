//! NetworkPolicy: which traffic pods accept and send.

use crate::column::{AGE, Column, NAME, selector};
use crate::descriptor::Kind;
use k8s_openapi::api::networking::v1::NetworkPolicy;
use serde_json::json;

/// The descriptor.
pub static KIND: Kind = Kind::new::<NetworkPolicy>("networkpolicy", "io.k8s.api.networking.v1.NetworkPolicy")
    .short(&["netpol"])
    .generation()
    .columns(&[NAME, Column::text("Pod-Selector", |_, o| json!(selector(&o["spec"]["podSelector"]))), AGE]);
