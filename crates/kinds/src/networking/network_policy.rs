//! NetworkPolicy: which traffic pods accept and send.

use crate::column::{AGE, Column, NAME, items, selector};
use crate::descriptor::{Defaults, Kind};
use crate::fields::{default, each, ensure, set};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use serde_json::{Value, json};

/// The descriptor.
pub static KIND: Kind = Kind::new::<NetworkPolicy>("networkpolicy", "io.k8s.api.networking.v1.NetworkPolicy")
    .short(&["netpol"])
    .generation()
    .rules(&Defaults(defaults))
    .columns(&[NAME, Column::text("Pod-Selector", |_, o| json!(selector(&o["spec"]["podSelector"]))), AGE]);

fn defaults(object: &mut Value) {
    let spec = ensure(object, "spec");
    ensure(spec, "podSelector");
    if items(&spec["policyTypes"]).is_empty() {
        let egress = !items(&spec["egress"]).is_empty();
        set(spec, "policyTypes", if egress { json!(["Ingress", "Egress"]) } else { json!(["Ingress"]) });
    }
    for direction in ["ingress", "egress"] {
        each(spec, direction, |rule| each(rule, "ports", |port| default(port, "protocol", "TCP")));
    }
}
