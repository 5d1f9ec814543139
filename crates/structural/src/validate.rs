//! Values against a schema, with the messages of upstream's validator.
//!
//! An update may leave alone what was wrong before: an error is forgiven if the value it is about, or one around it, is the same as in the
//! old object (upstream's ratcheting). Items of lists are only recognised in lists of type map.

use crate::{
    formats,
    place::Place,
    schema::{Additional, ListType, Schema},
};
use coracle_api::{FieldError, FieldErrorKind};
use serde_json::{Map, Value};
use std::collections::HashMap;

/// What a value is validated as.
#[derive(Clone, Copy, Debug)]
pub enum Validation<'a> {
    /// As new.
    Create,
    /// As the successor of this.
    Update(&'a Value),
}

/// What is wrong with `value`, which stands at `at` in its object.
pub fn validate(value: &Value, schema: &Schema, validation: Validation<'_>, at: &Place<'_>) -> Vec<FieldError> {
    let old = match validation {
        Validation::Create => None,
        Validation::Update(old) => Some(Old { value: old, schema }),
    };
    node(value, schema, old, at).errors
}

/// The value before, with the schema that tells what belongs to what.
#[derive(Clone, Copy)]
struct Old<'a> {
    value: &'a Value,
    schema: &'a Schema,
}

impl<'a> Old<'a> {
    fn field(self, name: &str, at: &Place<'_>) -> Option<Self> {
        // every object is compared in the version of the request, so these two never differ
        if matches!(at, Place::Root) && matches!(name, "apiVersion" | "kind") {
            return None;
        }
        Some(Self { value: self.value.as_object()?.get(name)?, schema: self.schema.child(name)? })
    }

    /// The items of a list by which items of the new one are recognised.
    fn items(self) -> Option<Items<'a>> {
        let schema = (self.schema.list_type() == ListType::Map).then_some(self.schema.items.as_deref()?)?;
        let mut items = Items { of: self.schema, schema, known: HashMap::new() };
        for item in self.value.as_array()? {
            items.known.entry(items.key(item)).or_insert(item);
        }
        Some(items)
    }
}

/// The items of a list of type map, by their keys.
struct Items<'a> {
    of: &'a Schema,
    schema: &'a Schema,
    known: HashMap<String, &'a Value>,
}

impl<'a> Items<'a> {
    fn key(&self, item: &Value) -> String {
        let default = |name: &String| self.schema.properties.get(name).and_then(|property| property.default.as_ref());
        let parts = self.of.list_keys.iter().map(|name| item.get(name).or_else(|| default(name)));
        parts.map(|part| part.map_or_else(|| "none".into(), Value::to_string) + "\n").collect()
    }

    fn earlier(&self, new: &Value) -> Option<Old<'a>> {
        Some(Old { value: self.known.get(&self.key(new))?, schema: self.schema })
    }
}

/// What a check found, and how many checks were made: of several branches that fail, the one that got furthest explains.
#[derive(Default)]
struct Findings {
    errors: Vec<FieldError>,
    checks: usize,
}

impl Findings {
    fn merge(&mut self, other: Self) {
        self.errors.extend(other.errors);
        self.checks += other.checks;
    }

    fn is_valid(&self) -> bool {
        self.errors.is_empty()
    }

    fn push(&mut self, kind: FieldErrorKind, at: &Place<'_>, detail: impl Into<String>) {
        self.errors.push(FieldError::new(at.path(), kind, detail.into()));
    }

    fn invalid(&mut self, value: &Value, at: &Place<'_>, what: &str) {
        self.push(FieldErrorKind::Invalid(value.clone()), at, format!("{at} in body {what}"));
    }

    /// An error of a branch is no error of a field.
    fn branch(&mut self, at: &Place<'_>, what: &str) {
        let detail = format!("\"{at}\" must {what}");
        self.errors.push(FieldError::new("<nil>", FieldErrorKind::Invalid("".into()), detail));
    }
}

fn node(value: &Value, schema: &Schema, old: Option<Old<'_>>, at: &Place<'_>) -> Findings {
    let found = plain(value, schema, old, at);
    if !found.is_valid() && old.is_some_and(|old| old.value == value) {
        return Findings { errors: Vec::new(), checks: found.checks };
    }
    found
}

fn plain(value: &Value, schema: &Schema, old: Option<Old<'_>>, at: &Place<'_>) -> Findings {
    let mut found = Findings::default();
    if let Some((wanted, is)) = wrong_type(value, schema) {
        let detail = format!("{at} in body must be of type {wanted}: {is:?}");
        found.push(FieldErrorKind::TypeInvalid(is.into()), at, detail);
    }
    found.checks += 1;
    if !value.is_null() {
        branches(value, schema, old, at, &mut found);
        found.checks += 1;
        match value {
            Value::String(text) => string(text, value, schema, at, &mut found),
            Value::Number(_) => number(value, schema, at, &mut found),
            Value::Array(list) => array(list, schema, old, at, &mut found),
            Value::Object(map) => object(map, schema, old, at, &mut found),
            Value::Bool(_) | Value::Null => {}
        }
    }
    if !schema.choices.is_empty() && !schema.choices.iter().any(|c| equal(c, value)) {
        let choices = schema.choices.iter().map(|c| c.as_str().map_or_else(|| c.to_string(), String::from)).collect();
        found.push(FieldErrorKind::NotSupported(value.clone(), choices), at, "");
    }
    found.checks += 1;
    found
}

/// (wanted, found), in the words of the validator.
fn wrong_type(value: &Value, schema: &Schema) -> Option<(String, &'static str)> {
    let wanted: &[&str] = match (schema.int_or_string, schema.kind.as_str()) {
        (true, _) => &["integer", "string"],
        (false, "") => return None,
        (false, kind) => &[kind],
    };
    let (is, format) = match value {
        Value::Null if schema.nullable => return None,
        Value::Null => return Some((wanted.join(","), "null")),
        Value::Bool(_) => ("boolean", ""),
        Value::String(_) => ("string", ""),
        Value::Array(_) => ("array", ""),
        Value::Object(_) => ("object", ""),
        Value::Number(n) if n.is_f64() && n.as_f64().is_some_and(|f| f.fract() != 0.0) => ("number", "double"),
        Value::Number(_) => ("integer", "int64"),
    };
    let numeric = wanted.iter().any(|w| matches!(*w, "number" | "integer"));
    let fits = wanted.contains(&is) || (is == "integer" && wanted.contains(&"number"));
    let checked = formats::is_known(&schema.kind, &schema.format);
    let texts = matches!(value, Value::String(_) | Value::Array(_));
    match () {
        // as upstream: whatever could be text and has a format is left to the format
        () if fits || (!numeric && checked && texts) => None,
        () if checked && !texts => Some((schema.format.clone(), if format.is_empty() { is } else { format })),
        () => Some((wanted.join(","), is)),
    }
}

fn branches(value: &Value, schema: &Schema, old: Option<Old<'_>>, at: &Place<'_>, found: &mut Findings) {
    let run = |branch: &Schema| plain(value, branch, old, at);
    if !schema.any_of.is_empty() {
        let mut best: Option<Findings> = None;
        let fits = schema.any_of.iter().any(|branch| {
            let result = run(branch);
            let fits = result.is_valid();
            if best.as_ref().is_none_or(|b| result.checks > b.checks) {
                best = Some(result);
            }
            fits
        });
        if !fits {
            found.branch(at, "validate at least one schema (anyOf)");
            found.merge(best.unwrap_or_default());
        }
    }
    if !schema.one_of.is_empty() {
        one_of(schema.one_of.iter().map(run), at, found);
    }
    if !schema.all_of.is_empty() {
        let mut fit = 0;
        for branch in &schema.all_of {
            let result = run(branch);
            fit += usize::from(result.is_valid());
            found.merge(result);
        }
        if fit != schema.all_of.len() {
            let none = if fit == 0 { ". None validated" } else { "" };
            found.branch(at, &format!("validate all the schemas (allOf){none}"));
        }
    }
    if schema.not.as_ref().is_some_and(|branch| run(branch).is_valid()) {
        found.branch(at, "not validate the schema (not)");
    }
}

fn one_of(results: impl Iterator<Item = Findings>, at: &Place<'_>, found: &mut Findings) {
    let mut best: Option<Findings> = None;
    let mut fit = 0;
    for result in results {
        if result.is_valid() {
            fit += 1;
            best = None;
        } else if fit == 0 && best.as_ref().is_none_or(|b| result.checks > b.checks) {
            best = Some(result);
        }
    }
    if fit != 1 {
        let how = if fit == 0 { "Found none valid".to_string() } else { format!("Found {fit} valid alternatives") };
        found.branch(at, &format!("validate one and only one schema (oneOf). {how}"));
        found.merge(best.unwrap_or_default());
    }
}

fn string(text: &str, value: &Value, schema: &Schema, at: &Place<'_>, found: &mut Findings) {
    let length = i64::try_from(text.chars().count()).unwrap_or(i64::MAX);
    if let Some(most) = schema.max_length.filter(|most| length > *most) {
        found.push(FieldErrorKind::TooLong(usize::try_from(most).unwrap_or(0)), at, "");
    } else if let Some(least) = schema.min_length.filter(|least| length < *least) {
        found.invalid(value, at, &format!("should be at least {least} chars long"));
    } else if let Some(pattern) = schema.pattern.as_ref().filter(|p| !p.matches(text)) {
        found.invalid(value, at, &format!("should match '{}'", pattern.text()));
    }
    found.checks += 1;
    if matches!(schema.kind.as_str(), "" | "string") && !schema.format.is_empty() {
        if !formats::has(&schema.format, text) {
            let detail = format!("{at} in body must be of type {}: {text:?}", schema.format);
            found.push(FieldErrorKind::TypeInvalid(value.clone()), at, detail);
        }
        found.checks += 1;
    }
}

fn number(value: &Value, schema: &Schema, at: &Place<'_>, found: &mut Findings) {
    let Some(number) = value.as_f64() else { return };
    if let Some(factor) = schema.multiple_of.filter(|f| *f > 0.0 && (number / f).fract() != 0.0) {
        found.invalid(value, at, &format!("should be a multiple of {factor}"));
    }
    if let Some(most) = schema.maximum.filter(|most| number > *most || (schema.exclusive_maximum && number == *most)) {
        let than = if schema.exclusive_maximum { "less than" } else { "less than or equal to" };
        found.invalid(value, at, &format!("should be {than} {most}"));
    }
    if let Some(least) = schema.minimum.filter(|l| number < *l || (schema.exclusive_minimum && number == *l)) {
        let than = if schema.exclusive_minimum { "greater than" } else { "greater than or equal to" };
        found.invalid(value, at, &format!("should be {than} {least}"));
    }
    found.checks += 1;
}

fn array(list: &[Value], schema: &Schema, old: Option<Old<'_>>, at: &Place<'_>, found: &mut Findings) {
    if let Some(items) = &schema.items {
        let before = old.and_then(Old::items);
        for (i, inner) in list.iter().enumerate() {
            let old = before.as_ref().and_then(|before| before.earlier(inner));
            found.merge(node(inner, items, old, &at.index(i)));
        }
    }
    let length = i64::try_from(list.len()).unwrap_or(i64::MAX);
    if let Some(least) = schema.min_items.filter(|least| length < *least) {
        found.invalid(&Value::from(length), at, &format!("should have at least {least} items"));
    }
    if let Some(most) = schema.max_items.filter(|most| length > *most) {
        found.push(FieldErrorKind::TooMany(list.len(), usize::try_from(most).unwrap_or(0)), at, "");
    }
    if schema.unique_items && list.iter().enumerate().any(|(i, item)| list[..i].contains(item)) {
        found.invalid(&Value::Array(list.to_vec()), at, "shouldn't contain duplicates");
    }
    found.checks += 1;
}

fn object(map: &Map<String, Value>, schema: &Schema, old: Option<Old<'_>>, at: &Place<'_>, found: &mut Findings) {
    let length = i64::try_from(map.len()).unwrap_or(i64::MAX);
    found.checks += 1;
    if let Some(least) = schema.min_properties.filter(|least| length < *least) {
        found.invalid(&Value::from(length), at, &format!("should have at least {least} properties"));
        return;
    }
    if let Some(most) = schema.max_properties.filter(|most| length > *most) {
        found.push(FieldErrorKind::TooMany(map.len(), usize::try_from(most).unwrap_or(0)), at, "");
        return;
    }
    for (name, inner) in map {
        let place = at.field(name);
        let old = || old.and_then(|old| old.field(name, at));
        match (schema.properties.get(name), &schema.additional) {
            (Some(property), _) => found.merge(node(inner, property, old(), &place)),
            (None, Some(Additional::Schema(entry))) => found.merge(node(inner, entry, old(), &place)),
            (None, Some(Additional::Any(false))) => {
                let detail = format!("{place} in body is a forbidden property");
                found.push(FieldErrorKind::Invalid("".into()), &place, detail);
            }
            (None, _) => {}
        }
    }
    for name in schema.required.iter().filter(|name| !map.contains_key(*name)) {
        found.push(FieldErrorKind::Required, &at.field(name), "");
    }
}

/// Equality of JSON values, where 1 and 1.0 are the same number.
fn equal(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => a == b || a.as_f64() == b.as_f64(),
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| equal(a, b)),
        _ => a == b,
    }
}
