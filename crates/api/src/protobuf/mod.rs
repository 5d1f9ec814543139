//! Protobuf: what compiled Go clients send and ask for. Bytes are those of upstream's generated code, field by field.
//!
//! An object travels in an envelope: the magic `k8s\0`, then `runtime.Unknown` with its type and, as bytes, the object's own message. A list
//! holds the bare messages of its items, a watch is a row of frames (a length in four bytes, then `WatchEvent`) that hold envelopes.
//! Numbers and presence of fields come from the schema table ([`crate::schema::Wire`]).

mod raw;
mod read;
#[cfg(test)]
mod tests;
mod write;

use crate::{
    schema::{Schema, Type},
    status::{Result, Status},
};
use bytes::Bytes;
use raw::{Fields, Value as Raw};
use serde_json::{Value, json};
use std::{fmt, ops::Range};

/// The media type.
pub const MEDIA_TYPE: &str = "application/vnd.kubernetes.protobuf";

const MAGIC: &[u8] = b"k8s\0";
const LIST_META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.ListMeta";

/// An encoded object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    envelope: Bytes,
    content: Range<usize>,
}

impl Message {
    /// The object in its envelope, as a response's body.
    pub fn envelope(&self) -> &Bytes {
        &self.envelope
    }

    /// The object alone, as an item of a list.
    pub fn content(&self) -> &[u8] {
        &self.envelope[self.content.clone()]
    }
}

/// Encodes a value as `of`; its `apiVersion` and `kind` go into the envelope.
///
/// # Errors
/// 500 when the value is not of the type (what was decoded by the table always is).
pub fn encode(value: &Value, of: Type<'_>) -> Result<Message> {
    let (api_version, kind) = (value["apiVersion"].as_str(), value["kind"].as_str());
    crate::codec::encoded();
    let mut out = write::Writer::default();
    let content = out.envelope(api_version.unwrap_or_default(), kind.unwrap_or_default(), |out| out.message(value, of));
    let content = content.map_err(|e| Status::internal(format!("{}: {e}", of.short_name())))?;
    let bytes = out.finish();
    Ok(Message { content: bytes.len() - content.end..bytes.len() - content.start, envelope: bytes.into() })
}

/// A list of encoded items in its envelope; `metadata` is a `ListMeta`.
///
/// # Errors
/// As [`encode`].
pub fn list<'m>(
    api_version: &str,
    kind: &str,
    metadata: &Value,
    items: impl DoubleEndedIterator<Item = &'m Message> + ExactSizeIterator + Clone,
) -> Result<Vec<u8>> {
    let of = Schema::builtin().type_named(LIST_META).ok_or_else(|| Status::internal("the table has no ListMeta"))?;
    let mut head = write::Writer::default();
    head.delimited(1, |out| out.message(metadata, of)).map_err(Status::internal)?;
    let head = head.finish();
    let items_length: usize = items.clone().map(|m| raw::delimited_length(2, m.content().len())).sum();
    let mut out = Vec::with_capacity(items_length + head.len() + 128);
    raw::begin_envelope(&mut out, api_version, kind, head.len() + items_length);
    out.extend_from_slice(&head);
    for item in items {
        raw::put_delimited(&mut out, 2, item.content());
    }
    raw::end_envelope(&mut out);
    Ok(out)
}

/// One frame of a watch: `kind` is `ADDED` and the like, `object` an envelope.
pub fn frame(kind: &str, object: &[u8]) -> Bytes {
    let extension = raw::delimited_length(1, object.len());
    let length = raw::delimited_length(1, kind.len()) + raw::delimited_length(2, extension);
    let mut out = Vec::with_capacity(length + 4);
    out.extend_from_slice(&u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes());
    raw::put_delimited(&mut out, 1, kind.as_bytes());
    raw::put_head(&mut out, 2, extension);
    raw::put_delimited(&mut out, 1, object);
    out.into()
}

/// Decodes an enveloped object as `of`, with the `apiVersion` and `kind` of the envelope.
///
/// # Errors
/// 400 when the bytes are no such message.
pub fn decode(bytes: &[u8], of: Type<'_>) -> Result<Value> {
    let wanted = of.short_name();
    let unrecognized = |why: &dyn fmt::Display| {
        let message = format!("the object provided is unrecognized (must be of type {wanted}): {why}");
        Status::bad_request(format!("{message} ({})", summary(bytes)))
    };
    let body = match bytes.strip_prefix(MAGIC) {
        _ if bytes.is_empty() => return Err(unrecognized(&"empty data")),
        None => {
            let why = "provided data does not appear to be a protobuf message, expected prefix [107 56 115 0]";
            return Err(unrecognized(&why));
        }
        Some([]) => return Err(unrecognized(&"empty body")),
        Some(body) => body,
    };
    let (api_version, kind, content) = envelope(body).map_err(|e| unrecognized(&e))?;
    let mut value = read::message(content, of).map_err(|e| {
        if kind.is_empty() {
            return unrecognized(&e);
        }
        let version = api_version.rsplit('/').next().unwrap_or_default();
        Status::bad_request(format!("{kind} in version {version:?} cannot be handled as a {wanted}: {e}"))
    })?;
    if let Some(map) = value.as_object_mut() {
        for (key, text) in [("apiVersion", api_version), ("kind", kind)] {
            if !text.is_empty() {
                map.insert(key.into(), json!(text));
            }
        }
    }
    Ok(value)
}

/// (apiVersion, kind, content) of an envelope behind its magic.
fn envelope(body: &[u8]) -> Result<(String, String, &[u8]), raw::Error> {
    let (mut api_version, mut kind, mut content) = (String::new(), String::new(), &[][..]);
    for field in Fields::new(body) {
        match field? {
            (1, Raw::Bytes(meta)) => {
                for field in Fields::new(meta) {
                    match field? {
                        (1, Raw::Bytes(text)) => api_version = raw::text(text)?,
                        (2, Raw::Bytes(text)) => kind = raw::text(text)?,
                        _ => {}
                    }
                }
            }
            (2, Raw::Bytes(bytes)) => content = bytes,
            _ => {}
        }
    }
    Ok((api_version, kind, content))
}

/// The beginning of a body, for a message.
fn summary(bytes: &[u8]) -> String {
    const SHOWN: usize = 30;
    let head = &bytes[..bytes.len().min(SHOWN)];
    let more = if bytes.len() > SHOWN { " ..." } else { "" };
    match bytes.first() {
        None => "<empty>".into(),
        Some(b'{') => format!("{}{more}", String::from_utf8_lossy(head)),
        Some(_) => format!("{}{more}", head.iter().map(|b| format!("{b:02x}")).collect::<String>()),
    }
}
