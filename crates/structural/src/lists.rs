//! What list types promise: items of a set differ, items of a map differ in their keys.

use crate::{
    place::Place,
    schema::{ListType, Schema},
};
use coracle_api::{FieldError, FieldErrorKind};
use serde_json::{Map, Value};
use std::collections::HashMap;

/// Where an object breaks the promise of a list's type.
pub fn list_types(object: &Value, schema: &Schema) -> Vec<FieldError> {
    let mut errors = Vec::new();
    walk(object, schema, &Place::Root, &mut errors);
    errors
}

fn walk(value: &Value, schema: &Schema, at: &Place<'_>, errors: &mut Vec<FieldError>) {
    match value {
        Value::Object(map) => {
            for (name, inner) in map {
                if let Some(property) = schema.properties.get(name) {
                    walk(inner, property, &at.field(name), errors);
                } else if let Some(entry) = schema.entry() {
                    walk(inner, entry, &at.key(name), errors);
                }
            }
        }
        Value::Array(list) => {
            match schema.list_type() {
                ListType::Atomic => {}
                ListType::Set => {
                    let repeated = repeated(list.iter().map(ToString::to_string));
                    errors.extend(repeated.into_iter().map(|i| FieldError::duplicate(at.index(i), list[i].clone())));
                }
                ListType::Map => keyed(list, schema, at, errors),
            }
            if let Some(item) = &schema.items {
                list.iter().enumerate().for_each(|(i, inner)| walk(inner, item, &at.index(i), errors));
            }
        }
        _ => {}
    }
}

fn keyed(list: &[Value], schema: &Schema, at: &Place<'_>, errors: &mut Vec<FieldError>) {
    if let Some((i, found)) = list.iter().enumerate().find(|(_, v)| !v.is_object() && !v.is_null()) {
        let why = "must be an object for an array of list-type map";
        errors.push(FieldError::new(at.index(i), FieldErrorKind::Invalid(found.clone()), why));
        return;
    }
    let key_of = |item: &Value| -> Value {
        let named = schema.list_keys.iter().filter_map(|k| Some((k.clone(), item.get(k)?.clone())));
        Value::Object(named.collect::<Map<_, _>>())
    };
    let keys: Vec<Value> = list.iter().map(key_of).collect();
    let repeated = repeated(keys.iter().map(ToString::to_string));
    errors.extend(repeated.into_iter().map(|i| FieldError::duplicate(at.index(i), keys[i].clone())));
}

/// The second appearance of everything that appears more than once.
fn repeated(values: impl Iterator<Item = String>) -> Vec<usize> {
    let mut seen: HashMap<String, usize> = HashMap::new();
    let mut second = Vec::new();
    for (i, value) in values.enumerate() {
        let times = seen.entry(value).or_default();
        *times += 1;
        if *times == 2 {
            second.push(i);
        }
    }
    second
}
