//! Whether a schema is structural: every field's type is said once, outside of the branches that only restrict values.

use crate::{
    place::Place,
    schema::{Additional, Schema},
};
use coracle_api::FieldError;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Level {
    Root,
    Item,
    Field,
}

/// What keeps a schema from being structural, sorted by text; `at` is where it stands in its definition.
pub fn structural_errors(schema: &Schema, at: &str) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let place = Place::At(at);
    invariants(schema, Level::Root, place, &mut errors);
    for (branch, name) in branches(schema) {
        complete(branch, Some(schema), &place, &name.at(&place), &mut errors);
    }
    errors.sort_by_key(ToString::to_string);
    errors
}

/// Where a branch stands below its schema.
#[derive(Clone, Copy)]
struct Branch {
    junctor: &'static str,
    index: Option<usize>,
}

impl Branch {
    fn at(self, place: &Place<'_>) -> String {
        match self.index {
            Some(index) => format!("{place}.{}[{index}]", self.junctor),
            None => format!("{place}.{}", self.junctor),
        }
    }
}

fn branches(schema: &Schema) -> Vec<(&Schema, Branch)> {
    let not = schema.not.iter().map(|s| (&**s, Branch { junctor: "not", index: None }));
    let lists = [("allOf", &schema.all_of), ("anyOf", &schema.any_of), ("oneOf", &schema.one_of)];
    let listed = lists
        .into_iter()
        .flat_map(|(junctor, list)| list.iter().enumerate().map(move |(i, s)| (s, Branch { junctor, index: Some(i) })));
    not.chain(listed).collect()
}

fn invariants(s: &Schema, level: Level, at: Place<'_>, errors: &mut Vec<FieldError>) {
    if s.kind == "array" && s.items.is_none() {
        errors.push(FieldError::required(at.field("items"), "must be specified"));
    }
    if let Some(items) = &s.items {
        invariants(items, Level::Item, at.field("items"), errors);
    }
    let properties = at.field("properties");
    for (name, property) in &s.properties {
        invariants(property, Level::Field, properties.key(name), errors);
    }
    if let Some(additional) = &s.additional {
        if level == Level::Root {
            errors.push(FieldError::forbidden(at.field("additionalProperties"), "must not be used at the root"));
        }
        if let Additional::Schema(schema) = additional {
            invariants(schema, Level::Field, at.field("additionalProperties"), errors);
        }
    }
    extensions(s, &at, errors);
    let (skip_any, skip_first) =
        (is_int_or_string(&s.any_of), s.all_of.first().is_some_and(|a| is_int_or_string(&a.any_of)));
    restrictions(s, skip_any, skip_first, &at, errors);
    kind(s, level, &at, errors);
    resource(s, level, &at, errors);
}

fn extensions(s: &Schema, at: &Place<'_>, errors: &mut Vec<FieldError>) {
    const WHY: &str = "must be false if x-kubernetes-int-or-string is true";
    if s.int_or_string && s.preserves_unknown() {
        errors.push(FieldError::invalid(at.field("x-kubernetes-preserve-unknown-fields"), true, WHY));
    }
    if s.int_or_string && s.embedded {
        errors.push(FieldError::invalid(at.field("x-kubernetes-embedded-resource"), true, WHY));
    }
}

fn kind(s: &Schema, level: Level, at: &Place<'_>, errors: &mut Vec<FieldError>) {
    let place = at.field("type");
    if s.embedded && s.kind != "object" {
        const WHY: &str = "must be object if x-kubernetes-embedded-resource is true";
        errors.push(match s.kind.as_str() {
            "" => FieldError::required(place, WHY),
            other => FieldError::invalid(place, other, WHY),
        });
    } else if s.kind.is_empty() && !s.int_or_string && !s.preserves_unknown() {
        let why = match level {
            Level::Root => "must not be empty at the root",
            Level::Item => "must not be empty for specified array items",
            Level::Field => "must not be empty for specified object fields",
        };
        errors.push(FieldError::required(place, why));
    }
    if s.embedded && s.additional.is_some() {
        let why = "must not be used if x-kubernetes-embedded-resource is set";
        errors.push(FieldError::forbidden(at.field("additionalProperties"), why));
    }
    if level == Level::Root && !s.kind.is_empty() && s.kind != "object" {
        errors.push(FieldError::invalid(place, s.kind.as_str(), "must be object at the root"));
    }
}

/// What a schema may say of the parts that every resource has.
fn resource(s: &Schema, level: Level, at: &Place<'_>, errors: &mut Vec<FieldError>) {
    let is_resource = level == Level::Root || s.embedded;
    let properties = at.field("properties");
    for name in ["kind", "apiVersion"] {
        if let Some(property) = s.properties.get(name).filter(|p| is_resource && p.kind != "string") {
            let place = properties.key(name);
            errors.push(FieldError::invalid(place.field("type"), property.kind.as_str(), "must be string"));
        }
    }
    if let Some(metadata) = s.properties.get("metadata") {
        let place = properties.key("metadata");
        if is_resource && metadata.kind != "object" {
            errors.push(FieldError::invalid(place.field("type"), metadata.kind.as_str(), "must be object"));
        }
        if level == Level::Root && !blank_metadata(metadata) {
            let why =
                "must not specify anything other than name and generateName, but metadata is implicitly specified";
            errors.push(FieldError::forbidden(place, why));
        }
    }
    if s.embedded && !s.preserves_unknown() && s.properties.is_empty() {
        let why =
            "must not be empty if x-kubernetes-embedded-resource is true without x-kubernetes-preserve-unknown-fields";
        errors.push(FieldError::required(properties, why));
    }
}

/// Whether a schema of metadata says nothing beyond its type and restrictions of `name` and `generateName`.
pub fn blank_metadata(metadata: &Schema) -> bool {
    let names = metadata.properties.keys().all(|name| name == "name" || name == "generateName");
    let rest = Schema { kind: String::new(), default: None, properties: Default::default(), ..metadata.clone() };
    names && rest == Schema::default()
}

/// The one way to say "integer or string" in branches.
fn is_int_or_string(any_of: &[Schema]) -> bool {
    let only = |kind: &str| Schema { kind: kind.into(), ..Schema::default() };
    matches!(any_of, [first, second] if *first == only("integer") && *second == only("string"))
}

fn restrictions(s: &Schema, skip_any: bool, skip_first: bool, at: &Place<'_>, errors: &mut Vec<FieldError>) {
    for (branch, name) in branches(s) {
        if name.junctor == "anyOf" && skip_any {
            continue;
        }
        let skip = name.junctor == "allOf" && name.index == Some(0) && skip_first;
        nested(branch, skip, Place::At(&name.at(at)), errors);
    }
    if let Some((pattern, why)) = s.pattern.as_ref().and_then(|p| Some((p.text(), p.error()?))) {
        let why = format!("must be a valid regular expression, but isn't: {why}");
        errors.push(FieldError::invalid(at.field("pattern"), pattern, why));
    }
}

/// A branch restricts values; it must not describe them.
fn nested(v: &Schema, skip_any: bool, at: Place<'_>, errors: &mut Vec<FieldError>) {
    restrictions(v, skip_any, false, &at, errors);
    if let Some(items) = &v.items {
        nested(items, false, at.field("items"), errors);
    }
    let properties = at.field("properties");
    for (name, property) in &v.properties {
        nested(property, false, properties.key(name), errors);
    }
    let additional = !matches!(v.additional, None | Some(Additional::Any(false)));
    for (field, given, what) in [
        ("type", !v.kind.is_empty(), "empty"),
        ("additionalProperties", additional, "undefined"),
        ("default", v.default.is_some(), "undefined"),
        ("title", !v.title.is_empty(), "empty"),
        ("description", !v.description.is_empty(), "empty"),
        ("nullable", v.nullable, "false"),
        ("x-kubernetes-preserve-unknown-fields", v.preserves_unknown(), "false"),
        ("x-kubernetes-embedded-resource", v.embedded, "false"),
        ("x-kubernetes-int-or-string", v.int_or_string, "false"),
        ("x-kubernetes-list-map-keys", !v.list_keys.is_empty(), "empty"),
        ("x-kubernetes-list-type", v.list_type.is_some(), "undefined"),
        ("x-kubernetes-map-type", v.map_type.is_some(), "undefined"),
        ("x-kubernetes-validations", !v.rules.is_empty(), "empty"),
    ] {
        if given {
            errors.push(FieldError::forbidden(at.field(field), format!("must be {what} to be structural")));
        }
    }
    if v.properties.contains_key("metadata") {
        errors.push(FieldError::forbidden(properties.key("metadata"), "must not be specified in a nested context"));
    }
}

/// Everything a branch speaks of must be there outside of branches. `at` is the place of `s`, `told` that of the branch.
fn complete(v: &Schema, s: Option<&Schema>, at: &Place<'_>, told: &str, errors: &mut Vec<FieldError>) {
    let Some(s) = s else {
        errors.push(FieldError::required(at, format!("because it is defined in {told}")));
        return;
    };
    for (branch, name) in branches(v) {
        complete(branch, Some(s), at, &name.at(&Place::At(told)), errors);
    }
    if let Some(items) = &v.items {
        complete(items, s.items.as_deref(), &at.field("items"), &format!("{told}.items"), errors);
    }
    let properties = at.field("properties");
    for (name, property) in &v.properties {
        let told = format!("{told}.properties[{name}]");
        complete(property, s.properties.get(name), &properties.key(name), &told, errors);
    }
}
