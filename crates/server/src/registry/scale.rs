//! The `scale` subresource: an `autoscaling/v1` Scale made from, and written back to, any kind with replicas.

use super::{Caller, Change, Registry, Target};
use crate::{books::Books, decode};
use coracle_api::{FieldError, LabelSelector, Object, Patch, PatchKind, Result, Status, WriteOptions};
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
    pub async fn get_scale(&self, target: Target<'_>) -> Result<Value> {
        let object = target.served.load(&self.get(target)?).await?;
        let paths = paths(target)?;
        if target.served.custom.is_some() && object.value().pointer(&paths.spec).is_none() {
            let path = paths.spec.replace('/', ".");
            return Err(Status::internal(format!("the spec replicas field {path:?} does not exist")));
        }
        self.scale_of(target, &object, &WriteOptions::default())
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
        named(target, &scale)?;
        let books = self.books(target, options);
        let change = |object: &mut Value| {
            let old = scale_of(&paths, object, &books);
            let mut scale = scale.clone();
            complete(&mut scale, &old);
            books.track_scale(&old, &mut scale);
            self.rescale(target, &paths, object, &scale, &books)
        };
        let whole = Target { subresource: "", ..target };
        let object = self.update_unchecked(caller, whole, Change::With(&change), options).await?;
        self.scale_of(target, &target.served.load(&object).await?, options)
    }

    fn scale_of(&self, target: Target<'_>, object: &Arc<Object>, options: &WriteOptions) -> Result<Value> {
        let mut value = object.value();
        target.served.from_storage(&mut value);
        Ok(scale_of(&paths(target)?, &value, &self.books(target, options)))
    }

    /// Writes a Scale into its object: the count, and who set it.
    fn rescale(
        &self,
        target: Target<'_>,
        paths: &Paths,
        object: &mut Value,
        scale: &Value,
        books: &Books<'_>,
    ) -> Result<()> {
        let replicas = replicas(target, scale)?;
        let uid = scale["metadata"]["uid"].as_str().unwrap_or_default();
        if !uid.is_empty() && object["metadata"]["uid"] != uid {
            let found = object["metadata"]["uid"].as_str().unwrap_or_default();
            let why = format!("Precondition failed: UID in precondition: {uid}, UID in object meta: {found}");
            return Err(Status::conflict(&target.served.resource, target.name, why));
        }
        let version = scale["metadata"]["resourceVersion"].as_str().unwrap_or_default();
        if !version.is_empty() && object["metadata"]["resourceVersion"] != version {
            return Err(target.changed());
        }
        set(object, &paths.spec, json!(replicas));
        let managed = books.after_scale(&object["metadata"]["managedFields"], &scale["metadata"]["managedFields"]);
        if let Some(metadata) = object["metadata"].as_object_mut() {
            match managed {
                Some(managed) => metadata.insert("managedFields".into(), managed),
                None => metadata.remove("managedFields"),
            };
        }
        Ok(())
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
        let paths = paths(target)?;
        let books = self.books(target, options);
        // a patch is made again from whatever version it meets
        let change = |object: &mut Value| {
            let old = scale_of(&paths, object, &books);
            let (mut scale, warnings) = decode::patch_scale(&books, old.clone(), patch, options.field_validation)?;
            caller.warn(warnings);
            if patch.kind != PatchKind::Apply {
                books.track_scale(&old, &mut scale);
            }
            named(target, &scale)?;
            self.rescale(target, &paths, object, &scale, &books)
        };
        let whole = Target { subresource: "", ..target };
        let object = self.update_unchecked(caller, whole, Change::With(&change), options).await?;
        self.scale_of(target, &target.served.load(&object).await?, options)
    }
}

fn named(target: Target<'_>, scale: &Value) -> Result<()> {
    match scale["metadata"]["name"].as_str().unwrap_or_default() {
        found if found.is_empty() || found == target.name => Ok(()),
        found => Err(Status::bad_request(format!(
            "the name of the object ({found}) does not match the name on the URL ({})",
            target.name
        ))),
    }
}

/// What a client may leave out of a Scale.
fn complete(scale: &mut Value, old: &Value) {
    for name in ["apiVersion", "kind", "status"] {
        if scale.get(name).is_none_or(Value::is_null) {
            scale[name] = old[name].clone();
        }
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
    let parts: Vec<&str> = pointer.split('/').skip(1).collect();
    let Some((leaf, parents)) = parts.split_last() else { return };
    let mut place = object;
    for name in parents {
        if !place[*name].is_object() {
            place[*name] = json!({});
        }
        place = &mut place[*name];
    }
    place[*leaf] = value;
}

/// The Scale of an object.
fn scale_of(paths: &Paths, value: &Value, books: &Books<'_>) -> Value {
    with_books(paths, value, books.to_scale(&value["metadata"]["managedFields"]))
}

fn with_books(paths: &Paths, value: &Value, managed: Option<Value>) -> Value {
    let meta = &value["metadata"];
    let mut metadata = json!({});
    for key in ["name", "namespace", "uid", "resourceVersion", "creationTimestamp"] {
        if !meta[key].is_null() {
            metadata[key] = meta[key].clone();
        }
    }
    if let Some(managed) = managed {
        metadata["managedFields"] = managed;
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
    // custom resources keep it as text
    if let Some(text) = selector.as_str() {
        return Some(text.to_string());
    }
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
        let object = json!({
            "metadata": {"name": "web", "namespace": "a", "resourceVersion": "7"},
            "spec": {"replicas": 3, "selector": {"matchLabels": {"app": "web"}}}, "status": {"replicas": 2},
        });
        let paths = Paths {
            spec: "/spec/replicas".into(),
            status: "/status/replicas".into(),
            selector: "/spec/selector".into(),
        };
        let scale = with_books(&paths, &object, None);
        assert_eq!(scale["spec"]["replicas"], 3);
        assert_eq!(scale["status"], json!({"replicas": 2, "selector": "app=web"}));
        assert_eq!(scale["metadata"]["resourceVersion"], "7");
    }
}
