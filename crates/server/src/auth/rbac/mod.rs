//! Role-based access control: who is bound to which rules, kept as an index that changes with the objects.
//!
//! Nothing is parsed for a request: roles are compiled when they change, bindings are found by subject.

pub mod rule;

pub use rule::{Rule, missing};

use super::{Attributes, User};
use coracle_api::{LabelSelector, Object, Resource};
use coracle_client::{Change, View};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector as SelectorSpec;
use serde::Deserialize;
use std::{
    collections::{BTreeMap, HashMap},
    ops::ControlFlow,
    sync::Arc,
};

const GROUP: &str = "rbac.authorization.k8s.io";
/// ClusterRoles.
pub const CLUSTER_ROLES: Resource = Resource::fixed(GROUP, "v1", "clusterroles", "ClusterRole", false);
/// ClusterRoleBindings.
pub const CLUSTER_ROLE_BINDINGS: Resource =
    Resource::fixed(GROUP, "v1", "clusterrolebindings", "ClusterRoleBinding", false);
/// Roles.
pub const ROLES: Resource = Resource::fixed(GROUP, "v1", "roles", "Role", true);
/// RoleBindings.
pub const ROLE_BINDINGS: Resource = Resource::fixed(GROUP, "v1", "rolebindings", "RoleBinding", true);
/// Everything that the policy is made of.
pub const RESOURCES: [Resource; 4] = [CLUSTER_ROLES, ROLES, CLUSTER_ROLE_BINDINGS, ROLE_BINDINGS];

/// Whom a binding names; service accounts are users by their user name.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Key {
    User(String),
    Group(String),
}

/// A role as a binding refers to it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RoleRef {
    /// `Role` or `ClusterRole`.
    pub kind: String,
    /// Its name.
    pub name: String,
}

/// One subject of one binding.
#[derive(Clone, Debug)]
struct Grant {
    binding: String,
    role: RoleRef,
    /// `Group "system:nodes"`, for the reason of a decision.
    subject: String,
}

#[derive(Default)]
struct ClusterRole {
    rules: Arc<[Rule]>,
    labels: BTreeMap<String, String>,
    aggregates: Vec<LabelSelector>,
}

/// The policy of a cluster.
#[derive(Default)]
pub struct Policy {
    cluster_roles: HashMap<String, ClusterRole>,
    aggregated: HashMap<String, Arc<[Rule]>>,
    roles: HashMap<(String, String), Arc<[Rule]>>,
    /// By namespace (empty: cluster-wide), then by subject.
    grants: HashMap<String, HashMap<Key, Vec<Grant>>>,
    /// Whom each binding names, to find its grants again.
    bound: HashMap<(String, String), Vec<Key>>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct RoleBody {
    rules: Option<Vec<Rule>>,
    aggregation_rule: Option<Aggregation>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Aggregation {
    cluster_role_selectors: Option<Vec<SelectorSpec>>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct BindingBody {
    subjects: Option<Vec<Subject>>,
    role_ref: RoleRef,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Subject {
    kind: String,
    name: String,
    namespace: String,
}

impl Subject {
    fn key(&self, binding_namespace: &str) -> Option<(Key, String)> {
        match self.kind.as_str() {
            "User" => Some((Key::User(self.name.clone()), format!("User {:?}", self.name))),
            "Group" => Some((Key::Group(self.name.clone()), format!("Group {:?}", self.name))),
            "ServiceAccount" => {
                let namespace = if self.namespace.is_empty() { binding_namespace } else { &self.namespace };
                let user = format!("system:serviceaccount:{namespace}:{}", self.name);
                (!namespace.is_empty())
                    .then(|| (Key::User(user), format!("ServiceAccount \"{}/{namespace}\"", self.name)))
            }
            _ => None,
        }
    }
}

/// What was found out about a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Allowed, by which binding.
    Allowed(String),
    /// No rule allows it; errors met on the way.
    NoOpinion(String),
}

impl Policy {
    /// The policy as it stands in `view`.
    pub fn read(view: &dyn View) -> Self {
        let mut policy = Self::default();
        for resource in &RESOURCES {
            for object in view.list(resource, "") {
                policy.put(resource, None, Some(&object));
            }
        }
        policy.aggregate();
        policy
    }

    /// Follows a change.
    pub fn apply(&mut self, change: &Change) {
        self.put(&change.resource, change.old.as_deref(), change.new.as_deref());
        if change.resource.plural == CLUSTER_ROLES.plural {
            self.aggregate();
        }
    }

    fn put(&mut self, resource: &Resource, old: Option<&Object>, new: Option<&Object>) {
        let Some(meta) = new.or(old).map(Object::meta) else { return };
        let key = (meta.namespace.clone(), meta.name.clone());
        match resource.plural.as_ref() {
            "clusterroles" => match new {
                None => drop(self.cluster_roles.remove(&meta.name)),
                Some(object) => drop(self.cluster_roles.insert(meta.name.clone(), compile(object))),
            },
            "roles" => match new {
                None => drop(self.roles.remove(&key)),
                Some(object) => drop(self.roles.insert(key, compile(object).rules)),
            },
            "clusterrolebindings" | "rolebindings" => self.bind(key, new),
            _ => {}
        }
    }

    fn bind(&mut self, key: (String, String), object: Option<&Object>) {
        let (namespace, name) = &key;
        let grants = self.grants.entry(namespace.clone()).or_default();
        for subject in self.bound.remove(&key).unwrap_or_default() {
            if let Some(held) = grants.get_mut(&subject) {
                held.retain(|grant| grant.binding != *name);
                if held.is_empty() {
                    grants.remove(&subject);
                }
            }
        }
        let Some(object) = object else { return };
        let body: BindingBody = serde_json::from_slice(object.json()).unwrap_or_default();
        let mut keys = Vec::new();
        for subject in body.subjects.unwrap_or_default() {
            let Some((subject, shown)) = subject.key(namespace) else { continue };
            let grant = Grant { binding: name.clone(), role: body.role_ref.clone(), subject: shown };
            grants.entry(subject.clone()).or_default().push(grant);
            keys.push(subject);
        }
        self.bound.insert(key, keys);
    }

    /// Gathers the rules of aggregated cluster roles, so that they hold whether or not a controller has written them down yet.
    fn aggregate(&mut self) {
        let mut done: HashMap<String, Arc<[Rule]>> = HashMap::new();
        for (name, role) in self.cluster_roles.iter().filter(|(_, role)| !role.aggregates.is_empty()) {
            let mut rules = Vec::new();
            let mut seen = vec![name.clone()];
            self.gather(role, &mut seen, &mut rules);
            done.insert(name.clone(), rules.into());
        }
        self.aggregated = done;
    }

    fn gather(&self, role: &ClusterRole, seen: &mut Vec<String>, rules: &mut Vec<Rule>) {
        let mut parts: Vec<(&String, &ClusterRole)> = self
            .cluster_roles
            .iter()
            .filter(|(_, part)| role.aggregates.iter().any(|selector| selector.matches(&part.labels)))
            .collect();
        parts.sort_by_key(|(name, _)| *name);
        for (name, part) in parts {
            if seen.contains(name) {
                continue;
            }
            seen.push(name.clone());
            if part.aggregates.is_empty() {
                for rule in part.rules.iter() {
                    if !rules.contains(rule) {
                        rules.push(rule.clone());
                    }
                }
            } else {
                // view aggregates into edit, edit into admin
                self.gather(part, seen, rules);
            }
        }
    }

    /// The rules of a role; `None` if there is no such role.
    pub fn role(&self, namespace: &str, role: &RoleRef) -> Option<Arc<[Rule]>> {
        if role.kind == "Role" {
            return self.roles.get(&(namespace.to_string(), role.name.clone())).cloned();
        }
        self.aggregated
            .get(&role.name)
            .cloned()
            .or_else(|| self.cluster_roles.get(&role.name).map(|role| role.rules.clone()))
    }

    /// Walks every rule that `user` has in `namespace` (empty: cluster-wide only). Errors are bindings whose role is missing.
    fn visit<B>(
        &self,
        user: &User,
        namespace: &str,
        errors: &mut Vec<String>,
        mut found: impl FnMut(&str, &Grant, &Rule) -> ControlFlow<B>,
    ) -> ControlFlow<B> {
        // upstream's order: cluster-wide bindings first
        let scopes: &[&str] = if namespace.is_empty() { &[""] } else { &["", namespace] };
        for scope in scopes {
            let Some(grants) = self.grants.get(*scope) else { continue };
            let groups = user.groups.iter().map(|group| Key::Group(group.clone()));
            for key in std::iter::once(Key::User(user.name.clone())).chain(groups) {
                for grant in grants.get(&key).into_iter().flatten() {
                    let Some(rules) = self.role(scope, &grant.role) else {
                        let kind = grant.role.kind.to_ascii_lowercase();
                        errors.push(format!("{kind}.{GROUP} {:?} not found", grant.role.name));
                        continue;
                    };
                    for rule in rules.iter() {
                        found(scope, grant, rule)?;
                    }
                }
            }
        }
        ControlFlow::Continue(())
    }

    /// Whether RBAC allows this.
    pub fn decide(&self, user: &User, attributes: &Attributes) -> Verdict {
        let mut errors = Vec::new();
        let walk = self.visit(user, &attributes.namespace, &mut errors, |scope, grant, rule| {
            if !rule.allows(attributes) {
                return ControlFlow::Continue(());
            }
            let binding = if scope.is_empty() {
                format!("ClusterRoleBinding {:?}", grant.binding)
            } else {
                format!("RoleBinding \"{}/{scope}\"", grant.binding)
            };
            ControlFlow::Break(format!(
                "RBAC: allowed by {binding} of {} {:?} to {}",
                grant.role.kind, grant.role.name, grant.subject
            ))
        });
        match (walk, errors.as_slice()) {
            (ControlFlow::Break(why), _) => Verdict::Allowed(why),
            (ControlFlow::Continue(()), []) => Verdict::NoOpinion(String::new()),
            (ControlFlow::Continue(()), [one]) => Verdict::NoOpinion(format!("RBAC: {one}")),
            (ControlFlow::Continue(()), many) => Verdict::NoOpinion(format!("RBAC: [{}]", many.join(", "))),
        }
    }

    /// All rules of `user` in `namespace`.
    pub fn rules_of(&self, user: &User, namespace: &str) -> Vec<Rule> {
        let mut rules = Vec::new();
        let _: ControlFlow<()> = self.visit(user, namespace, &mut Vec::new(), |_, _, rule| {
            rules.push(rule.clone());
            ControlFlow::Continue(())
        });
        rules
    }
}

fn compile(object: &Object) -> ClusterRole {
    // an object that validation has let in decodes; one that does not gives no rights
    let body: RoleBody = serde_json::from_slice(object.json()).unwrap_or_default();
    let selectors = body.aggregation_rule.and_then(|a| a.cluster_role_selectors).unwrap_or_default();
    ClusterRole {
        rules: body.rules.unwrap_or_default().into(),
        labels: object.meta().labels.clone(),
        aggregates: selectors.iter().filter_map(|s| LabelSelector::from_spec(s).ok()).collect(),
    }
}

#[cfg(test)]
mod tests;
