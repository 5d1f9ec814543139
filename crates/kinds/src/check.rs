//! A growing list of field errors: what validation is written in.

use crate::column::{items, string};
use crate::fields::{absent, same};
use coracle_api::{FieldError, FieldErrorKind, Path, Quantity, validation};
use serde_json::{Value, json};
use std::net::IpAddr;

pub const NEGATIVE: &str = "must be greater than or equal to 0";
pub const IMMUTABLE: &str = "field is immutable";

/// Collects what is wrong.
#[derive(Default)]
pub struct Check {
    errors: Vec<FieldError>,
    // what upstream's types declare is reported after what its code finds
    last: Vec<FieldError>,
}

impl Check {
    /// Runs `body` and returns what it found.
    pub fn run(body: impl FnOnce(&mut Self)) -> Vec<FieldError> {
        let mut check = Self::default();
        body(&mut check);
        check.errors.append(&mut check.last);
        check.errors
    }

    /// What `body` finds is reported after everything else: upstream reports what its types declare (`+k8s:required` and the like) after
    /// what its code finds.
    pub fn later<T>(&mut self, body: impl FnOnce(&mut Self) -> T) -> T {
        let mut check = Self::default();
        let result = body(&mut check);
        self.last.append(&mut check.errors);
        self.last.append(&mut check.last);
        result
    }

    /// Adds an error.
    pub fn push(&mut self, error: FieldError) {
        self.errors.push(error);
    }

    /// Adds errors.
    pub fn extend(&mut self, errors: impl IntoIterator<Item = FieldError>) {
        self.errors.extend(errors);
    }

    /// `Required value`.
    pub fn required(&mut self, path: Path, detail: &str) {
        self.push(FieldError::required(path, detail));
    }

    /// `Invalid value`.
    pub fn invalid(&mut self, path: Path, value: &Value, detail: impl std::fmt::Display) {
        self.push(FieldError::invalid(path, value.clone(), detail));
    }

    /// `Forbidden`.
    pub fn forbidden(&mut self, path: Path, detail: &str) {
        self.push(FieldError::forbidden(path, detail));
    }

    /// `Not found`.
    pub fn not_found(&mut self, path: Path, value: &Value) {
        self.push(FieldError::new(path, FieldErrorKind::NotFound(value.clone()), ""));
    }

    /// A given string keeps `rule`.
    pub fn text(&mut self, path: Path, value: &Value, rule: fn(&str) -> Vec<String>) {
        let Some(text) = value.as_str().filter(|s| !s.is_empty()) else { return };
        for message in rule(text) {
            self.invalid(path.clone(), value, message);
        }
    }

    /// A string is given and keeps `rule`.
    pub fn required_text(&mut self, path: Path, value: &Value, rule: fn(&str) -> Vec<String>) {
        if string(value).is_empty() {
            self.required(path, "");
        } else {
            self.text(path, value, rule);
        }
    }

    /// A given string is one of `allowed`.
    pub fn one_of(&mut self, path: Path, value: &Value, allowed: &[&str]) {
        let given = string(value);
        if !given.is_empty() && !allowed.contains(&given) {
            self.push(FieldError::not_supported(path, given, allowed));
        }
    }

    /// A string is given and one of `allowed`.
    pub fn required_one_of(&mut self, path: Path, value: &Value, allowed: &[&str]) {
        if string(value).is_empty() {
            self.required(path, "");
        } else {
            self.one_of(path, value, allowed);
        }
    }

    /// What a rule found wrong with a value.
    pub fn messages(&mut self, path: &Path, value: &Value, messages: impl IntoIterator<Item = String>) {
        for message in messages {
            self.invalid(path.clone(), value, message);
        }
    }

    /// A string keeps `rule`, and no rule lets the empty one pass unseen.
    pub fn word(&mut self, path: &Path, value: &Value, rule: fn(&str) -> Vec<String>) {
        let text = string(value);
        self.messages(path, &json!(text), rule(text));
    }

    /// A given string is one of `allowed`, the empty one too only if it is among them.
    pub fn exactly_one_of(&mut self, path: Path, value: &Value, allowed: &[&str]) {
        if !value.is_null() && !allowed.contains(&string(value)) {
            self.push(FieldError::not_supported(path, string(value), allowed));
        }
    }

    /// `Duplicate value`.
    pub fn duplicate(&mut self, path: Path, value: impl Into<Value>) {
        self.push(FieldError::duplicate(path, value));
    }

    /// A given number lies within bounds.
    pub fn between(&mut self, path: Path, value: &Value, low: i64, high: i64) {
        if value.as_i64().is_some_and(|n| !(low..=high).contains(&n)) {
            self.invalid(path, value, format!("must be between {low} and {high}, inclusive"));
        }
    }

    /// A user's or group's number.
    pub fn id(&mut self, path: Path, value: &Value) {
        self.between(path, value, 0, i64::from(i32::MAX));
    }

    /// A map of labels.
    pub fn labels(&mut self, path: &Path, labels: &Value) {
        self.extend(validation::validate_labels(labels, path));
    }

    /// How many errors there are so far.
    pub fn count(&self) -> usize {
        self.errors.len()
    }

    /// A given number is not negative.
    pub fn not_negative(&mut self, path: Path, value: &Value) {
        if value.as_i64().is_some_and(|n| n < 0) {
            self.invalid(path, value, NEGATIVE);
        }
    }

    /// The fields of `object` are not negative.
    pub fn none_negative(&mut self, path: &Path, object: &Value, fields: &[&str]) {
        for field in fields {
            self.not_negative(path.field(field), &object[*field]);
        }
    }

    /// A port number.
    pub fn port(&mut self, path: Path, value: &Value) {
        for message in validation::port_number(value.as_i64().unwrap_or(0)) {
            self.invalid(path.clone(), value, message);
        }
    }

    /// A port by number or name.
    pub fn port_or_name(&mut self, path: Path, value: &Value) {
        let messages = match value.as_str() {
            Some(name) => validation::port_name(name),
            None => validation::port_number(value.as_i64().unwrap_or(0)),
        };
        for message in messages {
            self.invalid(path.clone(), value, message);
        }
    }

    /// A count or a percentage, not negative.
    pub fn count_or_percent(&mut self, path: Path, value: &Value) {
        match value {
            Value::String(text) => {
                for message in validation::percent(text) {
                    self.invalid(path.clone(), value, message);
                }
            }
            other => self.not_negative(path, other),
        }
    }

    /// A value that did not change.
    pub fn immutable(&mut self, path: Path, new: &Value, old: &Value) {
        if !same(new, old) {
            self.invalid(path, new, IMMUTABLE);
        }
    }

    /// No key is twice in a list.
    pub fn unique(&mut self, path: &Path, list: &Value, key: &str) {
        let mut seen: Vec<&str> = Vec::new();
        for (index, item) in items(list).iter().enumerate() {
            let name = string(&item[key]);
            if !name.is_empty() && seen.contains(&name) {
                self.push(FieldError::duplicate(path.index(index).field(key), name));
            }
            seen.push(name);
        }
    }

    /// A label selector.
    pub fn selector(&mut self, path: &Path, selector: &Value) {
        self.extend(validation::validate_labels(&selector["matchLabels"], &path.field("matchLabels")));
        for (index, term) in items(&selector["matchExpressions"]).iter().enumerate() {
            let path = path.field("matchExpressions").index(index);
            self.expression(&path, term, &["In", "NotIn", "Exists", "DoesNotExist"]);
            self.label_values(&path.field("values"), &term["values"]);
        }
    }

    /// A key, an operator and values.
    pub fn expression(&mut self, path: &Path, term: &Value, operators: &[&str]) {
        let values = items(&term["values"]);
        let at = path.field("values");
        match string(&term["operator"]) {
            "In" | "NotIn" if values.is_empty() => {
                self.required(at, "must be specified when `operator` is 'In' or 'NotIn'");
            }
            "Exists" | "DoesNotExist" if !values.is_empty() => {
                self.forbidden(at, "may not be specified when `operator` is 'Exists' or 'DoesNotExist'");
            }
            "Gt" | "Lt" if values.len() != 1 && operators.contains(&"Gt") => {
                self.required(at, "must be specified single value when `operator` is 'Lt' or 'Gt'");
            }
            operator if !operators.contains(&operator) => {
                self.invalid(path.field("operator"), &json!(operator), "not a valid selector operator");
            }
            _ => {}
        }
        self.word(&path.field("key"), &term["key"], validation::qualified_name);
    }

    /// The values of an expression are those of labels.
    pub fn label_values(&mut self, path: &Path, values: &Value) {
        for (index, value) in items(values).iter().enumerate() {
            self.messages(&path.index(index), value, validation::label_value(string(value)));
        }
    }

    /// A quantity that is not negative; given back if it can be read.
    pub fn amount(&mut self, path: Path, value: &Value) -> Option<Quantity> {
        match string(value).parse::<Quantity>() {
            Ok(amount) if amount.is_negative() => {
                self.invalid(path, value, NEGATIVE);
                None
            }
            Ok(amount) => Some(amount),
            Err(_) => {
                self.invalid(path, value, "must be a quantity");
                None
            }
        }
    }

    /// Exactly one of `fields` is given. Returns it.
    pub fn exactly_one<'a>(
        &mut self,
        path: &Path,
        object: &Value,
        fields: &[&'a str],
        none: &str,
        more: &str,
    ) -> Option<&'a str> {
        let given: Vec<&str> = fields.iter().copied().filter(|f| !object[*f].is_null()).collect();
        if given.is_empty() {
            self.required(path.clone(), none);
        }
        for field in given.iter().skip(1) {
            self.forbidden(path.field(field), more);
        }
        given.first().copied()
    }
}

/// Whether texts are addresses of both families.
pub fn dual_stack<'a>(addresses: impl Iterator<Item = &'a str>) -> bool {
    let parsed: Vec<IpAddr> = addresses.filter_map(|a| a.split('/').next().and_then(|ip| ip.parse().ok())).collect();
    parsed.iter().any(IpAddr::is_ipv4) && parsed.iter().any(IpAddr::is_ipv6)
}

/// `root.field` for short.
pub fn path(dotted: &str) -> Path {
    Path::root(dotted)
}

/// Whether a list or map has something in it.
pub fn filled(object: &Value, field: &str) -> bool {
    match &object[field] {
        Value::Array(list) => !list.is_empty(),
        Value::Object(map) => !map.is_empty(),
        _ => !absent(object, field),
    }
}
