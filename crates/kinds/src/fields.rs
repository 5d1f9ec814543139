//! Small verbs over values: what rules are written in.
//!
//! Rules work on values, not on typed structs: the schema has already checked every type, one function serves
//! containers, init containers and ephemeral containers alike, and nothing is decoded, encoded or lost on the way.

use serde_json::{Map, Value};

static NULL: Value = Value::Null;

/// Whether a field counts as not given: missing, null or the empty string, as Go's zero string.
pub fn absent(object: &Value, field: &str) -> bool {
    match object.get(field) {
        None | Some(Value::Null) => true,
        Some(Value::String(s)) => s.is_empty(),
        Some(_) => false,
    }
}

/// Sets a field that is not given.
pub fn default(object: &mut Value, field: &str, value: impl Into<Value>) {
    if absent(object, field) {
        set(object, field, value);
    }
}

/// Sets a number that is not given or 0 (fields that are no pointers upstream).
pub fn default_number(object: &mut Value, field: &str, value: i64) {
    if absent(object, field) || object[field] == 0 {
        set(object, field, value);
    }
}

/// Sets a field.
pub fn set(object: &mut Value, field: &str, value: impl Into<Value>) {
    if object.is_null() {
        *object = Value::Object(Map::new());
    }
    if let Some(map) = object.as_object_mut() {
        map.insert(field.into(), value.into());
    }
}

/// Removes a field and returns it.
pub fn take(object: &mut Value, field: &str) -> Option<Value> {
    object.as_object_mut()?.remove(field)
}

/// The object in a field, made if it is missing.
pub fn ensure<'a>(object: &'a mut Value, field: &str) -> &'a mut Value {
    if !object[field].is_object() {
        set(object, field, Value::Object(Map::new()));
    }
    &mut object[field]
}

/// Changes the object in a field if there is one.
pub fn within(object: &mut Value, field: &str, change: impl FnOnce(&mut Value)) {
    if let Some(inner) = object.get_mut(field).filter(|v| v.is_object()) {
        change(inner);
    }
}

/// Changes every entry of the list in a field.
pub fn each(object: &mut Value, field: &str, change: impl FnMut(&mut Value)) {
    if let Some(list) = object.get_mut(field).and_then(Value::as_array_mut) {
        list.iter_mut().for_each(change);
    }
}

/// The value at a dotted path, null if any part is missing.
pub fn at<'a>(object: &'a Value, path: &str) -> &'a Value {
    path.split('.').try_fold(object, |value, field| value.get(field)).unwrap_or(&NULL)
}

/// Copies `field` from `old`, or removes it where `old` has none.
pub fn carry(new: &mut Value, old: &Value, field: &str) {
    match old.get(field) {
        Some(value) => set(new, field, value.clone()),
        None => {
            take(new, field);
        }
    }
}

/// Flags that are no pointers upstream: not given and `false` are one.
const PLAIN_FLAGS: &[&str] = &[
    "hostIPC",
    "hostNetwork",
    "hostPID",
    "paused",
    "publishNotReadyAddresses",
    "readOnly",
    "stdin",
    "stdinOnce",
    "tty",
    "unschedulable",
];

/// Whether two values mean the same: what is empty is as good as missing. (Quantities and times have been in canonical form since they were
/// decoded.)
pub fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Object(a), Value::Object(b)) => {
            let both = a.iter().all(|(key, value)| match b.get(key) {
                Some(other) => same(value, other),
                None => nothing(key, value),
            });
            both && b.iter().all(|(key, value)| a.contains_key(key) || nothing(key, value))
        }
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b)),
        (a, b) => a == b || (nothing("", a) && nothing("", b)),
    }
}

fn nothing(key: &str, value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(list) => list.is_empty(),
        Value::Object(map) => map.iter().all(|(key, value)| nothing(key, value)),
        Value::Bool(yes) => !yes && PLAIN_FLAGS.contains(&key),
        Value::Number(_) => false,
    }
}
