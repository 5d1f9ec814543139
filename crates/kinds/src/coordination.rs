//! `coordination.k8s.io`: who leads, who lives.

use crate::check::{Check, path};
use crate::column::{AGE, Column, NAME, string};
use crate::descriptor::{Kind, Rules};
use coracle_api::FieldError;
use k8s_openapi::api::coordination::v1::Lease;
use serde_json::{Value, json};

/// Lease. PUT creates it, so that a leader needs one request.
pub static LEASE: Kind = Kind::new::<Lease>("lease", "io.k8s.api.coordination.v1.Lease")
    .rules(&LeaseRules)
    .create_on_update()
    .conditional_update()
    .columns(&[NAME, Column::text("Holder", |_, o| json!(string(&o["spec"]["holderIdentity"]))), AGE]);

struct LeaseRules;

impl Rules for LeaseRules {
    fn validate(&self, object: &Value) -> Vec<FieldError> {
        Check::run(|check| {
            let (at, spec) = (path("spec"), &object["spec"]);
            if spec["leaseDurationSeconds"].as_i64().is_some_and(|n| n <= 0) {
                check.invalid(
                    at.field("leaseDurationSeconds"),
                    &spec["leaseDurationSeconds"],
                    "must be greater than 0",
                );
            }
            check.not_negative(at.field("leaseTransitions"), &spec["leaseTransitions"]);
        })
    }
}
