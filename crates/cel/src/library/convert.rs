//! Conversions between types.

use super::{Entry, Opaque, entry, time};
use crate::{
    cost::{Cost, ONE},
    fault::{Fault, Result},
    value::Value,
};
use std::sync::Arc;

pub(super) fn entries() -> Vec<Entry> {
    let mut entries = vec![
        entry("to_dyn", "dyn(A) -> dyn", Cost::Dynamic, same),
        entry("type", "type(A) -> type(A)", ONE, |args| Ok(Value::Type(Arc::new(args[0].type_of())))),
        entry("string_to_bytes", "bytes(string) -> bytes", Cost::TextToBytes, to_bytes),
        entry("bytes_to_string", "string(bytes) -> string", Cost::BytesToText, to_string),
    ];
    const TO: &[(&str, super::Eval, &[&str])] = &[
        ("bool", to_bool, &["bool", "string"]),
        ("bytes", to_bytes, &["bytes"]),
        ("double", to_double, &["double", "int", "uint", "string"]),
        ("duration", to_duration, &["duration", "int", "string"]),
        ("int", to_int, &["int", "double", "duration", "string", "timestamp", "uint"]),
        (
            "string",
            to_string,
            &["string", "bool", "double", "duration", "int", "timestamp", "uint", "net.IP", "net.CIDR"],
        ),
        ("timestamp", to_timestamp, &["timestamp", "int", "string"]),
        ("uint", to_uint, &["uint", "double", "int", "string"]),
    ];
    for (to, eval, from) in TO {
        entries.extend(
            from.iter().map(|from| entry(format!("{from}_to_{to}"), format!("{to}({from}) -> {to}"), ONE, *eval)),
        );
    }
    entries
}

fn same<'a>(args: &mut [Value<'a>]) -> Result<Value<'a>> {
    Ok(args[0].clone())
}

fn no_conversion(from: &Value<'_>, to: &str) -> Fault {
    Fault::other(format!("type conversion error from '{}' to '{to}'", from.type_of().runtime_name()))
}

fn to_bool<'a>(args: &mut [Value<'a>]) -> Result<Value<'a>> {
    match &args[0] {
        Value::Bool(value) => Ok(Value::Bool(*value)),
        // what Go's strconv takes for a bool
        Value::String(text) => match &**text {
            "1" | "t" | "T" | "TRUE" | "true" | "True" => Ok(Value::Bool(true)),
            "0" | "f" | "F" | "FALSE" | "false" | "False" => Ok(Value::Bool(false)),
            _ => Err(Fault::other(format!("strconv.ParseBool: parsing {:?}: invalid syntax", &**text))),
        },
        other => Err(no_conversion(other, "bool")),
    }
}

fn to_bytes<'a>(args: &mut [Value<'a>]) -> Result<Value<'a>> {
    match &args[0] {
        Value::Bytes(bytes) => Ok(Value::Bytes(Arc::clone(bytes))),
        Value::String(text) => Ok(Value::Bytes(text.as_bytes().into())),
        other => Err(no_conversion(other, "bytes")),
    }
}

fn to_double<'a>(args: &mut [Value<'a>]) -> Result<Value<'a>> {
    match &args[0] {
        Value::Double(number) => Ok(Value::Double(*number)),
        Value::Int(number) => Ok(Value::Double(*number as f64)),
        Value::Uint(number) => Ok(Value::Double(*number as f64)),
        Value::String(text) => text
            .parse()
            .map(Value::Double)
            .map_err(|_| Fault::other(format!("strconv.ParseFloat: parsing {:?}: invalid syntax", &**text))),
        other => Err(no_conversion(other, "double")),
    }
}

fn to_duration<'a>(args: &mut [Value<'a>]) -> Result<Value<'a>> {
    match &args[0] {
        Value::Duration(nanos) => Ok(Value::Duration(*nanos)),
        Value::Int(nanos) => Ok(Value::Duration(*nanos)),
        Value::String(text) => time::duration(text).map(Value::Duration),
        other => Err(no_conversion(other, "google.protobuf.Duration")),
    }
}

fn to_int<'a>(args: &mut [Value<'a>]) -> Result<Value<'a>> {
    let overflow = || Fault::other("integer overflow");
    match &args[0] {
        Value::Int(number) => Ok(Value::Int(*number)),
        Value::Uint(number) => i64::try_from(*number).map(Value::Int).map_err(|_| overflow()),
        // both ends are excluded, because a double cannot tell them from their neighbours
        Value::Double(number) if number.abs() < i64::MAX as f64 => Ok(Value::Int(*number as i64)),
        Value::Double(_) => Err(overflow()),
        Value::Duration(nanos) => Ok(Value::Int(*nanos)),
        Value::Timestamp(at) => Ok(Value::Int(time::seconds(*at))),
        Value::String(text) => text
            .parse()
            .map(Value::Int)
            .map_err(|_| Fault::other(format!("strconv.ParseInt: parsing {:?}: invalid syntax", &**text))),
        other => Err(no_conversion(other, "int")),
    }
}

fn to_uint<'a>(args: &mut [Value<'a>]) -> Result<Value<'a>> {
    let overflow = || Fault::other("unsigned integer overflow");
    match &args[0] {
        Value::Uint(number) => Ok(Value::Uint(*number)),
        Value::Int(number) => u64::try_from(*number).map(Value::Uint).map_err(|_| overflow()),
        Value::Double(number) if *number >= 0.0 && *number < u64::MAX as f64 => Ok(Value::Uint(*number as u64)),
        Value::Double(_) => Err(overflow()),
        Value::String(text) => text
            .parse()
            .map(Value::Uint)
            .map_err(|_| Fault::other(format!("strconv.ParseUint: parsing {:?}: invalid syntax", &**text))),
        other => Err(no_conversion(other, "uint")),
    }
}

fn to_timestamp<'a>(args: &mut [Value<'a>]) -> Result<Value<'a>> {
    match &args[0] {
        Value::Timestamp(at) => Ok(Value::Timestamp(*at)),
        Value::Int(seconds) => time::of_seconds(*seconds).map(Value::Timestamp),
        Value::String(text) => time::timestamp(text).map(Value::Timestamp),
        other => Err(no_conversion(other, "google.protobuf.Timestamp")),
    }
}

fn to_string<'a>(args: &mut [Value<'a>]) -> Result<Value<'a>> {
    Ok(Value::text(match &args[0] {
        text @ Value::String(_) => return Ok(text.clone()),
        Value::Bool(value) => value.to_string(),
        Value::Int(number) => number.to_string(),
        Value::Uint(number) => number.to_string(),
        Value::Double(number) => show_double(*number),
        Value::Bytes(bytes) => match std::str::from_utf8(bytes) {
            Ok(text) => text.to_string(),
            Err(_) => return Err(Fault::other("invalid UTF-8 in bytes, cannot convert to string")),
        },
        Value::Duration(nanos) => time::show_duration(*nanos),
        Value::Timestamp(at) => time::show_timestamp(*at),
        Value::Opaque(Opaque::Ip(ip)) => ip.to_string(),
        Value::Opaque(Opaque::Cidr(cidr)) => cidr.to_string(),
        other => return Err(no_conversion(other, "string")),
    }))
}

/// A double as Go's `%g` shows it: large and small ones with an exponent of at least two digits.
pub(super) fn show_double(number: f64) -> String {
    if number.is_nan() {
        return "NaN".into();
    }
    if number.is_infinite() {
        return if number > 0.0 { "+Inf" } else { "-Inf" }.into();
    }
    let exponent = if number == 0.0 { 0 } else { number.abs().log10().floor() as i32 };
    if (-4..21).contains(&exponent) {
        return number.to_string();
    }
    let text = format!("{number:e}");
    match text.split_once('e') {
        Some((digits, exponent)) => {
            let (sign, exponent) = match exponent.strip_prefix('-') {
                Some(exponent) => ('-', exponent),
                None => ('+', exponent),
            };
            format!("{digits}e{sign}{exponent:0>2}")
        }
        None => text,
    }
}
