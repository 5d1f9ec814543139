//! The priority of a pod is what its class says, never what the pod says.

use super::{Operation, Plugin, Request, text};
use async_trait::async_trait;
use coracle_api::{Resource, Result};
use coracle_client::View;
use k8s_openapi::api::scheduling::v1::PriorityClass;
use serde_json::{Value, json};
use std::sync::Arc;

const CLASSES: Resource = Resource::fixed("scheduling.k8s.io", "v1", "priorityclasses", "PriorityClass", false);
const PREEMPT: &str = "PreemptLowerPriority";

/// The plugin.
pub struct Priority;

#[async_trait]
impl Plugin for Priority {
    fn name(&self) -> &'static str {
        "Priority"
    }

    async fn mutate(&self, request: &Request<'_>, pod: &mut Value) -> Result<()> {
        if !request.is("", "pods", "") || !pod["spec"].is_object() {
            return Ok(());
        }
        match request.operation {
            Operation::Create => set(request, pod),
            Operation::Update => {
                keep(request, pod);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    async fn validate(&self, request: &Request<'_>, class: &Value) -> Result<()> {
        let writes = matches!(request.operation, Operation::Create | Operation::Update);
        if !writes || !request.is("scheduling.k8s.io", "priorityclasses", "") || class["globalDefault"] != true {
            return Ok(());
        }
        match default_class(request.view) {
            Some(other) if other.metadata.name.as_deref() != Some(text(class, "/metadata/name")) => {
                let name = other.metadata.name.as_deref().unwrap_or_default();
                let why = format!("PriorityClass {name} is already marked as default. Only one default can exist");
                Err(request.forbid(class, why))
            }
            _ => Ok(()),
        }
    }
}

/// The default class: the one of lowest value, should there be several.
fn default_class(view: &dyn View) -> Option<Arc<PriorityClass>> {
    let classes = view.list(&CLASSES, "").into_iter().filter_map(|class| class.view::<PriorityClass>().ok());
    classes.filter(|class| class.global_default == Some(true)).min_by_key(|class| class.value)
}

fn set(request: &Request<'_>, pod: &mut Value) -> Result<()> {
    let name = text(pod, "/spec/priorityClassName").to_string();
    let class = if name.is_empty() {
        default_class(request.view)
    } else {
        let Some(class) = request.view.get(&CLASSES, "", &name) else {
            return Err(request.forbid(pod, format!("no PriorityClass with name {name} was found")));
        };
        Some(class.view::<PriorityClass>()?)
    };
    let class = class.as_deref();
    let name = class.and_then(|class| class.metadata.name.clone()).unwrap_or(name);
    let value = class.and_then(|class| class.value).map_or(0, i64::from);
    let policy = class.and_then(|class| class.preemption_policy.clone()).unwrap_or_else(|| PREEMPT.to_string());
    let spec = &pod["spec"];
    if let Some(given) = spec["priority"].as_i64().filter(|given| *given != value) {
        return Err(request.forbid(
            pod,
            format!("the integer value of priority ({given}) must not be provided in pod spec; priority admission controller computed {value} from the given PriorityClass name"),
        ));
    }
    if let Some(given) = spec["preemptionPolicy"].as_str().filter(|given| *given != policy) {
        return Err(request.forbid(
            pod,
            format!("the string value of PreemptionPolicy ({given}) must not be provided in pod spec; priority admission controller computed {policy} from the given PriorityClass name"),
        ));
    }
    let spec = &mut pod["spec"];
    if !name.is_empty() {
        spec["priorityClassName"] = json!(name);
    }
    spec["priority"] = json!(value);
    spec["preemptionPolicy"] = json!(policy);
    Ok(())
}

/// An update that does not name them keeps priority and policy.
fn keep(request: &Request<'_>, pod: &mut Value) {
    let lacks = |field: &str| pod["spec"][field].is_null();
    let lacking: Vec<&str> = ["priority", "preemptionPolicy"].into_iter().filter(|f| lacks(f)).collect();
    if lacking.is_empty() {
        return;
    }
    let Some(old) = request.old.map(|old| old.value()) else { return };
    for field in lacking {
        if !old["spec"][field].is_null() {
            pod["spec"][field] = old["spec"][field].clone();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admission::testing::Case;

    fn case(default: bool) -> Case {
        let case = Case::create(Resource::fixed("", "v1", "pods", "Pod", true));
        case.world.put(&CLASSES, json!({"metadata": {"name": "high"}, "value": 100, "preemptionPolicy": "Never"}));
        if default {
            case.world.put(&CLASSES, json!({"metadata": {"name": "usual"}, "value": 7, "globalDefault": true}));
        }
        case
    }

    #[test]
    fn the_class_decides() {
        for (default, spec, expected) in [
            (false, json!({}), json!([null, 0, PREEMPT])),
            (true, json!({}), json!(["usual", 7, PREEMPT])),
            (true, json!({"priorityClassName": "high"}), json!(["high", 100, "Never"])),
            (false, json!({"priorityClassName": "high", "priority": 100}), json!(["high", 100, "Never"])),
        ] {
            let out = case(default).run(&Priority, &json!({"metadata": {"name": "p"}, "spec": spec})).unwrap();
            let spec = &out["spec"];
            assert_eq!(json!([spec["priorityClassName"], spec["priority"], spec["preemptionPolicy"]]), expected);
        }
        for (spec, expected) in [
            (json!({"priorityClassName": "x"}), "no PriorityClass with name x was found"),
            (
                json!({"priority": 5}),
                "the integer value of priority (5) must not be provided in pod spec; priority admission controller computed 0 from the given PriorityClass name",
            ),
        ] {
            let found = case(false).refusal(&Priority, &json!({"metadata": {"name": "p"}, "spec": spec}));
            assert_eq!(found, format!("pods \"p\" is forbidden: {expected}"));
        }
    }
}
