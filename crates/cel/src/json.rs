//! JSON as values, by its declaration.

use crate::{
    decl::{DYNAMIC, Decl, Form, ListKind},
    fault::{Fault, Result},
    library::time,
    value::{List, Map, Text, Value},
    work,
};
use base64::Engine as _;
use serde_json::Value as Json;
use std::sync::Arc;

/// A view of JSON, as it is declared.
pub(crate) fn read<'a>(json: &'a Json, decl: &'a Decl) -> Result<Value<'a>> {
    if json.is_null() && !matches!(decl.form, Form::Dynamic | Form::Hidden) {
        return match decl.nullable {
            true => Ok(Value::Null),
            false => Err(Fault::other("invalid data, got null for schema with nullable=false")),
        };
    }
    let wrong = |expected: &str| Fault::other(format!("invalid data, expected {expected}, got {}", kind(json)));
    let text = || json.as_str().ok_or_else(|| wrong("string"));
    Ok(match &decl.form {
        Form::Dynamic => dynamic(json),
        Form::Hidden => Value::Hidden(json),
        Form::IntOrString => match json {
            Json::String(text) => Value::borrowed(text),
            other => Value::Int(other.as_i64().ok_or_else(|| {
                Fault::other("invalid data, expected XIntOrString value to be either a string or integer")
            })?),
        },
        Form::Bool => Value::Bool(json.as_bool().ok_or_else(|| wrong("bool"))?),
        Form::Int => Value::Int(integer(json).ok_or_else(|| wrong("int"))?),
        Form::Double => Value::Double(json.as_f64().ok_or_else(|| wrong("float"))?),
        Form::String => Value::borrowed(text()?),
        Form::Bytes => {
            work::read(text()?.len());
            let bytes = base64::engine::general_purpose::STANDARD.decode(text()?);
            let bytes = bytes.map_err(|e| Fault::other(format!("Invalid byte formatted string {json}: {e}")))?;
            Value::Bytes(bytes.into())
        }
        Form::Duration => Value::Duration(time::schema_duration(text()?)?),
        Form::Date => Value::Timestamp(time::date(text()?)?),
        Form::DateTime => Value::Timestamp(time::date_time(text()?)?),
        Form::List { items: decl, kind } => {
            let items = json.as_array().ok_or_else(|| {
                Fault::other("invalid data, expected an array for the provided schema with type=array")
            })?;
            Value::List(List::Json { items, decl, kind })
        }
        Form::Map { .. } | Form::Object { .. } => {
            let object = json
                .as_object()
                .ok_or_else(|| Fault::other("invalid data, expected a map for the provided schema with type=object"))?;
            Value::Map(Map::Json { object, decl })
        }
    })
}

/// A view of JSON of which nothing is declared.
fn dynamic(json: &Json) -> Value<'_> {
    match json {
        Json::Null => Value::Null,
        Json::Bool(value) => Value::Bool(*value),
        Json::Number(number) => match (number.as_i64(), number.as_u64()) {
            (Some(int), _) => Value::Int(int),
            (None, Some(uint)) => Value::Uint(uint),
            (None, None) => Value::Double(number.as_f64().unwrap_or_default()),
        },
        Json::String(text) => Value::String(Text::Borrowed(text)),
        Json::Array(items) => Value::List(List::Json { items, decl: &DYNAMIC, kind: &ListKind::Atomic }),
        Json::Object(object) => Value::Map(Map::Json { object, decl: &DYNAMIC }),
    }
}

/// A whole number, also if it is written like `1.0`.
fn integer(json: &Json) -> Option<i64> {
    let whole = |number: f64| (number.fract() == 0.0 && number.abs() < 9e18).then_some(number as i64);
    json.as_i64().or_else(|| json.as_f64().and_then(whole))
}

/// The JSON of JSON that no longer is borrowed: for variables that a caller computed.
pub fn owned(json: &Json) -> Result<Value<'static>> {
    Ok(match json {
        Json::String(text) => Value::text(text),
        Json::Array(items) => Value::list(items.iter().map(owned).collect::<Result<_>>()?),
        Json::Object(object) => {
            let entries = object.iter().map(|(key, value)| Ok((Value::text(key), owned(value)?)));
            Value::Map(Map::owned(entries.collect::<Result<Vec<_>>>()?)?)
        }
        Json::Null => Value::Null,
        Json::Bool(value) => Value::Bool(*value),
        Json::Number(_) => match dynamic(json) {
            Value::Int(int) => Value::Int(int),
            Value::Uint(uint) => Value::Uint(uint),
            Value::Double(double) => Value::Double(double),
            _ => Value::Null,
        },
    })
}

/// A value as JSON, where it can be said in JSON.
pub fn write(value: &Value<'_>) -> Option<Json> {
    Some(match value {
        Value::Null => Json::Null,
        Value::Bool(value) => Json::Bool(*value),
        Value::Int(int) => Json::from(*int),
        Value::Uint(uint) => Json::from(*uint),
        Value::Double(double) => Json::from(*double),
        Value::String(text) => Json::from(&**text),
        Value::Bytes(bytes) => Json::from(base64::engine::general_purpose::STANDARD.encode(bytes)),
        Value::Timestamp(at) => Json::from(time::show_timestamp(*at)),
        Value::Duration(nanos) => Json::from(time::show_duration(*nanos)),
        Value::List(list) => Json::Array(list.iter().map(|item| write(&item.ok()?)).collect::<Option<_>>()?),
        Value::Map(map) => {
            let entry = |key: Value<'_>| match &key {
                Value::String(name) => Some((name.to_string(), write(&map.get(&key).ok()??)?)),
                _ => None,
            };
            Json::Object(map.keys().into_iter().map(entry).collect::<Option<_>>()?)
        }
        Value::Optional(Some(value)) => write(value)?,
        Value::Hidden(json) => (*json).clone(),
        Value::Type(_) | Value::Optional(None) | Value::Opaque(_) => return None,
    })
}

fn kind(json: &Json) -> &'static str {
    match json {
        Json::Null => "null",
        Json::Bool(_) => "bool",
        Json::Number(number) if number.is_f64() => "float64",
        Json::Number(_) => "int64",
        Json::String(_) => "string",
        Json::Array(_) => "array",
        Json::Object(_) => "object",
    }
}

/// A list of texts.
pub(crate) fn texts<'a>(texts: impl IntoIterator<Item = impl AsRef<str>>) -> Value<'a> {
    Value::list(texts.into_iter().map(|text| Value::String(Text::Shared(Arc::from(text.as_ref())))).collect())
}
