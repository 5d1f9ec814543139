//! How values are owned: as their schema says or, without one, objects by field and lists as a whole.

use super::step::{Atom, Step};
use crate::schema::{Field, List, Scalar, Shape, Type};
use serde_json::{Map, Value};
use std::borrow::Cow;

/// What is known of a value's structure.
#[derive(Clone, Copy)]
pub(super) enum Topology<'s> {
    Known(Shape<'s>),
    /// No schema: the value itself tells.
    Deduced,
}

/// A value seen through its topology.
#[derive(Clone, Copy)]
pub(super) enum Form<'s> {
    /// One value.
    Leaf,
    /// Fields or entries of their own.
    Fields,
    /// Items told apart by keys or by value.
    Items(List<'s>),
}

impl<'s> Topology<'s> {
    pub(super) fn of(of: Option<Type<'s>>) -> Self {
        of.map_or(Self::Deduced, |of| Self::Known(Shape::Object(of)))
    }

    pub(super) fn form(self, value: &Value) -> Form<'s> {
        match self {
            Self::Known(Shape::Object(of)) if !of.is_atomic() => Form::Fields,
            Self::Known(Shape::Map(map)) if !map.is_atomic() => Form::Fields,
            Self::Known(Shape::List(list)) if !list.is_atomic() => Form::Items(list),
            Self::Deduced if value.is_object() => Form::Fields,
            _ => Form::Leaf,
        }
    }

    /// The topology of a field or entry.
    pub(super) fn field(self, name: &str) -> Self {
        match self {
            Self::Known(Shape::Object(of)) => of.field(name).map_or(Self::Deduced, |f| Self::Known(f.shape())),
            Self::Known(Shape::Map(map)) => Self::Known(map.item()),
            Self::Known(_) => Self::Known(Shape::Scalar(Scalar::Json)),
            Self::Deduced => Self::Deduced,
        }
    }

    pub(super) fn item(list: List<'s>) -> Self {
        Self::Known(list.item())
    }

    /// Whether a field is one of a struct: such a field exists by its content, an entry of a map by itself.
    pub(super) fn names(self, name: &str) -> bool {
        matches!(self, Self::Known(Shape::Object(of)) if of.field(name).is_some())
    }

    /// The type whose fields are there even when nothing is said of them.
    fn go_type(self) -> Option<Type<'s>> {
        match self {
            Self::Known(Shape::Object(of)) if of.omits_empty() => Some(of),
            _ => None,
        }
    }

    /// The fields that an object has though it does not mention them.
    pub(super) fn implied_fields(self) -> impl Iterator<Item = Field<'s>> {
        self.go_type().into_iter().flat_map(Type::fields).filter(|f| implied(*f).is_some())
    }

    /// A field of an object (`None`: there is no object), mentioned or not.
    pub(super) fn get<'v>(self, map: Option<&'v Map<String, Value>>, name: &str) -> Option<Cow<'v, Value>> {
        let map = map?;
        match map.get(name) {
            Some(value) => Some(Cow::Borrowed(value)),
            None => self.go_type()?.field(name).and_then(implied).map(Cow::Owned),
        }
    }
}

/// What Go has in the place of a field that an object does not mention, unless that is nothing.
fn implied(field: Field<'_>) -> Option<Value> {
    let shape = field.shape();
    if field.is_embedded() {
        return Some(Value::Object(Map::new()));
    }
    field.is_required().then(|| match shape {
        Shape::Scalar(Scalar::Int32 | Scalar::Int64 | Scalar::Number | Scalar::IntOrString) => 0.into(),
        Shape::Scalar(Scalar::Bool) => false.into(),
        Shape::Scalar(Scalar::String) => "".into(),
        Shape::Scalar(Scalar::Quantity) => "0".into(),
        Shape::Object(_) | Shape::List(_) | Shape::Map(_) | Shape::Scalar(_) => Value::Null,
    })
}

/// The step to an item of a list.
///
/// # Errors
/// When the item cannot be told apart from others.
pub(super) fn step(list: List<'_>, item: &Value) -> Result<Step, String> {
    if list.is_set() {
        return match item {
            Value::Object(_) => Err("associative list without keys has an element that's a map type".into()),
            Value::Array(_) => Err("not supported: associative list with lists as elements".into()),
            Value::Null => Err("associative list without keys has an element that's an explicit null".into()),
            scalar => Ok(Step::Item(Atom::of(scalar))),
        };
    }
    let map = match item {
        Value::Object(map) => map,
        Value::Null => return Err("associative list with keys may not have a null element".into()),
        _ => return Err("associative list with keys may not have non-map elements".into()),
    };
    let mut keys = Vec::new();
    for key in list.keys() {
        if let Some(value) = map.get(key) {
            keys.push((key.to_string(), Atom::of(value)));
        } else if let Shape::Object(of) = list.item()
            && let Some(field) = of.field(key)
            && let Ok(default) = serde_json::from_str::<Value>(field.default_json())
        {
            keys.push((key.to_string(), Atom::of(&default)));
        }
    }
    if keys.is_empty() {
        let names: Vec<String> = list.keys().map(|k| format!("{k:?}")).collect();
        return Err(format!(
            "associative list with keys has an element that omits all key fields [{}] (and doesn't have default values for any key fields)",
            names.join(" ")
        ));
    }
    keys.sort();
    Ok(Step::Key(keys))
}

/// The steps to all items. Stored lists may hold items that have no key; those are told apart by their place.
pub(super) fn steps(list: List<'_>, items: &[Value]) -> Vec<Step> {
    let place = |at: usize| Step::Index(i64::try_from(at).unwrap_or(i64::MAX));
    items.iter().enumerate().map(|(at, item)| step(list, item).unwrap_or_else(|_| place(at))).collect()
}
