//! Patches: JSON patch, merge patch, strategic merge patch, as pure functions from value to value.
//!
//! Server-side apply is [`crate::managed`].

mod json;
mod strategic;
#[cfg(test)]
mod tests;

use crate::{
    options::{Patch, PatchKind},
    schema::Type,
    status::{Result, Status},
};
use serde_json::{Map, Value};

/// Values nest no deeper than the decoder lets them.
const MAX_DEPTH: usize = 120;

/// Applies `patch` to `current`. `of` is the object's built-in type; a strategic merge patch needs one.
///
/// # Errors
/// 400 for a malformed patch, 415 for a strategic patch of a custom resource, 422 when the patch does not apply.
pub fn apply_patch(patch: &Patch, current: Value, of: Option<Type<'_>>) -> Result<Value> {
    let patched = match patch.kind {
        PatchKind::Json => json::apply(&patch.body, current)?,
        PatchKind::Merge => match &patch.body {
            Value::Object(_) => merge(current, &patch.body),
            Value::Null => return Err(Status::bad_request("Invalid JSON Patch")),
            other => {
                let what = json_kind(other);
                let why = format!("json: cannot unmarshal {what} into Go value of type map[string]interface {{}}");
                return Err(Status::bad_request(format!("error decoding patch: {why}")));
            }
        },
        PatchKind::Strategic => match of {
            Some(of) => strategic::apply(current, &patch.body, of)?,
            None => return Err(unsupported()),
        },
        PatchKind::Apply => return Err(Status::internal("an apply configuration is not applied as a patch")),
    };
    if patched.is_object() { Ok(patched) } else { Err(Status::bad_request("the patched value is no object")) }
}

fn unsupported() -> Status {
    Status::new(
        415,
        "UnsupportedMediaType",
        "the body of the request was in an unknown format - accepted media types include: \
         application/json-patch+json, application/merge-patch+json, application/apply-patch+yaml",
    )
}

/// RFC 7386. What is new is taken without its nulls, also within lists.
pub fn merge(current: Value, patch: &Value) -> Value {
    let (Value::Object(mut out), Value::Object(patch)) = (current, patch) else { return pruned(patch) };
    for (key, change) in patch {
        let old = out.remove(key).unwrap_or_default();
        if !change.is_null() {
            out.insert(key.clone(), merge(old, change));
        }
    }
    Value::Object(out)
}

fn without_nulls(map: &Map<String, Value>) -> Value {
    map.iter().filter(|(_, v)| !v.is_null()).map(|(k, v)| (k.clone(), pruned(v))).collect()
}

fn pruned(value: &Value) -> Value {
    match value {
        Value::Object(map) => without_nulls(map),
        Value::Array(list) => list.iter().map(pruned).collect(),
        other => other.clone(),
    }
}

/// What Go calls the kind of a JSON value.
pub fn json_kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}
