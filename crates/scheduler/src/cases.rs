//! Decisions as a table: nodes, what stands on them, what else there is, a pod, and where it goes or why nowhere.

use crate::{
    cache::Cache,
    decide::{Decision, decide},
    nominated::Nominated,
    plugins::World,
};
use coracle_client::{Kind, SharedView, Typed, memory::Memory};
use k8s_openapi::api::{
    core::v1::{Node, PersistentVolume, PersistentVolumeClaim, Pod},
    storage::v1::StorageClass,
};
use serde_json::{Value, json};

/// What a case says; each list holds what differs from the plain object, which has the name `0`, `1`, ….
#[derive(Default)]
struct Case {
    nodes: Vec<Value>,
    /// Node index and spec.
    placed: Vec<(usize, Value)>,
    claims: Vec<Value>,
    volumes: Vec<Value>,
    pod: Value,
}

pub(crate) fn merged(mut base: Value, change: &Value) -> Value {
    match (&mut base, change) {
        (Value::Object(base), Value::Object(change)) => {
            for (key, value) in change {
                let old = base.remove(key).unwrap_or(Value::Null);
                base.insert(key.clone(), merged(old, value));
            }
        }
        (base, change) => *base = change.clone(),
    }
    base
}

pub(crate) fn node(index: usize, change: &Value) -> Value {
    let plain = json!({
        "apiVersion": "v1", "kind": "Node",
        "metadata": {"name": format!("n{index}"), "labels": {"kubernetes.io/hostname": format!("n{index}")}},
        "spec": {},
        "status": {"allocatable": {"cpu": "2", "memory": "4Gi", "pods": "10"}},
    });
    merged(plain, change)
}

pub(crate) fn pod(name: &str, spec: &Value) -> Value {
    let plain = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": "default", "labels": {"app": "x"}},
        "spec": {"containers": [{"name": "c", "image": "i"}]},
    });
    merged(plain, &json!({"spec": spec}))
}

pub(crate) fn cpu(amount: &str) -> Value {
    json!({"containers": [{"name": "c", "image": "i", "resources": {"requests": {"cpu": amount}}}]})
}

fn check(case: &Case, wanted: &str) {
    let memory = Memory::new();
    let put = |kind: &str, body: Value| {
        let resource = match kind {
            "Node" => Node::resource(),
            "Pod" => Pod::resource(),
            "StorageClass" => StorageClass::resource(),
            "PersistentVolumeClaim" => PersistentVolumeClaim::resource(),
            _ => PersistentVolume::resource(),
        };
        memory.put(&resource, body)
    };
    let mut cache = Cache::default();
    for (index, change) in case.nodes.iter().enumerate() {
        cache.put_node(&Typed::new(put("Node", node(index, change))).unwrap());
    }
    for (index, (on, spec)) in case.placed.iter().enumerate() {
        let placed = Typed::<Pod>::new(put("Pod", pod(&format!("placed-{index}"), spec))).unwrap();
        cache.put_pod(placed.uid(), &format!("n{on}"), placed.view.clone());
    }
    put(
        "StorageClass",
        json!({"apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "metadata": {"name": "late"},
            "provisioner": "p", "volumeBindingMode": "WaitForFirstConsumer"}),
    );
    for claim in &case.claims {
        put("PersistentVolumeClaim", claim.clone());
    }
    for volume in &case.volumes {
        put("PersistentVolume", volume.clone());
    }
    let wanting = Typed::<Pod>::new(put("Pod", pod("wanting", &case.pod))).unwrap();
    let view: SharedView = memory.clone();
    let found = match decide(&World::new(&cache, &Nominated::default(), &view), &wanting, 0) {
        Decision::Node(name) => name,
        Decision::Unschedulable { why, .. } => why,
    };
    assert_eq!(found, wanted, "{} on {:?}", case.pod, case.nodes);
}

#[test]
fn a_node_must_be_able_to() {
    let two = || vec![json!({}), json!({})];
    check(&Case { pod: json!({}), ..Case::default() }, "no nodes available to schedule pods");
    check(&Case { nodes: vec![json!({})], pod: json!({}), ..Case::default() }, "n0");
    check(&Case { nodes: two(), placed: vec![(0, cpu("1500m"))], pod: cpu("1"), ..Case::default() }, "n1");
    check(&Case { nodes: two(), pod: cpu("3"), ..Case::default() }, "0/2 nodes are available: 2 Insufficient cpu.");
    check(
        &Case {
            nodes: vec![json!({"status": {"allocatable": {"pods": "1"}}})],
            placed: vec![(0, json!({}))],
            pod: json!({}),
            ..Case::default()
        },
        "0/1 nodes are available: 1 Too many pods.",
    );
    check(
        &Case {
            nodes: vec![
                json!({"spec": {"unschedulable": true}}),
                json!({"spec": {"taints": [{"key": "k", "value": "v", "effect": "NoSchedule"}]}}),
            ],
            pod: json!({}),
            ..Case::default()
        },
        "0/2 nodes are available: 1 node(s) had untolerated taint {k: v}, 1 node(s) were unschedulable.",
    );
    check(
        &Case {
            nodes: vec![json!({"spec": {"taints": [{"key": "k", "value": "v", "effect": "NoSchedule"}]}})],
            pod: json!({"tolerations": [{"key": "k", "operator": "Exists"}]}),
            ..Case::default()
        },
        "n0",
    );
    let port = |ip: &str| json!({"containers": [{"name": "c", "image": "i", "ports": [{"containerPort": 80, "hostPort": 80, "hostIP": ip}]}]});
    check(&Case { nodes: two(), placed: vec![(0, port(""))], pod: port("10.0.0.1"), ..Case::default() }, "n1");
    check(
        &Case { nodes: vec![json!({})], placed: vec![(0, port("10.0.0.2"))], pod: port("10.0.0.1"), ..Case::default() },
        "n0",
    );
}

#[test]
fn a_pod_may_choose() {
    let labelled =
        || vec![json!({"metadata": {"labels": {"disk": "hdd"}}}), json!({"metadata": {"labels": {"disk": "ssd"}}})];
    check(&Case { nodes: labelled(), pod: json!({"nodeSelector": {"disk": "ssd"}}), ..Case::default() }, "n1");
    check(
        &Case { nodes: labelled(), pod: json!({"nodeSelector": {"disk": "tape"}}), ..Case::default() },
        "0/2 nodes are available: 2 node(s) didn't match Pod's node affinity/selector.",
    );
    let term = |operator: &str| json!({"matchExpressions": [{"key": "disk", "operator": operator, "values": ["ssd"]}]});
    let required = |operator: &str| {
        json!({"affinity": {"nodeAffinity":
        {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [term(operator)]}}}})
    };
    check(&Case { nodes: labelled(), pod: required("In"), ..Case::default() }, "n1");
    check(&Case { nodes: labelled(), pod: required("NotIn"), ..Case::default() }, "n0");
    let preferred = json!({"affinity": {"nodeAffinity":
        {"preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 100, "preference": term("In")}]}}});
    check(&Case { nodes: labelled(), pod: preferred, ..Case::default() }, "n1");
}

#[test]
fn the_emptier_node_is_better() {
    let nodes = || vec![json!({}), json!({}), json!({})];
    check(
        &Case {
            nodes: nodes(),
            placed: vec![(0, cpu("1")), (1, cpu("500m")), (2, cpu("1500m"))],
            pod: cpu("100m"),
            ..Case::default()
        },
        "n1",
    );
    let spread = json!({"topologySpreadConstraints": [{"maxSkew": 1, "topologyKey": "kubernetes.io/hostname",
        "whenUnsatisfiable": "DoNotSchedule", "labelSelector": {"matchLabels": {"app": "x"}}}]});
    check(
        &Case { nodes: nodes(), placed: vec![(0, json!({})), (2, json!({}))], pod: spread.clone(), ..Case::default() },
        "n1",
    );
    check(
        &Case {
            nodes: vec![json!({}), json!({"spec": {"unschedulable": true}})],
            placed: vec![(0, json!({}))],
            pod: merged(spread, &json!({"nodeSelector": {}})),
            ..Case::default()
        },
        "0/2 nodes are available: 1 node(s) didn't match pod topology spread constraints, 1 node(s) were unschedulable.",
    );
}

#[test]
fn a_pod_goes_where_its_volume_is() {
    let claim = |class: &str, volume: &str| {
        json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim",
        "metadata": {"name": "data", "namespace": "default"},
        "spec": {"storageClassName": class, "volumeName": volume, "accessModes": ["ReadWriteOnce"],
            "resources": {"requests": {"storage": "1Gi"}}}})
    };
    let on = |node: &str| {
        json!({"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": "v"},
        "spec": {"capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"], "local": {"path": "/x"},
            "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions":
                [{"key": "kubernetes.io/hostname", "operator": "In", "values": [node]}]}]}}}})
    };
    let with = json!({"volumes": [{"name": "d", "persistentVolumeClaim": {"claimName": "data"}}]});
    let case = |claims: Vec<Value>, volumes: Vec<Value>| Case {
        nodes: vec![json!({}), json!({})],
        claims,
        volumes,
        pod: with.clone(),
        ..Case::default()
    };
    check(&case(vec![], vec![]), "0/2 nodes are available: 2 persistentvolumeclaim \"data\" not found.");
    check(&case(vec![claim("late", "")], vec![]), "n0");
    check(&case(vec![claim("late", "v")], vec![on("n1")]), "n1");
    check(
        &case(vec![claim("late", "v")], vec![on("n9")]),
        "0/2 nodes are available: 2 node(s) had volume node affinity conflict.",
    );
    check(
        &case(vec![claim("at-once", "")], vec![]),
        "0/2 nodes are available: 2 pod has unbound immediate PersistentVolumeClaims.",
    );
}

#[test]
fn a_pod_chooses_its_neighbours() {
    let zone = |name: &str| json!({"metadata": {"labels": {"zone": name}}});
    let zones = || vec![zone("a"), zone("a"), zone("b")];
    let term = |app: &str, key: &str| json!({"labelSelector": {"matchLabels": {"app": app}}, "topologyKey": key});
    let required = |kind: &str, term: Value| json!({"affinity": {kind: {"requiredDuringSchedulingIgnoredDuringExecution": [term]}}});
    let preferred = |kind: &str, term: Value| {
        json!({"affinity": {kind: {"preferredDuringSchedulingIgnoredDuringExecution":
            [{"weight": 100, "podAffinityTerm": term}]}}})
    };
    let host = "kubernetes.io/hostname";
    let on = |at: usize, pod: Value| Case { nodes: zones(), placed: vec![(at, json!({}))], pod, ..Case::default() };
    let beside = |app: &str, key: &str| required("podAffinity", term(app, key));
    let apart = |app: &str, key: &str| required("podAntiAffinity", term(app, key));
    check(&on(1, beside("x", host)), "n1");
    check(&on(2, beside("x", "zone")), "n2");
    check(&on(2, apart("x", "zone")), "n0");
    check(&on(0, apart("x", "zone")), "n2");
    // n1 and n2 are near it, and n2 is as empty as n0
    let near = Case {
        nodes: vec![zone("a"), zone("b"), zone("b")],
        placed: vec![(1, json!({}))],
        pod: preferred("podAffinity", term("x", "zone")),
        ..Case::default()
    };
    check(&near, "n2");
    // a wish weighs more than the little that its fulfilment costs
    check(&on(1, preferred("podAffinity", term("x", host))), "n1");
    check(&on(0, preferred("podAntiAffinity", term("x", "zone"))), "n2");
    check(&on(1, beside("y", host)), "0/3 nodes are available: 3 node(s) didn't match pod affinity rules.");
    check(&on(1, beside("x", "rack")), "0/3 nodes are available: 3 node(s) didn't match pod affinity rules.");
    // nobody of its group is there yet: the first one may go anywhere, but not where the key is missing
    check(&Case { nodes: vec![json!({}), zone("a")], pod: beside("x", "zone"), ..Case::default() }, "n1");
    let alone =
        |pod: Value, placed: Value| Case { nodes: vec![zone("a")], placed: vec![(0, placed)], pod, ..Case::default() };
    check(
        &alone(apart("x", host), json!({})),
        "0/1 nodes are available: 1 node(s) didn't match pod anti-affinity rules.",
    );
    check(
        &alone(json!({}), apart("x", host)),
        "0/1 nodes are available: 1 node(s) didn't satisfy existing pods anti-affinity rules.",
    );
    check(&alone(json!({}), apart("y", host)), "n0");
    let elsewhere = |namespaces: Value| {
        let elsewhere = merged(term("x", host), &namespaces);
        alone(required("podAntiAffinity", elsewhere), json!({}))
    };
    check(&elsewhere(json!({"namespaces": ["other"]})), "n0");
    let unwanted = "0/1 nodes are available: 1 node(s) didn't match pod anti-affinity rules.";
    check(&elsewhere(json!({"namespaces": ["other", "default"]})), unwanted);
    check(&elsewhere(json!({"namespaceSelector": {}})), unwanted);
    check(&elsewhere(json!({"namespaceSelector": {"matchLabels": {"team": "a"}}})), "n0");
    check(&elsewhere(json!({"matchLabelKeys": ["app"]})), unwanted);
    check(&elsewhere(json!({"mismatchLabelKeys": ["app"]})), "n0");
}
