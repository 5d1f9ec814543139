//! `apiVersion`, `kind` and `metadata` of resources, at the root and embedded further down: their types, and what they may hold.

use crate::{place::Place, schema::Schema};
use coracle_api::{FieldError, Path, options::FieldValidation, schema, validation};
use serde_json::Value;

const OBJECT_META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta";

/// What to do about metadata of the wrong type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Malformed {
    /// Refuse the object: a request.
    Refuse,
    /// Drop the field: an object from storage, which must stay readable.
    Drop,
}

/// Puts the metadata of a resource, and of those embedded in it, into canonical form; the paths of unknown fields, which are dropped.
///
/// # Errors
/// The first field of the wrong type.
pub fn coerce(object: &mut Value, schema: &Schema, malformed: Malformed) -> Result<Vec<String>, FieldError> {
    let mut unknown = Vec::new();
    walk(object, &schema.as_root(), &Place::Root, malformed, &mut unknown)?;
    unknown.sort();
    Ok(unknown)
}

fn walk(
    value: &mut Value,
    schema: &Schema,
    at: &Place<'_>,
    malformed: Malformed,
    unknown: &mut Vec<String>,
) -> Result<(), FieldError> {
    match value {
        Value::Object(map) => {
            if schema.embedded {
                for name in ["apiVersion", "kind"] {
                    if let Some(found) = map.get(name).filter(|v| !v.is_string()) {
                        if malformed == Malformed::Refuse {
                            return Err(FieldError::invalid(at.field(name), found.clone(), "must be a string"));
                        }
                        map.remove(name);
                    }
                }
                if let Some(metadata) = map.get_mut("metadata") {
                    object_meta(metadata, &at.field("metadata"), malformed, unknown)?;
                }
            }
            for (name, inner) in map {
                if let Some(property) = schema.properties.get(name) {
                    walk(inner, property, &at.field(name), malformed, unknown)?;
                } else if let Some(entry) = schema.entry() {
                    walk(inner, entry, &at.key(name), malformed, unknown)?;
                }
            }
        }
        Value::Array(list) => {
            let Some(item) = &schema.items else { return Ok(()) };
            for (i, inner) in list.iter_mut().enumerate() {
                walk(inner, item, &at.index(i), malformed, unknown)?;
            }
        }
        _ => {}
    }
    Ok(())
}

fn object_meta(
    metadata: &mut Value,
    at: &Place<'_>,
    malformed: Malformed,
    unknown: &mut Vec<String>,
) -> Result<(), FieldError> {
    let Some(of) = coracle_api::Schema::builtin().type_named(OBJECT_META) else { return Ok(()) };
    if metadata.is_null() {
        *metadata = Value::Object(serde_json::Map::new());
        return Ok(());
    }
    let conform = |value: &Value| schema::conform(value, of, FieldValidation::Warn);
    match conform(metadata) {
        Ok(decoded) => {
            // `unknown field "x"`
            let names = decoded.warnings.iter().filter_map(|w| w.split('"').nth(1));
            unknown.extend(names.map(|name| at.field(name).to_string()));
            *metadata = decoded.value;
            Ok(())
        }
        Err(status) if malformed == Malformed::Refuse => {
            let why = status.message.split_once("ObjectMeta: ").map_or(status.message.as_str(), |(_, why)| why);
            Err(FieldError::invalid(at, metadata.clone(), why))
        }
        Err(_) => {
            // field by field, keeping what is right
            let mut kept = serde_json::Map::new();
            for (name, value) in metadata.as_object().into_iter().flatten() {
                let one = Value::Object([(name.clone(), value.clone())].into_iter().collect());
                if let Ok(Value::Object(decoded)) = conform(&one).map(|d| d.value) {
                    kept.extend(decoded);
                }
            }
            *metadata = Value::Object(kept);
            Ok(())
        }
    }
}

/// What is wrong with the resources embedded in an object (not with the object's own metadata).
pub fn embedded(object: &Value, schema: &Schema) -> Vec<FieldError> {
    let mut errors = Vec::new();
    judge(object, schema, &Place::Root, &mut errors);
    errors
}

fn judge(value: &Value, schema: &Schema, at: &Place<'_>, errors: &mut Vec<FieldError>) {
    match value {
        Value::Object(map) => {
            if schema.embedded {
                resource(map, at, errors);
            }
            for (name, inner) in map {
                if let Some(property) = schema.properties.get(name) {
                    judge(inner, property, &at.field(name), errors);
                } else if let Some(entry) = schema.entry() {
                    judge(inner, entry, &at.key(name), errors);
                }
            }
        }
        Value::Array(list) => {
            let Some(item) = &schema.items else { return };
            list.iter().enumerate().for_each(|(i, inner)| judge(inner, item, &at.index(i), errors));
        }
        _ => {}
    }
}

fn resource(map: &serde_json::Map<String, Value>, at: &Place<'_>, errors: &mut Vec<FieldError>) {
    for name in ["apiVersion", "kind"] {
        let place = at.field(name);
        match map.get(name) {
            None => errors.push(FieldError::required(place, "")),
            Some(Value::String(text)) if text.is_empty() => {
                errors.push(FieldError::invalid(place, text.as_str(), "must not be empty"));
            }
            Some(Value::String(text)) => {
                let why = if name == "kind" { wrong_kind(text) } else { wrong_version(text) };
                errors.extend(why.map(|why| FieldError::invalid(place, text.as_str(), why)));
            }
            Some(other) => errors.push(FieldError::invalid(place, other.clone(), "must be a string")),
        }
    }
    if let Some(metadata) = map.get("metadata") {
        let mut metadata = metadata.clone();
        let path = Path::root(&at.field("metadata").to_string());
        if metadata["name"].as_str().unwrap_or_default().is_empty()
            && let Some(map) = metadata.as_object_mut()
        {
            // a template needs no name
            map.insert("name".into(), "fakename".into());
        }
        let namespaced = !metadata["namespace"].as_str().unwrap_or_default().is_empty();
        errors.extend(validation::validate_object_meta(&metadata, validation::path_segment_name, namespaced, &path));
    }
}

fn wrong_kind(kind: &str) -> Option<String> {
    let wrong = validation::dns1035_label(&kind.to_lowercase());
    (!wrong.is_empty()).then(|| format!("may have mixed case, but should otherwise match: {}", wrong.join(",")))
}

fn wrong_version(version: &str) -> Option<String> {
    (version.matches('/').count() > 1).then(|| format!("unexpected GroupVersion string: {version}"))
}
