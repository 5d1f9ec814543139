//! Objects against quotas.

use super::*;
use serde_json::from_str;

const NOW: &str = "2026-01-01T00:01:00Z";

/// A quota whose status has been counted: `hard` and `used` as JSON, and what else its spec has.
fn quota(spec: &str, hard: &str, used: &str) -> Value {
    let parse = |text: &str| from_str::<Value>(text).unwrap_or_else(|e| panic!("{text}: {e}"));
    let mut spec = parse(spec);
    spec["hard"] = parse(hard);
    json!({"metadata": {"name": "q"}, "spec": spec, "status": {"hard": parse(hard), "used": parse(used)}})
}

fn check(plural: &str, quota: &Value, old: &str, new: &str, expected: &str) {
    let parse =
        |text: &str| (!text.is_empty()).then(|| from_str::<Value>(text).unwrap_or_else(|e| panic!("{text}: {e}")));
    let (old, new) = (parse(old), parse(new));
    let (plural, group) = plural.split_once('.').unwrap_or((plural, ""));
    let measure = Measure::of(group, plural);
    let write = Write {
        measure,
        old: old.as_ref(),
        new: new.as_ref(),
        refusable: new.is_some() && measure.judges(old.is_none(), ""),
        now: NOW.parse().unwrap(),
    };
    let found = match write.charge(quota) {
        Ok(None) => "nothing".to_string(),
        Ok(Some(used)) => used.to_string(),
        Err(refusal) => refusal.to_string(),
    };
    assert_eq!(found, expected, "{plural}: {old:?} -> {new:?}");
}

#[test]
fn pods_use_what_they_ask_for() {
    let hard =
        r#"{"pods": "2", "cpu": "1", "limits.memory": "1Gi", "requests.example.com/gpu": "1", "count/pods": "5"}"#;
    let q = |used: &str| quota("{}", hard, used);
    let none = r#"{"pods": "0", "cpu": "0", "limits.memory": "0", "requests.example.com/gpu": "0", "count/pods": "0"}"#;
    let pod = r#"{"spec": {"containers": [{"name": "a", "resources": {"requests": {"cpu": "400m"}, "limits": {"memory": "100Mi"}}}]}}"#;
    let one = r#"{"count/pods":"1","cpu":"400m","limits.memory":"100Mi","pods":"1","requests.example.com/gpu":"0"}"#;
    check("pods", &q(none), "", pod, one);
    check(
        "pods",
        &q(one),
        pod,
        "",
        r#"{"count/pods":"0","cpu":"0","limits.memory":"0","pods":"0","requests.example.com/gpu":"0"}"#,
    );
    let ended = pod.replacen('{', r#"{"status": {"phase": "Succeeded"}, "#, 1);
    check(
        "pods",
        &q(one),
        pod,
        &ended,
        r#"{"count/pods":"1","cpu":"0","limits.memory":"0","pods":"0","requests.example.com/gpu":"0"}"#,
    );
    check(
        "pods",
        &q(one),
        &ended,
        "",
        r#"{"count/pods":"0","cpu":"400m","limits.memory":"100Mi","pods":"1","requests.example.com/gpu":"0"}"#,
    );
    check("pods", &q(one), pod, pod, "nothing");
    let overdue = pod.replacen(
        '{',
        r#"{"metadata": {"deletionTimestamp": "2026-01-01T00:00:10Z", "deletionGracePeriodSeconds": 30}, "#,
        1,
    );
    check(
        "pods",
        &q(one),
        pod,
        &overdue,
        r#"{"count/pods":"1","cpu":"0","limits.memory":"0","pods":"0","requests.example.com/gpu":"0"}"#,
    );
    check(
        "pods",
        &q(none),
        "",
        r#"{"spec": {"containers": [{"name": "a"}, {"name": "b", "resources": {"requests": {"cpu": "1"}}}]}}"#,
        "failed quota: q: must specify cpu for: a; limits.memory for: a,b",
    );
    let two =
        r#"{"pods": "2", "cpu": "900m", "limits.memory": "0", "requests.example.com/gpu": "0", "count/pods": "2"}"#;
    check(
        "pods",
        &q(two),
        "",
        pod,
        "exceeded quota: q, requested: cpu=400m,pods=1, used: cpu=900m,pods=2, limited: cpu=1,pods=2",
    );
    check(
        "pods",
        &q(r#"{"pods": "0", "cpu": "0"}"#),
        "",
        pod,
        "status unknown for quota: q, resources: count/pods,limits.memory,requests.example.com/gpu",
    );
    check("services", &q(none), "", "{}", "nothing");
    let whole = r#"{"spec": {"resources": {"requests": {"cpu": "300m"}}, "containers": [{"name": "a"}]}}"#;
    let used = r#"{"count/pods":"1","cpu":"300m","limits.memory":"0","pods":"1","requests.example.com/gpu":"0"}"#;
    check("pods", &q(none), "", whole, used);
}

#[test]
fn scopes_say_which_pods_count() {
    let best_effort = r#"{"spec": {"containers": [{"name": "a"}]}}"#;
    let job = r#"{"spec": {"activeDeadlineSeconds": 5, "priorityClassName": "high", "containers": [{"name": "a", "resources": {"requests": {"cpu": "1"}}}]}}"#;
    let term = |scope: &str, operator: &str, values: &str| {
        format!(
            r#"{{"scopeSelector": {{"matchExpressions": [{{"scopeName": "{scope}", "operator": "{operator}", "values": {values}}}]}}}}"#
        )
    };
    let priority = |operator: &str, values: &str| term("PriorityClass", operator, values);
    let apart = r#"{"spec": {"affinity": {"podAntiAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [{"podAffinityTerm": {"namespaces": ["x"]}}]}}}}"#;
    for (spec, pod, counts) in [
        (r#"{"scopes": ["BestEffort"]}"#, best_effort, true),
        (r#"{"scopes": ["BestEffort"]}"#, job, false),
        (r#"{"scopes": ["NotBestEffort"]}"#, job, true),
        (r#"{"scopes": ["Terminating"]}"#, job, true),
        (r#"{"scopes": ["Terminating", "BestEffort"]}"#, job, false),
        (r#"{"scopes": ["NotTerminating"]}"#, best_effort, true),
        (r#"{"scopes": ["PriorityClass"]}"#, job, true),
        (r#"{"scopes": ["CrossNamespacePodAffinity"]}"#, apart, true),
        (r#"{"scopes": ["CrossNamespacePodAffinity"]}"#, job, false),
        (&priority("In", r#"["high", "low"]"#), job, true),
        (&priority("In", r#"["low"]"#), job, false),
        (&priority("NotIn", r#"["low"]"#), job, true),
        (&priority("NotIn", r#"["low"]"#), best_effort, true),
        (&priority("DoesNotExist", "null"), best_effort, true),
        (&priority("Exists", "null"), best_effort, false),
    ] {
        let q = quota(spec, r#"{"pods": "1"}"#, r#"{"pods": "0"}"#);
        check("pods", &q, "", pod, if counts { r#"{"pods":"1"}"# } else { "nothing" });
    }
}

#[test]
fn other_kinds_use_other_things() {
    let services = quota(
        "{}",
        r#"{"services": "5", "services.nodeports": "2", "services.loadbalancers": "1"}"#,
        r#"{"services": "0", "services.nodeports": "0", "services.loadbalancers": "0"}"#,
    );
    let node_port = r#"{"spec": {"type": "NodePort", "ports": [{"port": 1}, {"port": 2}]}}"#;
    let used = r#"{"services":"1","services.loadbalancers":"0","services.nodeports":"2"}"#;
    check("services", &services, "", node_port, used);
    check(
        "services",
        &services,
        "",
        r#"{"spec": {"type": "LoadBalancer", "allocateLoadBalancerNodePorts": false, "ports": [{"port": 1}, {"port": 2, "nodePort": 3}]}}"#,
        r#"{"services":"1","services.loadbalancers":"1","services.nodeports":"1"}"#,
    );
    let full = quota("{}", r#"{"services.nodeports": "2"}"#, r#"{"services.nodeports": "1"}"#);
    check(
        "services",
        &full,
        r#"{"spec": {"type": "ClusterIP", "ports": []}}"#,
        node_port,
        "exceeded quota: q, requested: services.nodeports=2, used: services.nodeports=1, limited: services.nodeports=2",
    );
    let over = quota("{}", r#"{"services.nodeports": "0"}"#, r#"{"services.nodeports": "3"}"#);
    check(
        "services",
        &over,
        node_port,
        r#"{"spec": {"type": "NodePort", "ports": [{"port": 1}]}}"#,
        r#"{"services.nodeports":"2"}"#,
    );
    let storage = quota(
        "{}",
        r#"{"requests.storage": "1Gi", "fast.storageclass.storage.k8s.io/requests.storage": "1Gi", "fast.storageclass.storage.k8s.io/persistentvolumeclaims": "1"}"#,
        r#"{"requests.storage": "0", "fast.storageclass.storage.k8s.io/requests.storage": "0", "fast.storageclass.storage.k8s.io/persistentvolumeclaims": "0"}"#,
    );
    let claim = r#"{"spec": {"storageClassName": "fast", "resources": {"requests": {"storage": "512Mi"}}}}"#;
    check(
        "persistentvolumeclaims",
        &storage,
        "",
        claim,
        r#"{"fast.storageclass.storage.k8s.io/persistentvolumeclaims":"1","fast.storageclass.storage.k8s.io/requests.storage":"512Mi","requests.storage":"512Mi"}"#,
    );
    let count = quota(
        "{}",
        r#"{"count/foos.example.com": "1", "secrets": "1"}"#,
        r#"{"count/foos.example.com": "1", "secrets": "0"}"#,
    );
    check(
        "foos.example.com",
        &count,
        "",
        "{}",
        "exceeded quota: q, requested: count/foos.example.com=1, used: count/foos.example.com=1, limited: count/foos.example.com=1",
    );
    check("foos.example.org", &count, "", "{}", "nothing");
    check("secrets", &count, "", "{}", r#"{"count/foos.example.com":"1","secrets":"1"}"#);
    let gpus = quota(
        "{}",
        r#"{"gpu.deviceclass.resource.k8s.io/devices": "4"}"#,
        r#"{"gpu.deviceclass.resource.k8s.io/devices": "0"}"#,
    );
    check(
        "resourceclaims.resource.k8s.io",
        &gpus,
        "",
        r#"{"spec": {"devices": {"requests": [{"exactly": {"deviceClassName": "gpu", "count": 2}}, {"firstAvailable": [{"deviceClassName": "gpu"}, {"deviceClassName": "gpu", "count": 2}]}]}}}"#,
        r#"{"gpu.deviceclass.resource.k8s.io/devices":"4"}"#,
    );
    check(
        "resourceclaims.resource.k8s.io",
        &gpus,
        "",
        r#"{"spec": {"devices": {"requests": [{"exactly": {"deviceClassName": "gpu", "count": 9223372036854775807}}]}}}"#,
        "exceeded quota: q, requested: gpu.deviceclass.resource.k8s.io/devices=9223372036854775807, used: gpu.deviceclass.resource.k8s.io/devices=0, limited: gpu.deviceclass.resource.k8s.io/devices=4",
    );
}

#[test]
fn a_quota_that_nobody_has_counted_yet_is_touched() {
    let mut q = quota("{}", r#"{"pods": "1"}"#, "{}");
    q["status"] = json!({});
    check("pods", &q, "", "{}", "null");
    check("pods", &q, "{}", "{}", "nothing");
    check("secrets", &q, "", "{}", "nothing");
}
