//! Node: a machine, or a namespace that stands for one.

use crate::amounts::{self, entries};
use crate::check::{Check, dual_stack, filled, path};
use crate::column::{AGE, Column, NAME, SelectableField, items, or_none, string, string_or};
use crate::core::pod::EFFECTS;
use crate::descriptor::{Kind, Part, Rules, Subresource, text};
use crate::fields::{absent, same, set, within};
use crate::go;
use coracle_api::{FieldError, FieldErrorKind, Status, validation};
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
    .born_with_status()
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
        Check::run(|check| validate(check, node))
    }

    fn validate_update(&self, new: &Value, old: &Value, part: Part) -> Vec<FieldError> {
        Check::run(|check| {
            if part == Part::Main {
                validate(check, new);
            }
            changed(check, new, old);
        })
    }

    fn warnings(&self, node: &Value) -> Vec<String> {
        let source = node["spec"]["configSource"].is_object().then_some("spec.configSource: the feature is removed");
        let id = !string(&node["spec"]["externalID"]).is_empty();
        let id = id.then_some("spec.externalID: this field is deprecated, and is unused by Kubernetes");
        source.into_iter().chain(id).map(String::from).collect()
    }
}

fn defaults(node: &mut Value) {
    within(node, "status", |status| {
        let capacity = status["capacity"].clone();
        if status["allocatable"].is_null() && capacity.is_object() {
            set(status, "allocatable", capacity);
        }
    });
    within(node, "spec", |spec| match (absent(spec, "podCIDR"), items(&spec["podCIDRs"]).first().cloned()) {
        (false, None) => {
            let one = spec["podCIDR"].clone();
            set(spec, "podCIDRs", json!([one]));
        }
        (_, Some(first)) => set(spec, "podCIDR", first),
        _ => {}
    });
}

fn validate(check: &mut Check, node: &Value) {
    taints(check, &node["spec"]["taints"]);
    resources(check, node);
    let (at, ranges) = (path("spec").field("podCIDRs"), items(&node["spec"]["podCIDRs"]));
    for (index, range) in ranges.iter().enumerate() {
        check.word(&at.index(index), range, validation::cidr);
    }
    if ranges.len() > 1 {
        if ranges.len() > 2 || !dual_stack(ranges.iter().map(string)) {
            let why = "may specify no more than one CIDR for each IP family";
            check.invalid(at.clone(), &node["spec"]["podCIDRs"], why);
        }
        for (index, range) in ranges.iter().enumerate().filter(|(index, range)| ranges[..*index].contains(range)) {
            check.duplicate(at.index(index), range.clone());
        }
    }
}

fn resources(check: &mut Check, node: &Value) {
    for field in ["capacity", "allocatable"] {
        for (name, given) in entries(&node["status"][field]) {
            amounts::value(check, &path("status").field(field).field(name), name, given);
        }
    }
}

fn changed(check: &mut Check, new: &Value, old: &Value) {
    let (now, before, at) = (&new["spec"], &old["spec"], path("spec"));
    resources(check, new);
    let addresses = items(&new["status"]["addresses"]);
    for (index, address) in addresses.iter().enumerate().filter(|(index, a)| addresses[..*index].contains(a)) {
        let error = FieldError::duplicate(path("status").field("addresses").index(index), address.clone());
        check.push(error.shown_as(go::show(address, go::NODE_ADDRESS)));
    }
    if filled(before, "podCIDRs") && !same(&now["podCIDRs"], &before["podCIDRs"]) {
        check.forbidden(at.field("podCIDRs"), "node updates may not change podCIDR except from \"\" to valid");
    }
    if filled(before, "providerID") && now["providerID"] != before["providerID"] {
        check.forbidden(at.field("providerID"), "node updates may not change providerID except from \"\" to valid");
    }
    taints(check, &now["taints"]);
    if string(&now["externalID"]) != string(&before["externalID"]) {
        check.forbidden(at.field("externalID"), "may not be updated");
    }
}

/// Taints. Upstream looks for them in the metadata.
fn taints(check: &mut Check, taints: &Value) {
    let mut seen: Vec<(&str, &str)> = Vec::new();
    for (index, taint) in items(taints).iter().enumerate() {
        let at = path("metadata").field("taints").index(index);
        check.word(&at.field("key"), &taint["key"], validation::qualified_name);
        let wrong = validation::label_value(string(&taint["value"]));
        if !wrong.is_empty() {
            check.invalid(at.field("value"), &taint["value"], wrong.join(";"));
        }
        check.required_one_of(at.field("effect"), &taint["effect"], EFFECTS);
        let key = (string(&taint["key"]), string(&taint["effect"]));
        if seen.contains(&key) {
            let why = "taints must be unique by key and effect pair";
            let error = FieldError::new(at, FieldErrorKind::Duplicate(taint.clone()), why);
            check.push(error.shown_as(go::show(taint, go::TAINT)));
        }
        seen.push(key);
    }
}
