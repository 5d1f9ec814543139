//! Bytes to values, guided by a type, in one pass: unknown and duplicate fields are found, wrong types refused with
//! upstream's messages, scalars put into canonical form, nulls dropped.
//!
//! Messages follow Go's `encoding/json` (`json: cannot unmarshal …`) and upstream's strict decoder, as clients match them.

pub use super::time::canonical_time;
use super::{Scalar, Shape, Type, yaml};
use crate::{
    duration,
    options::FieldValidation,
    quantity,
    status::{Result, Status},
};
use base64::{
    DecodeError, Engine, alphabet,
    engine::general_purpose::{GeneralPurpose, PAD, STANDARD},
};
use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};
use std::{borrow::Cow, cell::RefCell, fmt, fmt::Write};

/// Bodies above this are refused, as upstream's limit is.
pub const MAX_BYTES: usize = 3 * 1024 * 1024;

/// How bytes are to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Media {
    /// JSON.
    Json,
    /// YAML (and so JSON).
    Yaml,
}

/// A decoded object.
#[derive(Clone, Debug, PartialEq)]
pub struct Decoded {
    /// The object, canonical.
    pub value: Value,
    /// What was dropped: `unknown field "spec.foo"`.
    pub warnings: Vec<String>,
}

/// Decodes `bytes` as `of`; `None` takes any object.
///
/// # Errors
/// 400 when the bytes are no such object, or under [`FieldValidation::Strict`] have unknown or duplicate fields; 413 when too large.
pub fn decode(bytes: &[u8], media: Media, of: Option<Type<'_>>, validation: FieldValidation) -> Result<Decoded> {
    if bytes.len() > MAX_BYTES {
        return Err(Status::new(
            413,
            "RequestEntityTooLarge",
            format!("Request entity too large: limit is {MAX_BYTES}"),
        ));
    }
    let shape = of.map_or(Shape::ANY, Shape::Object);
    let (value, twice, unknown) = match media {
        Media::Json => {
            let (value, found) = run(bytes, shape, Context::default()).map_err(|e| {
                let (kind, version) = names(of);
                refuse(kind, version, bytes, e)
            })?;
            (value, Vec::new(), found)
        }
        Media::Yaml => {
            let (json, twice) = yaml::read(bytes).map_err(|e| unrecognized(names(of).0, bytes, e))?;
            let value: Value =
                serde_json::from_slice(&json).map_err(|e| unrecognized(names(of).0, bytes, format!("yaml: {e}")))?;
            let (value, found) = fit(&value, shape).map_err(|e| unhandled(of, "", e))?;
            (value, twice, found)
        }
    };
    let value = match value {
        // as in Go: null says nothing of any field
        Value::Null => Value::Object(Map::new()),
        Value::Object(_) => value,
        other => return Err(unrecognized(names(of).0, bytes, not_an_object(&other))),
    };
    match validation {
        FieldValidation::Ignore => Ok(Decoded { value, warnings: Vec::new() }),
        FieldValidation::Warn => Ok(Decoded { value, warnings: [twice, unknown].concat() }),
        FieldValidation::Strict if twice.is_empty() && unknown.is_empty() => Ok(Decoded { value, warnings: unknown }),
        FieldValidation::Strict => {
            let twice = (!twice.is_empty()).then(|| format!("yaml: unmarshal errors:\n  {}", twice.join("\n  ")));
            let all: Vec<String> = twice.into_iter().chain(unknown).collect();
            Err(unhandled(of, "strict decoding error: ", all.join(", ")))
        }
    }
}

/// Decodes an object whose type is nowhere in a table (a custom resource): as it is, nulls included. Duplicate fields are told.
///
/// # Errors
/// As [`decode`]; `kind` and `version` are what messages call it.
pub fn decode_untyped(bytes: &[u8], media: Media, kind: &str, version: &str) -> Result<Decoded> {
    if bytes.len() > MAX_BYTES {
        return decode(bytes, media, None, FieldValidation::Ignore);
    }
    let (json, twice) = match media {
        Media::Json => (Cow::Borrowed(bytes), Vec::new()),
        Media::Yaml => {
            let (json, twice) = yaml::read(bytes).map_err(|e| unrecognized(kind, bytes, e))?;
            (Cow::Owned(json), twice)
        }
    };
    let context = Context { everywhere: media == Media::Json, ..Context::default() };
    let (value, found) = run(&json, Shape::ANY, context).map_err(|e| refuse(kind, version, bytes, e))?;
    if !value.is_object() {
        return Err(unrecognized(kind, bytes, not_an_object(&value)));
    }
    Ok(Decoded { value, warnings: [twice, found].concat() })
}

/// The fields that a JSON text names twice, as strict decoding tells them.
pub fn duplicates(json: &[u8]) -> Vec<String> {
    let context = Context { everywhere: true, ..Context::default() };
    let mut reader = serde_json::Deserializer::from_slice(json);
    let _ = Seed { context: &context, shape: Shape::ANY, owner: None }.deserialize(&mut reader);
    context.found.into_inner()
}

/// Whether a text is JSON that names no field twice.
pub(super) fn is_plain_json(text: &str) -> bool {
    serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok() && duplicates(text.as_bytes()).is_empty()
}

/// `apiVersion` and `kind` of a text; empty where it does not say.
pub fn type_meta(bytes: &[u8], media: Media) -> (String, String) {
    let value = match media {
        Media::Json => serde_json::from_slice::<Value>(bytes).ok(),
        Media::Yaml => yaml::to_json(bytes).ok().and_then(|json| serde_json::from_slice(&json).ok()),
    };
    let text = |name: &str| value.as_ref().and_then(|v| v.get(name)?.as_str().map(ToString::to_string));
    (text("apiVersion").unwrap_or_default(), text("kind").unwrap_or_default())
}

/// Makes a value that came another way (a patch's result) what decoding would have made it.
///
/// # Errors
/// As [`decode`].
pub fn conform(value: &Value, of: Type<'_>, validation: FieldValidation) -> Result<Decoded> {
    let (value, found) = fit(value, Shape::Object(of)).map_err(|e| unhandled(Some(of), "", e))?;
    match validation {
        FieldValidation::Strict if !found.is_empty() => {
            Err(unhandled(Some(of), "strict decoding error: ", found.join(", ")))
        }
        FieldValidation::Warn => Ok(Decoded { value, warnings: found }),
        _ => Ok(Decoded { value, warnings: Vec::new() }),
    }
}

/// A value in the form of a shape, and the fields that were dropped.
///
/// # Errors
/// What does not fit, in Go's words.
pub fn fit(value: &Value, shape: Shape<'_>) -> Result<(Value, Vec<String>), String> {
    let context = Context::default();
    let seed = Seed { context: &context, shape, owner: None };
    let fitted = seed.deserialize(value).map_err(|e| context.message(e))?;
    Ok((fitted.unwrap_or_default(), context.found.into_inner()))
}

/// Drops the fields that `shape` does not know.
pub fn prune(value: &mut Value, shape: Shape<'_>) {
    match (value, shape) {
        (Value::Object(map), Shape::Object(of)) => {
            if !of.preserves_unknown() {
                map.retain(|name, _| of.field(name).is_some());
            }
            for (name, inner) in map {
                if let Some(field) = of.field(name) {
                    prune(inner, field.shape());
                }
            }
        }
        (Value::Object(map), Shape::Map(shape)) => map.values_mut().for_each(|v| prune(v, shape.item())),
        (Value::Array(list), Shape::List(shape)) => list.iter_mut().for_each(|v| prune(v, shape.item())),
        _ => {}
    }
}

/// Kind and version of a type, as messages name them.
fn names(of: Option<Type<'_>>) -> (&str, &str) {
    of.map_or(("Object", ""), |of| (of.short_name(), of.name().rsplit('.').nth(1).unwrap_or_default()))
}

fn unhandled(of: Option<Type<'_>>, prefix: &str, error: impl fmt::Display) -> Status {
    let (kind, version) = names(of);
    if version.is_empty() {
        return Status::bad_request(format!("{prefix}{error}"));
    }
    unfit(kind, version, format!("{prefix}{error}"))
}

fn unfit(kind: &str, version: &str, error: impl fmt::Display) -> Status {
    Status::bad_request(format!("{kind} in version \"{version}\" cannot be handled as a {kind}: {error}"))
}

/// A text of which not even the kind can be read.
fn unrecognized(kind: &str, body: &[u8], error: impl fmt::Display) -> Status {
    let summary = summary(body);
    Status::bad_request(format!("the object provided is unrecognized (must be of type {kind}): {error} ({summary})"))
}

/// A JSON text that cannot be decoded: it is none, or does not fit.
fn refuse(kind: &str, version: &str, body: &[u8], error: String) -> Status {
    match super::json_error::syntax_error(body) {
        Some(syntax) => unrecognized(kind, body, format!("couldn't get version/kind; json parse error: {syntax}")),
        None => match serde_json::from_slice::<Value>(body) {
            Ok(value) if !value.is_object() && !value.is_null() => unrecognized(kind, body, not_an_object(&value)),
            _ if version.is_empty() => Status::bad_request(error),
            _ => unfit(kind, version, error),
        },
    }
}

fn not_an_object(value: &Value) -> String {
    format!(
        "couldn't get version/kind; json parse error: json: cannot unmarshal {} into Go value of type struct {{ APIVersion string \
         \"json:\\\"apiVersion,omitempty\\\"\"; Kind string \"json:\\\"kind,omitempty\\\"\" }}",
        crate::patch::json_kind(value)
    )
}

/// The beginning of a body: text if it may be JSON, hexadecimal otherwise.
fn summary(body: &[u8]) -> String {
    const LENGTH: usize = 30;
    let more = if body.len() > LENGTH { " ..." } else { "" };
    let head = &body[..body.len().min(LENGTH)];
    match body.first() {
        None => "<empty>".into(),
        Some(b'{') => format!("{}{more}", String::from_utf8_lossy(head)),
        Some(_) => {
            let hex: String = head.iter().map(|b| format!("{b:02x}")).collect();
            hex + more
        }
    }
}

fn run(json: &[u8], shape: Shape<'_>, context: Context) -> Result<(Value, Vec<String>), String> {
    let mut reader = serde_json::Deserializer::from_slice(json);
    let seed = Seed { context: &context, shape, owner: None };
    let value = seed.deserialize(&mut reader).map_err(|e| context.message(e))?;
    reader.end().map_err(|e| context.message(e))?;
    Ok((value.unwrap_or_default(), context.found.into_inner()))
}

/// Where decoding is, and what it came across.
#[derive(Default)]
struct Context {
    path: RefCell<Vec<Step>>,
    found: RefCell<Vec<String>>,
    error: RefCell<Option<String>>,
    /// Fields named twice are noted also where anything goes.
    everywhere: bool,
}

enum Step {
    Field(String),
    Index(usize),
}

impl Context {
    /// `spec.containers[0].image`; without indices as Go's type errors have it.
    fn path(&self, with_index: bool) -> String {
        let mut out = String::new();
        for step in self.path.borrow().iter() {
            let _ = match step {
                Step::Field(name) if out.is_empty() => write!(out, "{name}"),
                Step::Field(name) => write!(out, ".{name}"),
                Step::Index(index) if with_index => write!(out, "[{index}]"),
                Step::Index(_) => Ok(()),
            };
        }
        out
    }

    fn note(&self, what: &str, name: &str) {
        let path = self.path(true);
        let sep = if path.is_empty() { "" } else { "." };
        let line = format!("{what} field \"{path}{sep}{name}\"");
        let mut found = self.found.borrow_mut();
        // upstream stops counting, too
        if found.len() < 100 && !found.contains(&line) {
            found.push(line);
        }
    }

    fn message(&self, error: impl fmt::Display) -> String {
        // the parser's own words are not for clients: what it refuses beyond syntax is depth and size of numbers
        self.error.borrow_mut().take().unwrap_or_else(|| {
            let error = error.to_string();
            if error.contains("recursion") {
                "exceeded max depth".into()
            } else {
                "json: cannot unmarshal number".into()
            }
        })
    }

    fn fail<E: serde::de::Error>(&self, message: String) -> E {
        *self.error.borrow_mut() = Some(message);
        E::custom("")
    }
}

/// Reads one value of a shape. `None`: null.
struct Seed<'a, 's> {
    context: &'a Context,
    shape: Shape<'s>,
    /// The struct whose field this is.
    owner: Option<Type<'s>>,
}

impl<'a, 's> Seed<'a, 's> {
    fn mismatch<E: serde::de::Error>(&self, found: &str) -> E {
        let wanted = self.shape.go_name();
        let path = self.context.path(false);
        self.context.fail(match self.owner {
            Some(owner) => format!(
                "json: cannot unmarshal {found} into Go struct field {}.{path} of type {wanted}",
                owner.short_name()
            ),
            None => format!("json: cannot unmarshal {found} into Go value of type {wanted}"),
        })
    }

    fn text<E: serde::de::Error>(&self, text: Cow<'_, str>) -> Result<Option<Value>, E> {
        let Shape::Scalar(scalar) = self.shape else { return Err(self.mismatch("string")) };
        match scalar {
            Scalar::String | Scalar::IntOrString | Scalar::Json => Ok(Some(Value::String(text.into_owned()))),
            Scalar::Quantity => match quantity::canonical(&text) {
                Ok(text) => Ok(Some(Value::String(text.into_owned()))),
                Err(e) => Err(self.context.fail(e.to_string())),
            },
            Scalar::Time | Scalar::MicroTime => match canonical_time(&text, scalar == Scalar::MicroTime) {
                Ok(time) => Ok(time.map(Value::String)),
                Err(e) => Err(self.context.fail(e)),
            },
            Scalar::Duration => match duration::parse(&text) {
                Some(nanos) => Ok(Some(Value::String(duration::show(nanos)))),
                None => Err(self.context.fail(format!("time: invalid duration {text:?}"))),
            },
            Scalar::Bytes => canonical_bytes(&text)
                .map(|s| Some(Value::String(s)))
                .map_err(|at| self.context.fail(format!("illegal base64 data at input byte {at}"))),
            Scalar::Int32 | Scalar::Int64 | Scalar::Number | Scalar::Bool => Err(self.mismatch("string")),
        }
    }

    fn integer<E: serde::de::Error>(&self, number: i64) -> Result<Option<Value>, E> {
        match self.shape {
            Shape::Scalar(Scalar::Int32 | Scalar::IntOrString) if i32::try_from(number).is_err() => {
                Err(self.mismatch(&format!("number {number}")))
            }
            Shape::Scalar(Scalar::Int32 | Scalar::Int64 | Scalar::IntOrString | Scalar::Number | Scalar::Json) => {
                Ok(Some(number.into()))
            }
            Shape::Scalar(Scalar::Quantity) => self.text(number.to_string().into()),
            _ => Err(self.mismatch("number")),
        }
    }

    fn float<E: serde::de::Error>(&self, number: f64) -> Result<Option<Value>, E> {
        match self.shape {
            Shape::Scalar(Scalar::Number | Scalar::Json) => Ok(Some(number.into())),
            Shape::Scalar(Scalar::Quantity) => self.text(number.to_string().into()),
            Shape::Scalar(Scalar::Int32 | Scalar::Int64 | Scalar::IntOrString) => {
                Err(self.mismatch(&format!("number {number}")))
            }
            _ => Err(self.mismatch("number")),
        }
    }
}

impl<'de, 's> DeserializeSeed<'de> for Seed<'_, 's> {
    type Value = Option<Value>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de, 's> Visitor<'de> for Seed<'_, 's> {
    type Value = Option<Value>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shape.go_name())
    }

    fn visit_unit<E: serde::de::Error>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_bool<E: serde::de::Error>(self, value: bool) -> Result<Self::Value, E> {
        match self.shape {
            Shape::Scalar(Scalar::Bool | Scalar::Json) => Ok(Some(value.into())),
            _ => Err(self.mismatch("bool")),
        }
    }

    fn visit_i64<E: serde::de::Error>(self, value: i64) -> Result<Self::Value, E> {
        self.integer(value)
    }

    fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<Self::Value, E> {
        match (i64::try_from(value), self.shape) {
            (Ok(value), _) => self.integer(value),
            (Err(_), Shape::Scalar(Scalar::Json)) => Ok(Some(value.into())),
            (Err(_), Shape::Scalar(Scalar::Quantity)) => self.text(value.to_string().into()),
            (Err(_), _) => Err(self.mismatch(&format!("number {value}"))),
        }
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Self::Value, E> {
        self.float(value)
    }

    fn visit_str<E: serde::de::Error>(self, value: &str) -> Result<Self::Value, E> {
        self.text(value.into())
    }

    fn visit_string<E: serde::de::Error>(self, value: String) -> Result<Self::Value, E> {
        self.text(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let item = match self.shape {
            Shape::List(list) => list.item(),
            Shape::Scalar(Scalar::Json) => Shape::ANY,
            _ => return Err(self.mismatch("array")),
        };
        let mut out = Vec::new();
        loop {
            self.context.path.borrow_mut().push(Step::Index(out.len()));
            let next = seq.next_element_seed(Seed { context: self.context, shape: item, owner: self.owner });
            self.context.path.borrow_mut().pop();
            match next? {
                Some(value) => out.push(value.unwrap_or_else(|| zero(item))),
                None => return Ok(Some(Value::Array(out))),
            }
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, access: A) -> Result<Self::Value, A::Error> {
        match self.shape {
            Shape::Object(of) => self.object(of, access),
            Shape::Map(map) => self.entries(map.item(), access),
            Shape::Scalar(Scalar::Json) => self.entries(Shape::ANY, access),
            _ => Err(self.mismatch("object")),
        }
    }
}

impl<'s> Seed<'_, 's> {
    fn object<'de, A: MapAccess<'de>>(self, of: Type<'s>, mut access: A) -> Result<Option<Value>, A::Error> {
        let mut out = Map::new();
        // nulls leave no trace in `out`, so seen names are kept beside it
        let mut nulls: Vec<String> = Vec::new();
        while let Some(name) = access.next_key::<String>()? {
            let Some(field) = of.field(&name) else {
                if of.preserves_unknown() {
                    let value = access.next_value::<Value>()?;
                    out.insert(name, value);
                } else {
                    access.next_value::<serde::de::IgnoredAny>()?;
                    self.context.note("unknown", &name);
                }
                continue;
            };
            if out.contains_key(&name) || nulls.contains(&name) {
                self.context.note("duplicate", &name);
            }
            self.context.path.borrow_mut().push(Step::Field(name));
            let shape = field.shape();
            let value = access.next_value_seed(Seed { context: self.context, shape, owner: Some(of) })?;
            let Some(Step::Field(name)) = self.context.path.borrow_mut().pop() else {
                return Err(A::Error::custom("unbalanced path"));
            };
            match value {
                Some(value) if omitted(&value, of, field) => nulls.push(name),
                Some(value) => {
                    out.insert(name, value);
                }
                None if field.is_nullable() => {
                    out.insert(name, Value::Null);
                }
                None => {
                    out.remove(&name);
                    nulls.push(name);
                }
            }
        }
        Ok(Some(Value::Object(out)))
    }

    fn entries<'de, A: MapAccess<'de>>(self, item: Shape<'s>, mut access: A) -> Result<Option<Value>, A::Error> {
        let raw = item == Shape::ANY;
        let mut out = Map::new();
        while let Some(name) = access.next_key::<String>()? {
            if (!raw || self.context.everywhere) && out.contains_key(&name) {
                self.context.note("duplicate", &name);
            }
            self.context.path.borrow_mut().push(Step::Field(name));
            let value = access.next_value_seed(Seed { context: self.context, shape: item, owner: self.owner })?;
            let Some(Step::Field(name)) = self.context.path.borrow_mut().pop() else {
                return Err(A::Error::custom("unbalanced path"));
            };
            out.insert(name, value.unwrap_or_else(|| zero(item)));
        }
        Ok(Some(Value::Object(out)))
    }
}

/// Go drops empty lists and maps of optional fields when it writes the object back. An empty `managedFields` is no such
/// thing: it asks for the books to be closed.
fn omitted(value: &Value, of: Type<'_>, field: super::Field<'_>) -> bool {
    of.omits_empty()
        && !field.is_required()
        && field.name() != "managedFields"
        && match (value, field.shape()) {
            (Value::Array(list), Shape::List(_)) => list.is_empty(),
            (Value::Object(map), Shape::Map(_)) => map.is_empty(),
            _ => false,
        }
}

/// What Go makes of a null where a value must stand.
fn zero(shape: Shape<'_>) -> Value {
    match shape {
        Shape::Scalar(Scalar::String | Scalar::Bytes) => Value::String(String::new()),
        Shape::Scalar(Scalar::Quantity) => Value::String("0".into()),
        Shape::Scalar(Scalar::Duration) => Value::String(duration::show(0)),
        Shape::Scalar(Scalar::Int32 | Scalar::Int64 | Scalar::IntOrString | Scalar::Number) => 0.into(),
        Shape::Scalar(Scalar::Bool) => false.into(),
        Shape::Scalar(Scalar::Time | Scalar::MicroTime | Scalar::Json) => Value::Null,
        Shape::Object(_) | Shape::Map(_) => Value::Object(Map::new()),
        Shape::List(_) => Value::Array(Vec::new()),
    }
}

/// Base64 as Go would write it: without line ends and stray last bits; the offset of what is wrong otherwise.
fn canonical_bytes(text: &str) -> Result<String, usize> {
    const LENIENT: GeneralPurpose = GeneralPurpose::new(&alphabet::STANDARD, PAD.with_decode_allow_trailing_bits(true));
    let clean: Cow<'_, str> =
        if text.contains(['\n', '\r']) { text.replace(['\n', '\r'], "").into() } else { text.into() };
    match STANDARD.decode(clean.as_bytes()) {
        Ok(_) => Ok(clean.into_owned()),
        Err(_) => match LENIENT.decode(clean.as_bytes()) {
            Ok(bytes) => Ok(STANDARD.encode(bytes)),
            Err(DecodeError::InvalidByte(at, _) | DecodeError::InvalidLastSymbol(at, _)) => Err(at),
            Err(_) => Err(clean.len() / 4 * 4),
        },
    }
}

#[cfg(test)]
#[path = "decode_tests.rs"]
mod tests;
