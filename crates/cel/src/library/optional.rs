//! Values that may be absent.

use super::{Entry, entry};
use crate::{
    cost::ONE,
    fault::{Fault, Result},
    value::{Moment, Value},
};
use jiff::civil::DateTime;

pub(super) fn entries() -> Vec<Entry> {
    vec![
        entry("optional_of", "optional.of(A) -> optional(A)", ONE, |args| Ok(Value::some(args[0].clone()))),
        entry("optional_none", "optional.none() -> optional(A)", ONE, |_| Ok(Value::Optional(None))),
        entry("optional_ofNonZeroValue", "optional.ofNonZeroValue(A) -> optional(A)", ONE, |args| {
            Ok(if is_zero(&args[0]) { Value::Optional(None) } else { Value::some(args[0].clone()) })
        }),
        entry("optional_value", "optional(A).value() -> A", ONE, |args| match &args[0] {
            Value::Optional(Some(value)) => Ok((**value).clone()),
            Value::Optional(None) => Err(Fault::other("optional.none() dereference")),
            _ => Err(Fault::NoSuchOverload),
        }),
        entry("optional_hasValue", "optional(A).hasValue() -> bool", ONE, |args| match &args[0] {
            Value::Optional(value) => Ok(Value::Bool(value.is_some())),
            _ => Err(Fault::NoSuchOverload),
        }),
        entry("optional_or_optional", "optional(A).or(optional(A)) -> optional(A)", ONE, |args| match &args[0] {
            Value::Optional(None) => Ok(args[1].clone()),
            there => Ok(there.clone()),
        }),
        entry("optional_orValue_value", "optional(A).orValue(A) -> A", ONE, |args| match &args[0] {
            Value::Optional(None) => Ok(args[1].clone()),
            Value::Optional(Some(value)) => Ok((**value).clone()),
            _ => Err(Fault::NoSuchOverload),
        }),
        entry("optional_unwrap", "optional.unwrap(list(optional(A))) -> list(A)", ONE, unwrap),
        entry("optional_unwrapOpt", "list(optional(A)).unwrapOpt() -> list(A)", ONE, unwrap),
        entry("list_first", "list(A).first() -> optional(A)", ONE, |args| end(args, |_| 0)),
        entry("list_last", "list(A).last() -> optional(A)", ONE, |args| end(args, |length| length.wrapping_sub(1))),
    ]
}

fn is_zero(value: &Value<'_>) -> bool {
    match value {
        Value::Null | Value::Optional(None) => true,
        Value::Bool(value) => !value,
        Value::Int(number) => *number == 0,
        Value::Uint(number) => *number == 0,
        Value::Double(number) => *number == 0.0,
        Value::String(text) => text.is_empty(),
        Value::Bytes(bytes) => bytes.is_empty(),
        Value::List(list) => list.is_empty(),
        Value::Map(map) => map.is_empty(),
        Value::Duration(nanos) => *nanos == 0,
        // Go's zero time is the start of the year 1
        Value::Timestamp(moment) => *moment == Moment::utc(DateTime::constant(1, 1, 1, 0, 0, 0, 0)),
        _ => false,
    }
}

fn unwrap<'a>(args: &mut [Value<'a>]) -> Result<Value<'a>> {
    let Value::List(list) = &args[0] else { return Err(Fault::NoSuchOverload) };
    let mut there = Vec::new();
    for item in list.iter() {
        match item? {
            Value::Optional(Some(value)) => there.push((*value).clone()),
            Value::Optional(None) => {}
            other => there.push(other),
        }
    }
    Ok(Value::list(there))
}

fn end<'a>(args: &mut [Value<'a>], place: fn(usize) -> usize) -> Result<Value<'a>> {
    let Value::List(list) = &args[0] else { return Err(Fault::NoSuchOverload) };
    Ok(match list.get(place(list.len())) {
        Some(value) => Value::some(value?),
        None => Value::Optional(None),
    })
}
