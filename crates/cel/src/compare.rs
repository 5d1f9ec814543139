//! Equality and order of values.

use crate::{
    decl::{Decl, Form, ListKind},
    escape::escape,
    fault::{Fault, Result},
    value::{Index, List, Map, Value},
    work,
};
use serde_json::Value as Json;
use std::cmp::Ordering;

/// Whether two values are the same. Values of different types are not, except numbers.
pub(crate) fn equal(left: &Value<'_>, right: &Value<'_>) -> bool {
    work::done(1);
    // whoever asked gets an error instead of this answer
    if work::is_exhausted() {
        return false;
    }
    match (left, right) {
        (Value::Null, Value::Null) => true,
        (Value::Bool(a), Value::Bool(b)) => a == b,
        (Value::String(a), Value::String(b)) => **a == **b,
        (Value::Bytes(a), Value::Bytes(b)) => a == b,
        (Value::Timestamp(a), Value::Timestamp(b)) => a == b,
        (Value::Duration(a), Value::Duration(b)) => a == b,
        (Value::Type(a), Value::Type(b)) => a.runtime_name() == b.runtime_name(),
        (Value::Optional(a), Value::Optional(b)) => match (a, b) {
            (Some(a), Some(b)) => equal(a, b),
            (a, b) => a.is_none() && b.is_none(),
        },
        (Value::Opaque(a), Value::Opaque(b)) => a == b,
        (Value::List(a), Value::List(b)) => equal_lists(a, b),
        (Value::Map(a), Value::Map(b)) => equal_maps(a, b),
        (Value::Hidden(a), Value::Hidden(b)) => {
            work::done(if a.is_object() || a.is_array() { 1_000 } else { 1 });
            a == b
        }
        (a, b) => numbers(a, b) == Some(Ordering::Equal),
    }
}

fn equal_lists(left: &List<'_>, right: &List<'_>) -> bool {
    if left.len() != right.len() {
        return false;
    }
    match left.kind() {
        ListKind::Atomic => left.iter().zip(right.iter()).all(|pair| matches!(pair, (Ok(a), Ok(b)) if equal(&a, &b))),
        kind => {
            let (Ok(left), Ok(right)) = (left.to_vec(), right.to_vec()) else { return false };
            let index = Index::new(&right, kind);
            left.iter().all(|a| index.find(&right, a, kind).is_some_and(|at| equal(a, &right[at])))
        }
    }
}

fn equal_maps(left: &Map<'_>, right: &Map<'_>) -> bool {
    if let (Map::Json { object: a, decl }, Map::Json { object: b, decl: other }) = (left, right)
        && matches!(decl.form, Form::Object { .. })
        && matches!(other.form, Form::Object { .. })
    {
        return equal_objects(a, b, decl);
    }
    left.len() == right.len()
        && left.keys().iter().all(|key| match (left.get(key), right.get(key)) {
            (Ok(Some(a)), Ok(Some(b))) => equal(&a, &b),
            (Ok(None), Ok(None)) => true,
            _ => false,
        })
}

/// Objects are the same if all their properties are, also those that expressions cannot see.
fn equal_objects(left: &serde_json::Map<String, Json>, right: &serde_json::Map<String, Json>, decl: &Decl) -> bool {
    let Form::Object { fields } = &decl.form else { return false };
    left.len() == right.len()
        && left.iter().all(|(property, a)| {
            let Some(b) = right.get(property) else { return a.is_null() };
            let decl = fields.property(property).unwrap_or(Decl::hidden());
            match (Value::from_json(a, decl), Value::from_json(b, decl)) {
                (Ok(a), Ok(b)) => equal(&a, &b),
                _ => a == b,
            }
        })
}

/// Whether two elements of a list are the same one: have the same keys, or are the same value.
pub(crate) fn same_element(left: &Value<'_>, right: &Value<'_>, kind: &ListKind) -> bool {
    let ListKind::Map(keys) = kind else { return equal(left, right) };
    let (Value::Map(left), Value::Map(right)) = (left, right) else { return false };
    keys.iter().all(|key| match (left, right) {
        (Map::Json { object: a, .. }, Map::Json { object: b, .. }) => a.get(key) == b.get(key),
        (a, b) => {
            let name = escape(key).unwrap_or_else(|| key.clone());
            match (a.field(&name), b.field(&name)) {
                (Ok(Some(a)), Ok(Some(b))) => equal(&a, &b),
                (Ok(None), Ok(None)) => true,
                _ => false,
            }
        }
    })
}

/// The order of two values, of which there must be one.
pub(crate) fn order(left: &Value<'_>, right: &Value<'_>) -> Result<Ordering> {
    match (left, right) {
        (Value::Bool(a), Value::Bool(b)) => Ok(a.cmp(b)),
        (Value::String(a), Value::String(b)) => Ok((**a).cmp(b)),
        (Value::Bytes(a), Value::Bytes(b)) => Ok(a.cmp(b)),
        (Value::Timestamp(a), Value::Timestamp(b)) => Ok(a.cmp(b)),
        (Value::Duration(a), Value::Duration(b)) => Ok(a.cmp(b)),
        (Value::Double(a), _) if a.is_nan() => Err(Fault::other("NaN values cannot be ordered")),
        (_, Value::Double(b)) if b.is_nan() => Err(Fault::other("NaN values cannot be ordered")),
        (a, b) => numbers(a, b).ok_or(Fault::NoSuchOverload),
    }
}

/// The order of two numbers, exact also across types.
fn numbers(left: &Value<'_>, right: &Value<'_>) -> Option<Ordering> {
    let whole = |value: &Value<'_>| match value {
        Value::Int(n) => Some(i128::from(*n)),
        Value::Uint(n) => Some(i128::from(*n)),
        _ => None,
    };
    match (left, right) {
        (Value::Double(a), Value::Double(b)) => a.partial_cmp(b),
        (Value::Double(a), b) => whole(b).and_then(|b| with_double(b, *a)).map(Ordering::reverse),
        (a, Value::Double(b)) => whole(a).and_then(|a| with_double(a, *b)),
        (a, b) => Some(whole(a)?.cmp(&whole(b)?)),
    }
}

/// The order of a whole number and a double.
fn with_double(whole: i128, double: f64) -> Option<Ordering> {
    if double.is_nan() {
        return None;
    }
    // beyond this every whole number of 64 bits is smaller, below it the conversion is exact
    if double.abs() >= 1e20 {
        return Some(if double > 0.0 { Ordering::Less } else { Ordering::Greater });
    }
    let floor = double.floor();
    Some(whole.cmp(&(floor as i128)).then(if double > floor { Ordering::Less } else { Ordering::Equal }))
}
