//! Pods stay for five minutes on a node that stops answering, unless they say otherwise.

use super::{Operation, Plugin, Request, list_mut};
use async_trait::async_trait;
use coracle_api::Result;
use serde_json::{Value, json};

const SECONDS: i64 = 300;

/// The plugin.
pub struct DefaultTolerationSeconds;

#[async_trait]
impl Plugin for DefaultTolerationSeconds {
    fn name(&self) -> &'static str {
        "DefaultTolerationSeconds"
    }

    async fn mutate(&self, request: &Request<'_>, pod: &mut Value) -> Result<()> {
        let writes = matches!(request.operation, Operation::Create | Operation::Update);
        if !writes || !request.is("", "pods", "") || !pod["spec"].is_object() {
            return Ok(());
        }
        let Some(tolerations) = list_mut(&mut pod["spec"], "tolerations") else { return Ok(()) };
        for key in ["node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"] {
            let empty_or = |value: &Value, wanted: &str| value.as_str().is_none_or(|v| v.is_empty() || v == wanted);
            let held = tolerations.iter().any(|t| empty_or(&t["key"], key) && empty_or(&t["effect"], "NoExecute"));
            if !held {
                tolerations.push(
                    json!({"key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": SECONDS}),
                );
            }
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
    fn only_what_is_not_tolerated_yet_is_added() {
        let case = Case::create(Resource::fixed("", "v1", "pods", "Pod", true));
        for (given, added) in [
            (json!(null), 2),
            (json!([{"operator": "Exists"}]), 0),
            (json!([{"key": "node.kubernetes.io/not-ready", "operator": "Exists", "effect": "NoExecute"}]), 1),
            (json!([{"key": "node.kubernetes.io/not-ready", "operator": "Exists", "effect": "NoSchedule"}]), 2),
        ] {
            let before = given.as_array().map_or(0, Vec::len);
            let pod = json!({"metadata": {"name": "p"}, "spec": {"tolerations": given}});
            let out = case.run(&DefaultTolerationSeconds, &pod).unwrap();
            assert_eq!(out["spec"]["tolerations"].as_array().unwrap().len() - before, added, "{pod}");
        }
    }
}
