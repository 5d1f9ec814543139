//! NetworkPolicy: which traffic pods accept and send.

use crate::check::Check;
use crate::column::{AGE, Column, NAME, items, selector};
use crate::descriptor::{Kind, Part, Rules};
use crate::fields::{default, each, ensure, set};
use crate::place::Place;
use crate::warn;
use coracle_api::{FieldError, Status, validation};
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
        Check::run(|check| spec(check, &Place::of(object).field("spec"), &[]))
    }

    fn validate_update(&self, new: &Value, old: &Value, part: Part) -> Vec<FieldError> {
        if part != Part::Main {
            return Vec::new();
        }
        Check::run(|check| spec(check, &Place::of(new).field("spec"), &ranges(&Place::of(old).field("spec"))))
    }

    fn warnings(&self, object: &Value) -> Vec<String> {
        let spec = Place::of(object).field("spec");
        let mut said = Vec::new();
        for (list, peers) in DIRECTIONS {
            for peer in spec.field(list).items().flat_map(|rule| rule.field(peers).items().collect::<Vec<_>>()) {
                let block = peer.field("ipBlock");
                said.extend(warn::cidr(&block.field("cidr")));
                said.extend(block.field("except").items().flat_map(|except| warn::cidr(&except)));
            }
        }
        said
    }
}

const DIRECTIONS: [(&str, &str); 2] = [("ingress", "from"), ("egress", "to")];

/// The ranges that a policy names: those it had once may stay as they are.
fn ranges<'v>(spec: &Place<'v>) -> Vec<&'v str> {
    let rules = DIRECTIONS.iter().flat_map(|(list, peers)| {
        spec.field(list).items().flat_map(|rule| rule.field(peers).items().collect::<Vec<_>>()).collect::<Vec<_>>()
    });
    rules
        .flat_map(|peer| {
            let block = peer.field("ipBlock");
            let except = block.field("except").items().map(|e| e.text()).collect::<Vec<_>>();
            std::iter::once(block.field("cidr").text()).chain(except)
        })
        .collect()
}

fn spec(check: &mut Check, at: &Place, known: &[&str]) {
    check.selects(&at.field("podSelector"));
    for (list, peers) in DIRECTIONS {
        for rule in at.field(list).items() {
            rule.field("ports").items().for_each(|at| port(check, &at));
            rule.field(peers).items().for_each(|at| peer(check, &at, known));
        }
    }
    let types = at.field("policyTypes");
    if types.len() > 2 {
        return check.bad(&types, "may not specify more than two policyTypes");
    }
    types.items().for_each(|at| check.among(&at, &["Ingress", "Egress"]));
}

fn port(check: &mut Check, at: &Place) {
    let (port, end) = (at.field("port"), at.field("endPort"));
    check.may_be(&at.field("protocol"), &["TCP", "UDP", "SCTP"]);
    if port.value.is_string() {
        if end.given() {
            check.bad(&end, "may not be specified when `port` is non-numeric");
        }
        return check.keeps(&port, validation::port_name);
    }
    if !port.given() {
        if end.given() {
            check.bad(&end, "may not be specified when `port` is not specified");
        }
        return;
    }
    check.port(port.path.clone(), port.value);
    if end.given() {
        if end.number() < port.number() {
            check.bad(&end, "must be greater than or equal to `port`");
        }
        check.port(end.path.clone(), end.value);
    }
}

fn peer(check: &mut Check, at: &Place, known: &[&str]) {
    let selectors = [at.field("podSelector"), at.field("namespaceSelector")];
    let (selects, block) = (selectors.iter().any(Place::given), at.field("ipBlock"));
    selectors.iter().for_each(|at| check.selects(at));
    if block.given() {
        ip_block(check, &block, known);
    }
    match (selects, block.given()) {
        (false, false) => check.required(at.path.clone(), "must specify a peer"),
        (true, true) => check.barred(at, "may not specify both ipBlock and another peer"),
        _ => {}
    }
}

fn ip_block(check: &mut Check, block: &Place, known: &[&str]) {
    let cidr = block.field("cidr");
    if !check.declared(&cidr) {
        return;
    }
    range(check, &cidr, known);
    let Some((network, length)) = validation::parse_cidr(cidr.text()) else { return };
    for except in block.field("except").items() {
        range(check, &except, known);
        let Some((inner, inner_length)) = validation::parse_cidr(except.text()) else { continue };
        let inside = inner.is_ipv4() == network.is_ipv4()
            && validation::network_of(inner, length) == validation::network_of(network, length);
        if !inside || length >= inner_length {
            check.bad(&except, "must be a strict subset of `cidr`");
        }
    }
}

fn range(check: &mut Check, at: &Place, known: &[&str]) {
    if !known.contains(&at.text()) {
        check.keeps(at, validation::cidr);
    }
}
