//! ServiceAccount: an identity for pods.

use crate::column::{AGE, Column, NAME, items};
use crate::descriptor::{Kind, Subresource};
use k8s_openapi::api::core::v1::ServiceAccount;
use serde_json::json;

/// The descriptor.
pub static KIND: Kind = Kind::new::<ServiceAccount>("serviceaccount", "io.k8s.api.core.v1.ServiceAccount")
    .short(&["sa"])
    .subresources(&[Subresource::TOKEN])
    .columns(&[NAME, Column::number("Secrets", |_, o| json!(items(&o["secrets"]).len())), AGE]);
