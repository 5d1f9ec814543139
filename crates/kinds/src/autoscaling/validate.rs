//! What is wrong with a HorizontalPodAutoscaler: bounds, target, metrics, behaviour.
//!
//! Source: `pkg/apis/autoscaling/validation`, `pkg/registry/autoscaling/horizontalpodautoscaler`.

use crate::amounts;
use crate::check::Check;
use crate::place::Place;
use coracle_api::{Quantity, validation};
use serde_json::{Value, json};

const LONGEST_PERIOD: i64 = 1800;
const LONGEST_WINDOW: i64 = 3600;
/// Kinds of metrics, and the field that says more of each, in the order in which the fields are looked at.
const SOURCES: &[(&str, &str)] = &[
    ("Object", "object"),
    ("External", "external"),
    ("Pods", "pods"),
    ("Resource", "resource"),
    ("ContainerResource", "containerResource"),
];
const TYPES: &[&str] = &["ContainerResource", "External", "Object", "Pods", "Resource"];

/// The spec of an autoscaler; `old` is its former self.
pub(super) fn spec(check: &mut Check, new: &Value, old: Option<&Value>) {
    let spec = Place::of(new).field("spec");
    let (least, most) = (spec.field("minReplicas"), spec.field("maxReplicas"));
    check.natural(&least);
    match most.number() {
        0 => check.required(most.path.clone(), "must be set and greater than 0"),
        ..0 => check.bad(&most, "must be greater than 0"),
        _ => {}
    }
    if most.number() < least.number() {
        check.invalid(most.path.clone(), &json!(most.number()), "must be greater than or equal to `minReplicas`");
    }
    let target = spec.field("scaleTargetRef");
    let known = |old: &Value| {
        let before = &old["spec"]["scaleTargetRef"];
        before["apiVersion"] == target.value["apiVersion"] && before["kind"] == target.value["kind"]
    };
    reference(check, &target);
    if !old.is_some_and(known) {
        // the only kind of the core group that scales
        version(check, &target, target.field("kind").text() == "ReplicationController");
    }
    metrics(check, &spec.field("metrics"), old);
    if *least.value == 0
        && !spec.field("metrics").items().any(|m| matches!(m.field("type").text(), "Object" | "External"))
    {
        let why = "must specify at least one Object or External metric to support scaling to zero replicas";
        check.barred(&spec.field("metrics"), why);
    }
    for direction in ["scaleUp", "scaleDown"] {
        let rules = spec.field("behavior").field(direction);
        if rules.given() {
            scaling(check, &rules);
        }
    }
}

/// What an autoscaler scales, or an object that it measures.
fn reference(check: &mut Check, at: &Place) {
    check.must_keep(&at.field("kind"), validation::path_segment);
    check.must_keep(&at.field("name"), validation::path_segment);
}

fn version(check: &mut Check, at: &Place, core: bool) {
    if let Some(why) = wrong_version(at.field("apiVersion").text(), core) {
        check.bad_text(&at.field("apiVersion"), why);
    }
}

/// Why a text names no version of a group.
fn wrong_version(text: &str, core: bool) -> Option<String> {
    match text.matches('/').count() {
        0 if core => None,
        0 => Some("apiVersion must specify API group".into()),
        1 if core || !text.starts_with('/') => None,
        1 => Some("apiVersion must specify API group".into()),
        _ => Some(format!("unexpected GroupVersion string: {text}")),
    }
}

fn metrics(check: &mut Check, list: &Place, old: Option<&Value>) {
    // who measured by a wrong version may go on
    let before = old.map(|old| Place::of(old).field("spec.metrics"));
    let lenient = before.is_some_and(|list| {
        list.items().any(|m| {
            let object = m.field("object.describedObject");
            m.field("type").text() == "Object" && wrong_version(object.field("apiVersion").text(), true).is_some()
        })
    });
    for metric in list.items() {
        source(check, &metric, lenient);
    }
}

fn source(check: &mut Check, metric: &Place, lenient: bool) {
    let kind = metric.field("type");
    check.needs(&kind, "must specify a metric source type");
    check.among(&kind, TYPES);
    let given: Vec<&str> =
        SOURCES.iter().map(|(_, field)| *field).filter(|field| metric.field(field).given()).collect();
    if let Some(first) = given.first() {
        measured(check, &metric.field(first), first, lenient);
    }
    let expected = SOURCES.iter().find(|(named, _)| *named == kind.text()).map(|(_, field)| *field);
    match expected {
        Some(field) if !given.contains(&field) => {
            check.required(metric.path.field(field), "must populate information for the given metric source");
        }
        Some(_) => {}
        None => check.among(&kind, TYPES),
    }
    if given.len() > 1 {
        for field in given.iter().filter(|field| Some(**field) != expected) {
            check.barred(&metric.field(field), "must populate the given metric source only");
        }
    }
}

/// The source of a metric, which stands in `field`.
fn measured(check: &mut Check, at: &Place, field: &str, lenient: bool) {
    match field {
        "object" => {
            reference(check, &at.field("describedObject"));
            if !lenient {
                version(check, &at.field("describedObject"), true);
            }
            identifier(check, &at.field("metric"));
        }
        "external" | "pods" => identifier(check, &at.field("metric")),
        "resource" => drop(check.needs(&at.field("name"), "must specify a resource name")),
        _ => {
            let (name, container) = (at.field("name"), at.field("container"));
            if check.needs(&name, "must specify a resource name") {
                amounts::container_name(check, &name.path, name.text());
            }
            if check.needs(&container, "must specify a container") {
                check.keeps(&container, validation::dns1123_label);
            }
        }
    }
    target(check, &at.field("target"));
    let [value, average, utilization] =
        ["value", "averageValue", "averageUtilization"].map(|f| at.field("target").field(f));
    let given = |at: &Place| at.given();
    match (field, given(&value), given(&average), given(&utilization)) {
        ("object", false, false, _) => {
            check.required(average.path, "must set either a target value or averageValue");
        }
        ("external", false, false, _) => {
            check.required(average.path, "must set either a target value for metric or a per-pod target");
        }
        ("external", true, true, _) => {
            check.barred(&value, "may not set both a target value for metric and a per-pod target");
        }
        ("pods", _, false, _) => check.required(average.path, "must specify a positive target averageValue"),
        ("resource" | "containerResource", _, false, false) => {
            check.required(utilization.path, "must set either a target raw value or a target utilization");
        }
        ("resource" | "containerResource", _, true, true) => {
            check.barred(&average, "may not set both a target raw value and a target utilization");
        }
        _ => {}
    }
}

fn identifier(check: &mut Check, at: &Place) {
    let name = at.field("name");
    if check.needs(&name, "must specify a metric name") {
        check.keeps(&name, validation::path_segment);
    }
}

fn target(check: &mut Check, at: &Place) {
    let kind = at.field("type");
    check.needs(&kind, "must specify a metric target type");
    if !matches!(kind.text(), "Utilization" | "Value" | "AverageValue") {
        check.bad_text(&kind, "must be either Utilization, Value, or AverageValue");
    }
    for amount in [at.field("value"), at.field("averageValue")] {
        let positive = |q: Quantity| q > Quantity::from_millis(0);
        if amount.given() && !amount.text().parse().is_ok_and(positive) {
            check.bad(&amount, "must be positive");
        }
    }
    let utilization = at.field("averageUtilization");
    if utilization.given() && utilization.number() < 1 {
        check.bad(&utilization, "must be greater than 0");
    }
}

/// How fast one may scale in one direction.
fn scaling(check: &mut Check, rules: &Place) {
    let window = rules.field("stabilizationWindowSeconds");
    if window.number() < 0 {
        check.bad(&window, "must be greater than or equal to zero");
    }
    if window.number() > LONGEST_WINDOW {
        check.bad(&window, format!("must be less than or equal to {LONGEST_WINDOW}"));
    }
    check.may_be(&rules.field("selectPolicy"), &["Disabled", "Max", "Min"]);
    let policies = rules.field("policies");
    check.needs(&policies, "must specify at least one Policy");
    for policy in policies.items() {
        let (value, period) = (policy.field("value"), policy.field("periodSeconds"));
        check.among(&policy.field("type"), &["Percent", "Pods"]);
        for number in [&value, &period] {
            if number.number() <= 0 {
                check.invalid(number.path.clone(), &json!(number.number()), "must be greater than zero");
            }
        }
        if period.number() > LONGEST_PERIOD {
            check.bad(&period, format!("must be less than or equal to {LONGEST_PERIOD}"));
        }
    }
    let tolerance = rules.field("tolerance");
    if tolerance.given() {
        check.amount(tolerance.path.clone(), tolerance.value);
    }
}
