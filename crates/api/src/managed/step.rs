//! One step of a field's path, as `FieldsV1` writes it and messages show it.

use serde_json::{Map, Value};
use std::fmt::Write;

/// A step. The order is that of messages: fields, then items by key, by value, by place.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Step {
    /// A field of an object or an entry of a map.
    Field(String),
    /// An item of a list map, by its keys, sorted by name.
    Key(Vec<(String, Atom)>),
    /// An item of a set.
    Item(Atom),
    /// An item of a list by position; only read, never made.
    Index(i64),
}

/// A value without inner structure, in an order.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Atom {
    Int(i64),
    Text(String),
    Bool(bool),
    /// Anything else, as JSON.
    Other(String),
}

impl Atom {
    pub(crate) fn of(value: &Value) -> Self {
        match value {
            Value::String(text) => Self::Text(text.clone()),
            Value::Bool(truth) => Self::Bool(*truth),
            Value::Number(number) if number.is_i64() => Self::Int(number.as_i64().unwrap_or_default()),
            other => Self::Other(other.to_string()),
        }
    }

    /// JSON as Go writes it, which escapes what HTML would mistake.
    fn json(&self) -> String {
        match self {
            Self::Int(number) => number.to_string(),
            Self::Bool(truth) => truth.to_string(),
            Self::Other(json) => json.clone(),
            Self::Text(text) => escape_html(&Value::String(text.clone()).to_string()),
        }
    }

    fn show(&self) -> String {
        match self {
            Self::Text(text) => Value::String(text.clone()).to_string(),
            other => other.json(),
        }
    }
}

fn escape_html(json: &str) -> String {
    if !json.contains(['<', '>', '&', '\u{2028}', '\u{2029}']) {
        return json.to_string();
    }
    let mut out = String::with_capacity(json.len());
    for c in json.chars() {
        match c {
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => {
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out
}

impl Step {
    /// A named field.
    pub(crate) fn field(name: &str) -> Self {
        Self::Field(name.to_string())
    }

    /// The key under which `FieldsV1` has it.
    pub(crate) fn wire(&self) -> String {
        match self {
            Self::Field(name) => ["f:", name].concat(),
            Self::Key(keys) => {
                let pairs: Vec<String> =
                    keys.iter().map(|(name, value)| format!("{}:{}", quote(name), value.json())).collect();
                format!("k:{{{}}}", pairs.join(","))
            }
            Self::Item(item) => format!("v:{}", item.json()),
            Self::Index(at) => format!("i:{at}"),
        }
    }

    /// Reads what [`Step::wire`] writes, also when others wrote it (keys in another order, spaces).
    pub(crate) fn read(text: &str) -> Option<Self> {
        let (kind, rest) = text.split_once(':')?;
        match kind {
            "f" => Some(Self::field(rest)),
            "k" => {
                let keys: Map<String, Value> = serde_json::from_str(rest).ok()?;
                let mut keys: Vec<_> = keys.iter().map(|(name, value)| (name.clone(), Atom::of(value))).collect();
                keys.sort();
                Some(Self::Key(keys))
            }
            "v" => serde_json::from_str(rest).ok().map(|value| Self::Item(Atom::of(&value))),
            "i" => rest.parse().ok().map(Self::Index),
            _ => None,
        }
    }

    /// `.spec`, `[name="a"]`, `[="x"]`, `[0]`.
    pub(crate) fn show(&self, out: &mut String) {
        let _ = match self {
            Self::Field(name) => write!(out, ".{name}"),
            Self::Key(keys) => {
                let keys: Vec<String> = keys.iter().map(|(name, value)| format!("{name}={}", value.show())).collect();
                write!(out, "[{}]", keys.join(","))
            }
            Self::Item(item) => write!(out, "[={}]", item.show()),
            Self::Index(at) => write!(out, "[{at}]"),
        };
    }
}

fn quote(text: &str) -> String {
    Value::String(text.to_string()).to_string()
}
