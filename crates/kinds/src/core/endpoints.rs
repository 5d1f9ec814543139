//! Endpoints: the older list of a Service's addresses.

use crate::column::{AGE, Column, NAME, items, or_none, string};
use crate::descriptor::{Defaults, Kind};
use crate::fields::{default, each};
use k8s_openapi::api::core::v1::Endpoints;
use serde_json::{Value, json};

/// The descriptor.
pub static KIND: Kind = Kind::new::<Endpoints>("endpoints", "io.k8s.api.core.v1.Endpoints")
    .short(&["ep"])
    .rules(&Defaults(defaults))
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
