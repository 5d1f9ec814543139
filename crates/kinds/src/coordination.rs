//! `coordination.k8s.io`: who leads, who lives.

use crate::column::{AGE, Column, NAME, string};
use crate::descriptor::Kind;
use k8s_openapi::api::coordination::v1::Lease;
use serde_json::json;

/// Lease. PUT creates it, so that a leader needs one request.
pub static LEASE: Kind = Kind::new::<Lease>("lease", "io.k8s.api.coordination.v1.Lease")
    .create_on_update()
    .conditional_update()
    .columns(&[NAME, Column::text("Holder", |_, o| json!(string(&o["spec"]["holderIdentity"]))), AGE]);
