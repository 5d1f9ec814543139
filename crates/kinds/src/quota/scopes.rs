//! Which objects a quota is about: its scopes, all of which an object has to be in.

use super::Measure;
use crate::column::{items, string};
use crate::core::pod::defaults::qos_class;
use serde_json::Value;

/// Whether an object counts against a quota, by the quota's scopes.
pub fn covers(quota: &Value, measure: Measure<'_>, object: &Value) -> bool {
    let spec = &quota["spec"];
    let scopes = items(&spec["scopes"]).iter().map(|scope| (string(scope), "Exists", &Value::Null));
    let selected = items(&spec["scopeSelector"]["matchExpressions"]).iter();
    let selected = selected.map(|term| (string(&term["scopeName"]), string(&term["operator"]), &term["values"]));
    scopes.chain(selected).all(|(scope, operator, values)| within(measure, object, scope, operator, values))
}

fn within(measure: Measure<'_>, object: &Value, scope: &str, operator: &str, values: &Value) -> bool {
    let spec = &object["spec"];
    let best_effort = || qos_class(spec) == "BestEffort";
    let terminating = || spec["activeDeadlineSeconds"].as_i64().is_some_and(|seconds| seconds >= 0);
    match (measure.plural, scope) {
        _ if !measure.group.is_empty() => false,
        ("pods", "Terminating") => terminating(),
        ("pods", "NotTerminating") => !terminating(),
        ("pods", "BestEffort") => best_effort(),
        ("pods", "NotBestEffort") => !best_effort(),
        ("pods", "PriorityClass") => named(&[&spec["priorityClassName"]], operator, values),
        ("pods", "CrossNamespacePodAffinity") => reaches_out(&spec["affinity"]),
        ("persistentvolumeclaims", "VolumeAttributesClass") => {
            let status = &object["status"];
            let target = &status["modifyVolumeStatus"]["targetVolumeAttributesClassName"];
            let current = &status["currentVolumeAttributesClassName"];
            named(&[&spec["volumeAttributesClassName"], target, current], operator, values)
        }
        _ => false,
    }
}

/// Whether one of the names (empty: none) satisfies a term.
fn named(names: &[&Value], operator: &str, values: &Value) -> bool {
    let mut given = names.iter().map(|name| string(name)).filter(|name| !name.is_empty()).peekable();
    let among = |name: &str| items(values).iter().any(|value| string(value) == name);
    match operator {
        "Exists" => given.peek().is_some(),
        "DoesNotExist" => given.peek().is_none(),
        "In" => given.any(among),
        "NotIn" => given.peek().is_none() || given.any(|name| !among(name)),
        _ => false,
    }
}

/// Whether pods of other namespaces matter to a pod's affinity.
fn reaches_out(affinity: &Value) -> bool {
    let crosses = |term: &Value| !items(&term["namespaces"]).is_empty() || !term["namespaceSelector"].is_null();
    ["podAffinity", "podAntiAffinity"].iter().map(|kind| &affinity[*kind]).any(|kind| {
        items(&kind["requiredDuringSchedulingIgnoredDuringExecution"]).iter().any(crosses)
            || items(&kind["preferredDuringSchedulingIgnoredDuringExecution"])
                .iter()
                .any(|weighted| crosses(&weighted["podAffinityTerm"]))
    })
}
