//! The chain of authorizers: superusers, the Node authorizer, RBAC; and what follows from RBAC: rule listings and the ban on
//! giving away more than one has.

use super::{
    Attributes, Authorizer, Decision, User, node,
    rbac::{self, Policy, RoleRef, Rule, Verdict, missing},
};
use coracle_api::{Resource, Result, Status};
use coracle_client::{Change, SharedView};
use futures::{StreamExt, stream::BoxStream};
use parking_lot::{Mutex, RwLock};
use serde::Deserialize;
use serde_json::{Value, json};
use std::sync::Arc;

/// Members may do anything; no rule can take that away, so a broken policy can always be mended.
pub const SUPERUSERS: &str = "system:masters";
const GROUP: &str = "rbac.authorization.k8s.io";

/// The authorizer of the server.
pub struct Authorize {
    view: SharedView,
    policy: RwLock<Policy>,
    changes: Mutex<Option<BoxStream<'static, Change>>>,
}

impl Authorize {
    /// Reads the policy; [`follow`](Self::follow) keeps it up to date.
    pub fn new(view: SharedView) -> Arc<Self> {
        // subscribed before reading, so that nothing falls between
        let changes = Mutex::new(Some(view.changes(&rbac::RESOURCES)));
        let policy = RwLock::new(Policy::read(&*view));
        Arc::new(Self { view, policy, changes })
    }

    /// Follows the changes of the policy for as long as there are any.
    pub async fn follow(self: Arc<Self>) {
        let Some(mut changes) = self.changes.lock().take() else { return };
        while let Some(change) = changes.next().await {
            self.policy.write().apply(&change);
        }
    }

    /// The decision with its reason, as access reviews show it.
    pub fn explain(&self, user: &User, attributes: &Attributes) -> (bool, String) {
        if user.in_group(SUPERUSERS) {
            return (true, String::new());
        }
        let mut reasons = Vec::new();
        if let Some(node) = node::node_name(user) {
            match node::decide(&*self.view, node, attributes) {
                Ok(()) => return (true, String::new()),
                Err(why) => reasons.push(why),
            }
        }
        match self.policy.read().decide(user, attributes) {
            Verdict::Allowed(why) => return (true, why),
            Verdict::NoOpinion(why) => reasons.push(why),
        }
        reasons.retain(|why| !why.is_empty());
        (false, reasons.join("\n"))
    }

    fn held(&self, user: &User, namespace: &str) -> Vec<Rule> {
        self.policy.read().rules_of(user, namespace)
    }

    fn allows(&self, user: &User, verb: &str, resource: &Resource, namespace: &str, name: &str) -> bool {
        let attributes = Attributes {
            verb: verb.into(),
            group: GROUP.into(),
            version: "v1".into(),
            resource: resource.plural.to_string(),
            namespace: namespace.into(),
            name: name.into(),
            ..Attributes::default()
        };
        self.explain(user, &attributes).0
    }

    fn covers(&self, user: &User, resource: &Resource, name: &str, namespace: &str, wanted: &[Rule]) -> Result<()> {
        let lacking = missing(&self.held(user, namespace), wanted);
        if lacking.is_empty() {
            return Ok(());
        }
        let listed: Vec<String> = lacking.iter().map(ToString::to_string).collect();
        let groups = user.groups.iter().map(|g| format!("{g:?}")).collect::<Vec<_>>().join(" ");
        let why = format!(
            "user {:?} (groups=[{groups}]) is attempting to grant RBAC permissions not currently held:\n{}",
            user.name,
            listed.join("\n")
        );
        Err(Status::forbidden(resource, name, why))
    }

    fn may_write_role(&self, user: &User, resource: &Resource, object: &Value, old: Option<&Value>) -> Result<()> {
        let (namespace, name) = place(object);
        let unchanged = |field: &str| old.is_some_and(|old| old[field] == object[field]);
        if unchanged("rules") && unchanged("aggregationRule")
            || self.allows(user, "escalate", resource, namespace, name)
        {
            return Ok(());
        }
        let mut wanted: Vec<Rule> = rules_in(&object["rules"])?;
        if !object["aggregationRule"].is_null() && !unchanged("aggregationRule") {
            // who chooses the parts could choose any: that is to hold everything
            wanted = vec![Rule::resources("*", "*", "*"), Rule::paths("*", "*")];
        }
        self.covers(user, resource, name, namespace, &wanted)
    }

    fn may_write_binding(&self, user: &User, resource: &Resource, object: &Value, old: Option<&Value>) -> Result<()> {
        let (namespace, name) = place(object);
        if old.is_some_and(|old| old["roleRef"] == object["roleRef"] && old["subjects"] == object["subjects"]) {
            return Ok(());
        }
        let role = RoleRef::deserialize(&object["roleRef"]).map_err(Status::bad_request)?;
        let kind = if role.kind == "Role" { &rbac::ROLES } else { &rbac::CLUSTER_ROLES };
        if self.allows(user, "bind", kind, namespace, &role.name) {
            return Ok(());
        }
        let wanted = self.policy.read().role(namespace, &role);
        let wanted = wanted.ok_or_else(|| Status::not_found(kind, &role.name))?;
        self.covers(user, resource, name, namespace, &wanted)
    }
}

fn place(object: &Value) -> (&str, &str) {
    let field = |name: &str| object["metadata"][name].as_str().unwrap_or_default();
    (field("namespace"), field("name"))
}

fn rules_in(rules: &Value) -> Result<Vec<Rule>> {
    if rules.is_null() { Ok(Vec::new()) } else { Vec::deserialize(rules).map_err(Status::bad_request) }
}

impl Authorizer for Authorize {
    fn authorize(&self, user: &User, attributes: &Attributes) -> Decision {
        match self.explain(user, attributes) {
            (true, _) => Decision::Allow,
            (false, why) => Decision::Deny(why),
        }
    }

    fn rules(&self, user: &User, namespace: &str) -> Value {
        let mut rules = self.held(user, namespace);
        if user.in_group(SUPERUSERS) {
            rules.extend([Rule::resources("*", "*", "*"), Rule::paths("*", "*")]);
        }
        let (mut resources, mut paths) = (Vec::new(), Vec::new());
        for rule in rules {
            let entry = json!(rule);
            let list = if rule.non_resource_urls.is_empty() { &mut resources } else { &mut paths };
            if !list.contains(&entry) {
                list.push(entry);
            }
        }
        let mut status = json!({"resourceRules": resources, "nonResourceRules": paths, "incomplete": false});
        if node::node_name(user).is_some() {
            status["incomplete"] = json!(true);
            status["evaluationError"] = json!("node authorizer does not support user rule resolution");
        }
        status
    }

    fn may_grant(&self, user: &User, resource: &Resource, object: &Value) -> Result<()> {
        if user.in_group(SUPERUSERS) || resource.group != GROUP {
            return Ok(());
        }
        let (namespace, name) = place(object);
        let old = if name.is_empty() { None } else { self.view.get(resource, namespace, name).map(|o| o.value()) };
        match resource.plural.as_ref() {
            "roles" | "clusterroles" => self.may_write_role(user, resource, object, old.as_ref()),
            "rolebindings" | "clusterrolebindings" => self.may_write_binding(user, resource, object, old.as_ref()),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::testing::World;

    fn chain() -> Arc<Authorize> {
        let world = World::default();
        world.put(
            &rbac::CLUSTER_ROLES,
            json!({"metadata": {"name": "reader"}, "rules": [{"verbs": ["get"], "apiGroups": [""], "resources": ["pods"]}]}),
        );
        world.put(
            &rbac::CLUSTER_ROLES,
            json!({"metadata": {"name": "granter"}, "rules": [
                {"verbs": ["bind"], "apiGroups": [GROUP], "resources": ["clusterroles"], "resourceNames": ["root"]}]}),
        );
        world.put(
            &rbac::CLUSTER_ROLES,
            json!({"metadata": {"name": "root"}, "rules": [{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}]}),
        );
        for role in ["reader", "granter"] {
            world.put(
                &rbac::CLUSTER_ROLE_BINDINGS,
                json!({"metadata": {"name": role}, "roleRef": {"kind": "ClusterRole", "name": role},
                    "subjects": [{"kind": "User", "name": role}]}),
            );
        }
        Authorize::new(Arc::new(world))
    }

    #[test]
    fn superusers_need_no_rule() {
        let chain = chain();
        let user = User::component("root", &[SUPERUSERS]);
        let what = Attributes { verb: "delete".into(), resource: "nodes".into(), ..Attributes::default() };
        assert_eq!(chain.authorize(&user, &what), Decision::Allow);
        assert_eq!(chain.authorize(&User::anonymous(), &what), Decision::Deny(String::new()));
    }

    #[test]
    fn nobody_gives_away_more_than_they_have() {
        let chain = chain();
        let role = |verb: &str| {
            json!({"metadata": {"name": "new", "namespace": "a"},
            "rules": [{"verbs": [verb], "apiGroups": [""], "resources": ["pods"]}]})
        };
        let binding = |role: &str| {
            json!({"metadata": {"name": "new", "namespace": "a"},
            "roleRef": {"kind": "ClusterRole", "name": role}, "subjects": []})
        };
        for (user, resource, object, expected) in [
            ("reader", &rbac::ROLES, role("get"), ""),
            ("reader", &rbac::ROLES, role("delete"), "Forbidden"),
            ("reader", &rbac::ROLE_BINDINGS, binding("reader"), ""),
            ("reader", &rbac::ROLE_BINDINGS, binding("root"), "Forbidden"),
            ("granter", &rbac::ROLE_BINDINGS, binding("root"), ""),
            ("granter", &rbac::ROLE_BINDINGS, binding("reader"), "Forbidden"),
            ("granter", &rbac::ROLE_BINDINGS, binding("nowhere"), "NotFound"),
        ] {
            let user = User { name: user.into(), ..User::default() };
            let found = chain.may_grant(&user, resource, &object).err().map(|s| s.reason).unwrap_or_default();
            assert_eq!(found, expected, "{} {object}", user.name);
        }
    }
}
