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
        PatchKind::Merge if patch.body.is_object() => merge(current, &patch.body),
        PatchKind::Merge => return Err(Status::bad_request("error decoding patch: a merge patch is an object")),
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

/// RFC 7386.
pub fn merge(current: Value, patch: &Value) -> Value {
    let Value::Object(patch) = patch else { return patch.clone() };
    let mut out = match current {
        Value::Object(map) => map,
        _ => Map::new(),
    };
    for (key, change) in patch {
        if change.is_null() {
            out.remove(key);
        } else {
            let old = out.remove(key).unwrap_or(Value::Null);
            out.insert(key.clone(), merge(old, change));
        }
    }
    Value::Object(out)
}
