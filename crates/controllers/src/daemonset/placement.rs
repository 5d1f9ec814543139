//! Whether a daemon pod belongs on a node: pure.

use coracle_api::Meta;
use k8s_openapi::api::core::v1::{
    Affinity, Node, NodeAffinity, NodeSelector, NodeSelectorRequirement, NodeSelectorTerm, PodSpec, Taint, Toleration,
};
use std::collections::BTreeMap;

/// What a node means to a daemon set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Placement {
    /// It gets a pod and keeps it.
    Run,
    /// It gets none, but keeps the one it has.
    Keep,
    /// It has none.
    Avoid,
}

/// Decides by node name, selector, affinity and taints. `spec` already has the automatic tolerations.
pub fn placement(spec: &PodSpec, node: &Meta, taints: &[Taint]) -> Placement {
    let named = spec.node_name.as_deref().is_none_or(|name| name.is_empty() || name == node.name);
    if !named || !selects(spec, node) {
        return Placement::Avoid;
    }
    let untolerated: Vec<&str> =
        taints.iter().filter(|taint| !tolerates(spec, taint)).map(|taint| taint.effect.as_str()).collect();
    if untolerated.contains(&"NoExecute") {
        Placement::Avoid
    } else if untolerated.contains(&"NoSchedule") {
        Placement::Keep
    } else {
        Placement::Run
    }
}

/// The node's taints as placement sees them: a node that is unschedulable counts as tainted even before it carries the taint.
pub fn taints(node: &Node) -> Vec<Taint> {
    let spec = node.spec.clone().unwrap_or_default();
    let mut taints = spec.taints.unwrap_or_default();
    let key = "node.kubernetes.io/unschedulable";
    if spec.unschedulable == Some(true) && !taints.iter().any(|t| t.key == key) {
        taints.push(Taint { key: key.into(), effect: "NoSchedule".into(), ..Taint::default() });
    }
    taints
}

/// A daemon outlives trouble with its node; these are upstream's tolerations for that.
pub fn add_tolerations(spec: &mut PodSpec) {
    let add = |key: &str, effect: &str, tolerations: &mut Vec<Toleration>| {
        let new = Toleration {
            key: Some(format!("node.kubernetes.io/{key}")),
            operator: Some("Exists".into()),
            effect: Some(effect.into()),
            ..Toleration::default()
        };
        tolerations.retain(|t| t.key != new.key || t.effect != new.effect);
        tolerations.push(new);
    };
    let mut tolerations = spec.tolerations.take().unwrap_or_default();
    for key in ["not-ready", "unreachable"] {
        add(key, "NoExecute", &mut tolerations);
    }
    for key in ["disk-pressure", "memory-pressure", "pid-pressure", "unschedulable"] {
        add(key, "NoSchedule", &mut tolerations);
    }
    if spec.host_network == Some(true) {
        add("network-unavailable", "NoSchedule", &mut tolerations);
    }
    spec.tolerations = Some(tolerations);
}

/// Leaves only one node to the scheduler, whatever the template's affinity left: placement has already looked at that.
pub fn pin(spec: &mut PodSpec, node: &str) {
    let term = NodeSelectorTerm {
        match_fields: Some(vec![NodeSelectorRequirement {
            key: "metadata.name".into(),
            operator: "In".into(),
            values: Some(vec![node.into()]),
        }]),
        match_expressions: None,
    };
    let affinity = spec.affinity.get_or_insert_with(Affinity::default);
    let affinity = affinity.node_affinity.get_or_insert_with(NodeAffinity::default);
    affinity.required_during_scheduling_ignored_during_execution =
        Some(NodeSelector { node_selector_terms: vec![term] });
}

/// The node that a daemon pod is on or meant for.
pub fn target(spec: &PodSpec) -> Option<String> {
    if let Some(name) = spec.node_name.clone().filter(|n| !n.is_empty()) {
        return Some(name);
    }
    let required = spec.affinity.as_ref()?.node_affinity.as_ref()?;
    let required = required.required_during_scheduling_ignored_during_execution.as_ref()?;
    let fields = required.node_selector_terms.iter().flat_map(|t| t.match_fields.iter().flatten());
    let mut named = fields.filter(|f| f.key == "metadata.name" && f.operator == "In");
    named.find_map(|f| f.values.as_ref()?.first().cloned())
}

fn selects(spec: &PodSpec, node: &Meta) -> bool {
    let simple = spec.node_selector.iter().flatten().all(|(key, value)| node.labels.get(key) == Some(value));
    let required = spec
        .affinity
        .as_ref()
        .and_then(|a| a.node_affinity.as_ref())
        .and_then(|a| a.required_during_scheduling_ignored_during_execution.as_ref());
    simple && required.is_none_or(|r| r.node_selector_terms.iter().any(|term| term_matches(term, node)))
}

fn term_matches(term: &NodeSelectorTerm, node: &Meta) -> bool {
    let expressions = term.match_expressions.as_deref().unwrap_or_default();
    let fields = term.match_fields.as_deref().unwrap_or_default();
    // A term that says nothing matches nothing.
    if expressions.is_empty() && fields.is_empty() {
        return false;
    }
    let name = BTreeMap::from([("metadata.name".to_string(), node.name.clone())]);
    expressions.iter().all(|r| requirement_matches(r, &node.labels))
        && fields.iter().all(|r| requirement_matches(r, &name))
}

fn requirement_matches(requirement: &NodeSelectorRequirement, labels: &BTreeMap<String, String>) -> bool {
    let value = labels.get(&requirement.key);
    let values = requirement.values.as_deref().unwrap_or_default();
    let compared = |test: fn(i64, i64) -> bool| {
        let bound = values.first().and_then(|v| v.parse().ok());
        let value = value.and_then(|v| v.parse().ok());
        matches!((value, bound), (Some(value), Some(bound)) if test(value, bound))
    };
    match requirement.operator.as_str() {
        "In" => value.is_some_and(|v| values.contains(v)),
        "NotIn" => value.is_none_or(|v| !values.contains(v)),
        "Exists" => value.is_some(),
        "DoesNotExist" => value.is_none(),
        "Gt" => compared(|value, bound| value > bound),
        "Lt" => compared(|value, bound| value < bound),
        _ => false,
    }
}

fn tolerates(spec: &PodSpec, taint: &Taint) -> bool {
    let empty = |text: &Option<String>| text.as_deref().is_none_or(str::is_empty);
    spec.tolerations.iter().flatten().any(|t| {
        let effect = empty(&t.effect) || t.effect.as_deref() == Some(&taint.effect);
        let key = empty(&t.key) || t.key.as_deref() == Some(&taint.key);
        let exists = t.operator.as_deref() == Some("Exists");
        effect && key && (exists || t.value.as_deref().unwrap_or("") == taint.value.as_deref().unwrap_or(""))
    })
}
