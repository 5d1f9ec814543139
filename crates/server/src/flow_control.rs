//! The priority levels and flow schemas that every cluster has, kept as upstream keeps them: the mandatory ones always, the suggested ones unless
//! somebody made them their own; and of every flow schema, whether its priority level exists.
//!
//! Source: `pkg/registry/flowcontrol/ensurer`, apiserver `util/flowcontrol`.

use crate::bootstrap::covers;
use coracle_api::{Object, Resource, Result, WriteOptions};
use coracle_base::SharedClock;
use coracle_client::{SharedClient, SharedView, View};
use coracle_kinds::flowcontrol::objects::{self, AUTO_UPDATE, MANDATORY};
use futures::{StreamExt, future::join_all};
use serde_json::{Value, json};

const GROUP: &str = "flowcontrol.apiserver.k8s.io";
const FLOWS: Resource = Resource::fixed(GROUP, "v1", "flowschemas", "FlowSchema", false);
const LEVELS: Resource =
    Resource::fixed(GROUP, "v1", "prioritylevelconfigurations", "PriorityLevelConfiguration", false);

/// One write.
#[derive(Clone, Debug, PartialEq)]
enum Action {
    Create(Resource, Value),
    Update(Resource, Value),
    Status(Value),
}

/// Keeps them for as long as the world changes.
pub async fn keep(view: SharedView, client: SharedClient, clock: SharedClock) {
    let mut changes = view.changes(&[LEVELS, FLOWS]);
    loop {
        let now = clock.now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
        let done = join_all(plan(&*view, &now).into_iter().map(|action| write(&client, action))).await;
        for error in done.into_iter().filter_map(Result::err) {
            // whoever was faster is a change, too
            tracing::debug!(%error, "an object of flow control was not written");
        }
        if changes.next().await.is_none() {
            return;
        }
        // a burst of changes is one occasion
        while let Some(Some(_)) = futures::FutureExt::now_or_never(changes.next()) {}
    }
}

async fn write(client: &SharedClient, action: Action) -> Result<()> {
    let options = WriteOptions::default();
    let name = |value: &Value| value["metadata"]["name"].as_str().unwrap_or_default().to_string();
    match action {
        Action::Create(resource, value) => client.create(&resource, "", value, &options).await,
        Action::Update(resource, value) => client.update(&resource, "", &name(&value), "", value, &options).await,
        Action::Status(value) => client.update(&FLOWS, "", &name(&value), "status", value, &options).await,
    }
    .map(drop)
}

fn plan(view: &dyn View, now: &str) -> Vec<Action> {
    let mut actions = Vec::new();
    for (resource, all) in [(LEVELS, objects::levels()), (FLOWS, objects::flows())] {
        for wanted in all {
            let name = wanted["metadata"]["name"].as_str().unwrap_or_default();
            match view.get(&resource, "", name) {
                None => actions.push(Action::Create(resource.clone(), wanted)),
                Some(found) => {
                    let changed = corrected(&found.value(), &wanted, MANDATORY.contains(&name));
                    actions.extend(changed.map(|value| Action::Update(resource.clone(), value)));
                }
            }
        }
    }
    let levels: Vec<String> = view.list(&LEVELS, "").iter().map(|level| level.meta().name.clone()).collect();
    actions.extend(view.list(&FLOWS, "").iter().filter_map(|flow| dangling(flow, &levels, now)).map(Action::Status));
    actions
}

/// The object as it should be, if it is not. A suggested one that nobody changed (or that says so) follows; of the level `exempt` the
/// administrator says how much others may borrow.
fn corrected(found: &Value, wanted: &Value, mandatory: bool) -> Option<Value> {
    let own = match found["metadata"]["annotations"][AUTO_UPDATE].as_str() {
        _ if mandatory => false,
        Some(says) => says != "true",
        None => found["metadata"]["generation"] != 1,
    };
    if own {
        return None;
    }
    let mut value = found.clone();
    value["metadata"]["annotations"][AUTO_UPDATE] = json!("true");
    let exempt = value["spec"]["exempt"].clone();
    value["spec"] = wanted["spec"].clone();
    if found["metadata"]["name"] == "exempt" && exempt.is_object() {
        value["spec"]["exempt"] = exempt;
    }
    let spec_differs = !covers(&found["spec"], &value["spec"]);
    let unmarked = found["metadata"]["annotations"][AUTO_UPDATE] != "true";
    (spec_differs || unmarked).then_some(value)
}

/// A flow schema whose condition `Dangling` does not say the truth, with one that does.
fn dangling(flow: &Object, levels: &[String], now: &str) -> Option<Value> {
    let mut value = flow.value();
    let level = value["spec"]["priorityLevelConfiguration"]["name"].as_str().unwrap_or_default().to_string();
    let (status, reason, end) = match levels.contains(&level) {
        true => ("False", "Found", "and it exists"),
        false => ("True", "NotFound", "but there is no such object"),
    };
    let message = format!("This FlowSchema references the PriorityLevelConfiguration object named {level:?} {end}");
    let mut conditions = value["status"]["conditions"].as_array().cloned().unwrap_or_default();
    let before = conditions.iter().position(|c| c["type"] == "Dangling");
    if before.is_some_and(|at| conditions[at]["status"] == status && conditions[at]["message"] == message) {
        return None;
    }
    let condition = json!({
        "type": "Dangling", "status": status, "reason": reason, "message": message, "lastTransitionTime": now,
    });
    match before {
        Some(at) => conditions[at] = condition,
        None => conditions.push(condition),
    }
    if !value["status"].is_object() {
        value["status"] = json!({});
    }
    value["status"]["conditions"] = json!(conditions);
    Some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn level(annotation: Value, generation: i64, shares: i64) -> Value {
        let mut level = objects::levels().into_iter().find(|l| l["metadata"]["name"] == "system").unwrap();
        level["metadata"]["generation"] = json!(generation);
        level["metadata"]["annotations"] = json!({AUTO_UPDATE: annotation});
        level["spec"]["limited"]["nominalConcurrencyShares"] = json!(shares);
        level
    }

    #[test]
    fn suggested_objects_follow_until_they_are_somebodys_own() {
        let wanted = level(json!("true"), 1, 30);
        for (annotation, generation, shares, mandatory, follows) in [
            (json!("true"), 1, 30, false, false),
            (json!("true"), 5, 31, false, true),
            (json!("false"), 1, 31, false, false),
            (Value::Null, 1, 30, false, true),
            (Value::Null, 2, 31, false, false),
            (json!("false"), 2, 31, true, true),
        ] {
            let found = level(annotation.clone(), generation, shares);
            let says = corrected(&found, &wanted, mandatory);
            assert_eq!(says.is_some(), follows, "{annotation} {generation} {shares} {mandatory}");
            if let Some(value) = says {
                assert_eq!(value["spec"]["limited"]["nominalConcurrencyShares"], 30);
                assert_eq!(value["metadata"]["annotations"][AUTO_UPDATE], "true");
            }
        }
        let mut exempt = objects::levels().remove(0);
        let wanted = exempt.clone();
        exempt["spec"]["exempt"]["lendablePercent"] = json!(50);
        assert_eq!(corrected(&exempt, &wanted, true), None);
    }

    #[test]
    fn a_flow_says_whether_its_level_exists() {
        let flow = |status: Value| {
            let spec = json!({"priorityLevelConfiguration": {"name": "l"}});
            let value = json!({"apiVersion": "flowcontrol.apiserver.k8s.io/v1", "kind": "FlowSchema", "metadata": {"name": "f"}, "spec": spec, "status": status});
            Object::from_value(&value).unwrap()
        };
        let says = |found: Option<Value>| found.map(|v| v["status"]["conditions"][0]["status"].clone());
        let there = vec!["l".to_string()];
        assert_eq!(says(dangling(&flow(json!({})), &there, "now")), Some(json!("False")));
        assert_eq!(says(dangling(&flow(json!({})), &[], "now")), Some(json!("True")));
        let known = dangling(&flow(json!({})), &there, "now").unwrap()["status"].clone();
        assert_eq!(dangling(&flow(known.clone()), &there, "later"), None);
        assert_eq!(says(dangling(&flow(known), &[], "later")), Some(json!("True")));
    }
}
