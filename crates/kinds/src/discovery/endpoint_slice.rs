//! EndpointSlice: a part of a Service's addresses.

use crate::check::Check;
use crate::column::{AGE, Column, NAME, items, number, string, string_or};
use crate::descriptor::{Kind, Part, Rules};
use crate::fields::{default, each, same, set, take};
use crate::place::{Place, TextRule};
use crate::warn;
use coracle_api::{FieldError, Status, validation};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use serde_json::{Value, json};

/// The descriptor.
pub static KIND: Kind = Kind::new::<EndpointSlice>("endpointslice", "io.k8s.api.discovery.v1.EndpointSlice")
    .generation()
    .rules(&SliceRules)
    .columns(&[
        NAME,
        Column::text("AddressType", |_, o| o["addressType"].clone()),
        Column::text("Ports", |_, o| json!(ports(o))),
        Column::text("Endpoints", |_, o| json!(endpoints(o))),
        AGE,
    ]);

fn shorten(list: Vec<String>) -> String {
    match list.len() {
        0 => "<unset>".into(),
        1..=3 => list.join(","),
        n => format!("{} + {} more...", list[..3].join(","), n - 3),
    }
}

fn ports(slice: &Value) -> String {
    let one = |port: &Value| match number(&port["port"]) {
        0 => string_or(&port["name"], "*").to_string(),
        n => n.to_string(),
    };
    shorten(items(&slice["ports"]).iter().map(one).collect())
}

fn endpoints(slice: &Value) -> String {
    let all = items(&slice["endpoints"]).iter().flat_map(|e| items(&e["addresses"]));
    shorten(all.map(|a| string(a).to_string()).collect())
}

fn defaults(slice: &mut Value) {
    each(slice, "ports", |port| {
        if !port["name"].is_string() {
            set(port, "name", "");
        }
        default(port, "protocol", "TCP");
    });
}

struct SliceRules;

impl Rules for SliceRules {
    fn default(&self, object: &mut Value) -> Result<(), Status> {
        defaults(object);
        Ok(())
    }

    fn prepare_create(&self, object: &mut Value) {
        drop_topology(object);
    }

    fn prepare_update(&self, new: &mut Value, old: &Value, _part: Part) {
        if new["endpoints"] != old["endpoints"] {
            drop_topology(new);
        }
    }

    fn validate(&self, object: &Value) -> Vec<FieldError> {
        Check::run(|check| slice(check, &Place::of(object), &Value::Null))
    }

    fn validate_update(&self, new: &Value, old: &Value, _part: Part) -> Vec<FieldError> {
        Check::run(|check| {
            let at = Place::of(new);
            slice(check, &at, old);
            check.declared_unchanged(&at.field("addressType"), &old["addressType"]);
        })
    }

    // labels say whose addresses these are
    fn desired_state_changed(&self, new: &Value, old: &Value) -> bool {
        ["addressType", "endpoints", "ports"].iter().any(|field| new[field] != old[field])
            || !same(&new["metadata"]["labels"], &old["metadata"]["labels"])
    }

    fn warnings(&self, object: &Value) -> Vec<String> {
        let names = object["addressType"] == "FQDN";
        let old = names.then(|| "spec.addressType: FQDN endpoints are deprecated".to_string());
        old.into_iter().chain(odd_addresses(object)).collect()
    }

    fn update_warnings(&self, new: &Value, _old: &Value) -> Vec<String> {
        odd_addresses(new)
    }
}

/// Who makes slices from addresses that were judged.
const CONTROLLERS: [&str; 2] = ["endpointslice-controller.k8s.io", "endpointslicemirroring-controller.k8s.io"];

fn odd_addresses(slice: &Value) -> Vec<String> {
    if CONTROLLERS.contains(&string(&slice["metadata"]["labels"]["endpointslice.kubernetes.io/managed-by"])) {
        return Vec::new();
    }
    let of = |endpoint: Place| -> Vec<String> {
        endpoint.field("addresses").items().filter_map(|address| warn::ip(&address)).collect()
    };
    Place::of(slice).field("endpoints").items().flat_map(of).collect()
}

fn drop_topology(object: &mut Value) {
    each(object, "endpoints", |endpoint| {
        take(endpoint, "deprecatedTopology");
    });
}

const MOST_ENDPOINTS: usize = 1000;
const MOST_ADDRESSES: usize = 100;
const MOST_PORTS: usize = 20_000;
const MOST_HINTS: usize = 8;

/// Endpoints that did not change are not judged again.
fn slice(check: &mut Check, at: &Place, old: &Value) {
    let kind = at.field("addressType");
    if check.declared(&kind) {
        check.later(|check| check.among(&kind, &["FQDN", "IPv4", "IPv6"]));
    }
    if check.fits(&at.field("ports"), MOST_PORTS) {
        ports_of(check, &at.field("ports"));
    }
    let endpoints = at.field("endpoints");
    if (old.is_null() || *endpoints.value != old["endpoints"]) && check.fits(&endpoints, MOST_ENDPOINTS) {
        endpoints.items().for_each(|at| endpoint(check, &at, kind.text()));
    }
}

fn ports_of(check: &mut Check, list: &Place) {
    for at in list.items() {
        check.may_keep(&at.field("name"), validation::dns1123_label);
        if check.needs(&at.field("protocol"), "") {
            check.among(&at.field("protocol"), &["SCTP", "TCP", "UDP"]);
        }
        if at.field("appProtocol").given() {
            check.keeps(&at.field("appProtocol"), validation::qualified_name);
        }
    }
    check.all_differ(list, |port| port.field("name"));
}

fn endpoint(check: &mut Check, at: &Place, kind: &str) {
    let addresses = at.field("addresses");
    if check.declared(&addresses) {
        check.later(|check| check.fits(&addresses, MOST_ADDRESSES));
    }
    addresses.items().for_each(|at| address(check, &at, kind));
    if at.field("nodeName").given() {
        check.keeps(&at.field("nodeName"), validation::dns1123_subdomain);
    }
    if at.field("hostname").given() {
        check.keeps(&at.field("hostname"), validation::dns1123_label);
    }
    let rules: [(&str, TextRule); 2] =
        [("forZones", validation::label_value), ("forNodes", validation::dns1123_subdomain)];
    for (list, rule) in rules.map(|(field, rule)| (at.field("hints").field(field), rule)) {
        if check.fits(&list, MOST_HINTS) {
            check.all_differ(&list, |hint| hint.field("name"));
            list.items().for_each(|hint| check.keeps(&hint.field("name"), rule));
        }
    }
}

fn address(check: &mut Check, at: &Place, kind: &str) {
    match kind {
        "FQDN" => check.fully_qualified_domain(at),
        "IPv4" | "IPv6" => {
            let wrong = validation::ip(at.text());
            let family = validation::parse_ip(at.text()).map(|ip| if ip.is_ipv4() { "IPv4" } else { "IPv6" });
            if !wrong.is_empty() {
                return check.keeps(at, validation::ip);
            }
            if family != Some(kind) {
                check.bad(at, format!("must be an {kind} address"));
            }
            check.no_special_ip(at);
        }
        _ => {}
    }
}
