//! A v2 document in protobuf, as older versions of kubectl and client-go's discovery ask for it.
//!
//! Which field of the JSON form goes where is a table. Source of the numbers: `openapi.v2` of gnostic (`OpenAPIv2.proto`). Values of any
//! shape (defaults, extensions) travel as YAML text there, and JSON is YAML.

use serde_json::{Map, Value};

/// The media types of such a document, the newer one first.
pub const MEDIA_TYPES: [&str; 2] = [
    "application/com.github.proto-openapi.spec.v2.v1.0+protobuf",
    "application/com.github.proto-openapi.spec.v2@v1.0+protobuf",
];

/// Encodes a v2 document. What is not of the form that the table expects is left out.
pub fn encode(document: &Value) -> Vec<u8> {
    let mut out = Vec::new();
    if let Value::Object(map) = document {
        message(&mut out, &DOCUMENT, map);
    }
    out
}

/// A message: its fields by their names in JSON, and the number under which extensions (`x-…`) go.
struct Message {
    fields: &'static [(&'static str, u32, Form)],
    extensions: Option<u32>,
}

/// How a value is written.
enum Form {
    Text,
    Flag,
    Whole,
    Real,
    /// Of any shape.
    Any,
    /// Each item of a list; a single value is a list of one.
    Each(&'static Form),
    /// A message.
    One(&'static Message),
    /// A message with one field.
    In(u32, &'static Form),
    /// A message of named values, which lie under that number: an object whose keys are no fields.
    Named(u32, &'static Form),
    /// Depends on the value.
    By(fn(&Value) -> &'static Form),
}

static DOCUMENT: Message = Message {
    fields: &[
        ("swagger", 1, Form::Text),
        ("info", 2, Form::One(&INFO)),
        ("host", 3, Form::Text),
        ("basePath", 4, Form::Text),
        ("schemes", 5, TEXTS),
        ("consumes", 6, TEXTS),
        ("produces", 7, TEXTS),
        ("paths", 8, Form::Named(2, &Form::One(&PATH))),
        ("definitions", 9, Form::Named(1, &Form::One(&SCHEMA))),
        ("security", 12, Form::Each(&Form::Named(1, &Form::In(1, &TEXTS)))),
        ("securityDefinitions", 13, Form::Named(1, &Form::In(2, &Form::One(&API_KEY)))),
    ],
    extensions: Some(16),
};

static INFO: Message = Message {
    fields: &[("title", 1, Form::Text), ("version", 2, Form::Text), ("description", 3, Form::Text)],
    extensions: Some(7),
};

static API_KEY: Message = Message {
    fields: &[("type", 1, Form::Text), ("name", 2, Form::Text), ("in", 3, Form::Text), ("description", 4, Form::Text)],
    extensions: Some(5),
};

static PATH: Message = Message {
    fields: &[
        ("$ref", 1, Form::Text),
        ("get", 2, Form::One(&OPERATION)),
        ("put", 3, Form::One(&OPERATION)),
        ("post", 4, Form::One(&OPERATION)),
        ("delete", 5, Form::One(&OPERATION)),
        ("options", 6, Form::One(&OPERATION)),
        ("head", 7, Form::One(&OPERATION)),
        ("patch", 8, Form::One(&OPERATION)),
        ("parameters", 9, PARAMETERS),
    ],
    extensions: Some(10),
};

static OPERATION: Message = Message {
    fields: &[
        ("tags", 1, TEXTS),
        ("summary", 2, Form::Text),
        ("description", 3, Form::Text),
        ("operationId", 5, Form::Text),
        ("produces", 6, TEXTS),
        ("consumes", 7, TEXTS),
        ("parameters", 8, PARAMETERS),
        ("responses", 9, Form::Named(1, &Form::By(response))),
        ("schemes", 10, TEXTS),
        ("deprecated", 11, Form::Flag),
    ],
    extensions: Some(13),
};

static REFERENCE: Message =
    Message { fields: &[("$ref", 1, Form::Text), ("description", 2, Form::Text)], extensions: None };

static BODY: Message = Message {
    fields: &[
        ("description", 1, Form::Text),
        ("name", 2, Form::Text),
        ("in", 3, Form::Text),
        ("required", 4, Form::Flag),
        ("schema", 5, Form::One(&SCHEMA)),
    ],
    extensions: Some(6),
};

/// Parameters in the path and in headers.
static PLACED: Message = Message {
    fields: &[
        ("required", 1, Form::Flag),
        ("in", 2, Form::Text),
        ("description", 3, Form::Text),
        ("name", 4, Form::Text),
        ("type", 5, Form::Text),
        ("format", 6, Form::Text),
        ("uniqueItems", 19, Form::Flag),
    ],
    extensions: Some(22),
};

/// Parameters in the query and in forms.
static QUERIED: Message = Message {
    fields: &[
        ("required", 1, Form::Flag),
        ("in", 2, Form::Text),
        ("description", 3, Form::Text),
        ("name", 4, Form::Text),
        ("allowEmptyValue", 5, Form::Flag),
        ("type", 6, Form::Text),
        ("format", 7, Form::Text),
        ("uniqueItems", 20, Form::Flag),
    ],
    extensions: Some(23),
};

static RESPONSE: Message = Message {
    fields: &[("description", 1, Form::Text), ("schema", 2, Form::In(1, &Form::One(&SCHEMA)))],
    extensions: Some(5),
};

static SCHEMA: Message = Message {
    fields: &[
        ("$ref", 1, Form::Text),
        ("format", 2, Form::Text),
        ("title", 3, Form::Text),
        ("description", 4, Form::Text),
        ("default", 5, Form::Any),
        ("multipleOf", 6, Form::Real),
        ("maximum", 7, Form::Real),
        ("exclusiveMaximum", 8, Form::Flag),
        ("minimum", 9, Form::Real),
        ("exclusiveMinimum", 10, Form::Flag),
        ("maxLength", 11, Form::Whole),
        ("minLength", 12, Form::Whole),
        ("pattern", 13, Form::Text),
        ("maxItems", 14, Form::Whole),
        ("minItems", 15, Form::Whole),
        ("uniqueItems", 16, Form::Flag),
        ("maxProperties", 17, Form::Whole),
        ("minProperties", 18, Form::Whole),
        ("required", 19, TEXTS),
        ("enum", 20, Form::Each(&Form::Any)),
        ("additionalProperties", 21, Form::By(additional)),
        ("type", 22, Form::In(1, &TEXTS)),
        ("items", 23, Form::In(1, &Form::Each(&Form::One(&SCHEMA)))),
        ("allOf", 24, Form::Each(&Form::One(&SCHEMA))),
        ("properties", 25, Form::Named(1, &Form::One(&SCHEMA))),
        ("discriminator", 26, Form::Text),
        ("readOnly", 27, Form::Flag),
        ("example", 30, Form::Any),
    ],
    extensions: Some(31),
};

const TEXTS: Form = Form::Each(&Form::Text);
const PARAMETERS: Form = Form::Each(&Form::By(parameter));

fn parameter(value: &Value) -> &'static Form {
    static REFERRED: Form = Form::In(2, &Form::One(&REFERENCE));
    static IN_BODY: Form = Form::In(1, &Form::In(1, &Form::One(&BODY)));
    static IN_HEADER: Form = Form::In(1, &Form::In(2, &Form::In(1, &Form::One(&PLACED))));
    static IN_FORM: Form = Form::In(1, &Form::In(2, &Form::In(2, &Form::One(&QUERIED))));
    static IN_QUERY: Form = Form::In(1, &Form::In(2, &Form::In(3, &Form::One(&QUERIED))));
    static IN_PATH: Form = Form::In(1, &Form::In(2, &Form::In(4, &Form::One(&PLACED))));
    match value["in"].as_str() {
        None => &REFERRED,
        Some("body") => &IN_BODY,
        Some("header") => &IN_HEADER,
        Some("formData") => &IN_FORM,
        Some("query") => &IN_QUERY,
        Some(_) => &IN_PATH,
    }
}

fn response(value: &Value) -> &'static Form {
    static SAID: Form = Form::In(1, &Form::One(&RESPONSE));
    static REFERRED: Form = Form::In(2, &Form::One(&REFERENCE));
    if value.get("$ref").is_some() { &REFERRED } else { &SAID }
}

fn additional(value: &Value) -> &'static Form {
    static ANY: Form = Form::In(2, &Form::Flag);
    static SOME: Form = Form::In(1, &Form::One(&SCHEMA));
    if value.is_boolean() { &ANY } else { &SOME }
}

fn message(out: &mut Vec<u8>, of: &Message, map: &Map<String, Value>) {
    for (key, value) in map {
        if let Some((_, number, form)) = of.fields.iter().find(|(name, ..)| name == key) {
            field(out, *number, form, value);
        } else if let (Some(number), true) = (of.extensions, key.starts_with("x-")) {
            named(out, number, key, &Form::Any, value);
        }
    }
}

fn field(out: &mut Vec<u8>, number: u32, form: &Form, value: &Value) {
    match (form, value) {
        (Form::Text, Value::String(text)) => bytes(out, number, text.as_bytes()),
        (Form::Flag, Value::Bool(flag)) => whole(out, number, u64::from(*flag)),
        (Form::Whole, Value::Number(n)) => {
            // negative numbers are written as their complement
            whole(out, number, n.as_u64().or_else(|| n.as_i64().map(i64::cast_unsigned)).unwrap_or_default());
        }
        (Form::Real, Value::Number(n)) => {
            varint(out, u64::from(number) << 3 | 1);
            out.extend_from_slice(&n.as_f64().unwrap_or_default().to_le_bytes());
        }
        (Form::Any, value) => nested(out, number, |out| bytes(out, 2, format!("{value}\n").as_bytes())),
        (Form::Each(form), Value::Array(items)) => items.iter().for_each(|item| field(out, number, form, item)),
        (Form::Each(form), value) => field(out, number, form, value),
        (Form::One(of), Value::Object(map)) => nested(out, number, |out| message(out, of, map)),
        (Form::In(inner, form), value) => nested(out, number, |out| field(out, *inner, form, value)),
        (Form::Named(inner, form), Value::Object(map)) => nested(out, number, |out| {
            map.iter().for_each(|(name, value)| named(out, *inner, name, form, value));
        }),
        (Form::By(choose), value) => field(out, number, choose(value), value),
        _ => {}
    }
}

fn named(out: &mut Vec<u8>, number: u32, name: &str, form: &Form, value: &Value) {
    nested(out, number, |out| {
        bytes(out, 1, name.as_bytes());
        field(out, 2, form, value);
    });
}

fn nested(out: &mut Vec<u8>, number: u32, content: impl FnOnce(&mut Vec<u8>)) {
    let mut inner = Vec::new();
    content(&mut inner);
    bytes(out, number, &inner);
}

fn bytes(out: &mut Vec<u8>, number: u32, content: &[u8]) {
    varint(out, u64::from(number) << 3 | 2);
    varint(out, content.len() as u64);
    out.extend_from_slice(content);
}

fn whole(out: &mut Vec<u8>, number: u32, n: u64) {
    varint(out, u64::from(number) << 3);
    varint(out, n);
}

fn varint(out: &mut Vec<u8>, mut n: u64) {
    while n >= 0x80 {
        out.push((n & 0x7f) as u8 | 0x80);
        n >>= 7;
    }
    out.push(n as u8);
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// The fields of a message as text: `number:{…}` for what may be a message, `number="…"` for text.
    fn shown(mut bytes: &[u8]) -> Option<String> {
        let mut fields = Vec::new();
        while !bytes.is_empty() {
            let tag = read(&mut bytes)?;
            let number = tag >> 3;
            fields.push(match tag & 7 {
                0 => format!("{number}={}", read(&mut bytes)?),
                1 => {
                    let (value, rest) = bytes.split_at_checked(8)?;
                    bytes = rest;
                    format!("{number}={}", f64::from_le_bytes(value.try_into().ok()?))
                }
                2 => {
                    let length = usize::try_from(read(&mut bytes)?).ok()?;
                    let (value, rest) = bytes.split_at_checked(length)?;
                    bytes = rest;
                    let text =
                        std::str::from_utf8(value).ok().filter(|t| t.chars().all(|c| !c.is_control() || c == '\n'));
                    match text.filter(|t| !t.is_empty()) {
                        Some(text) => format!("{number}={text:?}"),
                        None => format!("{number}:{{{}}}", shown(value)?),
                    }
                }
                _ => return None,
            });
        }
        Some(fields.join(" "))
    }

    fn read(bytes: &mut &[u8]) -> Option<u64> {
        let (mut n, mut shift) = (0, 0);
        loop {
            let (byte, rest) = bytes.split_first()?;
            *bytes = rest;
            n |= u64::from(byte & 0x7f) << shift;
            shift += 7;
            if byte & 0x80 == 0 {
                return Some(n);
            }
        }
    }

    #[test]
    fn each_part_has_its_place() {
        for (document, expected) in [
            (json!({"swagger": "2.0", "info": {"title": "T"}}), r#"2:{1="T"} 1="2.0""#),
            (json!({"definitions": {"a": {"type": "object"}}}), r#"9:{1:{1="a" 2:{22:{1="object"}}}}"#),
            (
                json!({"definitions": {"a": {"items": {"$ref": "r"}, "required": ["x", "y"]}}}),
                r#"9:{1:{1="a" 2:{23:{1:{1="r"}} 19="x" 19="y"}}}"#,
            ),
            (
                json!({"definitions": {"a": {"additionalProperties": {"format": "f"}, "maximum": 1.5, "maxItems": 300}}}),
                r#"9:{1:{1="a" 2:{21:{1:{2="f"}} 14=300 7=1.5}}}"#,
            ),
            (json!({"definitions": {"a": {"additionalProperties": true}}}), r#"9:{1:{1="a" 2:{21:{2=1}}}}"#),
            (json!({"definitions": {"a": {"default": {"k": 1}}}}), r#"9:{1:{1="a" 2:{5:{2="{\"k\":1}\n"}}}}"#),
            (json!({"x-e": [1]}), r#"16:{1="x-e" 2:{2="[1]\n"}}"#),
            (
                json!({"paths": {"/p": {"get": {"operationId": "o", "parameters": [{"in": "query", "name": "q"}]}}}}),
                r#"8:{2:{1="/p" 2:{2:{5="o" 8:{1:{2:{3:{2="query" 4="q"}}}}}}}}"#,
            ),
            (
                json!({"paths": {"/p": {"post": {"parameters": [{"in": "body", "schema": {"$ref": "r"}}]}}}}),
                r#"8:{2:{1="/p" 2:{4:{8:{1:{1:{3="body" 5:{1="r"}}}}}}}}"#,
            ),
            (
                json!({"paths": {"/p": {"get": {"responses": {"200": {"description": "OK", "schema": {"$ref": "r"}}}}}}}),
                r#"8:{2:{1="/p" 2:{2:{9:{1:{1="200" 2:{1:{1="OK" 2:{1:{1="r"}}}}}}}}}}"#,
            ),
            (json!({"security": [{"B": []}]}), r#"12:{1:{1="B" 2:{}}}"#),
            (json!({"unknown": 1}), ""),
        ] {
            assert_eq!(shown(&encode(&document)).as_deref(), Some(expected), "{document}");
        }
    }
}
