//! Messages to values.
//!
//! Go always writes fields that are no pointers. What comes out is what JSON would have said: a zero that `omitempty` leaves out is left
//! out here, and so is an empty struct that need not be there, which Go cannot tell from none.

use super::raw::{Error, Fields, Value as Raw, text};
use crate::duration;
use crate::schema::{Field, Place, Scalar, Shape, Type, WireFields, WireForm};
use base64::{Engine, prelude::BASE64_STANDARD};
use jiff::Timestamp;
use serde_json::{Map, Value, json};

/// Values nest no deeper than the decoder of JSON lets them.
const MAX_DEPTH: usize = 120;

type Result<T, E = Error> = std::result::Result<T, E>;

/// A message as a value.
pub fn message(bytes: &[u8], of: Type<'_>) -> Result<Value> {
    nested(bytes, of, 0)
}

fn nested(bytes: &[u8], of: Type<'_>, depth: usize) -> Result<Value> {
    let mut map = Map::new();
    fill(&mut map, bytes, of, of.wire_fields(), depth)?;
    Ok(Value::Object(map))
}

fn fill(map: &mut Map<String, Value>, bytes: &[u8], of: Type<'_>, places: WireFields<'_>, depth: usize) -> Result<()> {
    if depth > MAX_DEPTH {
        return Err(Error::Depth);
    }
    for field in Fields::new(bytes) {
        let (number, raw) = field?;
        match (places.find(number), raw) {
            (None, _) => {}
            (Some(Place::Embedded(inner)), Raw::Bytes(bytes)) => fill(map, bytes, of, inner, depth + 1)?,
            (Some(Place::Embedded(_)), _) => return Err(Error::Mismatch(of.short_name().into())),
            (Some(Place::Field(field)), raw) => put(map, field, raw, of, depth + 1)?,
        }
    }
    Ok(())
}

fn put(map: &mut Map<String, Value>, field: Field<'_>, raw: Raw<'_>, of: Type<'_>, depth: usize) -> Result<()> {
    let named = |e: Error| match e {
        Error::Mismatch(name) if name.is_empty() => Error::Mismatch(field.name().to_string()),
        other => other,
    };
    let read = |raw: Raw<'_>, shape: Shape<'_>| match field.wire().form() {
        WireForm::Plain | WireForm::Items => value(raw, shape, depth),
        form => alternative(raw, form, of, depth),
    };
    match field.shape() {
        Shape::List(list) if field.wire().form() != WireForm::Items => {
            let item = read(raw, list.item()).map_err(named)?;
            let items = map.entry(field.name()).or_insert_with(|| json!([]));
            if let (Value::Array(items), Some(item)) = (items, item) {
                items.push(item);
            }
        }
        Shape::Map(shape) => {
            let Raw::Bytes(entry) = raw else { return Err(named(Error::Mismatch(String::new()))) };
            let (mut key, mut content) = (String::new(), None);
            for part in Fields::new(entry) {
                match part? {
                    (1, Raw::Bytes(bytes)) => key = text(bytes)?,
                    (2, raw) => content = read(raw, shape.item()).map_err(named)?,
                    _ => {}
                }
            }
            let content = content.unwrap_or_else(|| empty(shape.item()));
            if let Value::Object(entries) = map.entry(field.name()).or_insert_with(|| json!({})) {
                entries.insert(key, content);
            }
        }
        shape => {
            if let Some(found) = read(raw, shape).map_err(named)?.filter(|found| stays(found, field)) {
                map.insert(field.name().into(), found);
            }
        }
    }
    Ok(())
}

/// Whether JSON would have the value at all.
fn stays(found: &Value, field: Field<'_>) -> bool {
    if !field.wire().is_always_written() {
        return true;
    }
    match (field.shape(), found) {
        (Shape::Object(_), Value::Object(map)) => field.is_required() || !map.is_empty(),
        (Shape::Scalar(Scalar::IntOrString | Scalar::Quantity), found) => {
            field.is_required() || !(found == &json!(0) || found == "0" || found == "")
        }
        (_, found) => field.wire().keeps_zero() || !(found == &json!(0) || found == &json!(false) || found == ""),
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

fn value(raw: Raw<'_>, shape: Shape<'_>, depth: usize) -> Result<Option<Value>> {
    Ok(Some(match (shape, raw) {
        (Shape::Scalar(scalar), raw) => return self::scalar(scalar, raw),
        (Shape::Object(of), Raw::Bytes(bytes)) => nested(bytes, of, depth)?,
        // a list where one value stands is a message with the list as its first field
        (Shape::List(list), Raw::Bytes(bytes)) => list_in_message(bytes, 1, list.item(), depth)?,
        _ => return Err(Error::Mismatch(String::new())),
    }))
}

fn list_in_message(bytes: &[u8], number: u32, item: Shape<'_>, depth: usize) -> Result<Value> {
    let mut items = Vec::new();
    for field in Fields::new(bytes) {
        let (found, raw) = field?;
        if found == number {
            items.extend(value(raw, item, depth + 1)?);
        }
    }
    Ok(Value::Array(items))
}

/// `JSONSchemaPropsOr…`: a schema (of the type that has the field) or something else.
fn alternative(raw: Raw<'_>, form: WireForm, of: Type<'_>, depth: usize) -> Result<Option<Value>> {
    let Raw::Bytes(bytes) = raw else { return Err(Error::Mismatch(String::new())) };
    if form == WireForm::Empty {
        return Ok(Some(json!({})));
    }
    let schema_number = if form == WireForm::SchemaOrBool { 2 } else { 1 };
    let mut allows = false;
    for field in Fields::new(bytes) {
        match field? {
            (number, Raw::Bytes(bytes)) if number == schema_number => return nested(bytes, of, depth + 1).map(Some),
            (1, Raw::Varint(n)) => allows = n != 0,
            _ => {}
        }
    }
    Ok(match form {
        WireForm::SchemaOrBool => Some(json!(allows)),
        WireForm::SchemaOrArray => Some(list_in_message(bytes, 2, Shape::Object(of), depth)?),
        _ => Some(list_in_message(bytes, 2, Shape::Scalar(Scalar::String), depth)?),
    }
    .filter(|v| v.as_array().is_none_or(|a| !a.is_empty())))
}

fn int32(n: u64) -> i32 {
    // negative numbers are extended to 64 bits, so the lower half is the number
    (n as u32).cast_signed()
}

fn scalar(scalar: Scalar, raw: Raw<'_>) -> Result<Option<Value>> {
    Ok(Some(match (scalar, raw) {
        (Scalar::String, Raw::Bytes(bytes)) => json!(text(bytes)?),
        (Scalar::Bytes, Raw::Bytes(bytes)) => json!(BASE64_STANDARD.encode(bytes)),
        (Scalar::Int32, Raw::Varint(n)) => json!(int32(n)),
        (Scalar::Int64, Raw::Varint(n)) => json!(n.cast_signed()),
        (Scalar::Bool, Raw::Varint(n)) => json!(n != 0),
        (Scalar::Number, Raw::Fixed64(n)) => number(f64::from_bits(n)),
        (Scalar::Number, Raw::Fixed32(n)) => number(f32::from_bits(n).into()),
        (Scalar::Quantity, Raw::Bytes(bytes)) => match first(bytes)? {
            Some(bytes) => json!(text(bytes)?),
            None => json!("0"),
        },
        (Scalar::IntOrString, Raw::Bytes(bytes)) => {
            let (mut is_text, mut number, mut string) = (false, 0, String::new());
            for field in Fields::new(bytes) {
                match field? {
                    (1, Raw::Varint(n)) => is_text = n == 1,
                    (2, Raw::Varint(n)) => number = int32(n),
                    (3, Raw::Bytes(bytes)) => string = text(bytes)?,
                    _ => {}
                }
            }
            if is_text { json!(string) } else { json!(number) }
        }
        (Scalar::Time | Scalar::MicroTime, Raw::Bytes(bytes)) => return time(scalar, bytes),
        (Scalar::Duration, Raw::Bytes(bytes)) => {
            let mut nanos = 0;
            for field in Fields::new(bytes) {
                if let (1, Raw::Varint(n)) = field? {
                    nanos = n.cast_signed();
                }
            }
            json!(duration::show(nanos))
        }
        (Scalar::Json, Raw::Bytes(bytes)) => match first(bytes)? {
            Some(json) => serde_json::from_slice(json).map_err(|e| Error::Json(e.to_string()))?,
            None => return Ok(None),
        },
        _ => return Err(Error::Mismatch(String::new())),
    }))
}

/// As Go writes it: whole numbers without a fraction.
#[allow(clippy::cast_possible_truncation)]
fn number(n: f64) -> Value {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    if n.fract() == 0.0 && n.abs() <= EXACT { json!(n as i64) } else { json!(n) }
}

fn first(bytes: &[u8]) -> Result<Option<&[u8]>> {
    for field in Fields::new(bytes) {
        if let (1, Raw::Bytes(bytes)) = field? {
            return Ok(Some(bytes));
        }
    }
    Ok(None)
}

fn time(scalar: Scalar, bytes: &[u8]) -> Result<Option<Value>> {
    if bytes.is_empty() {
        // Go's zero time
        return Ok(None);
    }
    let (mut seconds, mut nanos) = (0i64, 0i32);
    for field in Fields::new(bytes) {
        match field? {
            (1, Raw::Varint(n)) => seconds = n.cast_signed(),
            (2, Raw::Varint(n)) => nanos = int32(n),
            _ => {}
        }
    }
    let whole = Timestamp::from_second(seconds);
    let time = whole.and_then(|t| t.checked_add(jiff::SignedDuration::from_nanos(nanos.into())));
    let format = if scalar == Scalar::Time { "%Y-%m-%dT%H:%M:%SZ" } else { "%Y-%m-%dT%H:%M:%S.%6fZ" };
    Ok(time.and_then(|t| jiff::fmt::strtime::format(format, t)).ok().map(Value::String))
}
