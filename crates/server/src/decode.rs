//! From a request body to a value of the right shape: unknown fields dropped (and told), wrong types refused.

use crate::books::Books;
use coracle_api::{
    FieldError, Media, Patch, PatchKind, Resource, Result, Schema, Status, go,
    options::FieldValidation,
    patch, protobuf,
    schema::{self, Shape, Type},
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

/// Drops what the schema of a custom resource does not know, and tells it.
fn fit_custom(of: &CustomType, mut value: Value) -> Result<(Value, Vec<String>), String> {
    coracle_structural::whole_numbers(&mut value);
    let mut unknown =
        coracle_structural::coerce(&mut value, &of.schema, Malformed::Refuse).map_err(|error| error.to_string())?;
    unknown.extend(coracle_structural::prune(&mut value, &of.schema));
    Ok((value, unknown.into_iter().map(|path| format!("unknown field {path:?}")).collect()))
}

/// A value of a custom resource, of whose text `found` was found before.
fn custom(
    kind: &Kind,
    of: &CustomType,
    value: Value,
    mut found: Vec<String>,
    validation: FieldValidation,
) -> Result<(Value, Vec<String>)> {
    let (name, version) = (&kind.resource.kind, &kind.resource.version);
    let refuse = |why: String| {
        Err(Status::bad_request(format!("{name} in version {version:?} cannot be handled as a {name}: {why}")))
    };
    let value = match fit_custom(of, value) {
        Ok((value, unknown)) => {
            found.extend(unknown);
            value
        }
        Err(error) => return refuse(error),
    };
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
    let fitted = match of {
        Some(of) => schema::decode::fit(&patched, Shape::Object(of)),
        None => Ok((patched.clone(), Vec::new())),
    };
    self::patched(fitted, &patched, patch, validation)
}

/// A patch from the body of a request.
///
/// # Errors
/// 400 when it is no JSON (or, for apply, no YAML).
pub fn patch_body(kind: PatchKind, bytes: &[u8]) -> Result<Patch> {
    let (json, faults) = if kind == PatchKind::Apply {
        schema::yaml::read(bytes).map_err(|e| Status::bad_request(format!("error encoding patch: {e}")))?
    } else {
        (bytes.to_vec(), Vec::new())
    };
    let body: Value = serde_json::from_slice(&json).map_err(|_| Status::bad_request("invalid JSON patch"))?;
    if kind == PatchKind::Apply && !body.is_object() {
        let why =
            format!("cannot unmarshal {} into Go value of type map[string]interface {{}}", patch::json_kind(&body));
        return Err(Status::bad_request(format!("error decoding patch: error unmarshaling JSON: json: {why}")));
    }
    let faults = match kind {
        PatchKind::Apply => faults,
        PatchKind::Json => json_patch_faults(&body, bytes),
        PatchKind::Merge | PatchKind::Strategic => schema::decode::duplicates(bytes),
    };
    Ok(Patch { kind, body, faults })
}

fn json_patch_faults(body: &Value, bytes: &[u8]) -> Vec<String> {
    let known = |name: &String| matches!(name.as_str(), "op" | "path" | "from" | "value");
    let operations = body.as_array().into_iter().flatten().enumerate();
    let unknown = operations.flat_map(|(at, operation)| {
        let names = operation.as_object().into_iter().flat_map(|o| o.keys()).filter(|name| !known(name));
        names.map(move |name| format!("unknown field \"[{at}].{name}\"")).collect::<Vec<_>>()
    });
    unknown.chain(schema::decode::duplicates(bytes)).map(|fault| format!("json patch {fault}")).collect()
}

/// Makes the result of a patch of an object what decoding would have made it; also gives what is to be warned of.
///
/// # Errors
/// As [`patched`].
pub fn patched_object(
    kind: &Kind,
    value: &Value,
    patch: &Patch,
    validation: FieldValidation,
) -> Result<(Value, Vec<String>)> {
    let fitted = match (kind.schema.custom(), kind.type_of()) {
        (Some(of), _) => fit_custom(of, value.clone()),
        (None, Some(of)) => schema::decode::fit(value, Shape::Object(of)),
        (None, None) => Ok((value.clone(), Vec::new())),
    };
    patched(fitted, value, patch, validation)
}

/// Judges the result of a patch: `fitted` is what decoding made of it, with its unknown fields, or why that failed.
///
/// # Errors
/// 422 with the patch when its result is no object of the kind, or under strict validation has faults; 400 for apply.
fn patched(
    fitted: Result<(Value, Vec<String>), String>,
    value: &Value,
    patch: &Patch,
    validation: FieldValidation,
) -> Result<(Value, Vec<String>)> {
    let refuse = |why: String| {
        if patch.kind == PatchKind::Apply {
            return Status::bad_request(why);
        }
        let shown = match patch.kind {
            PatchKind::Strategic => go::show(&patch.body),
            _ => value.to_string(),
        };
        let nobody = Resource::fixed("", "", "", "", false);
        Status::invalid(&nobody, "", &[FieldError::invalid("patch", shown, why)])
    };
    let (fitted, unknown) = fitted.map_err(refuse)?;
    let faults: Vec<String> = patch.faults.iter().cloned().chain(unknown).collect();
    match validation {
        FieldValidation::Ignore => Ok((fitted, Vec::new())),
        FieldValidation::Strict if !faults.is_empty() => Err(refuse(match patch.kind {
            PatchKind::Apply => format!(
                "error strict decoding patch: error converting YAML to JSON: yaml: unmarshal errors:\n  {}",
                faults.join("\n  ")
            ),
            _ => format!("strict decoding error: {}", faults.join(", ")),
        })),
        _ => Ok((fitted, faults)),
    }
}
