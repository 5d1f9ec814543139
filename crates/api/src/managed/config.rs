//! What is applied: checked against its type, and put into the form in which objects are stored.

use super::{
    Endpoint,
    topology::{Form, Topology, step},
};
use crate::{
    go,
    options::FieldValidation,
    schema::{Scalar, Shape, Type, conform},
    status::{Result, Status},
};
use serde_json::{Map, Value};
use std::collections::HashSet;

/// Checks a configuration, and gives it in canonical form. Its nulls and empty lists stay, for they are owned.
///
/// # Errors
/// 400 for another kind or with managedFields; 500, as upstream, for what does not fit the type.
pub(super) fn read(config: &Value, endpoint: &Endpoint<'_>) -> Result<Value> {
    let text = |name: &str| config.get(name).and_then(Value::as_str).unwrap_or_default();
    let (version, kind) = (text("apiVersion"), text("kind"));
    if version != endpoint.version || kind != endpoint.kind {
        let gv = if version.contains('/') { version.to_string() } else { format!("/{version}") };
        return Err(Status::bad_request(format!("invalid object type: {gv}, Kind={kind}")));
    }
    let managed = config["metadata"].get("managedFields");
    if managed.is_some_and(|m| !m.is_null()) {
        return Err(Status::bad_request("metadata.managedFields must be nil"));
    }
    let mut errors = Vec::new();
    check(config, Topology::of(endpoint.of), &mut String::new(), &mut errors);
    if !errors.is_empty() {
        let what = match errors.as_slice() {
            [one] => one.clone(),
            many => format!("errors:\n  {}", many.join("\n  ")),
        };
        let meta = |name: &str| config["metadata"].get(name).and_then(Value::as_str).unwrap_or_default();
        let object = format!("{}/{}; {version}, Kind={kind}", meta("namespace"), meta("name"));
        return Err(Status::new(500, "", format!("failed to create typed patch object ({object}): {what}")));
    }
    match endpoint.of {
        Some(of) => canonical(config, of),
        None => Ok(config.clone()),
    }
}

/// The canonical form of a configuration, with what decoding would drop because it says nothing.
fn canonical(config: &Value, of: Type<'_>) -> Result<Value> {
    let mut value = conform(config, of, FieldValidation::Ignore)?.value;
    restore(&mut value, config);
    Ok(value)
}

fn restore(value: &mut Value, config: &Value) {
    match (value, config) {
        (Value::Object(value), Value::Object(config)) => {
            for (name, said) in config {
                let says_nothing = match said {
                    Value::Null => true,
                    Value::Array(list) => list.is_empty(),
                    Value::Object(map) => map.is_empty(),
                    _ => false,
                };
                match value.get_mut(name) {
                    Some(inner) if !said.is_null() => restore(inner, said),
                    _ if says_nothing => {
                        value.insert(name.clone(), said.clone());
                    }
                    _ => {}
                }
            }
        }
        (Value::Array(value), Value::Array(config)) => {
            value.iter_mut().zip(config).for_each(|(value, config)| restore(value, config));
        }
        _ => {}
    }
}

/// Notes what of a value does not fit its type.
fn check(value: &Value, topology: Topology<'_>, path: &mut String, errors: &mut Vec<String>) {
    let Topology::Known(shape) = topology else { return };
    if value.is_null() {
        return;
    }
    let note = |errors: &mut Vec<String>, path: &str, what: String| {
        errors.push(if path.is_empty() { what } else { format!("{path}: {what}") });
    };
    match (shape, value) {
        (Shape::Object(of), Value::Object(map)) => {
            // of several unknown fields of an object upstream names one
            if !of.preserves_unknown()
                && let Some(name) = map.keys().find(|name| of.field(name).is_none() && !is_type_meta(name, path))
            {
                note(errors, &format!("{path}.{name}"), "field not declared in schema".into());
            }
            check_fields(map, topology, path, errors);
        }
        (Shape::Map(_), Value::Object(map)) => check_fields(map, topology, path, errors),
        (Shape::Object(_) | Shape::Map(_), other) => {
            note(errors, path, format!("expected map, got &{{{}}}", go::show(other)));
        }
        (Shape::List(_), Value::Array(items)) => check_items(items, topology, path, errors),
        (Shape::List(_), other) => note(errors, path, format!("expected list, got &{{{}}}", go::show(other))),
        (Shape::Scalar(scalar), value) => {
            if let Some(what) = wrong_scalar(scalar, value) {
                note(errors, path, what);
            }
        }
    }
}

fn is_type_meta(name: &str, path: &str) -> bool {
    path.is_empty() && matches!(name, "apiVersion" | "kind")
}

fn check_fields(map: &Map<String, Value>, topology: Topology<'_>, path: &mut String, errors: &mut Vec<String>) {
    for (name, inner) in map {
        let len = path.len();
        path.push('.');
        path.push_str(name);
        check(inner, topology.field(name), path, errors);
        path.truncate(len);
    }
}

fn check_items(items: &[Value], topology: Topology<'_>, path: &mut String, errors: &mut Vec<String>) {
    let form = topology.form(&Value::Null);
    let Topology::Known(Shape::List(list)) = topology else { return };
    let mut seen = HashSet::new();
    for (at, item) in items.iter().enumerate() {
        let len = path.len();
        if let Form::Items(list) = form {
            let step = match step(list, item) {
                Ok(step) => step,
                Err(what) => {
                    errors.push(format!("{path}: element {at}: {what}"));
                    return;
                }
            };
            let mut shown = String::new();
            step.show(&mut shown);
            if !seen.insert(step) {
                errors.push(format!("{path}: duplicate entries for key {shown}"));
            }
            path.push_str(&shown);
        } else {
            path.push_str(&format!("[{at}]"));
        }
        check(item, Topology::item(list), path, errors);
        path.truncate(len);
    }
}

fn wrong_scalar(scalar: Scalar, value: &Value) -> Option<String> {
    match scalar {
        Scalar::Int32 | Scalar::Int64 | Scalar::Number => {
            (!value.is_number()).then(|| format!("expected numeric (int or float), got {}", go::type_of(value)))
        }
        Scalar::Bool => (!value.is_boolean()).then(|| format!("expected boolean, got &{{{}}}", go::show(value))),
        Scalar::String | Scalar::Time | Scalar::MicroTime | Scalar::Duration | Scalar::Bytes => (!value.is_string())
            .then(|| format!("expected string, got &value.valueUnstructured{{Value:{}}}", go::quoted(value))),
        Scalar::IntOrString | Scalar::Quantity => (value.is_array() || value.is_object())
            .then(|| format!("expected any scalar, got &{{{}}}", go::show(value))),
        Scalar::Json => None,
    }
}
