//! What the descriptors accept, as tables: a plain object of each kind, a change of it, and what is wrong then. Everything goes the way the
//! server goes: defaults, preparation, validation.

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

fn kind(named: &str) -> &'static Kind {
    let (group, plural) = named.split_once('/').unwrap_or(("", named));
    find(group, "v1", plural).unwrap_or_else(|| panic!("no kind {named}"))
}

/// A good object of a kind.
fn plain(named: &str) -> Value {
    let template = json!({"metadata": {"labels": {"app": "x"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}});
    let workload = json!({"spec": {"selector": {"matchLabels": {"app": "x"}}, "template": template}});
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
        _ => json!({}),
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

#[test]
fn plain_objects_are_good_and_stay_so() {
    for named in STORY {
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
        "spec.strategy.type: Unsupported value: \"Fast\"",
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
        "spec.podManagementPolicy: Unsupported value: \"Any\"",
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
    let (claims, volumes, classes) = ("persistentvolumeclaims", "persistentvolumes", "storage.k8s.io/storageclasses");
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
    check(classes, json!({"provisioner": ""}), "provisioner: Required value");
    check_update(
        classes,
        json!({}),
        json!({"reclaimPolicy": "Retain"}),
        "reclaimPolicy: Forbidden: updates to reclaimPolicy are forbidden.",
    );
}

#[test]
fn nodes_and_addresses() {
    let taint = json!({"key": "k", "effect": "NoSchedule"});
    check("nodes", json!({"spec": {"taints": [taint, taint]}}), "spec.taints[1]: Duplicate value");
    check(
        "nodes",
        json!({"spec": {"taints": [{"key": "k", "effect": "Never"}]}}),
        "spec.taints[0].effect: Unsupported value: \"Never\"",
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
    let slices = "discovery.k8s.io/endpointslices";
    check(slices, json!({"addressType": "IPX"}), "addressType: Unsupported value: \"IPX\"");
    check(
        slices,
        json!({"endpoints": [{"addresses": []}]}),
        "endpoints[0].addresses: Required value: must contain at least 1 address",
    );
    check(slices, json!({"ports": [{"port": 1}, {"port": 2}]}), "ports[1].name: Duplicate value");
    check_update(
        slices,
        json!({}),
        json!({"addressType": "IPv6", "endpoints": []}),
        "addressType: Invalid value: \"IPv6\": field is immutable",
    );
    check(
        "events",
        json!({"involvedObject": {"namespace": "other"}}),
        "involvedObject.namespace: Invalid value: \"other\": does not match event.namespace",
    );
    check(
        "coordination.k8s.io/leases",
        json!({"spec": {"leaseDurationSeconds": 0}}),
        "spec.leaseDurationSeconds: Invalid value: 0: must be greater than 0",
    );
    check("namespaces", json!({"metadata": {"name": "a.b"}}), "metadata.name: Invalid value: \"a.b\"");
}

#[test]
fn rights_and_ranks() {
    let role =
        |named: &str, change: Value, wanted: &str| check(&format!("rbac.authorization.k8s.io/{named}"), change, wanted);
    role("roles", json!({"rules": [{"apiGroups": [""], "resources": ["pods"]}]}), "rules[0].verbs: Required value");
    role(
        "roles",
        json!({"rules": [{"verbs": ["get"], "nonResourceURLs": ["/x"]}]}),
        "rules[0].nonResourceURLs: Invalid value",
    );
    role("clusterroles", json!({"rules": [{"verbs": ["get"], "nonResourceURLs": ["/x"]}]}), "");
    role("rolebindings", json!({"roleRef": {"kind": "Pod"}}), "roleRef.kind: Unsupported value: \"Pod\"");
    role("clusterrolebindings", json!({"roleRef": {"kind": "Role"}}), "roleRef.kind: Unsupported value: \"Role\"");
    role(
        "clusterrolebindings",
        json!({"subjects": [{"kind": "ServiceAccount", "name": "a"}]}),
        "subjects[0].namespace: Required value",
    );
    check_update(
        "rbac.authorization.k8s.io/rolebindings",
        json!({}),
        json!({"roleRef": {"name": "s"}}),
        "roleRef: Invalid value",
    );
    let classes = "scheduling.k8s.io/priorityclasses";
    check(
        classes,
        json!({"value": 1_000_000_001}),
        "value: Forbidden: maximum allowed value of a user defined priority is 1000000000",
    );
    check(classes, json!({"metadata": {"name": "system-x"}}), "metadata.name: Forbidden");
    check_update(classes, json!({}), json!({"value": 11}), "value: Forbidden: may not be changed in an update.");
    let budgets = "policy/poddisruptionbudgets";
    check(budgets, json!({"spec": {"maxUnavailable": 1}}), "minAvailable and maxUnavailable cannot be both set");
    check(budgets, json!({"spec": {"minAvailable": -1}}), "spec.minAvailable: Invalid value: -1");
}
