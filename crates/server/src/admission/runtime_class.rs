//! A pod's runtime class gives it its overhead and says on which nodes it can run.

use super::{Plugin, Request, list_mut, text};
use async_trait::async_trait;
use coracle_api::{Resource, Result};
use serde_json::{Value, json};

const CLASSES: Resource = Resource::fixed("node.k8s.io", "v1", "runtimeclasses", "RuntimeClass", false);

/// The plugin.
pub struct RuntimeClass;

#[async_trait]
impl Plugin for RuntimeClass {
    fn name(&self) -> &'static str {
        "RuntimeClass"
    }

    async fn mutate(&self, request: &Request<'_>, pod: &mut Value) -> Result<()> {
        let name = text(pod, "/spec/runtimeClassName").to_string();
        if !request.creates("", "pods") || name.is_empty() {
            return Ok(());
        }
        let Some(class) = request.view.get(&CLASSES, "", &name) else {
            return Err(request.forbid(pod, format!("pod rejected: RuntimeClass {name:?} not found")));
        };
        let class = class.value();
        let overhead = &class["overhead"]["podFixed"];
        if !overhead.is_null() {
            if !pod["spec"]["overhead"].is_null() && pod["spec"]["overhead"] != *overhead {
                let why = "pod rejected: Pod's Overhead doesn't match RuntimeClass's defined Overhead";
                return Err(request.forbid(pod, why));
            }
            pod["spec"]["overhead"] = overhead.clone();
        }
        schedule(request, pod, &class["scheduling"])
    }

    async fn validate(&self, request: &Request<'_>, pod: &Value) -> Result<()> {
        let overhead = pod["spec"]["overhead"].as_object().is_some_and(|o| !o.is_empty());
        if !request.creates("", "pods") || !overhead {
            return Ok(());
        }
        let class = request.view.get(&CLASSES, "", text(pod, "/spec/runtimeClassName"));
        if class.is_none_or(|class| class.value()["overhead"]["podFixed"].is_null()) {
            let why = "pod rejected: Pod Overhead set without corresponding RuntimeClass defined Overhead";
            return Err(request.forbid(pod, why));
        }
        Ok(())
    }
}

fn schedule(request: &Request<'_>, pod: &mut Value, scheduling: &Value) -> Result<()> {
    for (key, value) in scheduling["nodeSelector"].as_object().into_iter().flatten() {
        let held = pod["spec"]["nodeSelector"].get(key).cloned().unwrap_or(Value::Null);
        if !held.is_null() && held != *value {
            let shown = |v: &Value| v.as_str().unwrap_or_default().to_string();
            let why = format!(
                "pod rejected: conflict: runtimeClass.scheduling.nodeSelector[{key}] = {}; pod.spec.nodeSelector[{key}] = {}",
                shown(value),
                shown(&held)
            );
            return Err(request.forbid(pod, why));
        }
        if !pod["spec"]["nodeSelector"].is_object() {
            pod["spec"]["nodeSelector"] = json!({});
        }
        pod["spec"]["nodeSelector"][key] = value.clone();
    }
    let added = scheduling["tolerations"].as_array().into_iter().flatten();
    if let Some(held) = list_mut(&mut pod["spec"], "tolerations") {
        for toleration in added {
            if !held.contains(toleration) {
                held.push(toleration.clone());
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admission::testing::Case;

    #[test]
    fn the_class_gives_overhead_and_place() {
        let case = Case::create(Resource::fixed("", "v1", "pods", "Pod", true));
        case.world.put(
            &CLASSES,
            json!({"metadata": {"name": "vm"}, "overhead": {"podFixed": {"cpu": "1"}},
                "scheduling": {"nodeSelector": {"vm": "yes"}, "tolerations": [{"key": "vm"}]}}),
        );
        let pod = |spec: Value| json!({"metadata": {"name": "p"}, "spec": spec});
        let out = case.run(&RuntimeClass, &pod(json!({"runtimeClassName": "vm"}))).unwrap();
        assert_eq!(out["spec"]["overhead"], json!({"cpu": "1"}));
        assert_eq!(out["spec"]["nodeSelector"], json!({"vm": "yes"}));
        assert_eq!(out["spec"]["tolerations"], json!([{"key": "vm"}]));
        for (spec, expected) in [
            (json!({"runtimeClassName": "x"}), "pod rejected: RuntimeClass \"x\" not found"),
            (
                json!({"overhead": {"cpu": "1"}}),
                "pod rejected: Pod Overhead set without corresponding RuntimeClass defined Overhead",
            ),
            (
                json!({"runtimeClassName": "vm", "nodeSelector": {"vm": "no"}}),
                "pod rejected: conflict: runtimeClass.scheduling.nodeSelector[vm] = yes; pod.spec.nodeSelector[vm] = no",
            ),
        ] {
            assert_eq!(case.refusal(&RuntimeClass, &pod(spec)), format!("pods \"p\" is forbidden: {expected}"));
        }
    }
}
