//! The `scale` subresource: an `autoscaling/v1` Scale made from, and written back to, any kind with replicas.

use super::{Caller, Change, Registry, Target};
use crate::decode;
use coracle_api::{FieldError, LabelSelector, Object, Patch, Result, Status, WriteOptions};
use serde_json::{Value, json};
use std::sync::Arc;

struct Paths {
    spec: String,
    status: String,
    selector: String,
}

impl Registry {
    /// `GET …/scale`.
    ///
    /// # Errors
    /// 404.
    pub fn get_scale(&self, target: Target<'_>) -> Result<Value> {
        Ok(scale_of(&paths(target)?, &self.get(target)?))
    }

    /// `PUT …/scale`.
    ///
    /// # Errors
    /// As an update.
    pub async fn put_scale(
        &self,
        caller: &Caller,
        target: Target<'_>,
        scale: Value,
        options: &WriteOptions,
    ) -> Result<Value> {
        let paths = paths(target)?;
        let found = scale["metadata"]["name"].as_str().unwrap_or_default();
        if !found.is_empty() && found != target.name {
            return Err(Status::bad_request(format!(
                "the name of the object ({found}) does not match the name on the URL ({})",
                target.name
            )));
        }
        let replicas = replicas(target, &scale)?;
        let version = scale["metadata"]["resourceVersion"].as_str().unwrap_or_default().to_string();
        let change = |object: &mut Value| {
            if !version.is_empty() && object["metadata"]["resourceVersion"] != version.as_str() {
                return Err(target.changed());
            }
            set(object, &paths.spec, json!(replicas));
            Ok(())
        };
        let whole = Target { subresource: "", ..target };
        let object = self.update_unchecked(caller, whole, Change::With(&change), options).await?;
        Ok(scale_of(&paths, &object))
    }

    /// `PATCH …/scale`.
    ///
    /// # Errors
    /// As an update.
    pub async fn patch_scale(
        &self,
        caller: &Caller,
        target: Target<'_>,
        patch: &Patch,
        options: &WriteOptions,
    ) -> Result<Value> {
        let mut scale = decode::patch_scale(self.get_scale(target)?, patch)?;
        // a patch says what it wants, not from which version
        if patch.body["metadata"]["resourceVersion"].is_null() {
            scale["metadata"].as_object_mut().map(|m| m.remove("resourceVersion"));
        }
        self.put_scale(caller, target, scale, options).await
    }
}

fn paths(target: Target<'_>) -> Result<Paths> {
    let paths = target.served.kind.scale_paths().ok_or_else(Status::method_not_allowed)?;
    let pointer = |path: &str| format!("/{}", path.replace('.', "/"));
    Ok(Paths { spec: pointer(&paths.spec), status: pointer(&paths.status), selector: pointer(&paths.selector) })
}

fn replicas(target: Target<'_>, scale: &Value) -> Result<i64> {
    let invalid = |error| {
        let resource = coracle_api::Resource::fixed("autoscaling", "v1", "scales", "Scale", true);
        Err(Status::invalid(&resource, target.name, &[error]))
    };
    match &scale["spec"]["replicas"] {
        Value::Null => Ok(0),
        value => match value.as_i64() {
            Some(n) if n >= 0 => Ok(n),
            Some(_) => {
                invalid(FieldError::invalid("spec.replicas", value.clone(), "must be greater than or equal to 0"))
            }
            None => Err(Status::bad_request("spec.replicas is not an integer")),
        },
    }
}

fn set(object: &mut Value, pointer: &str, value: Value) {
    let Some((parent, leaf)) = pointer.rsplit_once('/') else { return };
    if let Some(parent) = object.pointer_mut(parent).and_then(Value::as_object_mut) {
        parent.insert(leaf.to_string(), value);
    }
}

fn scale_of(paths: &Paths, object: &Arc<Object>) -> Value {
    let value = object.value();
    let meta = &value["metadata"];
    let mut metadata = json!({});
    for key in ["name", "namespace", "uid", "resourceVersion", "creationTimestamp"] {
        if !meta[key].is_null() {
            metadata[key] = meta[key].clone();
        }
    }
    let count = |pointer: &str| value.pointer(pointer).and_then(Value::as_i64).unwrap_or(0);
    let mut status = json!({"replicas": count(&paths.status)});
    if let Some(selector) = value.pointer(&paths.selector).and_then(selector_text) {
        status["selector"] = json!(selector);
    }
    json!({
        "apiVersion": "autoscaling/v1", "kind": "Scale", "metadata": metadata,
        "spec": {"replicas": count(&paths.spec)}, "status": status,
    })
}

/// The text form of a LabelSelector, or of a plain map of labels.
fn selector_text(selector: &Value) -> Option<String> {
    let map = selector.as_object()?;
    if map.contains_key("matchLabels") || map.contains_key("matchExpressions") {
        let spec = serde_json::from_value(selector.clone()).ok()?;
        return LabelSelector::from_spec(&spec).ok().map(|s| s.to_string());
    }
    let labels: Vec<(String, String)> =
        map.iter().map(|(k, v)| (k.clone(), v.as_str().unwrap_or_default().to_string())).collect();
    Some(LabelSelector::from_map(labels.iter().map(|(k, v)| (k, v))).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scales_show_count_and_selector() {
        let object = Object::from_value(&json!({
            "metadata": {"name": "web", "namespace": "a", "resourceVersion": "7"},
            "spec": {"replicas": 3, "selector": {"matchLabels": {"app": "web"}}}, "status": {"replicas": 2},
        }))
        .unwrap();
        let paths = Paths {
            spec: "/spec/replicas".into(),
            status: "/status/replicas".into(),
            selector: "/spec/selector".into(),
        };
        let scale = scale_of(&paths, &Arc::new(object));
        assert_eq!(scale["spec"]["replicas"], 3);
        assert_eq!(scale["status"], json!({"replicas": 2, "selector": "app=web"}));
        assert_eq!(scale["metadata"]["resourceVersion"], "7");
    }
}
