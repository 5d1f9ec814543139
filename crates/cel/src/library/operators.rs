//! Operators: arithmetic, order, equality, membership, size.

use super::{Entry, entry};
use crate::{
    compare,
    cost::{Cost, ONE},
    eval::contains,
    fault::{Fault, Result},
    limits,
    macros::MAP_INSERT,
    value::{Text, Value},
};
use std::{cmp::Ordering, sync::Arc};

pub(super) fn entries() -> Vec<Entry> {
    let never = |_: &mut [Value<'_>]| Err(Fault::NoSuchOverload);
    let mut entries = vec![
        // these four are evaluated by themselves, and only checked as functions
        entry("conditional", "_?_:_(bool, A, A) -> A", ONE, never),
        entry("logical_and", "_&&_(bool, bool) -> bool", ONE, never),
        entry("logical_or", "_||_(bool, bool) -> bool", ONE, never),
        entry("not_strictly_false", "@not_strictly_false(bool) -> bool", ONE, never),
        entry("index_list", "_[_](list(A), int) -> A", ONE, never),
        entry("index_map", "_[_](map(A, B), A) -> B", ONE, never),
        entry("optional_list_index_value", "_[_](optional(list(A)), int) -> optional(A)", ONE, never),
        entry("optional_map_index_value", "_[_](optional(map(A, B)), A) -> optional(B)", ONE, never),
        entry("list_optindex_optional_int", "_[?_](list(A), int) -> optional(A)", ONE, never),
        entry("map_optindex_optional_value", "_[?_](map(A, B), A) -> optional(B)", ONE, never),
        entry("optional_list_optindex_optional_int", "_[?_](optional(list(A)), int) -> optional(A)", ONE, never),
        entry("optional_map_optindex_optional_value", "_[?_](optional(map(A, B)), A) -> optional(B)", ONE, never),
        entry("logical_not", "!_(bool) -> bool", ONE, |args| match args {
            [Value::Bool(value)] => Ok(Value::Bool(!*value)),
            _ => Err(Fault::NoSuchOverload),
        }),
        entry("equals", "_==_(A, A) -> bool", Cost::Equal, |args| Ok(Value::Bool(compare::equal(&args[0], &args[1])))),
        entry("not_equals", "_!=_(A, A) -> bool", Cost::Compare, |args| {
            Ok(Value::Bool(!compare::equal(&args[0], &args[1])))
        }),
        entry("in_list", "@in(A, list(A)) -> bool", Cost::InList, member),
        entry("in_map", "@in(A, map(A, B)) -> bool", ONE, member),
        entry("map_insert_key_value", format!("{MAP_INSERT}(map(A, B), A, B) -> map(A, B)"), ONE, insert),
        entry("map_insert_map", format!("{MAP_INSERT}(map(A, B), map(A, B)) -> map(A, B)"), ONE, insert_all),
    ];
    entries.extend(sizes());
    entries.extend(arithmetic());
    entries.extend(orders());
    entries
}

fn sizes() -> impl Iterator<Item = Entry> {
    [("string", "string"), ("bytes", "bytes"), ("list", "list(A)"), ("map", "map(A, B)")].into_iter().flat_map(
        |(name, ty)| {
            let size: super::Eval = |args| match &args[0] {
                value @ (Value::String(_) | Value::Bytes(_) | Value::List(_) | Value::Map(_)) => {
                    Ok(Value::Int(value.size() as i64))
                }
                _ => Err(Fault::NoSuchOverload),
            };
            [
                entry(format!("size_{name}"), format!("size({ty}) -> int"), ONE, size),
                entry(format!("{name}_size"), format!("{ty}.size() -> int"), ONE, size),
            ]
        },
    )
}

fn arithmetic() -> Vec<Entry> {
    let row = |id: &str, signature: &str, eval: super::Eval| entry(id, signature, ONE, eval);
    vec![
        entry("add_string", "_+_(string, string) -> string", Cost::Concat, add),
        entry("add_bytes", "_+_(bytes, bytes) -> bytes", Cost::Concat, add),
        entry("add_list", "_+_(list(A), list(A)) -> list(A)", Cost::ConcatLists, add),
        row("add_int64", "_+_(int, int) -> int", add),
        row("add_uint64", "_+_(uint, uint) -> uint", add),
        row("add_double", "_+_(double, double) -> double", add),
        row("add_duration_duration", "_+_(duration, duration) -> duration", add),
        row("add_duration_timestamp", "_+_(duration, timestamp) -> timestamp", add),
        row("add_timestamp_duration", "_+_(timestamp, duration) -> timestamp", add),
        row("subtract_int64", "_-_(int, int) -> int", subtract),
        row("subtract_uint64", "_-_(uint, uint) -> uint", subtract),
        row("subtract_double", "_-_(double, double) -> double", subtract),
        row("subtract_duration_duration", "_-_(duration, duration) -> duration", subtract),
        row("subtract_timestamp_duration", "_-_(timestamp, duration) -> timestamp", subtract),
        row("subtract_timestamp_timestamp", "_-_(timestamp, timestamp) -> duration", subtract),
        row("multiply_int64", "_*_(int, int) -> int", multiply),
        row("multiply_uint64", "_*_(uint, uint) -> uint", multiply),
        row("multiply_double", "_*_(double, double) -> double", multiply),
        row("divide_int64", "_/_(int, int) -> int", divide),
        row("divide_uint64", "_/_(uint, uint) -> uint", divide),
        row("divide_double", "_/_(double, double) -> double", divide),
        row("modulo_int64", "_%_(int, int) -> int", modulo),
        row("modulo_uint64", "_%_(uint, uint) -> uint", modulo),
        row("negate_int64", "-_(int) -> int", negate),
        row("negate_double", "-_(double) -> double", negate),
    ]
}

/// Each of the four orders for each pair of types that has one.
fn orders() -> Vec<Entry> {
    const OPERATORS: &[(&str, &str, super::Eval)] = &[
        ("_<_", "less", |args| ordered(args, |order| order == Ordering::Less)),
        ("_<=_", "less_equals", |args| ordered(args, |order| order != Ordering::Greater)),
        ("_>_", "greater", |args| ordered(args, |order| order == Ordering::Greater)),
        ("_>=_", "greater_equals", |args| ordered(args, |order| order != Ordering::Less)),
    ];
    const TYPES: &[(&str, &str, Cost)] = &[
        ("bool", "bool, bool", ONE),
        ("int64", "int, int", ONE),
        ("int64_double", "int, double", ONE),
        ("int64_uint64", "int, uint", ONE),
        ("uint64", "uint, uint", ONE),
        ("uint64_double", "uint, double", ONE),
        ("uint64_int64", "uint, int", ONE),
        ("double", "double, double", ONE),
        ("double_int64", "double, int", ONE),
        ("double_uint64", "double, uint", ONE),
        ("string", "string, string", Cost::Compare),
        ("bytes", "bytes, bytes", Cost::Compare),
        ("timestamp", "timestamp, timestamp", ONE),
        ("duration", "duration, duration", ONE),
    ];
    let row = |(operator, name, eval): &(&str, &str, super::Eval), (id, types, cost): &(&str, &str, Cost)| {
        entry(format!("{name}_{id}"), format!("{operator}({types}) -> bool"), *cost, *eval)
    };
    OPERATORS.iter().flat_map(|operator| TYPES.iter().map(move |types| row(operator, types))).collect()
}

fn ordered<'a>(args: &[Value<'a>], holds: fn(Ordering) -> bool) -> Result<Value<'a>> {
    match args {
        // a comparison with what is no number is false, not an error
        [Value::Double(a), b] if a.is_nan() && is_number(b) => Ok(Value::Bool(false)),
        [a, Value::Double(b)] if b.is_nan() && is_number(a) => Ok(Value::Bool(false)),
        [a, b] => Ok(Value::Bool(holds(compare::order(a, b)?))),
        _ => Err(Fault::NoSuchOverload),
    }
}

fn is_number(value: &Value<'_>) -> bool {
    matches!(value, Value::Int(_) | Value::Uint(_) | Value::Double(_))
}

fn member<'a>(args: &mut [Value<'a>]) -> Result<Value<'a>> {
    Ok(Value::Bool(contains(&args[1], &args[0])?))
}

fn insert<'a>(args: &mut [Value<'a>]) -> Result<Value<'a>> {
    let [map, key, value] = args else { return Err(Fault::NoSuchOverload) };
    match std::mem::take(map) {
        Value::Map(map) => Ok(Value::Map(map.insert(std::mem::take(key), std::mem::take(value))?)),
        _ => Err(Fault::NoSuchOverload),
    }
}

fn insert_all<'a>(args: &mut [Value<'a>]) -> Result<Value<'a>> {
    let [map, more] = args else { return Err(Fault::NoSuchOverload) };
    let (Value::Map(mut map), Value::Map(more)) = (std::mem::take(map), more) else {
        return Err(Fault::NoSuchOverload);
    };
    for key in more.keys() {
        let value = more.get(&key)?.unwrap_or_default();
        map = map.insert(key, value)?;
    }
    Ok(Value::Map(map))
}

fn overflow(of: &str) -> Fault {
    Fault::other(format!("{of} overflow"))
}

fn int(result: Option<i64>) -> Result<Value<'static>> {
    result.map(Value::Int).ok_or_else(|| overflow("integer"))
}

fn uint(result: Option<u64>) -> Result<Value<'static>> {
    result.map(Value::Uint).ok_or_else(|| overflow("unsigned integer"))
}

fn duration(result: Option<i64>) -> Result<Value<'static>> {
    result.map(Value::Duration).ok_or_else(|| overflow("duration"))
}

fn add<'a>(args: &mut [Value<'a>]) -> Result<Value<'a>> {
    let [left, right] = args else { return Err(Fault::NoSuchOverload) };
    match (std::mem::take(left), &*right) {
        (Value::Int(a), Value::Int(b)) => int(a.checked_add(*b)),
        (Value::Uint(a), Value::Uint(b)) => uint(a.checked_add(*b)),
        (Value::Double(a), Value::Double(b)) => Ok(Value::Double(a + b)),
        (Value::String(a), Value::String(b)) => joined(&a, b).map(|text| Value::String(Text::Shared(text))),
        (Value::Bytes(a), Value::Bytes(b)) if a.len() + b.len() <= limits::TEXT_BYTES => {
            Ok(Value::Bytes(a.iter().chain(b.iter()).copied().collect()))
        }
        (Value::List(a), Value::List(b)) => a.concat(b).map(Value::List),
        (Value::Duration(a), Value::Duration(b)) => duration(a.checked_add(*b)),
        (Value::Timestamp(at), Value::Duration(nanos)) => super::time::shift(at, *nanos).map(Value::Timestamp),
        (Value::Duration(nanos), Value::Timestamp(at)) => super::time::shift(*at, nanos).map(Value::Timestamp),
        _ => Err(Fault::NoSuchOverload),
    }
}

fn joined(a: &str, b: &str) -> Result<Arc<str>> {
    if a.len() + b.len() > limits::TEXT_BYTES {
        return Err(Fault::other(format!("string of more than {} bytes", limits::TEXT_BYTES)));
    }
    let mut text = String::with_capacity(a.len() + b.len());
    text.push_str(a);
    text.push_str(b);
    Ok(text.into())
}

fn subtract<'a>(args: &mut [Value<'a>]) -> Result<Value<'a>> {
    match &*args {
        [Value::Int(a), Value::Int(b)] => int(a.checked_sub(*b)),
        [Value::Uint(a), Value::Uint(b)] => uint(a.checked_sub(*b)),
        [Value::Double(a), Value::Double(b)] => Ok(Value::Double(a - b)),
        [Value::Duration(a), Value::Duration(b)] => duration(a.checked_sub(*b)),
        [Value::Timestamp(at), Value::Duration(nanos)] => {
            let back = nanos.checked_neg().ok_or_else(|| overflow("duration"))?;
            super::time::shift(*at, back).map(Value::Timestamp)
        }
        [Value::Timestamp(a), Value::Timestamp(b)] => duration(super::time::between(*a, *b)),
        _ => Err(Fault::NoSuchOverload),
    }
}

fn multiply<'a>(args: &mut [Value<'a>]) -> Result<Value<'a>> {
    match &*args {
        [Value::Int(a), Value::Int(b)] => int(a.checked_mul(*b)),
        [Value::Uint(a), Value::Uint(b)] => uint(a.checked_mul(*b)),
        [Value::Double(a), Value::Double(b)] => Ok(Value::Double(a * b)),
        _ => Err(Fault::NoSuchOverload),
    }
}

fn divide<'a>(args: &mut [Value<'a>]) -> Result<Value<'a>> {
    match &*args {
        [Value::Int(_), Value::Int(0)] | [Value::Uint(_), Value::Uint(0)] => Err(Fault::other("division by zero")),
        [Value::Int(a), Value::Int(b)] => int(a.checked_div(*b)),
        [Value::Uint(a), Value::Uint(b)] => uint(a.checked_div(*b)),
        [Value::Double(a), Value::Double(b)] => Ok(Value::Double(a / b)),
        _ => Err(Fault::NoSuchOverload),
    }
}

fn modulo<'a>(args: &mut [Value<'a>]) -> Result<Value<'a>> {
    match &*args {
        [Value::Int(_), Value::Int(0)] | [Value::Uint(_), Value::Uint(0)] => Err(Fault::other("modulus by zero")),
        [Value::Int(a), Value::Int(b)] => int(a.checked_rem(*b)),
        [Value::Uint(a), Value::Uint(b)] => uint(a.checked_rem(*b)),
        _ => Err(Fault::NoSuchOverload),
    }
}

fn negate<'a>(args: &mut [Value<'a>]) -> Result<Value<'a>> {
    match &*args {
        [Value::Int(a)] => int(a.checked_neg()),
        [Value::Double(a)] => Ok(Value::Double(-a)),
        _ => Err(Fault::NoSuchOverload),
    }
}
