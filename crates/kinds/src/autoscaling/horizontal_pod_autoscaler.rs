//! HorizontalPodAutoscaler, version 2: the stored form.

use super::validate;
use crate::check::{Check, path};
use crate::column::{AGE, Column, NAME, items, number, or_none, string, string_or};
use crate::descriptor::{Kind, Part, Rules, Subresource};
use crate::fields::{default, ensure, set, within};
use coracle_api::{FieldError, Status};
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use serde_json::{Value, json};

const SCHEMA: &str = "io.k8s.api.autoscaling.v2.HorizontalPodAutoscaler";

/// The descriptor.
pub static KIND: Kind = Kind::new::<HorizontalPodAutoscaler>("horizontalpodautoscaler", SCHEMA)
    .short(&["hpa"])
    .categories(&["all"])
    .generation()
    .subresources(&[Subresource::status::<HorizontalPodAutoscaler>(SCHEMA)])
    .rules(&ScalerRules)
    .columns(COLUMNS);

pub(super) const COLUMNS: &[Column] = &[
    NAME,
    Column::text("Reference", |_, o| json!(reference(o))),
    Column::text("Targets", |_, o| json!(targets(o))),
    Column::text("MinPods", |_, o| {
        json!(o["spec"]["minReplicas"].as_i64().map_or("<unset>".to_string(), |n| n.to_string()))
    }),
    Column::number("MaxPods", |_, o| json!(number(&o["spec"]["maxReplicas"]))),
    Column::number("Replicas", |_, o| json!(number(&o["status"]["currentReplicas"]))),
    AGE,
];

fn reference(object: &Value) -> String {
    let target = &object["spec"]["scaleTargetRef"];
    format!("{}/{}", string(&target["kind"]), string(&target["name"]))
}

// Two metrics are shown, the rest counted. Version 1 has one, in fields of its own.
fn targets(object: &Value) -> String {
    if let Some(target) = object["spec"]["targetCPUUtilizationPercentage"].as_i64() {
        let current = object["status"]["currentCPUUtilizationPercentage"].as_i64();
        return format!("{}/{target}%", current.map_or("<unknown>".into(), |n| format!("{n}%")));
    }
    let metrics = items(&object["spec"]["metrics"]);
    let mut shown: Vec<String> = metrics.iter().enumerate().map(|(i, m)| metric(object, i, m)).collect();
    let more = shown.len().saturating_sub(2);
    shown.truncate(2);
    let list = or_none(shown.join(", "));
    if more > 0 { format!("{list} + {more} more...") } else { list }
}

fn metric(object: &Value, index: usize, spec: &Value) -> String {
    let kind = string(&spec["type"]);
    let source = format!("{}{}", kind[..1.min(kind.len())].to_lowercase(), kind.get(1..).unwrap_or(""));
    let target = &spec[&source]["target"];
    let now = &object["status"]["currentMetrics"][index][&source]["current"];
    let percent = |v: &Value| v.as_i64().map(|n| format!("{n}%"));
    let (shown, wanted) = if target["type"] == "Utilization" {
        (percent(&now["averageUtilization"]), percent(&target["averageUtilization"]).unwrap_or_default())
    } else if target["averageValue"].is_string() {
        (now["averageValue"].as_str().map(Into::into), format!("{} (avg)", string(&target["averageValue"])))
    } else {
        (now["value"].as_str().map(Into::into), string_or(&target["value"], "<auto>").to_string())
    };
    let prefix = match source.as_str() {
        "resource" | "containerResource" => format!("{}: ", string(&spec[&source]["name"])),
        _ => String::new(),
    };
    let wanted = if prefix.is_empty() { wanted } else { wanted.trim_end_matches(" (avg)").to_string() };
    format!("{prefix}{}/{wanted}", shown.unwrap_or_else(|| "<unknown>".into()))
}

fn defaults(object: &mut Value) {
    let spec = ensure(object, "spec");
    default(spec, "minReplicas", 1);
    if items(&spec["metrics"]).is_empty() {
        let target = json!({"type": "Utilization", "averageUtilization": 80});
        set(spec, "metrics", json!([{"type": "Resource", "resource": {"name": "cpu", "target": target}}]));
    }
    within(spec, "behavior", |behavior| {
        let pods = json!({"type": "Pods", "value": 4, "periodSeconds": 15});
        let double = json!({"type": "Percent", "value": 100, "periodSeconds": 15});
        scaling(ensure(behavior, "scaleUp"), Some(0), json!([pods, double]));
        scaling(ensure(behavior, "scaleDown"), None, json!([double]));
    });
}

fn scaling(rules: &mut Value, window: Option<i64>, policies: Value) {
    if let Some(window) = window {
        default(rules, "stabilizationWindowSeconds", window);
    }
    default(rules, "selectPolicy", "Max");
    if items(&rules["policies"]).is_empty() {
        set(rules, "policies", policies);
    }
}

struct ScalerRules;

impl Rules for ScalerRules {
    fn default(&self, object: &mut Value) -> Result<(), Status> {
        defaults(object);
        Ok(())
    }

    fn validate(&self, object: &Value) -> Vec<FieldError> {
        Check::run(|check| validate::spec(check, object, None))
    }

    fn validate_update(&self, new: &Value, old: &Value, part: Part) -> Vec<FieldError> {
        Check::run(|check| match part {
            Part::Status => {
                check.none_negative(&path("status"), &new["status"], &["currentReplicas", "desiredReplicas"])
            }
            _ => validate::spec(check, new, Some(old)),
        })
    }
}
