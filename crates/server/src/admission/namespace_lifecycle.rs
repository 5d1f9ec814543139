//! Nothing is created in a namespace that is not there or is going; the namespaces that a cluster cannot do without stay.

use super::{Operation, Plugin, Request};
use async_trait::async_trait;
use coracle_api::{Resource, Result, Status};
use serde_json::{Value, json};

const NAMESPACES: Resource = Resource::fixed("", "v1", "namespaces", "Namespace", false);
const IMMORTAL: [&str; 3] = ["default", "kube-public", "kube-system"];

/// The plugin.
pub struct NamespaceLifecycle;

#[async_trait]
impl Plugin for NamespaceLifecycle {
    fn name(&self) -> &'static str {
        "NamespaceLifecycle"
    }

    // upstream runs this one first and among the mutating ones, so that later plugins need not ask for the namespace again
    async fn mutate(&self, request: &Request<'_>, object: &mut Value) -> Result<()> {
        if request.is("", "namespaces", "") {
            if request.operation == Operation::Delete && IMMORTAL.contains(&request.name) {
                return Err(request.forbid(object, "this namespace may not be deleted"));
            }
            return Ok(());
        }
        let review = request.resource.group == "authorization.k8s.io";
        if request.operation == Operation::Delete
            || request.namespace.is_empty()
            || !request.resource.namespaced
            || review
        {
            return Ok(());
        }
        let Some(namespace) = request.view.get(&NAMESPACES, "", request.namespace) else {
            return Err(Status::not_found(&NAMESPACES, request.namespace));
        };
        if request.operation == Operation::Create && namespace.meta().is_deleting() {
            let name = request.namespace;
            let why = format!("unable to create new content in namespace {name} because it is being terminated");
            let mut status = request.forbid(object, why);
            status.details["causes"] = json!([{
                "reason": "NamespaceTerminating", "field": "metadata.namespace",
                "message": format!("namespace {name} is being terminated"),
            }]);
            return Err(status);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admission::testing::Case;

    #[test]
    fn namespaces_gate_what_lives_in_them() {
        let check = |operation, resource: Resource, object: Value, old: Option<Value>| {
            let case = Case { operation, old, ..Case::create(resource) };
            case.world.put(&NAMESPACES, json!({"metadata": {"name": "a"}}));
            let going = json!({"metadata": {"name": "b", "deletionTimestamp": "2026-01-01T00:00:00Z"}});
            case.world.put(&NAMESPACES, going);
            case.refusal(&NamespaceLifecycle, &object)
        };
        let maps = || Resource::fixed("", "v1", "configmaps", "ConfigMap", true);
        let map = |namespace: &str| json!({"metadata": {"name": "m", "namespace": namespace}});
        assert_eq!(check(Operation::Create, maps(), map("a"), None), "");
        assert_eq!(check(Operation::Create, maps(), map("x"), None), r#"namespaces "x" not found"#);
        assert_eq!(
            check(Operation::Create, maps(), map("b"), None),
            r#"configmaps "m" is forbidden: unable to create new content in namespace b because it is being terminated"#
        );
        assert_eq!(check(Operation::Update, maps(), map("b"), Some(map("b"))), "");
        assert_eq!(check(Operation::Delete, maps(), Value::Null, Some(map("b"))), "");
        let named = |name: &str| Some(json!({"metadata": {"name": name}}));
        assert_eq!(
            check(Operation::Delete, NAMESPACES, Value::Null, named("default")),
            r#"namespaces "default" is forbidden: this namespace may not be deleted"#
        );
        assert_eq!(check(Operation::Delete, NAMESPACES, Value::Null, named("a")), "");
    }
}
