//! Endpoints: the older list of a Service's addresses.

use crate::check::{Check, filled, path};
use crate::column::{AGE, Column, NAME, items, number, or_none, string};
use crate::descriptor::{Kind, Rules};
use crate::fields::{default, each};
use crate::place::Place;
use crate::warn;
use coracle_api::validation;
use coracle_api::{FieldError, Status};
use k8s_openapi::api::core::v1::Endpoints;
use serde_json::{Value, json};

/// The descriptor.
pub static KIND: Kind = Kind::new::<Endpoints>("endpoints", "io.k8s.api.core.v1.Endpoints")
    .short(&["ep"])
    .rules(&EndpointsRules)
    .columns(&[NAME, Column::text("Endpoints", |_, o| json!(addresses(o))), AGE]);

// Three addresses are shown, of the first port of each subset with several; the rest is counted.
fn addresses(object: &Value) -> String {
    let mut shown = Vec::new();
    for subset in items(&object["subsets"]) {
        let ports = items(&subset["ports"]);
        for address in items(&subset["addresses"]) {
            let ip = string(&address["ip"]);
            if ports.is_empty() {
                shown.push(ip.to_string());
            }
            shown.extend(ports.iter().map(|port| {
                if ip.contains(':') { format!("[{ip}]:{}", port["port"]) } else { format!("{ip}:{}", port["port"]) }
            }));
        }
    }
    let more = shown.len().saturating_sub(3);
    shown.truncate(3);
    let list = or_none(shown.join(","));
    if more > 0 { format!("{list} + {more} more...") } else { list }
}

fn defaults(object: &mut Value) {
    each(object, "subsets", |subset| each(subset, "ports", |port| default(port, "protocol", "TCP")));
}

struct EndpointsRules;

impl Rules for EndpointsRules {
    fn default(&self, object: &mut Value) -> Result<(), Status> {
        defaults(object);
        Ok(())
    }

    fn validate(&self, object: &Value) -> Vec<FieldError> {
        Check::run(|check| {
            for (index, subset) in items(&object["subsets"]).iter().enumerate() {
                let at = path("subsets").index(index);
                if !filled(subset, "addresses") && !filled(subset, "notReadyAddresses") {
                    check.required(at.clone(), "must specify `addresses` or `notReadyAddresses`");
                }
                for list in ["addresses", "notReadyAddresses"] {
                    for (index, address) in items(&subset[list]).iter().enumerate() {
                        let at = at.field(list).index(index);
                        check.word(&at.field("ip"), &address["ip"], validation::ip);
                        check.text(at.field("hostname"), &address["hostname"], validation::dns1123_label);
                        if address["nodeName"].is_string() {
                            check.word(&at.field("nodeName"), &address["nodeName"], validation::dns1123_subdomain);
                        }
                        check.no_special_ip(&Place::at(at.field("ip"), &address["ip"]));
                    }
                }
                for (index, port) in items(&subset["ports"]).iter().enumerate() {
                    let ports = at.field("ports").index(index);
                    if items(&subset["ports"]).len() > 1 && string(&port["name"]).is_empty() {
                        check.required(ports.field("name"), "");
                    }
                    check.text(ports.field("name"), &port["name"], validation::dns1123_label);
                    check.port(ports.field("port"), &json!(number(&port["port"])));
                    check.required_one_of(ports.field("protocol"), &port["protocol"], &["SCTP", "TCP", "UDP"]);
                    if port["appProtocol"].is_string() {
                        check.word(&ports.field("appProtocol"), &port["appProtocol"], validation::qualified_name);
                    }
                }
            }
        })
    }

    fn warnings(&self, object: &Value) -> Vec<String> {
        // those of the controller are made from addresses that were judged
        if object["metadata"]["labels"]["endpoints.kubernetes.io/managed-by"] == "endpoint-controller" {
            return Vec::new();
        }
        let of = |subset: Place| -> Vec<String> {
            let lists = ["addresses", "notReadyAddresses"].map(|list| subset.field(list));
            lists.iter().flat_map(Place::items).filter_map(|address| warn::ip(&address.field("ip"))).collect()
        };
        Place::of(object).field("subsets").items().flat_map(of).collect()
    }
}
