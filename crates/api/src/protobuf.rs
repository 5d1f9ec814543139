//! Protobuf bodies, read by the schema table's field numbers: what client-go's typed clients (and `kubectl create`) send.
//!
//! An object travels in an envelope: the magic `k8s\0`, then `runtime.Unknown` with the type and the encoded object. Only reading is here;
//! answers are JSON, which every client that sends protobuf takes too.

use crate::{
    resource::Resource,
    schema::{Scalar, Schema, Shape, Type},
    status::{Result, Status},
};
use jiff::Timestamp;
use serde_json::{Map, Value, json};

const MAGIC: &[u8] = b"k8s\0";
/// Values nest no deeper than the decoder of JSON lets them.
const MAX_DEPTH: usize = 120;

/// Decodes an enveloped object as `of`, with the `apiVersion` and `kind` of the envelope.
///
/// # Errors
/// 400 when the bytes are no such message.
pub fn decode(bytes: &[u8], of: Type<'_>) -> Result<Value> {
    let body = bytes
        .strip_prefix(MAGIC)
        .ok_or_else(|| bad("provided data does not appear to be a protobuf message, expected prefix [107 56 115 0]"))?;
    let (mut api_version, mut kind, mut raw) = (String::new(), String::new(), &[][..]);
    for field in fields(body)? {
        match (field.number, field.wire) {
            (1, Wire::Bytes(meta)) => {
                for field in fields(meta)? {
                    match (field.number, field.wire) {
                        (1, Wire::Bytes(text)) => api_version = string(text)?,
                        (2, Wire::Bytes(text)) => kind = string(text)?,
                        _ => {}
                    }
                }
            }
            (2, Wire::Bytes(bytes)) => raw = bytes,
            _ => {}
        }
    }
    let mut value = object(raw, of, 0)?;
    if let Some(map) = value.as_object_mut() {
        for (key, text) in [("apiVersion", api_version), ("kind", kind)] {
            if !text.is_empty() {
                map.insert(key.into(), json!(text));
            }
        }
    }
    Ok(value)
}

/// Whether a resource's type can be read at all: all of its fields have numbers.
pub fn is_readable(resource: &Resource) -> bool {
    Schema::builtin()
        .type_of(&resource.group, &resource.version, &resource.kind)
        .is_some_and(|of| of.fields().all(|f| f.number() > 0 || matches!(f.name(), "apiVersion" | "kind")))
}

struct Field<'a> {
    number: u32,
    wire: Wire<'a>,
}

#[derive(Clone, Copy)]
enum Wire<'a> {
    Varint(u64),
    Fixed64(u64),
    Fixed32(u32),
    Bytes(&'a [u8]),
}

fn bad(why: &str) -> Status {
    Status::bad_request(format!("the object provided is unrecognized: {why}"))
}

fn varint(bytes: &mut &[u8]) -> Result<u64> {
    let mut value = 0u64;
    for shift in (0..64).step_by(7) {
        let (first, rest) = bytes.split_first().ok_or_else(|| bad("unexpected EOF"))?;
        *bytes = rest;
        value |= u64::from(first & 0x7f) << shift;
        if first & 0x80 == 0 {
            return Ok(value);
        }
    }
    Err(bad("proto: integer overflow"))
}

fn take<'a>(bytes: &mut &'a [u8], n: usize) -> Result<&'a [u8]> {
    let (taken, rest) = bytes.split_at_checked(n).ok_or_else(|| bad("unexpected EOF"))?;
    *bytes = rest;
    Ok(taken)
}

fn fields(mut bytes: &[u8]) -> Result<Vec<Field<'_>>> {
    let mut all = Vec::new();
    while !bytes.is_empty() {
        let tag = varint(&mut bytes)?;
        let number = u32::try_from(tag >> 3).map_err(|_| bad("proto: illegal tag"))?;
        let wire = match tag & 7 {
            0 => Wire::Varint(varint(&mut bytes)?),
            1 => Wire::Fixed64(u64::from_le_bytes(take(&mut bytes, 8)?.try_into().unwrap_or_default())),
            2 => {
                let length = usize::try_from(varint(&mut bytes)?).map_err(|_| bad("proto: negative length"))?;
                Wire::Bytes(take(&mut bytes, length)?)
            }
            5 => Wire::Fixed32(u32::from_le_bytes(take(&mut bytes, 4)?.try_into().unwrap_or_default())),
            _ => return Err(bad("proto: illegal wireType")),
        };
        all.push(Field { number, wire });
    }
    Ok(all)
}

fn string(bytes: &[u8]) -> Result<String> {
    String::from_utf8(bytes.to_vec()).map_err(|_| bad("proto: invalid UTF-8"))
}

fn object(bytes: &[u8], of: Type<'_>, depth: usize) -> Result<Value> {
    if depth > MAX_DEPTH {
        return Err(bad("exceeded max depth"));
    }
    let mut map = Map::new();
    for field in fields(bytes)? {
        let Some(known) = of.fields().find(|f| f.number() == field.number) else { continue };
        match known.shape() {
            Shape::List(list) => {
                let items = map.entry(known.name()).or_insert_with(|| json!([]));
                if let (Value::Array(items), Some(item)) = (items, value(field.wire, list.item(), depth + 1)?) {
                    items.push(item);
                }
            }
            Shape::Map(shape) => {
                let Wire::Bytes(entry) = field.wire else { return Err(bad("proto: wrong wireType for a map")) };
                let (mut key, mut content) = (String::new(), None);
                for part in fields(entry)? {
                    match (part.number, part.wire) {
                        (1, Wire::Bytes(text)) => key = string(text)?,
                        (2, wire) => content = value(wire, shape.item(), depth + 1)?,
                        _ => {}
                    }
                }
                let content = content.unwrap_or_else(|| empty(shape.item()));
                if let Value::Object(entries) = map.entry(known.name()).or_insert_with(|| json!({})) {
                    entries.insert(key, content);
                }
            }
            shape => {
                // Go writes zero numbers, false and empty strings of fields that JSON leaves out when empty
                match value(field.wire, shape, depth + 1)? {
                    Some(found) if known.is_required() || !is_zero(&found, shape) => {
                        map.insert(known.name().into(), found);
                    }
                    _ => {}
                }
            }
        }
    }
    Ok(Value::Object(map))
}

/// Whether JSON would leave the value out. A zero number or `false` may be meant (pointers in Go write them only when set), a text may not.
fn is_zero(found: &Value, shape: Shape<'_>) -> bool {
    match found {
        Value::String(text) => text.is_empty() && !matches!(shape, Shape::Scalar(Scalar::Json)),
        Value::Object(map) => {
            map.is_empty()
                && matches!(shape, Shape::Object(of) if of.short_name() == "ObjectMeta" || of.short_name().ends_with("Status"))
        }
        _ => false,
    }
}

fn empty(shape: Shape<'_>) -> Value {
    match shape {
        Shape::Scalar(Scalar::String | Scalar::Bytes) => json!(""),
        Shape::Scalar(Scalar::Quantity) => json!("0"),
        Shape::Scalar(Scalar::Int32 | Scalar::Int64 | Scalar::Number | Scalar::IntOrString) => json!(0),
        Shape::Scalar(Scalar::Bool) => json!(false),
        Shape::Scalar(_) => Value::Null,
        Shape::List(_) => json!([]),
        Shape::Object(_) | Shape::Map(_) => json!({}),
    }
}

fn value(wire: Wire<'_>, shape: Shape<'_>, depth: usize) -> Result<Option<Value>> {
    Ok(Some(match (shape, wire) {
        (Shape::Scalar(scalar), wire) => return self::scalar(scalar, wire),
        (Shape::Object(of), Wire::Bytes(bytes)) => object(bytes, of, depth)?,
        // a list where one value stands is a message with the list as its first field (ExtraValue)
        (Shape::List(list), Wire::Bytes(bytes)) => {
            let mut items = Vec::new();
            for field in fields(bytes)?.into_iter().filter(|f| f.number == 1) {
                items.extend(value(field.wire, list.item(), depth + 1)?);
            }
            Value::Array(items)
        }
        _ => return Err(bad("proto: wrong wireType")),
    }))
}

#[allow(clippy::cast_possible_wrap, clippy::cast_possible_truncation)]
fn scalar(scalar: Scalar, wire: Wire<'_>) -> Result<Option<Value>> {
    use base64::{Engine, prelude::BASE64_STANDARD};
    Ok(Some(match (scalar, wire) {
        (Scalar::String, Wire::Bytes(text)) => json!(string(text)?),
        (Scalar::Bytes, Wire::Bytes(bytes)) => json!(BASE64_STANDARD.encode(bytes)),
        // negative numbers are sign-extended to ten bytes
        (Scalar::Int32, Wire::Varint(n)) => json!(n as i64 as i32),
        (Scalar::Int64, Wire::Varint(n)) => json!(n as i64),
        (Scalar::Bool, Wire::Varint(n)) => json!(n != 0),
        (Scalar::Number, Wire::Fixed64(n)) => json!(f64::from_bits(n)),
        (Scalar::Number, Wire::Fixed32(n)) => json!(f32::from_bits(n)),
        (Scalar::Quantity, Wire::Bytes(bytes)) => match first_text(bytes, 1)? {
            Some(text) => json!(text),
            None => json!("0"),
        },
        (Scalar::IntOrString, Wire::Bytes(bytes)) => {
            let (mut is_text, mut number, mut text) = (false, 0i32, String::new());
            for field in fields(bytes)? {
                match (field.number, field.wire) {
                    (1, Wire::Varint(n)) => is_text = n == 1,
                    (2, Wire::Varint(n)) => number = n as i64 as i32,
                    (3, Wire::Bytes(bytes)) => text = string(bytes)?,
                    _ => {}
                }
            }
            if is_text { json!(text) } else { json!(number) }
        }
        (Scalar::Time | Scalar::MicroTime, Wire::Bytes(bytes)) => return time(scalar, bytes),
        (Scalar::Json, Wire::Bytes(bytes)) => match first(bytes, 1)? {
            Some(raw) => serde_json::from_slice(raw).map_err(|e| bad(&e.to_string()))?,
            None => return Ok(None),
        },
        _ => return Err(bad("proto: wrong wireType")),
    }))
}

fn first(bytes: &[u8], number: u32) -> Result<Option<&[u8]>> {
    Ok(fields(bytes)?.into_iter().find_map(|f| match f.wire {
        Wire::Bytes(bytes) if f.number == number => Some(bytes),
        _ => None,
    }))
}

fn first_text(bytes: &[u8], number: u32) -> Result<Option<String>> {
    first(bytes, number)?.map(string).transpose()
}

#[allow(clippy::cast_possible_wrap, clippy::cast_possible_truncation)]
fn time(scalar: Scalar, bytes: &[u8]) -> Result<Option<Value>> {
    let (mut seconds, mut nanos) = (0i64, 0i32);
    let parts = fields(bytes)?;
    if parts.is_empty() {
        // Go's zero time
        return Ok(None);
    }
    for field in parts {
        match (field.number, field.wire) {
            (1, Wire::Varint(n)) => seconds = n as i64,
            (2, Wire::Varint(n)) => nanos = n as i64 as i32,
            _ => {}
        }
    }
    let Ok(time) = Timestamp::new(seconds, nanos) else { return Ok(None) };
    let format = if scalar == Scalar::Time { "%Y-%m-%dT%H:%M:%SZ" } else { "%Y-%m-%dT%H:%M:%S.%6fZ" };
    Ok(jiff::fmt::strtime::format(format, time).ok().map(Value::String))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(number: u8, content: &[u8]) -> Vec<u8> {
        let mut out = vec![number << 3 | 2, u8::try_from(content.len()).unwrap()];
        out.extend_from_slice(content);
        out
    }

    #[test]
    fn a_config_map_in_its_envelope() {
        let meta = [message(1, b"v1"), message(2, b"ConfigMap")].concat();
        let entry = [message(1, b"key"), message(2, b"value")].concat();
        let object = [message(1, &[message(1, b"a"), message(3, b"")].concat()), message(2, &entry)].concat();
        let bytes = [MAGIC.to_vec(), message(1, &meta), message(2, &object)].concat();
        let of = Schema::builtin().type_of("", "v1", "ConfigMap").unwrap();
        let expected =
            json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": {"key": "value"}});
        assert_eq!(decode(&bytes, of).unwrap(), expected);
        assert!(decode(&bytes[..bytes.len() - 1], of).is_err());
        assert!(decode(b"{}", of).is_err());
    }
}
