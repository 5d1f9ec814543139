//! Node: a machine, or a namespace that stands for one.

use crate::column::{AGE, Column, NAME, SelectableField, items, or_none, string, string_or};
use crate::descriptor::{Kind, Rules, Subresource, text};
use crate::fields::{set, within};
use coracle_api::Status;
use k8s_openapi::api::core::v1::Node;
use serde_json::{Value, json};

const SCHEMA: &str = "io.k8s.api.core.v1.Node";

/// The descriptor.
pub static KIND: Kind = Kind::new::<Node>("node", SCHEMA)
    .short(&["no"])
    .subresources(&[Subresource::status::<Node>(SCHEMA), Subresource::proxy("NodeProxyOptions")])
    .selectable(&[SelectableField {
        path: "spec.unschedulable",
        get: |o| text(&json!(o["spec"]["unschedulable"].as_bool().unwrap_or(false))),
    }])
    .rules(&NodeRules)
    .columns(COLUMNS);

const COLUMNS: &[Column] = &[
    NAME,
    Column::text("Status", |_, o| json!(status(o))).about("The status of the node"),
    Column::text("Roles", |_, o| json!(roles(o))).about("The roles of the node"),
    AGE,
    Column::text("Version", |_, o| o["status"]["nodeInfo"]["kubeletVersion"].clone()),
    Column::text("Internal-IP", |_, o| json!(address(o, "InternalIP"))).wide(),
    Column::text("External-IP", |_, o| json!(address(o, "ExternalIP"))).wide(),
    Column::text("OS-Image", |_, o| json!(info(o, "osImage"))).wide(),
    Column::text("Kernel-Version", |_, o| json!(info(o, "kernelVersion"))).wide(),
    Column::text("Container-Runtime", |_, o| json!(info(o, "containerRuntimeVersion"))).wide(),
];

fn status(node: &Value) -> String {
    let ready = items(&node["status"]["conditions"]).iter().find(|c| c["type"] == "Ready");
    let mut words = vec![match ready.map(|c| string(&c["status"])) {
        Some("True") => "Ready",
        Some(_) => "NotReady",
        None => "Unknown",
    }];
    if node["spec"]["unschedulable"] == true {
        words.push("SchedulingDisabled");
    }
    words.join(",")
}

fn roles(node: &Value) -> String {
    let mut roles: Vec<&str> = Vec::new();
    for (key, value) in node["metadata"]["labels"].as_object().into_iter().flatten() {
        match key.strip_prefix("node-role.kubernetes.io/") {
            Some(role) if !role.is_empty() => roles.push(role),
            _ if key == "kubernetes.io/role" && !string(value).is_empty() => roles.push(string(value)),
            _ => {}
        }
    }
    roles.sort_unstable();
    roles.dedup();
    or_none(roles.join(","))
}

fn address<'a>(node: &'a Value, kind: &str) -> &'a str {
    let addresses = items(&node["status"]["addresses"]);
    addresses.iter().find(|a| a["type"] == kind).map_or("<none>", |a| string(&a["address"]))
}

fn info<'a>(node: &'a Value, field: &str) -> &'a str {
    string_or(&node["status"]["nodeInfo"][field], "<unknown>")
}

struct NodeRules;

impl Rules for NodeRules {
    fn default(&self, node: &mut Value) -> Result<(), Status> {
        defaults(node);
        Ok(())
    }
}

fn defaults(node: &mut Value) {
    within(node, "status", |status| {
        let capacity = status["capacity"].clone();
        if status["allocatable"].is_null() && capacity.is_object() {
            set(status, "allocatable", capacity);
        }
    });
}
