//! Decisions of a policy, as a table.

use super::*;
use serde_json::{Value, json};

fn policy(objects: &[(Resource, Value)]) -> Policy {
    let mut policy = Policy::default();
    for (resource, value) in objects {
        policy.apply(&change(resource, None, Some(value)));
    }
    policy
}

fn change(resource: &Resource, old: Option<&Value>, new: Option<&Value>) -> Change {
    let object = |v: &Value| Arc::new(Object::from_value(v).unwrap());
    Change { resource: Arc::new(resource.clone()), old: old.map(object), new: new.map(object) }
}

fn role(name: &str, labels: Value, rules: Value) -> (Resource, Value) {
    (CLUSTER_ROLES, json!({"metadata": {"name": name, "labels": labels}, "rules": rules}))
}

fn binding(namespace: &str, name: &str, kind: &str, role: &str, subjects: Value) -> (Resource, Value) {
    let resource = if namespace.is_empty() { CLUSTER_ROLE_BINDINGS } else { ROLE_BINDINGS };
    let body = json!({"metadata": {"name": name, "namespace": namespace}, "roleRef": {"kind": kind, "name": role}, "subjects": subjects});
    (resource, body)
}

fn world() -> Vec<(Resource, Value)> {
    let pods = json!([{"verbs": ["get", "list"], "apiGroups": [""], "resources": ["pods"]}]);
    vec![
        role("reader", json!({"to-view": "true"}), pods.clone()),
        role("view", json!({"to-edit": "true"}), json!([])),
        role("edit", json!({}), json!(null)),
        (ROLES, json!({"metadata": {"name": "local", "namespace": "a"}, "rules": pods})),
        binding("", "all", "ClusterRole", "reader", json!([{"kind": "Group", "name": "readers"}])),
        binding("a", "one", "Role", "local", json!([{"kind": "User", "name": "alice"}])),
        binding(
            "a",
            "sa",
            "ClusterRole",
            "edit",
            json!([{"kind": "ServiceAccount", "name": "app"}, {"kind": "ServiceAccount", "name": "x", "namespace": "b"}]),
        ),
        binding("", "broken", "ClusterRole", "gone", json!([{"kind": "User", "name": "bob"}])),
        (
            CLUSTER_ROLES,
            json!({"metadata": {"name": "view", "labels": {"to-edit": "true"}}, "aggregationRule": {"clusterRoleSelectors": [{"matchLabels": {"to-view": "true"}}]}}),
        ),
        (
            CLUSTER_ROLES,
            json!({"metadata": {"name": "edit"}, "aggregationRule": {"clusterRoleSelectors": [{"matchLabels": {"to-edit": "true"}}]}}),
        ),
    ]
}

fn check(policy: &Policy, user: &str, group: &str, verb: &str, namespace: &str) -> Verdict {
    let user = User { name: user.into(), groups: vec![group.into()], ..User::default() };
    let attributes =
        Attributes { verb: verb.into(), resource: "pods".into(), namespace: namespace.into(), ..Attributes::default() };
    policy.decide(&user, &attributes)
}

#[test]
fn bindings_decide() {
    let policy = policy(&world());
    for (user, group, verb, namespace, expected) in [
        (
            "u",
            "readers",
            "list",
            "",
            r#"RBAC: allowed by ClusterRoleBinding "all" of ClusterRole "reader" to Group "readers""#,
        ),
        (
            "u",
            "readers",
            "list",
            "b",
            r#"RBAC: allowed by ClusterRoleBinding "all" of ClusterRole "reader" to Group "readers""#,
        ),
        ("u", "readers", "delete", "b", "no: "),
        ("alice", "", "get", "a", r#"RBAC: allowed by RoleBinding "one/a" of Role "local" to User "alice""#),
        ("alice", "", "get", "b", "no: "),
        ("alice", "", "get", "", "no: "),
        (
            "system:serviceaccount:a:app",
            "",
            "get",
            "a",
            r#"RBAC: allowed by RoleBinding "sa/a" of ClusterRole "edit" to ServiceAccount "app/a""#,
        ),
        (
            "system:serviceaccount:b:x",
            "",
            "get",
            "a",
            r#"RBAC: allowed by RoleBinding "sa/a" of ClusterRole "edit" to ServiceAccount "x/b""#,
        ),
        ("system:serviceaccount:b:x", "", "get", "b", "no: "),
        ("bob", "", "get", "a", r#"no: RBAC: clusterrole.rbac.authorization.k8s.io "gone" not found"#),
    ] {
        let shown = match check(&policy, user, group, verb, namespace) {
            Verdict::Allowed(why) => why,
            Verdict::NoOpinion(why) => format!("no: {why}"),
        };
        assert_eq!(shown, expected, "{user} {group} {verb} {namespace:?}");
    }
}

#[test]
fn what_changes_takes_effect_and_what_goes_is_gone() {
    let mut policy = policy(&world());
    let (resource, old) = &world()[5];
    let mut new = old.clone();
    new["subjects"] = json!([{"kind": "User", "name": "carol"}]);
    policy.apply(&change(resource, Some(old), Some(&new)));
    assert!(matches!(check(&policy, "alice", "", "get", "a"), Verdict::NoOpinion(_)));
    assert!(matches!(check(&policy, "carol", "", "get", "a"), Verdict::Allowed(_)));
    policy.apply(&change(resource, Some(&new), None));
    assert!(matches!(check(&policy, "carol", "", "get", "a"), Verdict::NoOpinion(_)));
    // a part of an aggregate goes
    let (resource, old) = &world()[0];
    policy.apply(&change(resource, Some(old), None));
    assert!(matches!(check(&policy, "system:serviceaccount:a:app", "", "get", "a"), Verdict::NoOpinion(_)));
}
