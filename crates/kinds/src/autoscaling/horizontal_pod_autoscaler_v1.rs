//! HorizontalPodAutoscaler, version 1: one CPU target; what else version 2 can say travels in an annotation.

use super::horizontal_pod_autoscaler as v2;
use super::older_metrics::{Side, to_newer, to_older};
use crate::descriptor::{Defaults, Kind, StoredAs, Subresource};
use crate::fields::{default, ensure};
use k8s_openapi::api::autoscaling::v1::HorizontalPodAutoscaler;
use serde_json::{Map, Value, json};

const SCHEMA: &str = "io.k8s.api.autoscaling.v1.HorizontalPodAutoscaler";

/// The descriptor.
pub static KIND: Kind = Kind::new::<HorizontalPodAutoscaler>("horizontalpodautoscaler", SCHEMA)
    .short(&["hpa"])
    .categories(&["all"])
    .generation()
    .not_preferred()
    .subresources(&[Subresource::status::<HorizontalPodAutoscaler>(SCHEMA)])
    .stored_as(StoredAs { kind: &v2::KIND, to_storage, from_storage })
    .rules(&Defaults(defaults))
    .columns(v2::COLUMNS);

const METRICS: &str = "autoscaling.alpha.kubernetes.io/metrics";
const CURRENT: &str = "autoscaling.alpha.kubernetes.io/current-metrics";
const CONDITIONS: &str = "autoscaling.alpha.kubernetes.io/conditions";
const BEHAVIOR: &str = "autoscaling.alpha.kubernetes.io/behavior";

fn is_cpu(metric: &Value) -> bool {
    metric["type"] == "Resource" && metric["resource"]["name"] == "cpu"
}

fn to_storage(object: &mut Value) {
    let newer = |list: Vec<Value>, side| list.iter().map(|m| to_newer(m, side)).collect::<Vec<_>>();
    let mut metrics = newer(take_annotation(object, METRICS).and_then(as_list).unwrap_or_default(), Side::Spec);
    if let Some(target) = take(object, "spec", "targetCPUUtilizationPercentage") {
        let target = json!({"type": "Utilization", "averageUtilization": target});
        metrics.push(json!({"type": "Resource", "resource": {"name": "cpu", "target": target}}));
    }
    if !metrics.is_empty() {
        object["spec"]["metrics"] = json!(metrics);
    }
    if let Some(behavior) = take_annotation(object, BEHAVIOR) {
        object["spec"]["behavior"] = behavior;
    }
    let now = take(object, "status", "currentCPUUtilizationPercentage");
    // the annotation says more than the field
    let current = take_annotation(object, CURRENT).and_then(as_list).map(|list| newer(list, Side::Status));
    let current = current.filter(|list| !list.is_empty()).or_else(|| {
        let now = json!({"averageUtilization": now?, "averageValue": "0"});
        Some(vec![json!({"type": "Resource", "resource": {"name": "cpu", "current": now}})])
    });
    if let Some(current) = current {
        object["status"]["currentMetrics"] = json!(current);
    }
    if let Some(conditions) = take_annotation(object, CONDITIONS) {
        object["status"]["conditions"] = conditions;
    }
}

fn from_storage(object: &mut Value) {
    let older = |list: &[Value], side| list.iter().map(|m| to_older(m, side)).collect::<Vec<_>>();
    let mut metrics = take(object, "spec", "metrics").and_then(as_list).unwrap_or_default();
    let by_utilization = |m: &Value| is_cpu(m) && m["resource"]["target"]["averageUtilization"].is_number();
    if let Some(cpu) = metrics.iter().find(|m| by_utilization(m)) {
        object["spec"]["targetCPUUtilizationPercentage"] = cpu["resource"]["target"]["averageUtilization"].clone();
    }
    metrics.retain(|m| !by_utilization(m));
    put_annotation(object, METRICS, json!(older(&metrics, Side::Spec)));
    let behavior = take(object, "spec", "behavior").unwrap_or_default();
    put_annotation(object, BEHAVIOR, behavior);
    let current = take(object, "status", "currentMetrics").and_then(as_list).unwrap_or_default();
    let cpu = current.iter().find(|m| is_cpu(m) && m["resource"]["current"]["averageUtilization"].is_number());
    if let Some(cpu) = cpu {
        object["status"]["currentCPUUtilizationPercentage"] = cpu["resource"]["current"]["averageUtilization"].clone();
    }
    put_annotation(object, CURRENT, json!(older(&current, Side::Status)));
    let conditions = take(object, "status", "conditions").unwrap_or_default();
    put_annotation(object, CONDITIONS, conditions);
}

fn as_list(value: Value) -> Option<Vec<Value>> {
    match value {
        Value::Array(list) => Some(list),
        _ => None,
    }
}

fn take(object: &mut Value, part: &str, field: &str) -> Option<Value> {
    object.get_mut(part)?.as_object_mut()?.remove(field)
}

fn take_annotation(object: &mut Value, key: &str) -> Option<Value> {
    let annotations = object.get_mut("metadata")?.get_mut("annotations")?.as_object_mut()?;
    serde_json::from_str(annotations.remove(key)?.as_str()?).ok()
}

fn put_annotation(object: &mut Value, key: &str, value: Value) {
    if value.is_null() || value.as_array().is_some_and(Vec::is_empty) {
        return;
    }
    let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) else { return };
    let annotations = metadata.entry("annotations").or_insert_with(|| Value::Object(Map::new()));
    annotations[key] = json!(value.to_string());
}

fn defaults(object: &mut Value) {
    default(ensure(object, "spec"), "minReplicas", 1);
}
