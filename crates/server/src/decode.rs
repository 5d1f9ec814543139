//! From a request body to a value of the right shape: unknown fields dropped (and told), wrong types refused.

use crate::books::Books;
use coracle_api::{
    Media, Patch, PatchKind, Result, Schema, Status,
    options::FieldValidation,
    protobuf,
    schema::{self, Type},
};
use coracle_kinds::{Kind, made::CustomType};
use coracle_structural::Malformed;
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

/// Decodes a body as an object of a custom resource.
///
/// # Errors
/// 400 when it is no object, has metadata of the wrong type or, under strict validation, fields that do not exist.
pub fn object(kind: &Kind, bytes: &[u8], media: Media, validation: FieldValidation) -> Result<(Value, Vec<String>)> {
    let Some(of) = kind.schema.custom() else { return body(kind.type_of(), bytes, media, validation) };
    let (name, version) = (&kind.resource.kind, &kind.resource.version);
    let decoded = schema::decode_untyped(bytes, media, name, version)?;
    custom(kind, of, decoded.value, decoded.warnings, validation)
}

/// Drops what the schema of a custom resource does not know, and tells it; `found` was found before.
fn custom(
    kind: &Kind,
    of: &CustomType,
    mut value: Value,
    mut found: Vec<String>,
    validation: FieldValidation,
) -> Result<(Value, Vec<String>)> {
    let (name, version) = (&kind.resource.kind, &kind.resource.version);
    let refuse = |why: String| {
        Err(Status::bad_request(format!("{name} in version {version:?} cannot be handled as a {name}: {why}")))
    };
    coracle_structural::whole_numbers(&mut value);
    let mut unknown = match coracle_structural::coerce(&mut value, &of.schema, Malformed::Refuse) {
        Ok(unknown) => unknown,
        Err(error) => return refuse(error.to_string()),
    };
    unknown.extend(coracle_structural::prune(&mut value, &of.schema));
    found.extend(unknown.into_iter().map(|path| format!("unknown field {path:?}")));
    match validation {
        FieldValidation::Strict if !found.is_empty() => refuse(format!("strict decoding error: {}", found.join(", "))),
        FieldValidation::Warn => Ok((value, found)),
        _ => Ok((value, Vec::new())),
    }
}

/// Decodes a protobuf body as a type.
///
/// # Errors
/// 400 when it is no such message, 415 for kinds that have no protobuf form.
pub fn protobuf_body(of: Option<Type<'_>>, bytes: &[u8]) -> Result<Value> {
    let of = of.filter(|of| of.is_wired()).ok_or_else(|| {
        let known = "application/json, application/yaml";
        let message = "the body of the request was in an unknown format - accepted media types include";
        Status::new(415, "UnsupportedMediaType", format!("{message}: {known}"))
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
    if let Some(of) = kind.schema.custom() {
        return custom(kind, of, value.clone(), Vec::new(), validation);
    }
    match kind.type_of() {
        Some(of) => schema::decode::conform(value, of, validation).map(|d| (d.value, d.warnings)),
        None => Ok((value.clone(), Vec::new())),
    }
}

/// Applies a patch to the current version of an object; the result still has to be conformed to its kind.
///
/// # Errors
/// 400, 409 (apply) and 422 when the patch does not fit.
pub fn patch(kind: &Kind, books: &Books<'_>, base: Value, patch: &Patch) -> Result<Value> {
    match patch.kind {
        PatchKind::Apply => books.apply(Some(&base), &patch.body),
        _ => coracle_api::apply_patch(patch, base, kind.type_of()),
    }
}

/// Applies a patch to a Scale.
///
/// # Errors
/// As [`patch`].
pub fn patch_scale(
    books: &Books<'_>,
    scale: Value,
    patch: &Patch,
    validation: FieldValidation,
) -> Result<(Value, Vec<String>)> {
    let of = Schema::builtin().type_of("autoscaling", "v1", "Scale");
    let patched = match patch.kind {
        PatchKind::Apply => books.apply_scale(&scale, &patch.body)?,
        _ => coracle_api::apply_patch(patch, scale, of)?,
    };
    match of {
        Some(of) => schema::decode::conform(&patched, of, validation).map(|d| (d.value, d.warnings)),
        None => Ok((patched, Vec::new())),
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
