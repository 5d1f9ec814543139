//! Printer columns of custom resources: a JSONPath and a type.
//!
//! Source: apiextensions-apiserver `pkg/registry/customresource/tableconvertor`.

use crate::column::{AGE, Context, NAME, human_duration, string};
use crate::made::{Columns, MadeColumn};
use coracle_api::jsonpath::JsonPath;
use jiff::Timestamp;
use serde_json::{Value, json};

/// The name, and the columns of a version; without any of its own, the age.
pub(super) fn read(given: &[Value]) -> Columns {
    let name = MadeColumn {
        name: NAME.name.into(),
        kind: NAME.kind.into(),
        format: NAME.format.into(),
        description: NAME.description.into(),
        priority: 0,
        cell: Box::new(NAME.cell),
    };
    let mut columns = vec![name];
    columns.extend(given.iter().map(column));
    if given.is_empty() {
        let age = json!({"name": "Age", "type": "date", "description": AGE.description, "jsonPath": ".metadata.creationTimestamp"});
        columns.push(column(&age));
    }
    Columns::Made(columns)
}

fn column(given: &Value) -> MadeColumn {
    let path = string(&given["jsonPath"]);
    let kind = string(&given["type"]).to_string();
    let parsed = JsonPath::parse(path).ok();
    let of = kind.clone();
    let cell = move |context: &Context, object: &Value| {
        let found = parsed.as_ref().and_then(|path| path.first(object));
        found.map_or(Value::Null, |value| cell(&of, context, value))
    };
    let description = match string(&given["description"]) {
        "" => format!("Custom resource definition column (in JSONPath format): {path}"),
        told => told.into(),
    };
    MadeColumn {
        name: string(&given["name"]).into(),
        kind,
        format: string(&given["format"]).into(),
        description,
        priority: given["priority"].as_i64().and_then(|p| i32::try_from(p).ok()).unwrap_or(0),
        cell: Box::new(cell),
    }
}

fn cell(kind: &str, context: &Context, value: &Value) -> Value {
    match (kind, value) {
        (_, Value::Null) => Value::Null,
        ("string", Value::String(_)) => value.clone(),
        ("string", other) => json!(other.to_string()),
        ("integer", Value::Number(n)) => json!(n.as_i64().or_else(|| n.as_f64().map(|f| f as i64))),
        ("number", Value::Number(n)) => json!(n.as_f64()),
        ("boolean", Value::Bool(_)) => value.clone(),
        ("date", Value::String(text)) => match text.parse::<Timestamp>() {
            Ok(then) => json!(human_duration(context.now.as_second() - then.as_second())),
            Err(_) => json!("<invalid>"),
        },
        _ => Value::Null,
    }
}
