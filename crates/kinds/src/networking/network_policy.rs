//! NetworkPolicy: which traffic pods accept and send.

use crate::check::{Check, path};
use crate::column::{AGE, Column, NAME, items, selector};
use crate::descriptor::{Kind, Rules};
use crate::fields::{default, each, ensure, set};
use coracle_api::{FieldError, Status};
use coracle_api::{Path, validation};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use serde_json::{Value, json};

/// The descriptor.
pub static KIND: Kind = Kind::new::<NetworkPolicy>("networkpolicy", "io.k8s.api.networking.v1.NetworkPolicy")
    .short(&["netpol"])
    .generation()
    .rules(&PolicyRules)
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

struct PolicyRules;

impl Rules for PolicyRules {
    fn default(&self, object: &mut Value) -> Result<(), Status> {
        defaults(object);
        Ok(())
    }

    fn validate(&self, object: &Value) -> Vec<FieldError> {
        Check::run(|check| {
            let (at, spec) = (path("spec"), &object["spec"]);
            check.selector(&at.field("podSelector"), &spec["podSelector"]);
            for (list, peers) in [("ingress", "from"), ("egress", "to")] {
                for (index, rule) in items(&spec[list]).iter().enumerate() {
                    rule_errors(check, &at.field(list).index(index), rule, peers);
                }
            }
            for (index, kind) in items(&spec["policyTypes"]).iter().enumerate() {
                check.one_of(at.field("policyTypes").index(index), kind, &["Egress", "Ingress"]);
            }
        })
    }
}

fn rule_errors(check: &mut Check, at: &Path, rule: &Value, peers: &str) {
    for (index, port) in items(&rule["ports"]).iter().enumerate() {
        let at = at.field("ports").index(index);
        check.one_of(at.field("protocol"), &port["protocol"], &["SCTP", "TCP", "UDP"]);
        if !port["port"].is_null() {
            check.port_or_name(at.field("port"), &port["port"]);
        }
        if port["endPort"].as_i64().is_some_and(|end| end < port["port"].as_i64().unwrap_or(0)) {
            check.invalid(at.field("endPort"), &port["endPort"], "must be greater than or equal to `port`");
        }
    }
    for (index, peer) in items(&rule[peers]).iter().enumerate() {
        let at = at.field(peers).index(index);
        let selects = peer["podSelector"].is_object() || peer["namespaceSelector"].is_object();
        match (selects, peer["ipBlock"].is_object()) {
            (false, false) => check.required(at, "must specify a peer"),
            (true, true) => check.forbidden(at, "may not specify both ipBlock and another peer"),
            (false, true) => {
                check.required_text(at.field("ipBlock").field("cidr"), &peer["ipBlock"]["cidr"], validation::cidr)
            }
            (true, false) => {
                check.selector(&at.field("podSelector"), &peer["podSelector"]);
                check.selector(&at.field("namespaceSelector"), &peer["namespaceSelector"]);
            }
        }
    }
}
