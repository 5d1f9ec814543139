//! A new node takes no pods until the node controller has seen it ready.

use super::{Plugin, Request, list_mut};
use async_trait::async_trait;
use coracle_api::Result;
use serde_json::{Value, json};

const NOT_READY: &str = "node.kubernetes.io/not-ready";

/// The plugin.
pub struct TaintNodesByCondition;

#[async_trait]
impl Plugin for TaintNodesByCondition {
    fn name(&self) -> &'static str {
        "TaintNodesByCondition"
    }

    async fn mutate(&self, request: &Request<'_>, node: &mut Value) -> Result<()> {
        if !request.creates("", "nodes") {
            return Ok(());
        }
        if node["spec"].is_null() {
            node["spec"] = json!({});
        }
        let Some(taints) = list_mut(&mut node["spec"], "taints") else { return Ok(()) };
        if !taints.iter().any(|t| t["key"] == NOT_READY && t["effect"] == "NoSchedule") {
            taints.push(json!({"key": NOT_READY, "effect": "NoSchedule"}));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admission::testing::Case;
    use coracle_api::Resource;

    #[test]
    fn a_new_node_is_tainted_once() {
        let case = Case::create(Resource::fixed("", "v1", "nodes", "Node", false));
        let taint = json!({"key": NOT_READY, "effect": "NoSchedule"});
        for (spec, expected) in [
            (json!(null), json!([taint])),
            (json!({"taints": [taint]}), json!([taint])),
            (
                json!({"taints": [{"key": "x", "effect": "NoExecute"}]}),
                json!([{"key": "x", "effect": "NoExecute"}, taint]),
            ),
        ] {
            let out = case.run(&TaintNodesByCondition, &json!({"metadata": {"name": "n"}, "spec": spec})).unwrap();
            assert_eq!(out["spec"]["taints"], expected);
        }
    }
}
