//! Metrics as version 1 writes them into annotations: each value in a field of its own, where version 2 has targets and identifiers.
//!
//! Source: `pkg/apis/autoscaling/v1/conversion.go`, `k8s.io/api/autoscaling/v1`.

use serde_json::{Map, Value, json};

/// What a field is called in version 2 (as a path below the source), and what in version 1.
type Names = &'static [(&'static str, &'static str)];

/// (type, field, names in the spec, names in the status)
const SOURCES: [(&str, Names, Names); 5] = [
    (
        "object",
        &[
            ("describedObject", "target"),
            ("metric.name", "metricName"),
            ("metric.selector", "selector"),
            ("target.value", "targetValue"),
            ("target.averageValue", "averageValue"),
        ],
        &[
            ("describedObject", "target"),
            ("metric.name", "metricName"),
            ("metric.selector", "selector"),
            ("current.value", "currentValue"),
            ("current.averageValue", "averageValue"),
        ],
    ),
    (
        "pods",
        &[
            ("metric.name", "metricName"),
            ("metric.selector", "selector"),
            ("target.averageValue", "targetAverageValue"),
        ],
        &[
            ("metric.name", "metricName"),
            ("metric.selector", "selector"),
            ("current.averageValue", "currentAverageValue"),
        ],
    ),
    ("resource", RESOURCE, RESOURCE_NOW),
    ("containerResource", RESOURCE, RESOURCE_NOW),
    (
        "external",
        &[
            ("metric.name", "metricName"),
            ("metric.selector", "metricSelector"),
            ("target.value", "targetValue"),
            ("target.averageValue", "targetAverageValue"),
        ],
        &[
            ("metric.name", "metricName"),
            ("metric.selector", "metricSelector"),
            ("current.value", "currentValue"),
            ("current.averageValue", "currentAverageValue"),
        ],
    ),
];
const RESOURCE: Names = &[
    ("name", "name"),
    ("container", "container"),
    ("target.averageUtilization", "targetAverageUtilization"),
    ("target.averageValue", "targetAverageValue"),
];
const RESOURCE_NOW: Names = &[
    ("name", "name"),
    ("container", "container"),
    ("current.averageUtilization", "currentAverageUtilization"),
    ("current.averageValue", "currentAverageValue"),
];
/// What a list of metrics is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    /// What is wanted.
    Spec,
    /// What is.
    Status,
}

fn names(source: &str, side: Side) -> Names {
    let found = SOURCES.iter().find(|(name, ..)| *name == source);
    found.map_or(&[], |(_, spec, status)| if side == Side::Spec { spec } else { status })
}

/// A metric of version 2 as version 1 has it.
pub(super) fn to_older(metric: &Value, side: Side) -> Value {
    each_source(metric, |source, value| {
        let mut older = Map::new();
        for (new, old) in names(source, side) {
            match value.pointer(&pointer(new)) {
                Some(found) if !found.is_null() => drop(older.insert((*old).to_string(), found.clone())),
                _ if needed(source, old) => drop(older.insert((*old).to_string(), json!("0"))),
                _ => {}
            }
        }
        Value::Object(older)
    })
}

/// A metric of version 1 as version 2 has it.
pub(super) fn to_newer(metric: &Value, side: Side) -> Value {
    each_source(metric, |source, value| {
        let mut newer = json!({});
        for (new, old) in names(source, side) {
            // an average says that the other amount is only there because it has to be
            let average = ["averageValue", "targetAverageValue", "currentAverageValue"];
            let filler = needed(source, old) && average.iter().any(|a| a != old && !value[*a].is_null());
            let found = &value[*old];
            let said = !found.is_null() && (!filler || found != "0");
            if said {
                match new.split_once('.') {
                    Some((outer, inner)) => newer[outer][inner] = found.clone(),
                    None => newer[*new] = found.clone(),
                }
            }
        }
        if side == Side::Spec && newer["target"].is_object() {
            let has = |field: &str| !newer["target"][field].is_null();
            let kind = match () {
                () if has("averageUtilization") => "Utilization",
                () if has("averageValue") => "AverageValue",
                () => "Value",
            };
            newer["target"]["type"] = json!(kind);
        }
        newer
    })
}

/// Whether Go's struct of version 1 always has that amount.
fn needed(source: &str, old: &str) -> bool {
    matches!(
        (source, old),
        ("object", "targetValue" | "currentValue")
            | ("external", "currentValue")
            | ("pods", "targetAverageValue" | "currentAverageValue")
            | ("resource" | "containerResource", "currentAverageValue")
    )
}

fn each_source(metric: &Value, change: impl Fn(&str, &Value) -> Value) -> Value {
    let Some(map) = metric.as_object() else { return metric.clone() };
    let known = |field: &str| SOURCES.iter().any(|(name, ..)| *name == field);
    let changed = map
        .iter()
        .map(|(field, value)| (field.clone(), if known(field) { change(field, value) } else { value.clone() }));
    Value::Object(changed.collect())
}

fn pointer(path: &str) -> String {
    format!("/{}", path.replace('.', "/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metrics_go_there_and_back() {
        let object = json!({"apiVersion": "v1", "kind": "Service", "name": "s"});
        let metric = json!({"name": "m", "selector": {"matchLabels": {"a": "b"}}});
        for (side, newer, older) in [
            (
                Side::Spec,
                json!({"type": "Resource", "resource": {"name": "memory", "target": {"type": "Utilization", "averageUtilization": 60}}}),
                json!({"type": "Resource", "resource": {"name": "memory", "targetAverageUtilization": 60}}),
            ),
            (
                Side::Spec,
                json!({"type": "ContainerResource", "containerResource": {"name": "cpu", "container": "c",
                    "target": {"type": "AverageValue", "averageValue": "5m"}}}),
                json!({"type": "ContainerResource", "containerResource": {"name": "cpu", "container": "c", "targetAverageValue": "5m"}}),
            ),
            (
                Side::Spec,
                json!({"type": "Object", "object": {"describedObject": object, "metric": metric, "target": {"type": "AverageValue", "averageValue": "3"}}}),
                json!({"type": "Object", "object": {"target": object, "metricName": "m", "selector": {"matchLabels": {"a": "b"}},
                    "targetValue": "0", "averageValue": "3"}}),
            ),
            (
                Side::Spec,
                json!({"type": "External", "external": {"metric": metric, "target": {"type": "Value", "value": "3"}}}),
                json!({"type": "External", "external": {"metricName": "m", "metricSelector": {"matchLabels": {"a": "b"}}, "targetValue": "3"}}),
            ),
            (
                Side::Spec,
                json!({"type": "Pods", "pods": {"metric": {"name": "q"}, "target": {"type": "AverageValue", "averageValue": "3"}}}),
                json!({"type": "Pods", "pods": {"metricName": "q", "targetAverageValue": "3"}}),
            ),
            (
                Side::Status,
                json!({"type": "Resource", "resource": {"name": "cpu", "current": {"averageUtilization": 5, "averageValue": "3m"}}}),
                json!({"type": "Resource", "resource": {"name": "cpu", "currentAverageUtilization": 5, "currentAverageValue": "3m"}}),
            ),
            (
                Side::Status,
                json!({"type": "External", "external": {"metric": {"name": "q"}, "current": {"averageValue": "3"}}}),
                json!({"type": "External", "external": {"metricName": "q", "currentValue": "0", "currentAverageValue": "3"}}),
            ),
        ] {
            assert_eq!(to_older(&newer, side), older);
            assert_eq!(to_newer(&older, side), newer);
        }
    }
}
