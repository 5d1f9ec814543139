//! From a request body to a value of the right shape: unknown fields dropped (and told), wrong types refused.

use crate::registry::Target;
use coracle_api::{
    Media, Patch, PatchKind, Result, Schema, Status, WriteOptions,
    managed::{self, OnConflict, Writer},
    options::FieldValidation,
    protobuf,
    schema::{self, Type},
};
use coracle_kinds::Kind;
use jiff::Timestamp;
use serde_json::Value;

/// Decodes a body as a type (`None`: any object); the value and warnings.
///
/// # Errors
/// 400 with the field's path, as upstream's decoder words it.
pub fn body(
    of: Option<Type<'_>>,
    bytes: &[u8],
    media: Media,
    validation: FieldValidation,
) -> Result<(Value, Vec<String>)> {
    let decoded = schema::decode(bytes, media, of, validation)?;
    Ok((decoded.value, decoded.warnings))
}

/// Decodes a protobuf body as a type.
///
/// # Errors
/// 400 when it is no such message, 415 for kinds that have no protobuf form.
pub fn protobuf_body(of: Option<Type<'_>>, bytes: &[u8]) -> Result<Value> {
    let of = of.ok_or_else(|| {
        Status::new(
            415,
            "UnsupportedMediaType",
            "the body of the request was in an unknown format - this kind has no protobuf form; send application/json",
        )
    })?;
    let value = protobuf::decode(bytes, of)?;
    // dates, quantities and empty lists become what they are in JSON
    schema::decode::conform(&value, of, FieldValidation::Ignore).map(|d| d.value)
}

/// Makes a value of a kind what decoding would have made it.
///
/// # Errors
/// As [`body`].
pub fn conform(kind: &Kind, value: &Value, validation: FieldValidation) -> Result<(Value, Vec<String>)> {
    match kind.type_of() {
        Some(of) => schema::decode::conform(value, of, validation).map(|d| (d.value, d.warnings)),
        None => Ok((value.clone(), Vec::new())),
    }
}

/// Applies a patch to the current version of an object; the result still has to be conformed to its kind. Also gives what is to be
/// warned of.
///
/// # Errors
/// 400, 409 (apply) and 422 when the patch does not fit.
pub fn patch(
    target: Target<'_>,
    base: Value,
    patch: &Patch,
    options: &WriteOptions,
    now: Timestamp,
) -> Result<(Value, Vec<String>)> {
    match patch.kind {
        PatchKind::Apply => apply(target, Some(base), &patch.body, options, now),
        _ => Ok((coracle_api::apply_patch(patch, base, target.served.kind.type_of())?, Vec::new())),
    }
}

/// Server-side apply of a configuration; `live` is `None` if apply creates the object. Also gives what is to be warned of.
///
/// # Errors
/// 409 when others own what would change.
pub fn apply(
    target: Target<'_>,
    live: Option<Value>,
    applied: &Value,
    options: &WriteOptions,
    now: Timestamp,
) -> Result<(Value, Vec<String>)> {
    let kind = &target.served.kind;
    let (applied, warnings) = conform(kind, applied, options.field_validation)?;
    let conflict = if options.force { OnConflict::Take } else { OnConflict::Refuse };
    let writer = Writer { manager: &options.field_manager, subresource: target.subresource, time: now };
    let merged = managed::apply(live, applied, writer, conflict, kind.type_of())?;
    Ok((merged, warnings))
}

/// Notes in `new` who changed what since `old`.
pub fn track(target: Target<'_>, old: Option<&Value>, new: &mut Value, options: &WriteOptions, now: Timestamp) {
    let writer = Writer { manager: &options.field_manager, subresource: target.subresource, time: now };
    managed::track_update(old, new, writer, target.served.kind.storage().type_of());
}

/// Applies a patch to a Scale.
///
/// # Errors
/// As [`patch`].
pub fn patch_scale(scale: Value, patch: &Patch) -> Result<Value> {
    match patch.kind {
        // a Scale keeps no books of its own: applying one sets its count
        PatchKind::Apply => Ok(coracle_api::patch::merge(scale, &patch.body)),
        _ => coracle_api::apply_patch(patch, scale, Schema::builtin().type_of("autoscaling", "v1", "Scale")),
    }
}

/// The body of a patch.
///
/// # Errors
/// 400 when it is no JSON (or, for apply, no YAML).
pub fn patch_body(kind: PatchKind, bytes: &[u8]) -> Result<Value> {
    if kind == PatchKind::Apply {
        return body(None, bytes, Media::Yaml, FieldValidation::Ignore).map(|(value, _)| value);
    }
    serde_json::from_slice(bytes).map_err(|e| Status::bad_request(format!("error decoding patch: {e}")))
}
