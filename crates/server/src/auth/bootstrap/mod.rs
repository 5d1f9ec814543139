//! What must be there for a cluster to work: namespaces, priority classes, roles and bindings as upstream creates them.
//!
//! Planned against the world as it is: on a restart nothing is written. What somebody added stays; what is lacking is put back,
//! unless the object says `rbac.authorization.kubernetes.io/autoupdate: "false"`.

pub mod controllers;
pub mod roles;

use super::rbac::{CLUSTER_ROLE_BINDINGS, CLUSTER_ROLES, ROLE_BINDINGS, ROLES, Rule, missing};
use coracle_api::{Resource, Result, WriteOptions};
use coracle_client::{Client, View};
use futures::future::join_all;
use serde::Deserialize;
use serde_json::{Value, json};

const NAMESPACES: Resource = Resource::fixed("", "v1", "namespaces", "Namespace", false);
const PRIORITY_CLASSES: Resource =
    Resource::fixed("scheduling.k8s.io", "v1", "priorityclasses", "PriorityClass", false);
const AUTOUPDATE: &str = "rbac.authorization.kubernetes.io/autoupdate";
const LABEL: &str = "kubernetes.io/bootstrapping";

/// One write.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Not there yet.
    Create(Resource, Value),
    /// There, but lacking something.
    Update(Resource, Value),
}

/// What has to be written: first what other objects live in, then the rest in no particular order.
pub fn plan(view: &dyn View) -> [Vec<Action>; 2] {
    let mut first = Vec::new();
    for name in ["default", "kube-system", "kube-public", "kube-node-lease"] {
        let value = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
        first.extend(create_if_missing(view, &NAMESPACES, value));
    }
    let mut rest = Vec::new();
    for (name, value, description) in [
        (
            "system-cluster-critical",
            2_000_000_000,
            "Used for system critical pods that must run in the cluster, but can be moved to another node if necessary.",
        ),
        (
            "system-node-critical",
            2_000_001_000,
            "Used for system critical pods that must not be moved from their current node.",
        ),
    ] {
        let class = json!({
            "apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "metadata": {"name": name}, "value": value,
            "description": description, "preemptionPolicy": "PreemptLowerPriority",
        });
        rest.extend(create_if_missing(view, &PRIORITY_CLASSES, class));
    }
    for (resource, wanted) in policy() {
        rest.extend(reconcile(view, &resource, wanted));
    }
    [first, rest]
}

/// Plans and writes, as whoever `client` is; answers how much was written.
///
/// # Errors
/// The first write that failed for another reason than that somebody else was faster.
pub async fn apply(view: &dyn View, client: &dyn Client) -> Result<usize> {
    let mut written = 0;
    for stage in plan(view) {
        // all at once: the store commits them as one group
        for result in join_all(stage.iter().map(|action| write(client, action))).await {
            match result {
                Ok(()) => written += 1,
                Err(status) if status.is_already_exists() || status.is_conflict() => {}
                Err(status) => return Err(status),
            }
        }
    }
    Ok(written)
}

async fn write(client: &dyn Client, action: &Action) -> Result<()> {
    let options = WriteOptions::default();
    let text = |value: &Value, field: &str| value["metadata"][field].as_str().unwrap_or_default().to_string();
    match action {
        Action::Create(resource, value) => {
            client.create(resource, &text(value, "namespace"), value.clone(), &options).await?;
        }
        Action::Update(resource, value) => {
            let (namespace, name) = (text(value, "namespace"), text(value, "name"));
            client.update(resource, &namespace, &name, "", value.clone(), &options).await?;
        }
    }
    Ok(())
}

/// Every role and binding.
fn policy() -> Vec<(Resource, Value)> {
    let mut all: Vec<(Resource, Value)> = Vec::new();
    let cluster_role = |name: &str, rules: &[Rule], labels: Value| {
        (CLUSTER_ROLES, json!({"metadata": metadata("", name, labels), "rules": rules}))
    };
    for role in roles::cluster_roles() {
        let mut labels = json!({});
        for aggregate in role.aggregates_to {
            labels[format!("rbac.authorization.k8s.io/aggregate-to-{aggregate}")] = json!("true");
        }
        all.push(cluster_role(&role.name, &role.rules, labels));
    }
    for (name, own, parts) in roles::AGGREGATED {
        let (_, mut role) = cluster_role(name, &roles::aggregate(parts), json!({}));
        if let Some(next) = own {
            role["metadata"]["labels"][format!("rbac.authorization.k8s.io/aggregate-to-{next}")] = json!("true");
        }
        let selector = json!({"matchLabels": {format!("rbac.authorization.k8s.io/aggregate-to-{name}"): "true"}});
        role["aggregationRule"] = json!({"clusterRoleSelectors": [selector]});
        all.push((CLUSTER_ROLES, role));
    }
    for (name, rules) in controllers::roles() {
        let role = format!("system:controller:{name}");
        all.push(cluster_role(&role, &rules, json!({})));
        let subjects = json!([{"kind": "ServiceAccount", "name": name, "namespace": "kube-system"}]);
        all.push(binding("", &role, "ClusterRole", &role, subjects));
    }
    for (name, role, subjects) in roles::CLUSTER_BINDINGS {
        all.push(binding("", name, "ClusterRole", role, json!(subjects.iter().map(subject).collect::<Vec<_>>())));
    }
    for role in roles::namespaced() {
        let rules = json!({"metadata": metadata(role.namespace, role.name, json!({})), "rules": role.rules});
        all.push((ROLES, rules));
        if !role.subjects.is_empty() {
            let subjects = role.subjects.iter().map(subject).collect::<Vec<_>>();
            all.push(binding(role.namespace, role.name, "Role", role.name, json!(subjects)));
        }
    }
    for (resource, value) in &mut all {
        value["apiVersion"] = json!(resource.api_version());
        value["kind"] = json!(resource.kind);
    }
    all
}

fn subject(subject: &roles::Subject) -> Value {
    const API: &str = "rbac.authorization.k8s.io";
    match subject {
        roles::Subject::User(name) => json!({"apiGroup": API, "kind": "User", "name": name}),
        roles::Subject::Group(name) => json!({"apiGroup": API, "kind": "Group", "name": name}),
        roles::Subject::Account(name) => json!({"kind": "ServiceAccount", "name": name, "namespace": "kube-system"}),
    }
}

fn metadata(namespace: &str, name: &str, mut labels: Value) -> Value {
    labels[LABEL] = json!("rbac-defaults");
    let mut metadata = json!({"name": name, "labels": labels, "annotations": {AUTOUPDATE: "true"}});
    if !namespace.is_empty() {
        metadata["namespace"] = json!(namespace);
    }
    metadata
}

fn binding(namespace: &str, name: &str, kind: &str, role: &str, subjects: Value) -> (Resource, Value) {
    let resource = if namespace.is_empty() { CLUSTER_ROLE_BINDINGS } else { ROLE_BINDINGS };
    let role = json!({"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": role});
    (resource, json!({"metadata": metadata(namespace, name, json!({})), "roleRef": role, "subjects": subjects}))
}

fn create_if_missing(view: &dyn View, resource: &Resource, value: Value) -> Option<Action> {
    let name = value["metadata"]["name"].as_str().unwrap_or_default();
    view.get(resource, "", name).is_none().then(|| Action::Create(resource.clone(), value))
}

/// Creates, or adds what is lacking: rules, subjects, labels.
fn reconcile(view: &dyn View, resource: &Resource, wanted: Value) -> Option<Action> {
    let text = |field: &str| wanted["metadata"][field].as_str().unwrap_or_default();
    let Some(object) = view.get(resource, text("namespace"), text("name")) else {
        return Some(Action::Create(resource.clone(), wanted));
    };
    if object.meta().annotations.get(AUTOUPDATE).is_some_and(|v| v == "false") {
        return None;
    }
    let mut found = object.value();
    let mut changed = false;
    for (key, value) in wanted["metadata"]["labels"].as_object().into_iter().flatten() {
        if !object.meta().labels.contains_key(key) {
            found["metadata"]["labels"][key] = value.clone();
            changed = true;
        }
    }
    // what an aggregated role says is gathered from its parts, so nothing is missing in the role itself
    let of = |value: &Value| Vec::<Rule>::deserialize(&value["rules"]).unwrap_or_default();
    if found["rules"] != wanted["rules"] && found["aggregationRule"].is_null() {
        let lacking = missing(&of(&found), &of(&wanted));
        if !lacking.is_empty() {
            let rules: Vec<Rule> = of(&found).into_iter().chain(lacking).collect();
            found["rules"] = json!(rules);
            changed = true;
        }
    }
    for subject in wanted["subjects"].as_array().into_iter().flatten() {
        let same = |held: &&Value| ["kind", "name", "namespace"].iter().all(|f| held[*f] == subject[*f]);
        if !found["subjects"].as_array().is_some_and(|held| held.iter().any(|s| same(&s))) {
            if !found["subjects"].is_array() {
                found["subjects"] = json!([]);
            }
            found["subjects"].as_array_mut()?.push(subject.clone());
            changed = true;
        }
    }
    changed.then(|| Action::Update(resource.clone(), found))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::{
        Attributes, User,
        rbac::{Policy, Verdict},
        testing::World,
    };

    fn filled() -> World {
        let world = World::default();
        for action in plan(&world).into_iter().flatten() {
            let Action::Create(resource, value) = action else { panic!("nothing is there to update") };
            world.put(&resource, value);
        }
        world
    }

    #[test]
    fn a_second_start_writes_nothing_and_a_damaged_role_is_mended() {
        let world = filled();
        assert_eq!(plan(&world), [vec![], vec![]]);
        let mut role = world.get(&CLUSTER_ROLES, "", "system:discovery").unwrap().value();
        role["rules"] = json!([{"verbs": ["get"], "nonResourceURLs": ["/mine"]}]);
        world.put(&CLUSTER_ROLES, role.clone());
        let [_, rest] = plan(&world);
        let [Action::Update(_, mended)] = rest.as_slice() else { panic!("{rest:?}") };
        assert_eq!(mended["rules"][0]["nonResourceURLs"][0], "/mine");
        role["metadata"]["annotations"][AUTOUPDATE] = json!("false");
        world.put(&CLUSTER_ROLES, role);
        assert_eq!(plan(&world), [vec![], vec![]]);
    }

    #[test]
    fn the_usual_identities_may_do_the_usual_things() {
        let policy = Policy::read(&filled());
        let account = User::controller;
        let group = |name: &str| User { name: "x".into(), groups: vec![name.into()], ..User::default() };
        for (user, request, expected) in [
            (User::anonymous(), "get /version", true),
            (User::anonymous(), "get /healthz", true),
            (User::anonymous(), "get /api", false),
            (User::anonymous(), "get configmaps", false),
            (group("system:authenticated"), "get /openapi/v3", true),
            (group("system:authenticated"), "create authorization.k8s.io selfsubjectaccessreviews", true),
            (group("system:authenticated"), "list pods", false),
            (group("system:serviceaccounts"), "get /openid/v1/jwks", true),
            (group("system:masters"), "delete nodes", true),
            (group("system:bootstrappers"), "create certificates.k8s.io certificatesigningrequests", true),
            (group("system:bootstrappers"), "create certificates.k8s.io certificatesigningrequests/nodeclient", true),
            (group("system:nodes"), "create certificates.k8s.io certificatesigningrequests/selfnodeclient", true),
            (group("system:nodes"), "watch discovery.k8s.io endpointslices", true),
            (account("deployment-controller"), "create apps replicasets", true),
            (account("deployment-controller"), "delete secrets", false),
            (account("statefulset-controller"), "create persistentvolumeclaims", true),
            (account("replicaset-controller"), "create pods", true),
            (account("daemon-set-controller"), "create pods", true),
            (account("namespace-controller"), "deletecollection apps deployments", true),
            (account("generic-garbage-collector"), "patch example.com widgets", true),
            (account("node-controller"), "patch nodes", true),
            (account("root-ca-cert-publisher"), "create configmaps", true),
            (account("service-account-controller"), "create serviceaccounts", true),
            (account("certificate-controller"), "update certificates.k8s.io certificatesigningrequests/status", true),
            (account("persistent-volume-binder"), "update persistentvolumes", true),
            (account("endpointslice-controller"), "create discovery.k8s.io endpointslices", true),
            (User::component("system:kube-scheduler", &[]), "create pods/binding", true),
            (User::component("system:kube-scheduler", &[]), "patch persistentvolumeclaims", true),
        ] {
            let words: Vec<&str> = request.split(' ').collect();
            let mut a = Attributes { verb: words[0].into(), ..Attributes::default() };
            match words.as_slice() {
                [_, path] if path.starts_with('/') => a.path = path.to_string(),
                [_, rest @ ..] => {
                    let (group, resource) = if let [g, r] = rest { (*g, *r) } else { ("", rest[0]) };
                    let (resource, sub) = resource.split_once('/').unwrap_or((resource, ""));
                    (a.group, a.resource, a.subresource) = (group.into(), resource.into(), sub.into());
                }
                [] => unreachable!(),
            }
            let allowed = matches!(policy.decide(&user, &a), Verdict::Allowed(_));
            assert_eq!(allowed, expected, "{} {:?} {request}", user.name, user.groups);
        }
    }

    #[test]
    fn view_is_part_of_edit_and_edit_of_admin_and_none_reads_secrets_but_edit() {
        let world = filled();
        let policy = Policy::read(&world);
        for (role, resource, verb, expected) in [
            ("view", "configmaps", "get", true),
            ("view", "secrets", "get", false),
            ("view", "configmaps", "delete", false),
            ("edit", "secrets", "get", true),
            ("edit", "services", "watch", true),
            ("edit", "roles", "create", false),
            ("admin", "roles", "create", true),
            ("admin", "services", "watch", true),
        ] {
            let group = if resource == "roles" { "rbac.authorization.k8s.io" } else { "" };
            let a = Attributes {
                verb: verb.into(),
                resource: resource.into(),
                group: group.into(),
                ..Attributes::default()
            };
            let found =
                policy.role("", &crate::auth::rbac::RoleRef { kind: "ClusterRole".into(), name: role.into() }).unwrap();
            assert_eq!(found.iter().any(|rule| rule.allows(&a)), expected, "{role} {verb} {resource}");
            // and so it is written down, for readers
            let written = world.get(&CLUSTER_ROLES, "", role).unwrap().value();
            let written = Vec::<Rule>::deserialize(&written["rules"]).unwrap();
            assert_eq!(written.iter().any(|rule| rule.allows(&a)), expected, "written: {role} {verb} {resource}");
        }
    }
}
