//! Node: a machine, or a namespace that stands for one.

use crate::check::{Check, filled, path};
use crate::column::{AGE, Column, NAME, SelectableField, items, or_none, string, string_or};
use crate::descriptor::{Kind, Part, Rules, Subresource, text};
use crate::fields::{set, within};
use coracle_api::{FieldError, FieldErrorKind, Path, Status, validation};
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

    fn validate(&self, node: &Value) -> Vec<FieldError> {
        Check::run(|check| taints(check, &path("spec").field("taints"), &node["spec"]["taints"]))
    }

    fn validate_update(&self, new: &Value, old: &Value, part: Part) -> Vec<FieldError> {
        if part != Part::Main {
            return Vec::new();
        }
        let mut errors = self.validate(new);
        errors.extend(Check::run(|check| {
            let (now, before, at) = (&new["spec"], &old["spec"], path("spec"));
            if filled(before, "podCIDRs") && now["podCIDRs"] != before["podCIDRs"] {
                check.forbidden(at.field("podCIDRs"), "node updates may not change podCIDR except from \"\" to valid");
            }
            if filled(before, "providerID") && now["providerID"] != before["providerID"] {
                check.forbidden(
                    at.field("providerID"),
                    "node updates may not change providerID except from \"\" to valid",
                );
            }
        }));
        errors
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

fn taints(check: &mut Check, at: &Path, taints: &Value) {
    let mut seen: Vec<(&str, &str)> = Vec::new();
    for (index, taint) in items(taints).iter().enumerate() {
        let at = at.index(index);
        for message in validation::qualified_name(string(&taint["key"])) {
            check.invalid(at.field("key"), &taint["key"], message);
        }
        check.text(at.field("value"), &taint["value"], validation::label_value);
        let effects = ["NoSchedule", "PreferNoSchedule", "NoExecute"];
        check.required_one_of(at.field("effect"), &taint["effect"], &effects);
        let key = (string(&taint["key"]), string(&taint["effect"]));
        if seen.contains(&key) {
            check.push(FieldError::new(
                at,
                FieldErrorKind::Duplicate(taint.clone()),
                "taints must be unique by key and effect pair",
            ));
        }
        seen.push(key);
    }
}
