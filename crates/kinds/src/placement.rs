//! Where a pod may run: what it asks for, and what a node's labels and taints say to it. Pure; shared by the scheduler, the DaemonSet
//! controller, the node lifecycle and the node's own admission.
//!
//! Source: the Kubernetes documentation's "Assigning Pods to Nodes", "Taints and Tolerations", "Resource Management for Pods".

use coracle_api::quantity::Quantity;
use k8s_openapi::{
    api::core::v1::{
        Container, Node, NodeSelector, NodeSelectorRequirement, NodeSelectorTerm, Pod, PodSpec, Taint, Toleration,
    },
    apimachinery::pkg::api::resource::Quantity as Text,
};
use std::collections::BTreeMap;

/// Amounts of resources: `cpu` in thousandths of a core, everything else in its unit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Amounts(pub BTreeMap<String, i64>);

impl Amounts {
    /// From a map of quantities; those that cannot be read count as nothing (validation has refused them before).
    pub fn of(list: Option<&BTreeMap<String, Text>>) -> Self {
        let amount = |name: &String, text: &Text| {
            let quantity: Quantity = text.0.parse().ok()?;
            Some((name.clone(), if name == "cpu" { quantity.milli_value() } else { quantity.value() }))
        };
        Self(list.into_iter().flatten().filter_map(|(name, text)| amount(name, text)).collect())
    }

    /// How much of one resource.
    pub fn get(&self, name: &str) -> i64 {
        self.0.get(name).copied().unwrap_or(0)
    }

    /// Adds `other`.
    pub fn add(&mut self, other: &Self) {
        for (name, amount) in &other.0 {
            *self.0.entry(name.clone()).or_default() += amount;
        }
    }

    /// Takes `other` away.
    pub fn subtract(&mut self, other: &Self) {
        for (name, amount) in &other.0 {
            *self.0.entry(name.clone()).or_default() -= amount;
        }
    }

    fn raise_to(&mut self, other: &Self) {
        for (name, amount) in &other.0 {
            let own = self.0.entry(name.clone()).or_default();
            *own = (*own).max(*amount);
        }
    }
}

fn container_requests(container: &Container) -> Amounts {
    Amounts::of(container.resources.as_ref().and_then(|r| r.requests.as_ref()))
}

/// What a pod asks of its node: its containers and sidecars together, or an init container (with the sidecars started before it) if
/// that needs more; pod-level requests where given; plus the overhead.
pub fn requests(spec: &PodSpec) -> Amounts {
    let mut running = Amounts::default();
    for container in &spec.containers {
        running.add(&container_requests(container));
    }
    let (mut sidecars, mut starting) = (Amounts::default(), Amounts::default());
    for init in spec.init_containers.iter().flatten() {
        let own = container_requests(init);
        if init.restart_policy.as_deref() == Some("Always") {
            sidecars.add(&own);
            starting.raise_to(&sidecars);
        } else {
            let mut with_sidecars = sidecars.clone();
            with_sidecars.add(&own);
            starting.raise_to(&with_sidecars);
        }
    }
    running.add(&sidecars);
    running.raise_to(&starting);
    if let Some(pod_level) = spec.resources.as_ref().and_then(|r| r.requests.as_ref()) {
        running.0.extend(Amounts::of(Some(pod_level)).0);
    }
    running.add(&Amounts::of(spec.overhead.as_ref()));
    running
}

/// The host ports of a pod: (address, protocol, port).
pub fn host_ports(spec: &PodSpec) -> Vec<(String, String, i32)> {
    let containers = spec.containers.iter().chain(spec.init_containers.iter().flatten());
    containers
        .flat_map(|c| c.ports.iter().flatten())
        .filter_map(|port| {
            let host_port = port.host_port.filter(|p| *p > 0)?;
            let address = port.host_ip.clone().filter(|ip| !ip.is_empty()).unwrap_or_else(|| "0.0.0.0".into());
            Some((address, port.protocol.clone().unwrap_or_else(|| "TCP".into()), host_port))
        })
        .collect()
}

/// Whether two host ports cannot be on one node.
pub fn ports_conflict(a: &(String, String, i32), b: &(String, String, i32)) -> bool {
    let everywhere = |ip: &str| ip == "0.0.0.0" || ip == "::";
    a.1 == b.1 && a.2 == b.2 && (a.0 == b.0 || everywhere(&a.0) || everywhere(&b.0))
}

/// Whether a toleration stands a taint.
pub fn tolerates(toleration: &Toleration, taint: &Taint) -> bool {
    let effect = toleration.effect.as_deref().unwrap_or_default();
    let key = toleration.key.as_deref().unwrap_or_default();
    if !effect.is_empty() && effect != taint.effect || !key.is_empty() && key != taint.key {
        return false;
    }
    let (ours, theirs) = (toleration.value.as_deref().unwrap_or_default(), taint.value.as_deref().unwrap_or_default());
    let ordered = || Some((theirs.parse::<i64>().ok()?, ours.parse::<i64>().ok()?));
    match toleration.operator.as_deref().unwrap_or_default() {
        "" | "Equal" => ours == theirs,
        "Exists" => true,
        "Lt" => ordered().is_some_and(|(t, o)| t < o),
        "Gt" => ordered().is_some_and(|(t, o)| t > o),
        _ => false,
    }
}

/// The first taint with one of `effects` that no toleration stands.
pub fn untolerated<'a>(taints: &'a [Taint], tolerations: &[Toleration], effects: &[&str]) -> Option<&'a Taint> {
    taints
        .iter()
        .filter(|t| effects.contains(&t.effect.as_str()))
        .find(|taint| !tolerations.iter().any(|toleration| tolerates(toleration, taint)))
}

/// Whether a node's labels and name satisfy a pod's `nodeSelector` and required node affinity.
pub fn node_matches(spec: &PodSpec, node: &Node) -> bool {
    let none = BTreeMap::new();
    let labels = node.metadata.labels.as_ref().unwrap_or(&none);
    let selected = spec.node_selector.iter().flatten().all(|(key, value)| labels.get(key) == Some(value));
    let required = spec
        .affinity
        .as_ref()
        .and_then(|a| a.node_affinity.as_ref())
        .and_then(|a| a.required_during_scheduling_ignored_during_execution.as_ref());
    selected && required.is_none_or(|selector| selector_matches(selector, node))
}

/// Whether one of a node selector's terms matches. No terms match nothing.
pub fn selector_matches(selector: &NodeSelector, node: &Node) -> bool {
    selector.node_selector_terms.iter().any(|term| term_matches(term, node))
}

/// Whether a term matches; an empty one does not.
pub fn term_matches(term: &NodeSelectorTerm, node: &Node) -> bool {
    let none = BTreeMap::new();
    let labels = node.metadata.labels.as_ref().unwrap_or(&none);
    let (expressions, fields) =
        (term.match_expressions.as_deref().unwrap_or_default(), term.match_fields.as_deref().unwrap_or_default());
    !(expressions.is_empty() && fields.is_empty())
        && expressions.iter().all(|r| requirement_holds(r, labels.get(&r.key).map(String::as_str)))
        && fields.iter().all(|r| r.key == "metadata.name" && requirement_holds(r, node.metadata.name.as_deref()))
}

fn requirement_holds(requirement: &NodeSelectorRequirement, value: Option<&str>) -> bool {
    let values = requirement.values.as_deref().unwrap_or_default();
    let among = value.is_some_and(|v| values.iter().any(|x| x == v));
    let compare = || Some((value?.parse::<i64>().ok()?, values.first()?.parse::<i64>().ok()?));
    match requirement.operator.as_str() {
        "In" => among,
        "NotIn" => !among,
        "Exists" => value.is_some(),
        "DoesNotExist" => value.is_none(),
        "Gt" => compare().is_some_and(|(node, bound)| node > bound),
        "Lt" => compare().is_some_and(|(node, bound)| node < bound),
        _ => false,
    }
}

/// The sum of the weights of the preferred node affinity terms that match.
pub fn preference(spec: &PodSpec, node: &Node) -> i64 {
    let preferred = spec
        .affinity
        .as_ref()
        .and_then(|a| a.node_affinity.as_ref())
        .and_then(|a| a.preferred_during_scheduling_ignored_during_execution.as_deref())
        .unwrap_or_default();
    preferred.iter().filter(|term| term_matches(&term.preference, node)).map(|term| i64::from(term.weight)).sum()
}

/// Whether a pod takes up room on its node: it is bound and has not ended.
pub fn takes_room(pod: &Pod) -> bool {
    let phase = pod.status.as_ref().and_then(|s| s.phase.as_deref()).unwrap_or_default();
    pod.spec.as_ref().is_some_and(|s| s.node_name.is_some()) && !matches!(phase, "Succeeded" | "Failed")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, from_value, json};

    #[test]
    fn what_a_pod_asks_for() {
        let container =
            |name: &str, cpu: &str| json!({"name": name, "resources": {"requests": {"cpu": cpu, "memory": "1Mi"}}});
        let sidecar = |cpu: &str| {
            let mut c = container("side", cpu);
            c["restartPolicy"] = json!("Always");
            c
        };
        for (name, spec, cpu, memory) in [
            ("containers add up", json!({"containers": [container("a", "100m"), container("b", "1")]}), 1100, 2 << 20),
            (
                "the largest init container counts",
                json!({"containers": [container("a", "100m")], "initContainers": [container("i", "2"), container("j", "1")]}),
                2000,
                1 << 20,
            ),
            (
                "sidecars run beside",
                json!({"containers": [container("a", "100m")], "initContainers": [sidecar("50m")]}),
                150,
                2 << 20,
            ),
            (
                "an init container beside a sidecar",
                json!({"containers": [container("a", "100m")], "initContainers": [sidecar("50m"), container("i", "1")]}),
                1050,
                2 << 20,
            ),
            ("overhead", json!({"containers": [container("a", "100m")], "overhead": {"cpu": "10m"}}), 110, 1 << 20),
            ("nothing", json!({"containers": [{"name": "a"}]}), 0, 0),
        ] {
            let got = requests(&from_value(spec).unwrap());
            assert_eq!((got.get("cpu"), got.get("memory")), (cpu, memory), "{name}");
        }
    }

    #[test]
    fn taints_and_tolerations() {
        let taint: Taint = from_value(json!({"key": "k", "value": "v", "effect": "NoSchedule"})).unwrap();
        for (toleration, expected) in [
            (json!({"key": "k", "value": "v", "effect": "NoSchedule"}), true),
            (json!({"key": "k", "operator": "Equal", "value": "w"}), false),
            (json!({"key": "k", "operator": "Exists"}), true),
            (json!({"operator": "Exists"}), true),
            (json!({"key": "k", "operator": "Exists", "effect": "NoExecute"}), false),
            (json!({"key": "other", "operator": "Exists"}), false),
        ] {
            assert_eq!(tolerates(&from_value(toleration.clone()).unwrap(), &taint), expected, "{toleration}");
        }
    }

    #[test]
    fn node_affinity() {
        let node: Node =
            from_value(json!({"metadata": {"name": "n1", "labels": {"disk": "ssd", "size": "5"}}})).unwrap();
        let required = |term: Value| json!({"containers": [], "affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [term]}}}});
        let expression = |key: &str, op: &str, values: Value| {
            required(json!({"matchExpressions": [{"key": key, "operator": op, "values": values}]}))
        };
        for (spec, expected) in [
            (json!({"containers": []}), true),
            (json!({"containers": [], "nodeSelector": {"disk": "ssd"}}), true),
            (json!({"containers": [], "nodeSelector": {"disk": "hdd"}}), false),
            (expression("disk", "In", json!(["hdd", "ssd"])), true),
            (expression("disk", "NotIn", json!(["ssd"])), false),
            (expression("gpu", "NotIn", json!(["x"])), true),
            (expression("gpu", "Exists", json!([])), false),
            (expression("size", "Gt", json!(["4"])), true),
            (expression("size", "Lt", json!(["4"])), false),
            (required(json!({"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["n1"]}]})), true),
            (required(json!({"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["n2"]}]})), false),
            (required(json!({})), false),
        ] {
            assert_eq!(node_matches(&from_value(spec.clone()).unwrap(), &node), expected, "{spec}");
        }
    }
}
