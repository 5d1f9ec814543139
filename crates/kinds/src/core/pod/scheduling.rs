//! What is wrong with what pods say of where they want to run.

use crate::check::{Check, filled};
use crate::column::{items, string};
use coracle_api::{FieldError, Path, validation};
use serde_json::{Value, json};

const REQUIRED: &str = "requiredDuringSchedulingIgnoredDuringExecution";
const PREFERRED: &str = "preferredDuringSchedulingIgnoredDuringExecution";
/// Effects of taints, in upstream's order.
pub const EFFECTS: &[&str] = &["NoSchedule", "PreferNoSchedule", "NoExecute"];

/// Tolerations at `path`.
pub fn tolerations(check: &mut Check, path: &Path, tolerations: &Value) {
    for (index, toleration) in items(tolerations).iter().enumerate() {
        let path = path.index(index);
        let (key, value, operator) = (&toleration["key"], &toleration["value"], string(&toleration["operator"]));
        check.text(path.field("key"), key, validation::qualified_name);
        let at = path.field("operator");
        if string(key).is_empty() && operator != "Exists" {
            let why = "operator must be Exists when `key` is empty, which means \"match all values and all keys\"";
            check.invalid(at.clone(), &json!(operator), why);
        }
        let effect = &toleration["effect"];
        if !toleration["tolerationSeconds"].is_null() && effect != "NoExecute" {
            let why = "effect must be 'NoExecute' when `tolerationSeconds` is set";
            check.invalid(path.field("effect"), &json!(string(effect)), why);
        }
        match operator {
            "" | "Equal" => {
                let wrong = validation::label_value(string(value));
                if !wrong.is_empty() {
                    check.invalid(at, value, wrong.join(";"));
                }
            }
            "Exists" => {
                if filled(toleration, "value") {
                    check.invalid(at, value, "value must be empty when `operator` is 'Exists'");
                }
            }
            "Lt" | "Gt" => {
                if string(value).parse::<i64>().is_err() {
                    check.invalid(path.field("value"), &json!(string(value)), "value must be a valid integer");
                }
            }
            other => check.push(FieldError::not_supported(at, other, &["Equal", "Exists", "Lt", "Gt"])),
        }
        check.one_of(path.field("effect"), effect, EFFECTS);
    }
}

/// A node selector at `path`.
pub fn node_selector(check: &mut Check, path: &Path, selector: &Value) {
    let at = path.field("nodeSelectorTerms");
    if items(&selector["nodeSelectorTerms"]).is_empty() {
        check.required(at, "must have at least one node selector term");
        return;
    }
    for (index, term) in items(&selector["nodeSelectorTerms"]).iter().enumerate() {
        node_term(check, &at.index(index), term, Values::Judged);
    }
}

/// Whether values must be those of labels. A mere preference may name what no node can have.
#[derive(Clone, Copy, PartialEq)]
enum Values {
    Judged,
    Free,
}

fn node_term(check: &mut Check, path: &Path, term: &Value, values: Values) {
    for (index, expression) in items(&term["matchExpressions"]).iter().enumerate() {
        let at = path.field("matchExpressions").index(index);
        check.expression(&at, expression, &["In", "NotIn", "Exists", "DoesNotExist", "Gt", "Lt"]);
        if values == Values::Judged {
            check.label_values(&at.field("values"), &expression["values"]);
        }
    }
    for (index, expression) in items(&term["matchFields"]).iter().enumerate() {
        let at = path.field("matchFields").index(index);
        let values = items(&expression["values"]);
        match string(&expression["operator"]) {
            "In" | "NotIn" if values.len() != 1 => {
                let why = "must be only one value when `operator` is 'In' or 'NotIn' for node field selector";
                check.required(at.field("values"), why);
            }
            "In" | "NotIn" => {}
            other => check.invalid(at.field("operator"), &json!(other), "not a valid selector operator"),
        }
        if expression["key"] != "metadata.name" {
            let key = json!(string(&expression["key"]));
            check.invalid(at.field("key"), &key, "not a valid field selector key");
            continue;
        }
        for (index, value) in values.iter().enumerate() {
            let wrong = validation::dns1123_subdomain(string(value));
            check.messages(&at.field("values").index(index), value, wrong);
        }
    }
}

/// `spec.affinity`.
pub(super) fn affinity(check: &mut Check, path: &Path, affinity: &Value) {
    let (node, at) = (&affinity["nodeAffinity"], path.field("nodeAffinity"));
    if node[REQUIRED].is_object() {
        node_selector(check, &at.field(REQUIRED), &node[REQUIRED]);
    }
    for (index, term) in items(&node[PREFERRED]).iter().enumerate() {
        let at = at.field(PREFERRED).index(index);
        weight(check, &at, term);
        node_term(check, &at.field("preference"), &term["preference"], Values::Free);
    }
    for kind in ["podAffinity", "podAntiAffinity"] {
        let at = path.field(kind);
        for (index, term) in items(&affinity[kind][REQUIRED]).iter().enumerate() {
            pod_term(check, &at.field(REQUIRED).index(index), term);
        }
        for (index, term) in items(&affinity[kind][PREFERRED]).iter().enumerate() {
            let at = at.field(PREFERRED).index(index);
            weight(check, &at, term);
            pod_term(check, &at.field("podAffinityTerm"), &term["podAffinityTerm"]);
        }
    }
}

fn weight(check: &mut Check, path: &Path, term: &Value) {
    if !(1..=100).contains(&term["weight"].as_i64().unwrap_or(0)) {
        check.invalid(path.field("weight"), &term["weight"], "must be in the range 1-100");
    }
}

fn pod_term(check: &mut Check, path: &Path, term: &Value) {
    check.selector(&path.field("labelSelector"), &term["labelSelector"]);
    check.selector(&path.field("namespaceSelector"), &term["namespaceSelector"]);
    for name in items(&term["namespaces"]) {
        check.word(&path.field("namespace"), name, validation::dns1123_label);
    }
    label_keys(check, path, term);
    if string(&term["topologyKey"]).is_empty() {
        check.required(path.field("topologyKey"), "can not be empty");
    }
    check.word(&path.field("topologyKey"), &term["topologyKey"], validation::qualified_name);
}

/// `matchLabelKeys` and `mismatchLabelKeys`.
fn label_keys(check: &mut Check, path: &Path, term: &Value) {
    let selector = &term["labelSelector"];
    for field in ["matchLabelKeys", "mismatchLabelKeys"] {
        let keys = items(&term[field]);
        if !keys.is_empty() && !selector.is_object() {
            check.forbidden(path.field(field), "must not be specified when labelSelector is not set");
            continue;
        }
        for (index, key) in keys.iter().enumerate() {
            check.word(&path.field(field).index(index), key, validation::qualified_name);
        }
    }
    let keys = items(&term["matchLabelKeys"]);
    twice_selected(check, path, keys, selector);
    for (index, key) in keys.iter().enumerate() {
        if items(&term["mismatchLabelKeys"]).contains(key) {
            let at = path.field("matchLabelKeys").index(index);
            check.invalid(at, key, "exists in both matchLabelKeys and mismatchLabelKeys");
        }
    }
}

/// The server itself adds an expression for each key of a pod: a second word on the same key is the caller's.
fn twice_selected(check: &mut Check, path: &Path, keys: &[Value], selector: &Value) {
    let labels = selector["matchLabels"].as_object().into_iter().flatten();
    let mut selected: Vec<&str> = labels.map(|(key, _)| key.as_str()).collect();
    for expression in items(&selector["matchExpressions"]) {
        let key = string(&expression["key"]);
        if let Some(index) = keys.iter().position(|k| k == key).filter(|_| selected.contains(&key)) {
            check.invalid(path.index(index), &json!(key), "exists in both matchLabelKeys and labelSelector");
        }
        selected.push(key);
    }
}

/// `spec.topologySpreadConstraints`.
pub(super) fn spread(check: &mut Check, path: &Path, constraints: &Value) {
    let constraints = items(constraints);
    for (index, constraint) in constraints.iter().enumerate() {
        let path = path.index(index);
        if constraint["maxSkew"].as_i64().unwrap_or(0) <= 0 {
            let skew = json!(constraint["maxSkew"].as_i64().unwrap_or(0));
            check.invalid(path.field("maxSkew"), &skew, "must be greater than zero");
        }
        if string(&constraint["topologyKey"]).is_empty() {
            check.required(path.field("topologyKey"), "can not be empty");
        }
        let when = string(&constraint["whenUnsatisfiable"]);
        if !matches!(when, "DoNotSchedule" | "ScheduleAnyway") {
            let allowed = ["DoNotSchedule", "ScheduleAnyway"];
            check.push(FieldError::not_supported(path.field("whenUnsatisfiable"), when, &allowed));
        }
        let pair = |c: &Value| (string(&c["topologyKey"]).to_string(), string(&c["whenUnsatisfiable"]).to_string());
        if constraints[index + 1..].iter().any(|other| pair(other) == pair(constraint)) {
            let shown = format!("{{{}, {when}}}", string(&constraint["topologyKey"]));
            check.duplicate(path.field("{topologyKey, whenUnsatisfiable}"), shown);
        }
        let (at, least) = (path.field("minDomains"), &constraint["minDomains"]);
        if least.as_i64().is_some_and(|n| n <= 0) {
            check.invalid(at.clone(), least, "must be greater than zero");
        }
        if !least.is_null() && when != "DoNotSchedule" {
            let why = format!("can only use minDomains if whenUnsatisfiable=DoNotSchedule, not {when}");
            check.invalid(at, least, why);
        }
        for policy in ["nodeAffinityPolicy", "nodeTaintsPolicy"] {
            check.exactly_one_of(path.field(policy), &constraint[policy], &["Honor", "Ignore"]);
        }
        spread_keys(check, &path.field("matchLabelKeys"), constraint);
        check.selector(&path.field("labelSelector"), &constraint["labelSelector"]);
    }
}

fn spread_keys(check: &mut Check, path: &Path, constraint: &Value) {
    let (keys, selector) = (items(&constraint["matchLabelKeys"]), &constraint["labelSelector"]);
    if keys.is_empty() {
        return;
    }
    if !selector.is_object() {
        check.forbidden(path.clone(), "must not be specified when labelSelector is not set");
    }
    for (index, key) in keys.iter().enumerate() {
        check.word(&path.index(index), key, validation::qualified_name);
    }
    twice_selected(check, path, keys, selector);
}

/// `spec.readinessGates` and `spec.schedulingGates`.
pub(super) fn gates(check: &mut Check, path: &Path, spec: &Value) {
    for (index, gate) in items(&spec["readinessGates"]).iter().enumerate() {
        let at = path.field("readinessGates").index(index).field("conditionType");
        check.word(&at, &gate["conditionType"], validation::qualified_name);
    }
    let mut seen: Vec<&str> = Vec::new();
    for (index, gate) in items(&spec["schedulingGates"]).iter().enumerate() {
        let (at, name) = (path.field("schedulingGates").index(index), string(&gate["name"]));
        check.word(&at, &gate["name"], validation::qualified_name);
        if seen.contains(&name) {
            check.duplicate(at, name);
        }
        seen.push(name);
    }
}

/// Turns label keys of a new pod into what they select: the pods that have (or lack) its own values.
pub(super) fn apply_label_keys(pod: &mut Value) {
    let labels = pod["metadata"]["labels"].clone();
    let spec = &mut pod["spec"];
    for kind in ["podAffinity", "podAntiAffinity"] {
        let Some(terms) = spec.pointer_mut(&format!("/affinity/{kind}")) else { continue };
        for term in terms.get_mut(REQUIRED).and_then(Value::as_array_mut).into_iter().flatten() {
            merge_keys(term, &labels);
        }
        for term in terms.get_mut(PREFERRED).and_then(Value::as_array_mut).into_iter().flatten() {
            crate::fields::within(term, "podAffinityTerm", |term| merge_keys(term, &labels));
        }
    }
    crate::fields::each(spec, "topologySpreadConstraints", |constraint| merge_keys(constraint, &labels));
}

fn merge_keys(term: &mut Value, labels: &Value) {
    if !term["labelSelector"].is_object() {
        return;
    }
    for (field, operator) in [("matchLabelKeys", "In"), ("mismatchLabelKeys", "NotIn")] {
        for key in items(&term[field]).to_vec() {
            let Some(value) = labels.get(string(&key)) else { continue };
            let expression = json!({"key": key, "operator": operator, "values": [value]});
            match term["labelSelector"].get_mut("matchExpressions").and_then(Value::as_array_mut) {
                Some(expressions) => expressions.push(expression),
                None => term["labelSelector"]["matchExpressions"] = json!([expression]),
            }
        }
    }
}
