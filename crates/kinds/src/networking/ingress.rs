//! Ingress: HTTP routes into the cluster.

use crate::column::{AGE, Column, NAME, items, string, string_or};
use crate::descriptor::{Kind, Subresource};
use k8s_openapi::api::networking::v1::Ingress;
use serde_json::{Value, json};

const SCHEMA: &str = "io.k8s.api.networking.v1.Ingress";

/// The descriptor.
pub static KIND: Kind = Kind::new::<Ingress>("ingress", SCHEMA)
    .short(&["ing"])
    .generation()
    .subresources(&[Subresource::status::<Ingress>(SCHEMA)])
    .columns(&[
        NAME,
        Column::text("Class", |_, o| json!(class(o))),
        Column::text("Hosts", |_, o| json!(hosts(o))),
        Column::text("Address", |_, o| json!(address(o))),
        Column::text("Ports", |_, o| json!(if items(&o["spec"]["tls"]).is_empty() { "80" } else { "80, 443" })),
        AGE,
    ]);

fn class(object: &Value) -> &str {
    let annotation = &object["metadata"]["annotations"]["kubernetes.io/ingress.class"];
    string_or(&object["spec"]["ingressClassName"], string_or(annotation, "<none>"))
}

fn hosts(object: &Value) -> String {
    let hosts: Vec<&str> =
        items(&object["spec"]["rules"]).iter().map(|r| string(&r["host"])).filter(|h| !h.is_empty()).collect();
    match hosts.len() {
        0 => "*".into(),
        1..=3 => hosts.join(","),
        n => format!("{} + {} more...", hosts[..3].join(","), n - 3),
    }
}

fn address(object: &Value) -> String {
    let ingress = items(&object["status"]["loadBalancer"]["ingress"]);
    ingress.iter().map(|i| string_or(&i["ip"], string(&i["hostname"]))).collect::<Vec<_>>().join(",")
}
