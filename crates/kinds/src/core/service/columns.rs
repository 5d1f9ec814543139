//! How Services are listed.

use crate::column::{AGE, Column, NAME, items, labels, or_none, string, string_or};
use serde_json::{Value, json};

pub(super) const COLUMNS: &[Column] = &[
    NAME,
    Column::text("Type", |_, o| o["spec"]["type"].clone()),
    Column::text("Cluster-IP", |_, o| {
        json!(if o["spec"]["type"] == "ExternalName" { "<none>" } else { string_or(&o["spec"]["clusterIP"], "<none>") })
    }),
    Column::text("External-IP", |_, o| json!(external(o))),
    Column::text("Port(s)", |_, o| json!(ports(o))),
    AGE,
    Column::text("Selector", |_, o| json!(labels(&o["spec"]["selector"]))).wide(),
];

fn external(service: &Value) -> String {
    let spec = &service["spec"];
    let mut addresses: Vec<&str> = items(&spec["externalIPs"]).iter().map(string).collect();
    match string(&spec["type"]) {
        "ExternalName" => string(&spec["externalName"]).into(),
        "LoadBalancer" => {
            let ingress = items(&service["status"]["loadBalancer"]["ingress"]);
            let assigned: Vec<&str> = ingress.iter().map(|i| string_or(&i["ip"], string(&i["hostname"]))).collect();
            addresses.splice(0..0, assigned);
            if addresses.is_empty() { "<pending>".into() } else { addresses.join(",") }
        }
        _ => or_none(addresses.join(",")),
    }
}

fn ports(service: &Value) -> String {
    let one = |port: &Value| {
        let protocol = string(&port["protocol"]);
        match port["nodePort"].as_i64() {
            Some(node) if node > 0 => format!("{}:{node}/{protocol}", port["port"]),
            _ => format!("{}/{protocol}", port["port"]),
        }
    };
    or_none(items(&service["spec"]["ports"]).iter().map(one).collect::<Vec<_>>().join(","))
}
