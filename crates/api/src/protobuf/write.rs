//! Values to messages.
//!
//! A length stands before what it counts, so messages are written back to front, as upstream's code does: by the time a length is
//! written, what it counts is there. The bytes are turned round once, at the end.

use super::{MAGIC, raw};
use crate::duration;
use crate::schema::{Field, Place, Scalar, Shape, Type, WireFields, WireForm};
use base64::{Engine, prelude::BASE64_STANDARD};
use jiff::Timestamp;
use serde_json::{Map, Value};
use std::ops::Range;

/// Why a value cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("field {0} is not what its type says")]
    Mismatch(String),
    #[error("{0}")]
    Json(#[from] serde_json::Error),
}

type Result<T = (), E = Error> = std::result::Result<T, E>;

/// Bytes of a message, last one first.
#[derive(Default)]
pub struct Writer(Vec<u8>);

const VARINT: u32 = 0;
const FIXED64: u32 = 1;
const BYTES: u32 = 2;

impl Writer {
    /// The bytes, first one first.
    pub fn finish(mut self) -> Vec<u8> {
        self.0.reverse();
        self.0
    }

    /// An object in its envelope; where its content lies, counted from the end.
    pub fn envelope(
        &mut self,
        api_version: &str,
        kind: &str,
        content: impl FnOnce(&mut Self) -> Result,
    ) -> Result<Range<usize>> {
        self.bytes(&raw::ENVELOPE_END);
        let start = self.0.len();
        content(self)?;
        let end = self.0.len();
        self.head(2, end - start);
        self.delimited(1, |out| {
            out.text(2, kind);
            out.text(1, api_version);
            Ok(())
        })?;
        self.bytes(MAGIC);
        Ok(start..end)
    }

    /// A message as a field.
    pub fn delimited(&mut self, number: u32, content: impl FnOnce(&mut Self) -> Result) -> Result {
        let start = self.0.len();
        content(self)?;
        self.head(number, self.0.len() - start);
        Ok(())
    }

    /// The fields of a value.
    pub fn message(&mut self, value: &Value, of: Type<'_>) -> Result {
        match value {
            Value::Object(map) => self.fields(map, of, of.wire_fields()),
            Value::Null => self.fields(&Map::new(), of, of.wire_fields()),
            _ => Err(Error::Mismatch(of.short_name().into())),
        }
    }

    fn fields(&mut self, map: &Map<String, Value>, of: Type<'_>, mut fields: WireFields<'_>) -> Result {
        while let Some((number, place)) = fields.pop() {
            match place {
                Place::Embedded(inner) => self.delimited(number, |out| out.fields(map, of, inner))?,
                Place::Field(field) => match map.get(field.name()).filter(|v| !v.is_null()) {
                    Some(value) => self.field(number, field, value, of)?,
                    None if field.wire().is_always_written() => self.zero(number, field.shape(), of)?,
                    None => {}
                },
            }
        }
        Ok(())
    }

    fn field(&mut self, number: u32, field: Field<'_>, value: &Value, of: Type<'_>) -> Result {
        let mismatch = || Error::Mismatch(format!("{}.{}", of.short_name(), field.name()));
        match (field.shape(), value) {
            (Shape::List(list), Value::Array(items)) if field.wire().form() == WireForm::Items => {
                self.delimited(number, |out| out.items(1, items, list.item())).map_err(|_| mismatch())
            }
            (Shape::List(list), Value::Array(items)) => self.items(number, items, list.item()).map_err(|_| mismatch()),
            (Shape::Map(map), Value::Object(entries)) => {
                // keys are sorted, as upstream sorts them
                for (key, value) in entries.iter().rev() {
                    self.delimited(number, |out| {
                        match field.wire().form() {
                            WireForm::Plain => out.item(2, map.item(), value)?,
                            form => out.alternative(2, form, value, of)?,
                        }
                        out.text(1, key);
                        Ok(())
                    })?;
                }
                Ok(())
            }
            (Shape::List(_) | Shape::Map(_), _) => Err(mismatch()),
            (shape, value) => match field.wire().form() {
                WireForm::Plain | WireForm::Items => self.item(number, shape, value),
                form => self.alternative(number, form, value, of),
            },
        }
        .map_err(|e| match e {
            Error::Mismatch(inner) if inner.is_empty() => mismatch(),
            other => other,
        })
    }

    fn items(&mut self, number: u32, items: &[Value], shape: Shape<'_>) -> Result {
        items.iter().rev().try_for_each(|item| self.item(number, shape, item))
    }

    /// One value under a number.
    fn item(&mut self, number: u32, shape: Shape<'_>, value: &Value) -> Result {
        match (shape, value) {
            (Shape::Scalar(scalar), value) => self.scalar(number, scalar, value),
            (Shape::Object(of), value) => self.delimited(number, |out| out.message(value, of)),
            // a list where one value stands is a message of its own (ExtraValue)
            (Shape::List(list), Value::Array(items)) => self.delimited(number, |out| out.items(1, items, list.item())),
            _ => Err(Error::Mismatch(String::new())),
        }
    }

    /// `JSONSchemaPropsOr…`: a schema (of the type that has the field) or something else.
    fn alternative(&mut self, number: u32, form: WireForm, value: &Value, of: Type<'_>) -> Result {
        self.delimited(number, |out| match (form, value) {
            (WireForm::SchemaOrArray, Value::Array(items)) => out.items(2, items, Shape::Object(of)),
            (WireForm::SchemaOrStrings, Value::Array(items)) => out.items(2, items, Shape::Scalar(Scalar::String)),
            (WireForm::SchemaOrArray | WireForm::SchemaOrStrings, Value::Object(_)) => {
                out.delimited(1, |out| out.message(value, of))
            }
            (WireForm::SchemaOrBool, Value::Bool(allows)) => {
                out.varint_field(1, u64::from(*allows));
                Ok(())
            }
            (WireForm::SchemaOrBool, Value::Object(_)) => {
                out.delimited(2, |out| out.message(value, of))?;
                out.varint_field(1, 1);
                Ok(())
            }
            (WireForm::Empty, _) => Ok(()),
            _ => Err(Error::Mismatch(String::new())),
        })
    }

    fn scalar(&mut self, number: u32, scalar: Scalar, value: &Value) -> Result {
        let mismatch = || Error::Mismatch(String::new());
        match scalar {
            Scalar::String => self.text(number, value.as_str().ok_or_else(mismatch)?),
            Scalar::Bytes => {
                let text = value.as_str().ok_or_else(mismatch)?;
                let bytes = BASE64_STANDARD.decode(text).map_err(|_| mismatch())?;
                self.bytes(&bytes);
                self.head(number, bytes.len());
            }
            // negative numbers are extended to 64 bits
            Scalar::Int32 | Scalar::Int64 => {
                self.varint_field(number, value.as_i64().ok_or_else(mismatch)?.cast_unsigned());
            }
            Scalar::Bool => self.varint_field(number, value.as_bool().ok_or_else(mismatch)?.into()),
            Scalar::Number => {
                self.bytes(&value.as_f64().ok_or_else(mismatch)?.to_le_bytes());
                self.varint(u64::from(number << 3 | FIXED64));
            }
            Scalar::Quantity => self.delimited(number, |out| {
                match value {
                    Value::String(text) => out.text(1, text),
                    other => out.text(1, &other.to_string()),
                }
                Ok(())
            })?,
            Scalar::IntOrString => self.delimited(number, |out| {
                let (text, int) = match value {
                    Value::String(text) => (Some(text.as_str()), 0),
                    other => (None, other.as_i64().ok_or_else(mismatch)?),
                };
                out.text(3, text.unwrap_or_default());
                out.varint_field(2, int.cast_unsigned());
                out.varint_field(1, u64::from(text.is_some()));
                Ok(())
            })?,
            Scalar::Time | Scalar::MicroTime => {
                let time: Timestamp = value.as_str().and_then(|t| t.parse().ok()).ok_or_else(mismatch)?;
                self.delimited(number, |out| {
                    out.time(scalar, time);
                    Ok(())
                })?;
            }
            Scalar::Duration => {
                let nanos = value.as_str().and_then(duration::parse).ok_or_else(mismatch)?;
                self.delimited(number, |out| {
                    out.varint_field(1, nanos.cast_unsigned());
                    Ok(())
                })?;
            }
            Scalar::Json => {
                let json = serde_json::to_vec(value)?;
                self.delimited(number, |out| {
                    out.bytes(&json);
                    out.head(1, json.len());
                    Ok(())
                })?;
            }
        }
        Ok(())
    }

    fn time(&mut self, scalar: Scalar, time: Timestamp) {
        // a time before the epoch counts its fraction upwards from the second before
        let nanos = time.as_nanosecond();
        let (seconds, fraction) = (nanos.div_euclid(1_000_000_000), nanos.rem_euclid(1_000_000_000));
        let seconds = i64::try_from(seconds).unwrap_or_default();
        if seconds == YEAR_ONE && fraction == 0 {
            return;
        }
        let fraction = if scalar == Scalar::MicroTime { fraction / 1000 * 1000 } else { 0 };
        self.varint_field(2, u64::try_from(fraction).unwrap_or_default());
        self.varint_field(1, seconds.cast_unsigned());
    }

    /// What is written of a field without a value.
    fn zero(&mut self, number: u32, shape: Shape<'_>, of: Type<'_>) -> Result {
        match shape {
            Shape::Scalar(Scalar::String | Scalar::Bytes) => self.text(number, ""),
            Shape::Scalar(Scalar::Int32 | Scalar::Int64 | Scalar::Bool) => self.varint_field(number, 0),
            Shape::Scalar(Scalar::Number) => {
                self.bytes(&[0; 8]);
                self.varint(u64::from(number << 3 | FIXED64));
            }
            Shape::Scalar(Scalar::Quantity) => self.delimited(number, |out| {
                out.text(1, "0");
                Ok(())
            })?,
            Shape::Scalar(Scalar::IntOrString) => self.scalar(number, Scalar::IntOrString, &0.into())?,
            Shape::Scalar(Scalar::Duration) => self.scalar(number, Scalar::Duration, &"0s".into())?,
            // Go's zero time, and raw JSON that is not there
            Shape::Scalar(Scalar::Time | Scalar::MicroTime | Scalar::Json) => self.head(number, 0),
            Shape::Object(inner) => self.delimited(number, |out| out.message(&Value::Null, inner))?,
            Shape::List(_) | Shape::Map(_) => return Err(Error::Mismatch(of.short_name().into())),
        }
        Ok(())
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.0.extend(bytes.iter().rev());
    }

    fn varint(&mut self, n: u64) {
        let start = self.0.len();
        raw::put_varint(&mut self.0, n);
        self.0[start..].reverse();
    }

    /// Tag and length of what was written last.
    fn head(&mut self, number: u32, length: usize) {
        self.varint(length as u64);
        self.varint(u64::from(number << 3 | BYTES));
    }

    fn text(&mut self, number: u32, text: &str) {
        self.bytes(text.as_bytes());
        self.head(number, text.len());
    }

    fn varint_field(&mut self, number: u32, n: u64) {
        self.varint(n);
        self.varint(u64::from(number << 3 | VARINT));
    }
}

/// Go's zero time: the beginning of year 1.
const YEAR_ONE: i64 = -62_135_596_800;
