//! ClusterRoles that are made of others: `admin`, `edit` and `view` grow with every role that is labelled to be part of them.

use crate::framework::{Context, Controller, Key, Requeue};
use async_trait::async_trait;
use coracle_api::{LabelSelector, Resource, Result};
use coracle_client::{Change, ClientExt, Kind, Typed, View, ViewExt};
use k8s_openapi::api::rbac::v1::{ClusterRole, PolicyRule};
use serde_json::json;

/// The ClusterRole aggregation controller.
#[derive(Default)]
pub struct ClusterRoles;

/// The rules of an aggregated role, if they differ from what it has: those of the roles that it selects, each once, in order of their names.
fn plan(role: &Typed<ClusterRole>, all: &[Typed<ClusterRole>]) -> Result<Option<Vec<PolicyRule>>> {
    let Some(aggregation) = &role.aggregation_rule else { return Ok(None) };
    let mut rules: Vec<PolicyRule> = Vec::new();
    for selector in aggregation.cluster_role_selectors.iter().flatten() {
        let selector = LabelSelector::from_spec(selector)?;
        let parts = all.iter().filter(|part| part.name() != role.name() && selector.matches(&part.meta().labels));
        for rule in parts.flat_map(|part| part.rules.iter().flatten()) {
            if !rules.contains(rule) {
                rules.push(rule.clone());
            }
        }
    }
    Ok((role.rules.clone().unwrap_or_default() != rules).then_some(rules))
}

#[async_trait]
impl Controller for ClusterRoles {
    fn name(&self) -> &'static str {
        "clusterrole-aggregation-controller"
    }

    fn watches(&self) -> Vec<Resource> {
        vec![ClusterRole::resource()]
    }

    fn keys(&self, view: &dyn View, _change: &Change) -> Vec<Key> {
        let all = view.typed_list::<ClusterRole>("");
        let aggregated = all.iter().filter(|role| role.aggregation_rule.is_some());
        aggregated.map(|role| Key::new("", role.name())).collect()
    }

    async fn reconcile(&self, ctx: &Context, key: &Key) -> Result<Requeue> {
        let Some(role) = ctx.view.typed::<ClusterRole>("", &key.name) else { return Ok(Requeue::No) };
        if let Some(rules) = plan(&role, &ctx.view.typed_list::<ClusterRole>(""))? {
            ctx.client.update_with(&role, |value| value["rules"] = json!(rules)).await?;
        }
        Ok(Requeue::No)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::typed;
    use serde_json::Value;

    fn role(name: &str, part_of: Option<&str>, selects: Option<&str>, verbs: &[&str]) -> Typed<ClusterRole> {
        let rules: Vec<Value> =
            verbs.iter().map(|v| json!({"verbs": [v], "apiGroups": [""], "resources": ["pods"]})).collect();
        let aggregation = selects.map(|to| json!({"clusterRoleSelectors": [{"matchLabels": {"to": to}}]}));
        typed(
            json!({"metadata": {"name": name, "labels": {"to": part_of}}, "rules": rules, "aggregationRule": aggregation}),
        )
    }

    #[test]
    fn a_role_is_the_sum_of_its_parts() {
        let check = |has: &[&str], expected: Option<&str>| {
            let whole = role("view", Some("edit"), Some("view"), has);
            let all = [
                role("a", Some("view"), None, &["get", "list"]),
                role("b", Some("view"), None, &["list", "watch"]),
                role("c", Some("edit"), None, &["create"]),
                whole.clone(),
            ];
            let rules = plan(&whole, &all).unwrap();
            let verbs = rules.map(|rules| rules.iter().map(|r| r.verbs.join(",")).collect::<Vec<_>>().join(" "));
            assert_eq!(verbs.as_deref(), expected, "{has:?}");
        };
        check(&[], Some("get list watch"));
        check(&["get", "list", "watch"], None);
        check(&["get", "delete"], Some("get list watch"));
        let plain = role("plain", None, None, &["get"]);
        assert!(plan(&plain, std::slice::from_ref(&plain)).unwrap().is_none());
    }
}
