//! Values as Go prints them, for the messages in which upstream does.

use serde_json::Value;

/// `%v`: `map[a:1 b:[x y]]`, `<nil>`.
pub fn show(value: &Value) -> String {
    match value {
        Value::Null => "<nil>".into(),
        Value::Bool(truth) => truth.to_string(),
        Value::Number(number) => number.to_string(),
        Value::String(text) => text.clone(),
        Value::Array(items) => format!("[{}]", items.iter().map(show).collect::<Vec<_>>().join(" ")),
        Value::Object(map) => {
            let pairs: Vec<String> = map.iter().map(|(name, value)| format!("{name}:{}", show(value))).collect();
            format!("map[{}]", pairs.join(" "))
        }
    }
}

/// `%#v` of a scalar, `%v` of anything else.
pub fn quoted(value: &Value) -> String {
    match value {
        Value::String(_) => value.to_string(),
        other => show(other),
    }
}

/// `%T` of a decoded JSON value.
pub fn type_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "<nil>",
        Value::Bool(_) => "bool",
        Value::Number(number) if number.is_i64() => "int64",
        Value::Number(_) => "float64",
        Value::String(_) => "string",
        Value::Array(_) => "[]interface {}",
        Value::Object(_) => "map[string]interface {}",
    }
}
