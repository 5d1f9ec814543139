//! EndpointSlice: a part of a Service's addresses.

use crate::column::{AGE, Column, NAME, items, number, string, string_or};
use crate::descriptor::{Defaults, Kind};
use crate::fields::{default, each, set};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use serde_json::{Value, json};

/// The descriptor.
pub static KIND: Kind = Kind::new::<EndpointSlice>("endpointslice", "io.k8s.api.discovery.v1.EndpointSlice")
    .generation()
    .rules(&Defaults(defaults))
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
