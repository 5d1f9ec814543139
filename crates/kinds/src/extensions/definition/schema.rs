//! The schemas of a definition: what OpenAPI v3 in Kubernetes has, what extensions may stand where, whether defaults are valid.
//!
//! Whether a schema is structural is `coracle_structural`'s to say.

use super::defaults;
use crate::column::items;
use coracle_api::{FieldError, Path};
use coracle_structural::{Additional, Place, Schema, Unsupported, structural_errors};
use serde_json::{Value, json};

const TYPES: [&str; 6] = ["array", "boolean", "integer", "number", "object", "string"];
pub(super) const META: [&str; 3] = ["apiVersion", "kind", "metadata"];
/// What may stand at the root when `status` is a subresource: it must still hold when the status is taken out.
const AT_ROOT: [&str; 22] = [
    "Description",
    "Type",
    "Format",
    "Title",
    "Maximum",
    "ExclusiveMaximum",
    "Minimum",
    "ExclusiveMinimum",
    "MaxLength",
    "MinLength",
    "Pattern",
    "MaxItems",
    "MinItems",
    "UniqueItems",
    "MultipleOf",
    "Required",
    "Items",
    "Properties",
    "ExternalDocs",
    "Example",
    "XPreserveUnknownFields",
    "XValidations",
];

/// What is wrong with the schema of a version (`schema`, with its `openAPIV3Schema`).
pub fn errors(given: &Value, status: bool, old: Option<&Value>, path: &Path) -> Vec<FieldError> {
    let value = &given["openAPIV3Schema"];
    if value.is_null() {
        return Vec::new();
    }
    let place = path.field("openAPIV3Schema");
    let schema = Schema::parse(value);
    let mut errors = Vec::new();
    if status {
        errors.extend(root_errors(value, &schema, path));
    }
    if schema.nullable {
        errors
            .push(FieldError::forbidden(path.field("openAPIV3Schema.nullable"), "nullable cannot be true at the root"));
    }
    let before = old.map(Before::of).unwrap_or_default();
    if !before.not_structural {
        let found = structural_errors(&schema, &place.to_string());
        if found.is_empty() {
            errors.extend(defaults::errors(&schema, value, &place));
        }
        errors.extend(found);
    }
    let context = Inside { defaults: Ok(()), meta: false, root: true };
    props(&schema, &Place::At(&place.to_string()), &context, &before, &mut errors);
    // rules see values through the schema, so that has to be sound first; what was accepted once stays so
    if errors.is_empty()
        && !before.schemas.contains(value)
        && let Some(rules) = coracle_cel::rules::Rules::compile(value)
    {
        errors.extend(rules.check(&place));
    }
    errors
}

/// What an update need not put right because it was wrong before.
#[derive(Default)]
struct Before {
    not_structural: bool,
    odd_types: bool,
    odd_sets: bool,
    odd_keys: bool,
    schemas: Vec<Value>,
}

impl Before {
    fn of(old: &Value) -> Self {
        let mut before = Self::default();
        for version in items(&old["spec"]["versions"]) {
            let given = &version["schema"]["openAPIV3Schema"];
            if given.is_null() {
                continue;
            }
            let schema = Schema::parse(given);
            before.schemas.push(given.clone());
            before.not_structural |= !structural_errors(&schema, "").is_empty();
            before.odd_types |= schema.any(&mut |s| !s.kind.is_empty() && !TYPES.contains(&s.kind.as_str()));
            before.odd_sets |= schema.any(&mut |s| set_of_parts(s).is_some());
            before.odd_keys |= schema.any(&mut |s| {
                let mut errors = Vec::new();
                unique_items(s, &Place::Root, &mut errors);
                !errors.is_empty()
            });
        }
        before
    }
}

fn root_errors(value: &Value, schema: &Schema, path: &Path) -> Option<FieldError> {
    for (name, given) in value.as_object()? {
        let empty = match given {
            Value::Null | Value::Bool(false) => true,
            Value::String(s) => s.is_empty(),
            Value::Array(list) => list.is_empty(),
            Value::Object(map) => map.is_empty(),
            _ => false,
        };
        if empty {
            continue;
        }
        if name == "type" {
            if schema.kind != "object" {
                let why = "only \"object\" is allowed as the type at the root of the schema if the status subresource is enabled";
                return Some(FieldError::invalid(path.field("openAPIV3Schema.type"), schema.kind.as_str(), why));
            }
            continue;
        }
        // the names of Go's fields
        let field = match name.strip_prefix("x-kubernetes-") {
            Some(rest) => format!("X{}", rest.split('-').map(capital).collect::<String>()),
            None => capital(name),
        };
        if !AT_ROOT.contains(&field.as_str()) {
            let why = format!(
                "only [{}] fields are allowed at the root of the schema if the status subresource is enabled",
                AT_ROOT.join(" ")
            );
            return Some(FieldError::invalid(path.field("openAPIV3Schema"), value.clone(), why));
        }
    }
    None
}

fn capital(word: &str) -> String {
    let mut chars = word.chars();
    chars.next().map(|c| c.to_ascii_uppercase().to_string() + chars.as_str()).unwrap_or_default()
}

/// Where in a schema a check is.
#[derive(Clone)]
struct Inside {
    /// Whether there may be defaults, or why not.
    defaults: Result<(), String>,
    /// Within the metadata of a resource.
    meta: bool,
    root: bool,
}

fn props(s: &Schema, at: &Place<'_>, context: &Inside, before: &Before, errors: &mut Vec<FieldError>) {
    standard(s, at, context, before, errors);
    let below = Inside { root: false, ..context.clone() };
    if let Some(additional) = &s.additional {
        let place = at.field("additionalProperties");
        if !s.properties.is_empty() && !matches!(additional, Additional::Any(true)) {
            errors.push(FieldError::forbidden(place, "additionalProperties and properties are mutual exclusive"));
        }
        if let Additional::Schema(schema) = additional {
            let mut below = below.clone();
            if context.meta {
                below.defaults = Err(" inside additionalProperties applying to object metadata".into());
            }
            props(schema, &place, &below, before, errors);
        }
    }
    let properties = at.field("properties");
    for (name, property) in &s.properties {
        let mut below = below.clone();
        if (context.root || s.embedded) && META.contains(&name.as_str()) {
            below.meta = true;
            if context.root {
                below.defaults = Err(format!(" in top-level {name}"));
            }
        }
        props(property, &properties.key(name), &below, before, errors);
    }
    if let Some(not) = &s.not {
        props(not, &at.field("not"), &below, before, errors);
    }
    for (junctor, list) in [("allOf", &s.all_of), ("oneOf", &s.one_of), ("anyOf", &s.any_of)] {
        let place = at.field(junctor);
        list.iter().enumerate().for_each(|(i, branch)| props(branch, &place.index(i), &below, before, errors));
    }
    if let Some(items) = &s.items {
        props(items, &at.field("items"), &below, before, errors);
    }
    if s.preserve_unknown == Some(false) {
        let place = at.field("x-kubernetes-preserve-unknown-fields");
        errors.push(FieldError::invalid(place, false, "must be true or undefined"));
    }
    topology(s, at, before, errors);
    if !before.odd_keys {
        unique_items(s, at, errors);
    }
}

/// What OpenAPI v3 in Kubernetes leaves out.
fn standard(s: &Schema, at: &Place<'_>, context: &Inside, before: &Before, errors: &mut Vec<FieldError>) {
    if !before.odd_types && !s.kind.is_empty() && !TYPES.contains(&s.kind.as_str()) {
        errors.push(FieldError::not_supported(at.field("type"), s.kind.as_str(), &TYPES));
    }
    if let (Some(_), Err(reason)) = (&s.default, &context.defaults) {
        errors.push(FieldError::forbidden(at.field("default"), format!("must not be set{reason}")));
    }
    for part in &s.unsupported {
        let why = match part {
            Unsupported::ItemsList => "items must be a schema object and not an array".into(),
            other => format!("{} is not supported", other.field()),
        };
        errors.push(FieldError::forbidden(at.field(part.field()), why));
    }
    if s.kind == "null" {
        let why = "type cannot be set to null, use nullable as an alternative";
        errors.push(FieldError::forbidden(at.field("type"), why));
    }
    if context.meta && s.embedded {
        let why = "must not be used inside of resource meta";
        errors.push(FieldError::forbidden(at.field("x-kubernetes-embedded-resource"), why));
    }
    if s.unique_items {
        let why = "uniqueItems cannot be set to true since the runtime complexity becomes quadratic";
        errors.push(FieldError::forbidden(at.field("uniqueItems"), why));
    }
}

/// The field of a set's items that should say that they are single values.
fn set_of_parts(s: &Schema) -> Option<&'static str> {
    let item = s.items.as_ref().filter(|_| s.kind == "array" && s.list_type.as_deref() == Some("set"))?;
    match item.kind.as_str() {
        "array" if item.list_type.as_deref().is_some_and(|t| t != "atomic") => Some("x-kubernetes-list-type"),
        "object" if item.map_type.as_deref() != Some("atomic") => Some("x-kubernetes-map-type"),
        _ => None,
    }
}

/// List types, map types and keys: what they may stand on.
fn topology(s: &Schema, at: &Place<'_>, before: &Before, errors: &mut Vec<FieldError>) {
    let wanted = |kind: &str, extension: &str| {
        let why = format!("must be {kind} if {extension} is specified");
        match s.kind.as_str() {
            "" => FieldError::required(at.field("type"), why),
            other => FieldError::invalid(at.field("type"), other, why),
        }
    };
    if let Some(map_type) = s.map_type.as_deref() {
        if s.kind != "object" {
            errors.push(wanted("object", "x-kubernetes-map-type"));
        }
        if !matches!(map_type, "atomic" | "granular") {
            let place = at.field("x-kubernetes-map-type");
            errors.push(FieldError::not_supported(place, map_type, &["atomic", "granular"]));
        }
    }
    let place = at.field("x-kubernetes-list-type");
    if let Some(list_type) = s.list_type.as_deref() {
        if s.kind != "array" {
            errors.push(wanted("array", "x-kubernetes-list-type"));
        } else if let Some(field) = set_of_parts(s).filter(|_| !before.odd_sets) {
            let given = s.items.as_ref().and_then(|i| i.list_type.clone());
            let why = "must be atomic as item of a list with x-kubernetes-list-type=set";
            errors.push(FieldError::invalid(at.field("items").field(field), json!(given), why));
        }
        if !matches!(list_type, "atomic" | "set" | "map") {
            errors.push(FieldError::not_supported(place, list_type, &["atomic", "set", "map"]));
        }
    }
    if !s.list_keys.is_empty() && s.list_type.as_deref() != Some("map") {
        let why = "must be map if x-kubernetes-list-map-keys is non-empty";
        errors.push(match &s.list_type {
            None => FieldError::required(place, why),
            Some(other) => FieldError::invalid(place, other.as_str(), why),
        });
    }
    if s.list_type.as_deref() == Some("map") {
        keys(s, at, errors);
    }
}

fn keys(s: &Schema, at: &Place<'_>, errors: &mut Vec<FieldError>) {
    let place = at.field("x-kubernetes-list-map-keys");
    if s.list_keys.is_empty() {
        errors.push(FieldError::required(place, "must not be empty if x-kubernetes-list-type is map"));
    }
    let items_at = at.field("items");
    let Some(item) = &s.items else {
        errors.push(FieldError::required(items_at, "must have a schema if x-kubernetes-list-type is map"));
        return;
    };
    if item.kind != "object" {
        let why = "must be object if parent array's x-kubernetes-list-type is map";
        errors.push(FieldError::invalid(items_at.field("type"), item.kind.as_str(), why));
        return;
    }
    for (i, key) in s.list_keys.iter().enumerate() {
        match item.properties.get(key) {
            None => {
                let why = "entries must all be names of item properties";
                errors.push(FieldError::invalid(place, json!(s.list_keys), why));
            }
            Some(property) if matches!(property.kind.as_str(), "array" | "object") => {
                let properties = items_at.field("properties");
                let property = properties.key(key);
                let why = "must be a scalar type if parent array's x-kubernetes-list-type is map";
                errors.push(FieldError::invalid(property.field("type"), item.kind.as_str(), why));
            }
            Some(_) => {}
        }
        if s.list_keys[..i].contains(key) {
            errors.push(FieldError::invalid(place, json!(s.list_keys), "must not contain duplicate entries"));
        }
    }
}

/// Items of sets and maps must be there, and keys must have a value.
fn unique_items(s: &Schema, at: &Place<'_>, errors: &mut Vec<FieldError>) {
    let (Some(item), Some(list_type @ ("set" | "map"))) = (&s.items, s.list_type.as_deref()) else { return };
    let items_at = at.field("items");
    if item.nullable {
        let why = format!("cannot be nullable when x-kubernetes-list-type is {list_type}");
        errors.push(FieldError::forbidden(items_at.field("nullable"), why));
    }
    if list_type != "map" {
        return;
    }
    let properties = items_at.field("properties");
    for key in &s.list_keys {
        let Some(property) = item.properties.get(key) else { continue };
        let place = properties.key(key);
        if !item.required.contains(key) && property.default.is_none() {
            let why =
                "this property is in x-kubernetes-list-map-keys, so it must have a default or be a required property";
            errors.push(FieldError::required(place.field("default"), why));
        }
        if property.nullable {
            let why = "this property is in x-kubernetes-list-map-keys, so it cannot be nullable";
            errors.push(FieldError::forbidden(place.field("nullable"), why));
        }
    }
}

/// The schema of the field that a path such as `.spec.a['b']` names.
///
/// # Errors
/// Why it names none.
pub fn follow<'s>(schema: &'s Schema, path: &str) -> Result<&'s Schema, String> {
    let mut current = schema;
    let mut rest = path;
    if rest.is_empty() {
        return Err("unexpected end of JSON path".into());
    }
    while !rest.is_empty() {
        let (name, quoted, after) = if let Some(inner) = rest.strip_prefix("['") {
            let end = inner.find("']").ok_or("unterminated string")?;
            (inner[..end].to_string(), true, &inner[end + 2..])
        } else if let Some(inner) = rest.strip_prefix('.') {
            let end = inner.find(['.', '[']).unwrap_or(inner.len());
            (inner[..end].to_string(), false, &inner[end..])
        } else {
            return Err(format!("expected [ or . but got: {rest}"));
        };
        if name.is_empty() {
            return Err("unexpected end of JSON path".into());
        }
        current = match (current.properties.get(&name), current.entry()) {
            (Some(property), _) => property,
            (None, Some(entry)) if quoted => entry,
            (None, Some(_)) => return Err("does not refer to a valid field".into()),
            (None, None) => return Err("does not refer to a valid field".into()),
        };
        rest = after;
    }
    Ok(current)
}
