//! What the descriptors accept, as tables: a plain object of each kind, a change of it, and what is wrong then. Everything goes the way the
//! server goes: defaults, preparation, validation.

mod admission;
mod certificates;
mod devices;
mod groups;
mod machinery;
mod networking;
mod rights;
mod storage;

use crate::{Kind, Part, find};
use coracle_api::FieldError;
use serde_json::{Value, json};

fn merged(mut base: Value, change: &Value) -> Value {
    match (&mut base, change) {
        (Value::Object(base), Value::Object(change)) => {
            for (key, value) in change {
                let old = base.remove(key).unwrap_or(Value::Null);
                if !value.is_null() {
                    base.insert(key.clone(), merged(old, value));
                }
            }
        }
        (base, change) => *base = change.clone(),
    }
    base
}

pub(crate) fn kind(named: &str) -> &'static Kind {
    let (group, plural) = named.split_once('/').unwrap_or(("", named));
    let mut beta = crate::stored().filter(|k| k.resource.group == group && k.resource.plural == plural);
    find(group, "v1", plural).or_else(|| beta.next()).unwrap_or_else(|| panic!("no kind {named}"))
}

/// A good object of a kind.
pub(crate) fn plain(named: &str) -> Value {
    let template = json!({"metadata": {"labels": {"app": "x"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}});
    let workload = json!({"spec": {"selector": {"matchLabels": {"app": "x"}}, "template": template}});
    let passing = merged(template.clone(), &json!({"spec": {"restartPolicy": "Never"}}));
    let modes = json!(["ReadWriteOnce"]);
    let claim = json!({"spec": {"accessModes": modes, "resources": {"requests": {"storage": "1Gi"}}}});
    let rest = match named {
        "apps/deployments" | "apps/replicasets" | "apps/daemonsets" => workload,
        "apps/statefulsets" => merged(workload, &json!({"spec": {"serviceName": "s"}})),
        "apps/controllerrevisions" => json!({"revision": 1, "data": {"a": 1}}),
        "replicationcontrollers" => json!({"spec": {"selector": {"app": "x"}, "template": template}}),
        "podtemplates" => json!({"template": template}),
        "pods" => json!({"spec": template["spec"]}),
        "persistentvolumeclaims" => claim,
        "persistentvolumes" => {
            json!({"spec": {"accessModes": modes, "capacity": {"storage": "1Gi"}, "hostPath": {"path": "/x"}}})
        }
        "storage.k8s.io/storageclasses" => json!({"provisioner": "p"}),
        "configmaps" => json!({"data": {"a": "1"}}),
        "secrets" => json!({"data": {"a": "MQ=="}}),
        "services" => json!({"spec": {"ports": [{"port": 80}]}}),
        "endpoints" => json!({"subsets": [{"addresses": [{"ip": "10.0.0.1"}], "ports": [{"port": 80}]}]}),
        "discovery.k8s.io/endpointslices" => json!({"addressType": "IPv4", "endpoints": [{"addresses": ["10.0.0.1"]}]}),
        "events" => json!({"involvedObject": {"kind": "Pod", "namespace": "default", "name": "p"}}),
        "rbac.authorization.k8s.io/roles" | "rbac.authorization.k8s.io/clusterroles" => {
            json!({"rules": [{"verbs": ["get"], "apiGroups": [""], "resources": ["pods"]}]})
        }
        "rbac.authorization.k8s.io/rolebindings" | "rbac.authorization.k8s.io/clusterrolebindings" => {
            json!({"roleRef": {"kind": "ClusterRole", "name": "r"}, "subjects": [{"kind": "User", "name": "u"}]})
        }
        "scheduling.k8s.io/priorityclasses" => json!({"value": 10}),
        "policy/poddisruptionbudgets" => json!({"spec": {"minAvailable": 1, "selector": {}}}),
        "coordination.k8s.io/leases" => json!({"spec": {"leaseDurationSeconds": 15}}),
        "batch/jobs" => json!({"metadata": {"uid": "u"}, "spec": {"template": passing}}),
        "batch/cronjobs" => json!({"spec": {"schedule": "* * * * *", "jobTemplate": {"spec": {"template": passing}}}}),
        "autoscaling/horizontalpodautoscalers" => {
            json!({"spec": {"maxReplicas": 3, "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "d"}}})
        }
        _ => groups::plain(named),
    };
    let mut metadata = json!({"name": "x"});
    if kind(named).resource.namespaced {
        metadata["namespace"] = json!("default");
    }
    merged(json!({"metadata": metadata}), &rest)
}

const STORY: &[&str] = &[
    "apps/controllerrevisions",
    "apps/daemonsets",
    "apps/deployments",
    "apps/replicasets",
    "apps/statefulsets",
    "autoscaling/horizontalpodautoscalers",
    "batch/cronjobs",
    "batch/jobs",
    "configmaps",
    "coordination.k8s.io/leases",
    "discovery.k8s.io/endpointslices",
    "endpoints",
    "events",
    "namespaces",
    "nodes",
    "persistentvolumeclaims",
    "persistentvolumes",
    "pods",
    "podtemplates",
    "policy/poddisruptionbudgets",
    "rbac.authorization.k8s.io/clusterrolebindings",
    "rbac.authorization.k8s.io/clusterroles",
    "rbac.authorization.k8s.io/rolebindings",
    "rbac.authorization.k8s.io/roles",
    "replicationcontrollers",
    "scheduling.k8s.io/priorityclasses",
    "secrets",
    "serviceaccounts",
    "services",
    "storage.k8s.io/storageclasses",
];

fn created(named: &str, change: &Value) -> Value {
    let mut object = merged(plain(named), change);
    kind(named).default(&mut object).unwrap();
    kind(named).prepare_create(&mut object);
    kind(named).default(&mut object).unwrap();
    object
}

/// `wanted`: how each error begins or what it contains, in order, parted by ` | `; empty when all is well.
fn compare(found: &[FieldError], wanted: &str, of: &str) {
    let found: Vec<String> = found.iter().map(ToString::to_string).collect();
    let wanted: Vec<&str> = wanted.split(" | ").filter(|w| !w.is_empty()).collect();
    let fits = found.len() == wanted.len() && found.iter().zip(&wanted).all(|(f, w)| f.contains(w));
    assert!(fits, "{of}\n found: {found:#?}\nwanted: {wanted:#?}");
}

/// A new object.
fn check(named: &str, change: Value, wanted: &str) {
    let object = created(named, &change);
    compare(&kind(named).validate(&object), wanted, &format!("{named} {change}"));
}

/// A change of the object made with `before`.
fn check_update(named: &str, before: Value, change: Value, wanted: &str) {
    let old = created(named, &before);
    let mut new = merged(old.clone(), &change);
    kind(named).default(&mut new).unwrap();
    kind(named).prepare_update(&mut new, &old, Part::Main);
    compare(&kind(named).validate_update(&new, &old, Part::Main), wanted, &format!("{named} {before} then {change}"));
}

fn exactly(found: &[FieldError], wanted: &[&str], of: &str) {
    let found: Vec<String> = found.iter().map(ToString::to_string).collect();
    assert_eq!(found, wanted, "{of}");
}

/// Changes of a kind's plain object, and exactly what is wrong then.
fn wrong(named: &str, table: &[(Value, &[&str])]) {
    for (change, wanted) in table {
        exactly(&kind(named).validate(&created(named, change)), wanted, &format!("{named} {change}"));
    }
}

/// What is written to `part`, after the plain object was changed so: exactly what is wrong then.
fn wrong_change(named: &str, part: Part, table: &[(Value, Value, &[&str])]) {
    for (before, change, wanted) in table {
        let mut old = created(named, before);
        if let Some(status) = before.get("status") {
            old["status"] = status.clone();
        }
        let mut new = merged(old.clone(), change);
        kind(named).default(&mut new).unwrap();
        kind(named).prepare_update(&mut new, &old, part);
        exactly(&kind(named).validate_update(&new, &old, part), wanted, &format!("{named} {before} then {change}"));
    }
}

/// What the plain object with a change looks like once it is written: the wanted fields.
fn becomes(named: &str, table: &[(Value, Value)]) {
    for (change, wanted) in table {
        let found = created(named, change);
        assert_eq!(merged(found.clone(), wanted), found, "{named} {change}");
    }
}

#[test]
fn plain_objects_are_good_and_stay_so() {
    for named in STORY.iter().chain(groups::KINDS) {
        check(named, json!({}), "");
        check_update(named, json!({}), json!({"metadata": {"labels": {"a": "b"}}}), "");
        let once = created(named, &json!({}));
        let mut twice = once.clone();
        kind(named).default(&mut twice).unwrap();
        assert_eq!(once, twice, "{named}: defaults of defaults");
    }
}

#[test]
fn workloads() {
    for named in ["apps/deployments", "apps/replicasets", "apps/daemonsets", "apps/statefulsets"] {
        check(
            named,
            json!({"spec": {"template": {"metadata": {"labels": {"app": "y"}}}}}),
            "spec.template.metadata.labels: Invalid value",
        );
        check(
            named,
            json!({"spec": {"template": {"spec": {"restartPolicy": "Never"}}}}),
            "spec.template.spec.restartPolicy: Unsupported value: \"Never\"",
        );
    }
    check(
        "apps/deployments",
        json!({"spec": {"replicas": -1}}),
        "spec.replicas: Invalid value: -1: must be greater than or equal to 0",
    );
    check(
        "apps/deployments",
        json!({"spec": {"strategy": {"type": "Fast"}}}),
        "spec.strategy: Unsupported value: {\"Type\":\"Fast\",\"RollingUpdate\":null}",
    );
    check(
        "apps/deployments",
        json!({"spec": {"strategy": {"rollingUpdate": {"maxUnavailable": 0, "maxSurge": 0}}}}),
        "spec.strategy.rollingUpdate.maxUnavailable: Invalid value: 0: may not be 0 when `maxSurge` is 0",
    );
    check(
        "apps/deployments",
        json!({"spec": {"progressDeadlineSeconds": 5, "minReadySeconds": 5}}),
        "spec.progressDeadlineSeconds: Invalid value: 5: must be greater than minReadySeconds",
    );
    check(
        "apps/statefulsets",
        json!({"spec": {"podManagementPolicy": "Any"}}),
        "spec.podManagementPolicy: Invalid value: \"Any\"",
    );
    check_update("apps/statefulsets", json!({}), json!({"spec": {"replicas": 3}}), "");
    check_update(
        "apps/statefulsets",
        json!({}),
        json!({"spec": {"serviceName": "t"}}),
        "spec: Forbidden: updates to statefulset spec",
    );
    check_update("apps/controllerrevisions", json!({}), json!({"data": {"a": 2}}), "data: Invalid value");
}

#[test]
fn configuration() {
    check("configmaps", json!({"data": {"a b": "1"}}), "data[a b]: Invalid value: \"a b\"");
    check(
        "configmaps",
        json!({"binaryData": {"a": "MQ=="}}),
        "data[a]: Invalid value: \"a\": duplicate of key present in binaryData",
    );
    check("configmaps", json!({"data": {"a": "x".repeat(1 << 21)}}), "Too long");
    check_update("configmaps", json!({}), json!({"data": {"a": "2"}}), "");
    check_update(
        "configmaps",
        json!({"immutable": true}),
        json!({"data": {"a": "2"}}),
        "data: Forbidden: field is immutable when `immutable` is set",
    );
    check_update("configmaps", json!({"immutable": true}), json!({"immutable": false}), "immutable: Forbidden");
    check(
        "secrets",
        json!({"type": "kubernetes.io/tls"}),
        "data[tls.crt]: Required value | data[tls.key]: Required value",
    );
    check(
        "secrets",
        json!({"type": "kubernetes.io/basic-auth"}),
        "data[username]: Required value | data[password]: Required value",
    );
    check_update("secrets", json!({}), json!({"type": "other"}), "type: Invalid value: \"other\": field is immutable");
}

#[test]
fn storage() {
    let (claims, volumes) = ("persistentvolumeclaims", "persistentvolumes");
    check(
        claims,
        json!({"spec": {"accessModes": []}}),
        "spec.accessModes: Required value: at least 1 access mode is required",
    );
    check(claims, json!({"spec": {"accessModes": ["Any"]}}), "spec.accessModes: Unsupported value: \"Any\"");
    check(claims, json!({"spec": {"resources": null}}), "spec.resources[storage]: Required value");
    check_update(claims, json!({}), json!({"spec": {"volumeName": "v"}}), "");
    check_update(
        claims,
        json!({"spec": {"volumeName": "v"}}),
        json!({"spec": {"volumeName": "w"}}),
        "spec: Forbidden: spec is immutable after creation",
    );
    check(volumes, json!({"spec": {"hostPath": null}}), "spec: Required value: must specify a volume type");
    check(
        volumes,
        json!({"spec": {"nfs": {"server": "s", "path": "/"}}}),
        "spec.nfs: Forbidden: may not specify more than 1 volume type",
    );
    check(
        volumes,
        json!({"spec": {"hostPath": null, "local": {"path": "/x"}}}),
        "spec.nodeAffinity: Required value: Local volume requires node affinity",
    );
    check_update(
        volumes,
        json!({}),
        json!({"spec": {"hostPath": {"path": "/y"}}}),
        "spec.persistentvolumesource: Forbidden",
    );
}

#[test]
fn nodes_and_addresses() {
    let taint = json!({"key": "k", "effect": "NoSchedule"});
    check("nodes", json!({"spec": {"taints": [taint, taint]}}), "metadata.taints[1]: Duplicate value");
    check(
        "nodes",
        json!({"spec": {"taints": [{"key": "k", "effect": "Never"}]}}),
        "metadata.taints[0].effect: Unsupported value: \"Never\"",
    );
    check_update(
        "nodes",
        json!({"spec": {"podCIDRs": ["10.0.0.0/24"]}}),
        json!({"spec": {"podCIDRs": ["10.0.1.0/24"]}}),
        "spec.podCIDRs: Forbidden",
    );
    check(
        "endpoints",
        json!({"subsets": [{"ports": [{"port": 80}]}]}),
        "subsets[0]: Required value: must specify `addresses` or `notReadyAddresses`",
    );
    check(
        "events",
        json!({"involvedObject": {"namespace": "other"}}),
        "involvedObject.namespace: Invalid value: \"other\": does not match event.namespace",
    );
    check("namespaces", json!({"metadata": {"name": "a.b"}}), "metadata.name: Invalid value: \"a.b\"");
}

#[test]
fn budgets() {
    let budgets = "policy/poddisruptionbudgets";
    check(budgets, json!({"spec": {"maxUnavailable": 1}}), "minAvailable and maxUnavailable cannot be both set");
    check(budgets, json!({"spec": {"minAvailable": -1}}), "spec.minAvailable: Invalid value: -1");
}
