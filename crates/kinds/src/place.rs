//! A value and where it stands: rules that walk an object name each field once, and read as a table.

use crate::check::{Check, IMMUTABLE};
use crate::column::{items, string};
use crate::fields::same;
use coracle_api::{FieldError, FieldErrorKind, Path};
use serde_json::{Value, json};

/// A value of an object, with its path in messages.
#[derive(Clone, Debug)]
pub struct Place<'v> {
    /// As messages name it: `spec.rules[0].host`.
    pub path: Path,
    /// What is there; null if nothing.
    pub value: &'v Value,
}

impl<'v> Place<'v> {
    /// A whole object, whose fields have no prefix.
    pub fn of(object: &'v Value) -> Self {
        Self { path: Path::root(""), value: object }
    }

    /// A value under a path of one's own.
    pub fn at(path: Path, value: &'v Value) -> Self {
        Self { path, value }
    }

    /// The field of that name, or at the end of a dotted path.
    pub fn field(&self, dotted: &str) -> Self {
        let step = |place: Self, name: &str| Self { path: place.path.field(name), value: &place.value[name] };
        dotted.split('.').fold(self.clone(), step)
    }

    /// The same value under the name that messages give it.
    pub fn called(&self, name: &str, value: &'v Value) -> Self {
        Self { path: self.path.field(name), value }
    }

    /// The entries of a list.
    pub fn items(&self) -> impl Iterator<Item = Self> + use<'v> {
        let path = self.path.clone();
        items(self.value).iter().enumerate().map(move |(i, value)| Self { path: path.index(i), value })
    }

    /// The entries of a map.
    pub fn entries(&self) -> impl Iterator<Item = (&'v str, Self)> + use<'v> {
        let path = self.path.clone();
        let map = self.value.as_object();
        map.into_iter().flatten().map(move |(k, value)| (k.as_str(), Self { path: path.key(k), value }))
    }

    /// How many entries a list or map has.
    pub fn len(&self) -> usize {
        self.value.as_array().map(Vec::len).or_else(|| self.value.as_object().map(serde_json::Map::len)).unwrap_or(0)
    }

    /// The text, empty if there is none.
    pub fn text(&self) -> &'v str {
        string(self.value)
    }

    /// The number, 0 if there is none.
    pub fn number(&self) -> i64 {
        self.value.as_i64().unwrap_or(0)
    }

    /// Whether the field is given at all (a pointer that is not nil).
    pub fn given(&self) -> bool {
        !self.value.is_null()
    }

    /// Whether there is nothing in it: missing, an empty string, list or map.
    pub fn empty(&self) -> bool {
        match self.value {
            Value::Null => true,
            Value::String(text) => text.is_empty(),
            Value::Array(list) => list.is_empty(),
            Value::Object(map) => map.is_empty(),
            Value::Bool(_) | Value::Number(_) => false,
        }
    }
}

/// A rule over a text.
pub type TextRule = fn(&str) -> Vec<String>;

impl Check {
    /// `Required value` unless something is there; says whether it is.
    pub fn needs(&mut self, at: &Place, why: &str) -> bool {
        if at.empty() {
            self.required(at.path.clone(), why);
        }
        !at.empty()
    }

    /// `Invalid value`.
    pub fn bad(&mut self, at: &Place, why: impl std::fmt::Display) {
        self.invalid(at.path.clone(), at.value, why);
    }

    /// `Invalid value`, where a missing text shows as the empty one.
    pub fn bad_text(&mut self, at: &Place, why: impl std::fmt::Display) {
        self.invalid(at.path.clone(), &json!(at.text()), why);
    }

    /// `Forbidden`.
    pub fn barred(&mut self, at: &Place, why: &str) {
        self.forbidden(at.path.clone(), why);
    }

    /// The text keeps `rule`, also an empty one.
    pub fn keeps(&mut self, at: &Place, rule: TextRule) {
        for message in rule(at.text()) {
            self.bad_text(at, message);
        }
    }

    /// The text keeps `rule` if there is one.
    pub fn may_keep(&mut self, at: &Place, rule: TextRule) {
        if !at.text().is_empty() {
            self.keeps(at, rule);
        }
    }

    /// A text is there and keeps `rule`.
    pub fn must_keep(&mut self, at: &Place, rule: TextRule) {
        if self.needs(at, "") {
            self.keeps(at, rule);
        }
    }

    /// The text is among `allowed`; the empty one too must be.
    pub fn among(&mut self, at: &Place, allowed: &[&str]) {
        if !allowed.contains(&at.text()) {
            self.push(FieldError::not_supported(&at.path, at.text(), allowed));
        }
    }

    /// A given text is among `allowed`.
    pub fn may_be(&mut self, at: &Place, allowed: &[&str]) {
        if at.given() {
            self.among(at, allowed);
        }
    }

    /// `Duplicate value`.
    pub fn twice(&mut self, at: &Place) {
        self.push(FieldError::duplicate(&at.path, at.value.clone()));
    }

    /// No text comes twice; `of` leads from an entry to the text.
    pub fn all_differ<'v>(&mut self, list: &Place<'v>, of: impl Fn(&Place<'v>) -> Place<'v>) {
        let mut seen: Vec<&str> = Vec::new();
        for at in list.items().map(|item| of(&item)) {
            if seen.contains(&at.text()) {
                self.push(FieldError::duplicate(&at.path, at.text()));
            }
            seen.push(at.text());
        }
    }

    /// A list has at most so many entries; says whether.
    pub fn fits(&mut self, at: &Place, most: usize) -> bool {
        if at.len() > most {
            self.push(FieldError::new(&at.path, FieldErrorKind::TooMany(at.len(), most), ""));
        }
        at.len() <= most
    }

    /// A text has at most so many bytes; says whether.
    pub fn no_longer(&mut self, at: &Place, most: usize) -> bool {
        let fits = at.text().len() <= most;
        if !fits {
            self.too_long(at, most);
        }
        fits
    }

    /// `Too long`.
    pub fn too_long(&mut self, at: &Place, most: usize) {
        self.push(FieldError::new(&at.path, FieldErrorKind::TooLong(most), ""));
    }

    /// The value is what it was.
    pub fn unchanged(&mut self, new: &Place, old: &Value) {
        if !same(new.value, old) {
            self.bad(new, IMMUTABLE);
        }
    }

    /// The value is what it was. Upstream says this one from the type's declaration: it does not show the value, and comes last.
    pub fn declared_unchanged(&mut self, new: &Place, old: &Value) {
        if !same(new.value, old) {
            self.later(|check| check.invalid(new.path.clone(), &Value::Null, IMMUTABLE));
        }
    }

    /// Something is there. Upstream says this one from the type's declaration: it has no further words, and comes last.
    pub fn declared(&mut self, at: &Place) -> bool {
        self.later(|check| check.needs(at, ""))
    }

    /// The fields of a label selector at a place.
    pub fn selects(&mut self, at: &Place) {
        self.selector(&at.path, at.value);
    }
}
