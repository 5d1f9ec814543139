//! The rules of `metadata` that hold for every kind.
//!
//! Source: apimachinery `api/validation/objectmeta.go`, `registry/rest`.

use super::Target;
use coracle_api::{FieldError, Object, Resource, Result, Schema, Status};
use coracle_kinds::Part;
use jiff::Timestamp;
use rand::Rng;
use serde_json::{Map, Value, json};
use std::collections::HashSet;

/// The characters of generated names: no vowels, nothing that looks like another.
const SUFFIX: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
const SUFFIX_LENGTH: usize = 5;
const MAX_GENERATED_BASE: usize = 63 - SUFFIX_LENGTH;
/// How many names are tried for one `generateName`.
pub const NAMES_TRIED: usize = 8;

/// Checks that a body is an object of the expected kind, in the expected place, and fills in what it may leave out.
///
/// # Errors
/// 400, with upstream's messages.
pub fn place(target: Target<'_>, body: &mut Value) -> Result<()> {
    let resource = &target.served.resource;
    let version = resource.api_version();
    let Some(top) = body.as_object_mut() else {
        return Err(Status::bad_request(
            "the object provided is unrecognized (must be of type Object): not a JSON object",
        ));
    };
    if let Some(status) = mismatch(resource, text(top, "apiVersion"), text(top, "kind")) {
        return Err(status);
    }
    top.insert("apiVersion".into(), json!(version));
    top.insert("kind".into(), json!(resource.kind));
    let metadata = top.entry("metadata").or_insert_with(|| json!({}));
    if metadata.is_null() {
        *metadata = json!({});
    }
    let Some(metadata) = metadata.as_object_mut() else {
        return Err(Status::bad_request("the object's metadata is not a JSON object"));
    };
    let namespace = text(metadata, "namespace");
    if !namespace.is_empty() && namespace != target.namespace {
        return Err(Status::bad_request(
            "the namespace of the provided object does not match the namespace sent on the request",
        ));
    }
    if resource.namespaced {
        if target.namespace.is_empty() {
            return Err(Status::bad_request("an empty namespace may not be set during creation"));
        }
        metadata.insert("namespace".into(), json!(target.namespace));
    } else {
        metadata.remove("namespace");
    }
    Ok(())
}

/// What is wrong with a body that says it is of this version and kind; empty words are left out.
pub fn mismatch(resource: &Resource, version: &str, kind: &str) -> Option<Status> {
    let expected = resource.api_version();
    let (found_version, found_kind) =
        (if version.is_empty() { &*expected } else { version }, if kind.is_empty() { &*resource.kind } else { kind });
    if found_version == expected && found_kind == resource.kind {
        return None;
    }
    let (group, short) = found_version.split_once('/').unwrap_or(("", found_version));
    if short.contains('/') {
        return Some(Status::bad_request(format!("unexpected GroupVersion string: {found_version}")));
    }
    let known = Schema::builtin().type_of(group, short, found_kind).is_some();
    if known && found_kind == resource.kind {
        return Some(Status::bad_request(format!(
            "the API version in the data ({found_version}) does not match the expected API version ({expected})"
        )));
    }
    let package = |group: &str| match group.split('.').next() {
        None | Some("") => "core".to_string(),
        Some(name) => name.to_string(),
    };
    let why = if known {
        let (from, to) = (format!("{short}.{found_kind}"), format!("{}.{}", package(&resource.group), resource.kind));
        format!("converting ({from}) to ({to}): unknown conversion")
    } else {
        let scheme = "pkg/api/legacyscheme/scheme.go:30";
        format!("no kind {found_kind:?} is registered for version {found_version:?} in scheme {scheme:?}")
    };
    let what = format!("{found_kind} in version {short:?} cannot be handled as a {}", resource.kind);
    Some(Status::bad_request(format!("{what}: {why}")))
}

/// A string field of a map; empty if absent.
pub fn text<'a>(map: &'a Map<String, Value>, key: &str) -> &'a str {
    map.get(key).and_then(Value::as_str).unwrap_or_default()
}

/// The metadata of an object that [`place`] has looked at.
pub fn of(object: &mut Value) -> &mut Map<String, Value> {
    let metadata = &mut object["metadata"];
    if !metadata.is_object() {
        *metadata = json!({});
    }
    match metadata {
        Value::Object(map) => map,
        _ => unreachable!("it was made an object above"),
    }
}

/// A name from `generateName`.
pub fn generate(base: &str) -> String {
    let base = &base[..base.floor_char_boundary(MAX_GENERATED_BASE)];
    let mut rng = rand::rng();
    let suffix: String = (0..SUFFIX_LENGTH).map(|_| char::from(SUFFIX[rng.random_range(0..SUFFIX.len())])).collect();
    format!("{base}{suffix}")
}

/// Fills the metadata of an object that is about to be created. What only the system may set is dropped.
pub fn begin(metadata: &mut Map<String, Value>, now: Timestamp) {
    for key in ["deletionTimestamp", "deletionGracePeriodSeconds", "selfLink", "resourceVersion"] {
        metadata.remove(key);
    }
    metadata.insert("uid".into(), json!(uuid::Uuid::new_v4().to_string()));
    metadata.insert("creationTimestamp".into(), json!(now.to_string()));
    drop_empty(metadata);
}

/// What is added to the warning of [`dedup_owners`] behind the plugins that change objects.
pub const AFTER_ADMISSION: &str = " after mutating admission happens";

/// Drops owners that are named twice in the same words, and says so; `when` is added.
pub fn dedup_owners(object: &mut Value, when: &str) -> Option<String> {
    let owners = object["metadata"].get_mut("ownerReferences")?.as_array_mut().filter(|owners| owners.len() > 1)?;
    let mut seen: HashSet<String> = HashSet::with_capacity(owners.len());
    let mut twice: Vec<String> = Vec::new();
    owners.retain(|owner| {
        // keys are sorted, so the same words are the same text
        let fresh = seen.insert(owner.to_string());
        if !fresh {
            twice.push(owner["uid"].as_str().unwrap_or_default().to_string());
        }
        fresh
    });
    let uids = twice.join(", ");
    (!twice.is_empty()).then(|| {
        format!(
            ".metadata.ownerReferences contains duplicate entries{when}; API server dedups owner references in 1.20+, and may reject such requests as early as 1.24; please fix your requests; duplicate UID(s) observed: {uids}"
        )
    })
}

/// Copies from the stored version what an update may not change, and what only the system sets. A deletion that an update of the whole
/// object makes up stays, to be refused.
pub fn carry_over(metadata: &mut Map<String, Value>, old: &Value, part: Part) {
    let old = &old["metadata"];
    for key in [
        "uid",
        "creationTimestamp",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
        "generation",
        "name",
        "namespace",
    ] {
        match (key, old.get(key)) {
            ("deletionGracePeriodSeconds", Some(_)) if part == Part::Main && metadata.contains_key(key) => {}
            (_, Some(value)) => drop(metadata.insert(key.into(), value.clone())),
            ("deletionTimestamp" | "deletionGracePeriodSeconds", None) if part == Part::Main => {}
            (_, None) => drop(metadata.remove(key)),
        }
    }
    metadata.remove("selfLink");
    metadata.remove("resourceVersion");
    drop_empty(metadata);
}

/// Empty maps and lists are left out, as Go's `omitempty` does.
fn drop_empty(metadata: &mut Map<String, Value>) {
    // an empty managedFields is no omission: it closes the books
    for key in ["labels", "annotations", "finalizers", "ownerReferences", "generateName", "namespace"] {
        let empty = match metadata.get(key) {
            Some(Value::Object(map)) => map.is_empty(),
            Some(Value::Array(list)) => list.is_empty(),
            Some(Value::String(text)) => text.is_empty(),
            Some(Value::Null) => true,
            _ => false,
        };
        if empty {
            metadata.remove(key);
        }
    }
}

/// The body of an update names its object.
pub fn nameless(target: Target<'_>) -> Status {
    let message =
        format!("the name of the object ({} based on URL) was undeterminable: name must be provided", target.name);
    Status::bad_request(message)
}

/// The preconditions of an update that stand in the body.
///
/// # Errors
/// 409 when the body was made from another object or another version.
pub fn preconditions(target: Target<'_>, body: &Value, current: &Object) -> Result<()> {
    let metadata = &body["metadata"];
    let name = metadata["name"].as_str().unwrap_or_default();
    if name.is_empty() {
        return Err(nameless(target));
    }
    if name != target.name {
        return Err(Status::bad_request(format!(
            "the name of the object ({name}) does not match the name on the URL ({})",
            target.name
        )));
    }
    match metadata["uid"].as_str() {
        Some(uid) if !uid.is_empty() && uid != current.meta().uid => {
            let why =
                format!("Precondition failed: UID in precondition: {uid}, UID in object meta: {}", current.meta().uid);
            return Err(Status::conflict(&target.served.resource, target.name, why));
        }
        _ => {}
    }
    match metadata["resourceVersion"].as_str() {
        None | Some("" | "0") if target.served.kind.unconditional_update => Ok(()),
        None | Some("" | "0") => {
            let error = FieldError::invalid("metadata.resourceVersion", 0, "must be specified for an update");
            // upstream calls the kind by the resource's name here
            let resource = Resource { kind: target.served.resource.plural.clone(), ..target.served.resource.clone() };
            Err(Status::invalid(&resource, target.name, &[error]))
        }
        Some(version) if version == current.revision().to_string() => Ok(()),
        Some(version) if version.parse::<u64>().is_err() => Err(Status::invalid(
            &target.served.resource,
            target.name,
            &[FieldError::invalid("metadata.resourceVersion", version, "must be an unsigned integer")],
        )),
        Some(_) => Err(target.changed()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn generated_names_fit() {
        let name = generate(&"x".repeat(100));
        assert_eq!(name.len(), 63);
        assert!(generate("web-").starts_with("web-"));
    }
}
