//! The priority levels and flow schemas that every cluster has. The mandatory ones are always as written here; the suggested ones are so until
//! somebody says otherwise by the annotation [`AUTO_UPDATE`].
//!
//! Source: apiserver `pkg/apis/flowcontrol/bootstrap`.

use serde_json::{Value, json};

/// `"true"`: the object follows what is written here; `"false"`: it is somebody's own.
pub const AUTO_UPDATE: &str = "apf.kubernetes.io/autoupdate-spec";

/// The names of the mandatory objects, of either kind.
pub const MANDATORY: &[&str] = &["exempt", "catch-all"];

/// Every priority level.
pub fn levels() -> Vec<Value> {
    let exempt = json!({"type": "Exempt", "exempt": {"nominalConcurrencyShares": 0, "lendablePercent": 0}});
    let mut all = vec![named("exempt", exempt), named("catch-all", limited(5, 0, json!({"type": "Reject"})))];
    // name, shares, percent that others may borrow, queues, hand size
    for (name, shares, lendable, queues, hand) in [
        ("system", 30, 33, 64, 6),
        ("node-high", 40, 25, 64, 6),
        ("leader-election", 10, 0, 16, 4),
        ("workload-high", 40, 50, 128, 6),
        ("workload-low", 100, 90, 128, 6),
        ("global-default", 20, 50, 128, 6),
    ] {
        let queuing = json!({"queues": queues, "handSize": hand, "queueLengthLimit": 50});
        all.push(named(name, limited(shares, lendable, json!({"type": "Queue", "queuing": queuing}))));
    }
    finished(all, "PriorityLevelConfiguration")
}

/// Every flow schema.
pub fn flows() -> Vec<Value> {
    let everybody = || groups(&["system:unauthenticated", "system:authenticated"]);
    let kube_system = json!([{"kind": "ServiceAccount", "serviceAccount": {"name": "*", "namespace": "kube-system"}}]);
    let mut leaders = users(&["system:kube-controller-manager", "system:kube-scheduler"]);
    leaders.extend(kube_system.as_array().cloned().unwrap_or_default());
    let leases = |verbs: &[&str]| resource(verbs, "coordination.k8s.io", &["leases"], false);
    let nodes = json!([resource(&["*"], "", &["nodes", "nodes/status"], true), leases(&["*"])]);
    let probes = json!([{"verbs": ["get"], "nonResourceURLs": ["/healthz", "/readyz", "/livez"]}]);
    let all = vec![
        flow("exempt", "exempt", 1, "", everything(json!(groups(&["system:masters"])))),
        flow("catch-all", "catch-all", 10_000, "ByUser", everything(json!(everybody()))),
        flow("system-nodes", "system", 500, "ByUser", everything(json!(groups(&["system:nodes"])))),
        flow(
            "system-node-high",
            "node-high",
            400,
            "ByUser",
            json!({"subjects": groups(&["system:nodes"]), "resourceRules": nodes}),
        ),
        flow("probes", "exempt", 2, "", json!({"subjects": everybody(), "nonResourceRules": probes})),
        flow(
            "system-leader-election",
            "leader-election",
            100,
            "ByUser",
            json!({"subjects": leaders, "resourceRules": [leases(&["get", "create", "update"])]}),
        ),
        flow(
            "kube-controller-manager",
            "workload-high",
            800,
            "ByNamespace",
            everything(json!(users(&["system:kube-controller-manager"]))),
        ),
        flow(
            "kube-scheduler",
            "workload-high",
            800,
            "ByNamespace",
            everything(json!(users(&["system:kube-scheduler"]))),
        ),
        flow("kube-system-service-accounts", "workload-high", 900, "ByNamespace", everything(kube_system)),
        flow(
            "service-accounts",
            "workload-low",
            9000,
            "ByUser",
            everything(json!(groups(&["system:serviceaccounts"]))),
        ),
        flow("global-default", "global-default", 9900, "ByUser", everything(json!(everybody()))),
    ];
    finished(all, "FlowSchema")
}

/// What a mandatory object must say; `None` for all others.
pub fn mandatory_spec(all: &[Value], name: &str) -> Option<Value> {
    let fixed = all.iter().find(|object| object["metadata"]["name"] == name)?;
    MANDATORY.contains(&name).then(|| fixed["spec"].clone())
}

fn named(name: &str, spec: Value) -> Value {
    json!({"metadata": {"name": name, "annotations": {AUTO_UPDATE: "true"}}, "spec": spec})
}

fn finished(mut all: Vec<Value>, kind: &str) -> Vec<Value> {
    for object in &mut all {
        object["apiVersion"] = json!("flowcontrol.apiserver.k8s.io/v1");
        object["kind"] = json!(kind);
    }
    all
}

fn limited(shares: u32, lendable: u32, response: Value) -> Value {
    let limited = json!({"nominalConcurrencyShares": shares, "lendablePercent": lendable, "limitResponse": response});
    json!({"type": "Limited", "limited": limited})
}

fn flow(name: &str, level: &str, precedence: u32, distinguisher: &str, rule: Value) -> Value {
    let mut spec = json!({
        "priorityLevelConfiguration": {"name": level}, "matchingPrecedence": precedence, "rules": [rule],
    });
    if !distinguisher.is_empty() {
        spec["distinguisherMethod"] = json!({"type": distinguisher});
    }
    named(name, spec)
}

fn groups(names: &[&str]) -> Vec<Value> {
    names.iter().map(|name| json!({"kind": "Group", "group": {"name": name}})).collect()
}

fn users(names: &[&str]) -> Vec<Value> {
    names.iter().map(|name| json!({"kind": "User", "user": {"name": name}})).collect()
}

fn resource(verbs: &[&str], group: &str, resources: &[&str], cluster_scope: bool) -> Value {
    let mut rule = json!({"verbs": verbs, "apiGroups": [group], "resources": resources, "namespaces": ["*"]});
    if cluster_scope {
        rule["clusterScope"] = json!(true);
    }
    rule
}

fn everything(subjects: Value) -> Value {
    json!({
        "subjects": subjects, "resourceRules": [resource(&["*"], "*", &["*"], true)],
        "nonResourceRules": [{"verbs": ["*"], "nonResourceURLs": ["*"]}],
    })
}
