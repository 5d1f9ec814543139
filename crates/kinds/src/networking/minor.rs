//! Networking kinds without rules of their own.

use crate::column::{AGE, Column, NAME, SelectableField, items, string};
use crate::descriptor::{Kind, Subresource, text};
use k8s_openapi::api::networking::v1::{IPAddress, IngressClass, ServiceCIDR};
use serde_json::{Value, json};

/// IngressClass.
pub static INGRESS_CLASS: Kind =
    Kind::new::<IngressClass>("ingressclass", "io.k8s.api.networking.v1.IngressClass").generation().columns(&[
        NAME,
        Column::text("Controller", |_, o| o["spec"]["controller"].clone()),
        Column::text("Parameters", |_, o| json!(parameters(o))),
        AGE,
    ]);

/// IPAddress: an address of the service network that is taken.
pub static IP_ADDRESS: Kind = Kind::new::<IPAddress>("ipaddress", "io.k8s.api.networking.v1.IPAddress")
    .short(&["ip"])
    .selectable(&[SelectableField {
        path: "spec.parentRef.resource",
        get: |o| text(&o["spec"]["parentRef"]["resource"]),
    }])
    .columns(&[NAME, Column::text("ParentRef", |_, o| json!(parent(o))), AGE]);

/// ServiceCIDR: a range of service addresses.
pub static SERVICE_CIDR: Kind =
    Kind::new::<ServiceCIDR>("servicecidr", CIDR).subresources(&[Subresource::status::<ServiceCIDR>(CIDR)]).columns(&[
        NAME,
        Column::text("CIDRs", |_, o| {
            json!(items(&o["spec"]["cidrs"]).iter().map(string).collect::<Vec<_>>().join(","))
        }),
        AGE,
    ]);

const CIDR: &str = "io.k8s.api.networking.v1.ServiceCIDR";

fn parameters(object: &Value) -> String {
    let parameters = &object["spec"]["parameters"];
    if !parameters.is_object() {
        return "<none>".into();
    }
    let kind = match string(&parameters["apiGroup"]) {
        "" => string(&parameters["kind"]).to_string(),
        group => format!("{}.{group}", string(&parameters["kind"])),
    };
    format!("{kind}/{}", string(&parameters["name"]))
}

fn parent(object: &Value) -> String {
    let parent = &object["spec"]["parentRef"];
    let parts = ["resource", "group"].map(|f| string(&parent[f])).into_iter().filter(|s| !s.is_empty());
    let resource = parts.collect::<Vec<_>>().join(".");
    let name = [string(&parent["namespace"]), string(&parent["name"])].into_iter().filter(|s| !s.is_empty());
    format!("{resource}/{}", name.collect::<Vec<_>>().join("/"))
}
