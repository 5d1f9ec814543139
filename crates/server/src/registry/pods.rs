//! Binding: the scheduler's word on where a pod runs.

use super::{Caller, Change, Registry, Target};
use coracle_api::{FieldError, Result, Status, WriteOptions};
use serde_json::{Value, json};

impl Registry {
    /// `POST pods/<name>/binding`.
    ///
    /// # Errors
    /// 409 when the pod has a node already or is being deleted.
    pub async fn bind(&self, caller: &Caller, pod: Target<'_>, body: &Value, options: &WriteOptions) -> Result<()> {
        let node = body["target"]["name"].as_str().unwrap_or_default();
        let kind = body["target"]["kind"].as_str().unwrap_or_default();
        let mut errors = Vec::new();
        if !matches!(kind, "" | "Node") {
            errors.push(FieldError::not_supported("target.kind", kind, &["Node", "<empty>"]));
        }
        if node.is_empty() {
            errors.push(FieldError::required("target.name", ""));
        }
        if !errors.is_empty() {
            return Err(Status::invalid(&pod.served.resource, pod.name, &errors));
        }
        let uid = body["metadata"]["uid"].as_str().unwrap_or_default();
        let now = self.now().to_string();
        let metadata = &body["metadata"];
        let change = |object: &mut Value| {
            let conflict = |why: String| Err(Status::conflict(&pod.served.resource, pod.name, why));
            let found = object["metadata"]["uid"].as_str().unwrap_or_default();
            if !uid.is_empty() && uid != found {
                return conflict(format!(
                    "Precondition failed: UID in precondition: {uid}, UID in object meta: {found}"
                ));
            }
            if !object["metadata"]["deletionTimestamp"].is_null() {
                return conflict(format!("pod {} is being deleted, cannot be assigned to a host", pod.name));
            }
            match object["spec"]["nodeName"].as_str() {
                None | Some("") => {}
                Some(other) => {
                    return conflict(format!("pod {} is already assigned to node {other:?}", pod.name));
                }
            }
            if object["spec"]["schedulingGates"].as_array().is_some_and(|g| !g.is_empty()) {
                return conflict(format!("pod {} has non-empty .spec.schedulingGates", pod.name));
            }
            object["spec"]["nodeName"] = json!(node);
            for key in ["annotations", "labels"] {
                for (name, value) in metadata[key].as_object().into_iter().flatten() {
                    object["metadata"][key][name] = value.clone();
                }
            }
            set_scheduled(object, &now);
            // where room was made for it is of no interest any more
            if let Some(status) = object["status"].as_object_mut() {
                status.remove("nominatedNodeName");
            }
            Ok(())
        };
        let target = Target { subresource: "", ..pod };
        self.update_unchecked(caller, target, Change::With(&change), options).await.map(drop)
    }
}

/// The condition `PodScheduled` turns true.
fn set_scheduled(pod: &mut Value, now: &str) {
    let conditions = &mut pod["status"]["conditions"];
    if !conditions.is_array() {
        *conditions = json!([]);
    }
    let Some(conditions) = conditions.as_array_mut() else { return };
    let scheduled = json!({"type": "PodScheduled", "status": "True", "lastProbeTime": null, "lastTransitionTime": now});
    match conditions.iter_mut().find(|c| c["type"] == "PodScheduled") {
        Some(condition) if condition["status"] == "True" => {}
        Some(condition) => *condition = scheduled,
        None => conditions.push(scheduled),
    }
}
