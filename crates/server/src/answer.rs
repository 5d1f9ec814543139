//! Answers: objects, lists and other values in the form and syntax that the client wants.
//!
//! Objects as they are cost nothing but copying: their JSON is there, their protobuf form is made once and kept beside it.

use crate::{
    app::Ask,
    catalog::Served,
    http::{
        body::{self, Body},
        negotiate::{self, Accepted, Endpoint, Form, Syntax, Takes},
    },
    table::{self, Columns, Include},
};
use bytes::Bytes;
use coracle_api::{
    Object, Result, Schema, Status,
    protobuf::{self, Message},
    schema::{Type, yaml_write},
};
use coracle_kinds::Context;
use http::{HeaderValue, Response, header};
use serde_json::{Value, json};
use std::sync::Arc;

/// The package of types that all groups share.
const META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.";
/// The name of `Status`'s type.
pub const STATUS: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.Status";

/// What the client accepts of a kind's objects.
///
/// # Errors
/// 406.
pub fn accepted(ask: &Ask, served: &Served) -> Result<Accepted> {
    negotiate::accept(&ask.takes.accept, endpoint(served))
}

/// What a kind's objects can be answered in.
pub fn endpoint(served: &Served) -> Endpoint {
    Endpoint::Objects { protobuf: served.wire_type().is_ok() }
}

/// One object.
///
/// # Errors
/// 400 and 406 for a form that is not there.
pub fn object(
    ask: &Ask,
    accepted: Accepted,
    code: u16,
    served: &Served,
    object: &Arc<Object>,
) -> Result<Response<Body>> {
    let bytes = match accepted.form {
        Form::Table => {
            let metadata = json!({"resourceVersion": object.revision().to_string()});
            let include = Include::parse(ask.query.get("includeObject"))?;
            let shape = table::Wish { version: accepted.version, columns: Columns::Shown, include };
            encode(accepted.syntax, &table::table(served, [&**object], metadata, shape, &context()), None)?
        }
        Form::PartialList => return Err(no_such_form("PartialObjectMetadataList", "not a list", served, "")),
        Form::Partial => partial(accepted, &*served.present(object)?)?,
        Form::Object | Form::Discovery => {
            let object = served.present(object)?;
            match accepted.syntax {
                Syntax::Json => object.json().clone(),
                Syntax::Yaml => yaml_write::write(&object.value()).into(),
                Syntax::Protobuf => object.protobuf(served.wire_type()?)?.envelope().clone(),
            }
        }
    };
    Ok(send(&ask.takes, code, accepted.syntax, bytes))
}

/// A list.
///
/// # Errors
/// 400 and 406 for a form that is not there.
pub fn list(
    ask: &Ask,
    accepted: Accepted,
    served: &Served,
    metadata: &Value,
    items: &[Arc<Object>],
) -> Result<Response<Body>> {
    let bytes: Bytes = match accepted.form {
        Form::Table => {
            let include = Include::parse(ask.query.get("includeObject"))?;
            let objects = items.iter().map(|o| &**o);
            let shape = table::Wish { version: accepted.version, columns: Columns::Shown, include };
            encode(accepted.syntax, &table::table(served, objects, metadata.clone(), shape, &context()), None)?
        }
        Form::Partial => return Err(no_such_form("PartialObjectMetadata", "a list", served, "List")),
        Form::PartialList => partial_list(accepted, served, metadata, items)?,
        Form::Object | Form::Discovery => match accepted.syntax {
            Syntax::Json => {
                let list = JsonList::new(served, metadata, items)?;
                if !ask.takes.gzip && !ask.takes.pretty && body::is_large(list.length) {
                    let length = list.length;
                    return Ok(body::with(200, accepted.syntax.media_type(), body::gathered(length, list.parts())));
                }
                list.whole()
            }
            Syntax::Yaml => {
                let json = JsonList::new(served, metadata, items)?.whole();
                let list = serde_json::from_slice(&json).map_err(Status::internal)?;
                yaml_write::write(&list).into()
            }
            Syntax::Protobuf => {
                let of = served.wire_type()?;
                let items = items.iter().map(|o| served.present(o).and_then(|o| o.protobuf(of)));
                let items: Vec<Message> = items.collect::<Result<_>>()?;
                let version = served.resource.api_version();
                protobuf::list(&version, &served.kind.list_kind, metadata, items.iter())?.into()
            }
        },
    };
    Ok(send(&ask.takes, 200, accepted.syntax, bytes))
}

/// A list in JSON: the objects' bytes, one after the other.
struct JsonList {
    head: Bytes,
    items: Vec<Bytes>,
    length: usize,
}

const LIST_TAIL: &[u8] = b"]}\n";

impl JsonList {
    fn new(served: &Served, metadata: &Value, items: &[Arc<Object>]) -> Result<Self> {
        let (kind, version) = (&served.kind.list_kind, served.resource.api_version());
        let head = format!("{{\"kind\":\"{kind}\",\"apiVersion\":\"{version}\",\"metadata\":{metadata},\"items\":[");
        let items: Vec<Bytes> = if served.is_native() {
            items.iter().map(|o| o.json().clone()).collect()
        } else {
            items.iter().map(|o| Ok(served.present(o)?.json().clone())).collect::<Result<_>>()?
        };
        let commas = items.len().saturating_sub(1);
        let length = head.len() + items.iter().map(Bytes::len).sum::<usize>() + commas + LIST_TAIL.len();
        Ok(Self { head: head.into(), items, length })
    }

    /// All of it, piece by piece.
    fn parts(self) -> impl Iterator<Item = Bytes> + Send + Unpin {
        let comma = |at| Bytes::from_static(if at == 0 { b"" } else { b"," });
        let items = self.items.into_iter().enumerate().flat_map(move |(at, item)| [comma(at), item]);
        std::iter::once(self.head).chain(items).chain(std::iter::once(Bytes::from_static(LIST_TAIL)))
    }

    fn whole(self) -> Bytes {
        let mut out = Vec::with_capacity(self.length);
        self.parts().for_each(|part| out.extend_from_slice(&part));
        out.into()
    }
}

/// A Scale, which may be wanted as a table or as metadata.
///
/// # Errors
/// 406 for a list.
pub fn scale(ask: &Ask, accepted: Accepted, scale: &Value, of: Option<Type<'_>>) -> Result<Response<Body>> {
    let bytes = match accepted.form {
        Form::Table => {
            let metadata = json!({"resourceVersion": scale["metadata"]["resourceVersion"]});
            let include = Include::parse(ask.query.get("includeObject"))?;
            let shape = table::Wish { version: accepted.version, columns: Columns::Shown, include };
            let columns = coracle_kinds::made::Columns::Fixed(coracle_kinds::column::SCALE);
            encode(accepted.syntax, &table::of_values(&columns, [scale.clone()], metadata, shape, &context()), None)?
        }
        Form::Partial => {
            let value = table::partial(scale, accepted.version);
            encode(accepted.syntax, &value, meta_type("PartialObjectMetadata"))?
        }
        Form::PartialList => {
            let why =
                "you requested PartialObjectMetadataList, but the requested object is not a list (*autoscaling.Scale)";
            return Err(Status::new(406, "NotAcceptable", why));
        }
        Form::Object | Form::Discovery => encode(accepted.syntax, scale, of)?,
    };
    Ok(send(&ask.takes, 200, accepted.syntax, bytes))
}

/// An object's metadata.
///
/// # Errors
/// When it cannot be encoded.
pub fn partial(accepted: Accepted, object: &Object) -> Result<Bytes> {
    let value = table::partial(&object.value(), accepted.version);
    encode(accepted.syntax, &value, meta_type("PartialObjectMetadata"))
}

fn partial_list(accepted: Accepted, served: &Served, metadata: &Value, items: &[Arc<Object>]) -> Result<Bytes> {
    let items = items.iter().map(|o| served.present(o).map(|o| table::partial(&o.value(), accepted.version)));
    let items: Vec<Value> = items.collect::<Result<_>>()?;
    let version = format!("meta.k8s.io/{}", accepted.version);
    let list =
        json!({"kind": "PartialObjectMetadataList", "apiVersion": version, "metadata": metadata, "items": items});
    encode(accepted.syntax, &list, meta_type("PartialObjectMetadataList"))
}

fn no_such_form(form: &str, what: &str, served: &Served, suffix: &str) -> Status {
    let package = served.resource.group.split('.').next().filter(|g| !g.is_empty()).unwrap_or("core");
    let message = format!(
        "you requested {form}, but the requested object is {what} (*{package}.{}{suffix})",
        served.resource.kind
    );
    Status::new(406, "NotAcceptable", message)
}

/// A value of a type of `meta/v1`.
pub fn meta(takes: &Takes, code: u16, value: &Value, kind: &str) -> Response<Body> {
    self::value(takes, code, value, meta_type(kind))
}

/// A value that has one form.
pub fn value(takes: &Takes, code: u16, value: &Value, of: Option<Type<'_>>) -> Response<Body> {
    let accepted = negotiate::accept(&takes.accept, Endpoint::Plain);
    match accepted.and_then(|accepted| Ok((accepted.syntax, encode(accepted.syntax, value, of)?))) {
        Ok((syntax, bytes)) => send(takes, code, syntax, bytes),
        Err(error) => status(takes, &error),
    }
}

/// A failed request. Whatever the client accepts, it hears what failed: in the worst case as JSON.
pub fn status(takes: &Takes, status: &Status) -> Response<Body> {
    let syntax = negotiate::accept(&takes.accept, Endpoint::Plain).map_or(Syntax::Json, |accepted| accepted.syntax);
    let value = status.to_value();
    let (syntax, bytes) = match encode(syntax, &value, meta_type("Status")) {
        Ok(bytes) => (syntax, bytes),
        Err(_) => (Syntax::Json, value.to_string().into()),
    };
    let mut response = body::typed(status.code, syntax.media_type(), laid_out(takes, syntax, bytes));
    let retry = status.details.get("retryAfterSeconds").and_then(Value::as_u64).filter(|seconds| *seconds > 0);
    if let Some(seconds) = retry
        && let Ok(value) = HeaderValue::from_str(&seconds.to_string())
    {
        response.headers_mut().insert(header::RETRY_AFTER, value);
    }
    response
}

/// The type of `meta/v1` of that name.
fn meta_type(name: &str) -> Option<Type<'static>> {
    Schema::builtin().type_named(&format!("{META}{name}"))
}

/// A value in a syntax; protobuf needs its type.
///
/// # Errors
/// When the value is not of the type, or has none.
pub fn encode(syntax: Syntax, value: &Value, of: Option<Type<'_>>) -> Result<Bytes> {
    Ok(match syntax {
        Syntax::Json => serde_json::to_vec(value).map_err(Status::internal)?.into(),
        Syntax::Yaml => yaml_write::write(value).into(),
        Syntax::Protobuf => {
            let of = of.ok_or_else(|| Status::internal("the answer has no protobuf form"))?;
            protobuf::encode(value, of)?.envelope().clone()
        }
    })
}

/// A response, compressed if it is large and the client wants that.
fn send(takes: &Takes, code: u16, syntax: Syntax, bytes: Bytes) -> Response<Body> {
    body::maybe_gzip(takes.gzip, code, syntax.media_type(), laid_out(takes, syntax, bytes))
}

/// JSON as the client wants to see it.
fn laid_out(takes: &Takes, syntax: Syntax, bytes: Bytes) -> Bytes {
    if takes.pretty && syntax == Syntax::Json { indented(&bytes).into() } else { bytes }
}

/// JSON with a line for each field and entry, two spaces deeper inside each list and object. Nothing else changes.
fn indented(json: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(json.len() * 2);
    let (mut depth, mut text, mut escaped, mut open) = (0, false, false, false);
    let line = |out: &mut Vec<u8>, depth: usize| {
        out.push(b'\n');
        out.resize(out.len() + 2 * depth, b' ');
    };
    for &byte in json {
        if text {
            out.push(byte);
            (escaped, text) = (!escaped && byte == b'\\', escaped || byte != b'"');
            continue;
        }
        if byte.is_ascii_whitespace() {
            continue;
        }
        let closes = matches!(byte, b'}' | b']');
        if open && !closes {
            line(&mut out, depth);
        }
        if closes {
            depth = depth.saturating_sub(1);
            if !open {
                line(&mut out, depth);
            }
        }
        open = matches!(byte, b'{' | b'[');
        depth += usize::from(open);
        text = byte == b'"';
        out.push(byte);
        match byte {
            b',' => line(&mut out, depth),
            b':' => out.push(b' '),
            _ => {}
        }
    }
    out
}

/// What cells of tables are made from besides the object.
pub fn context() -> Context {
    Context { now: jiff::Timestamp::now() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_laid_out_as_serde_lays_it_out() {
        for value in [
            json!({}),
            json!([]),
            json!({"a": {}, "b": [], "c": [1, [2], {"d": null}], "e": "{\"x\": [1, 2]}\\"}),
            json!([{"a": "\\\"", "b": true}, -1.5e3]),
            json!("a: b, c"),
        ] {
            let expected = serde_json::to_string_pretty(&value).unwrap();
            assert_eq!(String::from_utf8(indented(value.to_string().as_bytes())).unwrap(), expected);
            assert_eq!(String::from_utf8(indented(expected.as_bytes())).unwrap(), expected, "again");
        }
    }
}
