//! From a request body to a value of the right shape: unknown fields dropped (and told), wrong types refused.

use coracle_api::{Media, Patch, PatchKind, Result, Schema, Status, WriteOptions, options::FieldValidation, schema};
use coracle_kinds::Kind;
use jiff::Timestamp;
use serde_json::Value;

/// Decodes a body as the type named `schema` (empty: any object); the value and warnings.
///
/// # Errors
/// 400 with the field's path, as upstream's decoder words it.
pub fn body(schema: &str, bytes: &[u8], media: Media, validation: FieldValidation) -> Result<(Value, Vec<String>)> {
    let decoded = schema::decode(bytes, media, Schema::builtin().type_named(schema), validation)?;
    Ok((decoded.value, decoded.warnings))
}

/// Makes a value of a kind what decoding would have made it.
///
/// # Errors
/// As [`body`].
pub fn conform(kind: &Kind, value: &Value, validation: FieldValidation) -> Result<(Value, Vec<String>)> {
    match Schema::builtin().type_named(kind.schema) {
        Some(of) => schema::decode::conform(value, of, validation).map(|d| (d.value, d.warnings)),
        None => Ok((value.clone(), Vec::new())),
    }
}

/// Applies a patch to the current version of an object.
///
/// # Errors
/// 400 and 422 when the patch does not fit.
pub fn patch(
    _kind: &Kind,
    _name: &str,
    _base: Value,
    patch: &Patch,
    _options: &WriteOptions,
    _now: Timestamp,
) -> Result<Value> {
    match patch.kind {
        PatchKind::Json | PatchKind::Merge | PatchKind::Strategic | PatchKind::Apply => {
            Err(Status::new(415, "UnsupportedMediaType", "patches are not served yet"))
        }
    }
}

/// Applies a patch to a Scale.
///
/// # Errors
/// As [`patch`].
pub fn patch_scale(_scale: Value, _patch: &Patch) -> Result<Value> {
    Err(Status::new(415, "UnsupportedMediaType", "patches are not served yet"))
}

/// The body of a patch.
///
/// # Errors
/// 400 when it is no JSON (or, for apply, no YAML).
pub fn patch_body(kind: PatchKind, bytes: &[u8]) -> Result<Value> {
    if kind == PatchKind::Apply {
        return body("", bytes, Media::Yaml, FieldValidation::Ignore).map(|(value, _)| value);
    }
    serde_json::from_slice(bytes).map_err(|e| Status::bad_request(format!("error decoding patch: {e}")))
}
