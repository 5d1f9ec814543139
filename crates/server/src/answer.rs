//! Answers: objects, lists and other values in the form and syntax that the client wants.
//!
//! Objects as they are cost nothing but copying: their JSON is there, their protobuf form is made once and kept beside it.

use crate::{
    app::Ask,
    catalog::Served,
    http::{
        body::{self, Body},
        negotiate::{self, Accepted, Endpoint, Form, Syntax},
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
use http::{HeaderMap, HeaderValue, Response, header};
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
    negotiate::accept(negotiate::accept_header(&ask.headers), endpoint(served))
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
    Ok(send(&ask.headers, code, accepted.syntax, bytes))
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
            Syntax::Json => json_list(served, metadata, items)?.into(),
            Syntax::Yaml => {
                let list = serde_json::from_slice(&json_list(served, metadata, items)?).map_err(Status::internal)?;
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
    Ok(send(&ask.headers, 200, accepted.syntax, bytes))
}

/// The objects' bytes, one after the other.
fn json_list(served: &Served, metadata: &Value, items: &[Arc<Object>]) -> Result<Vec<u8>> {
    let size: usize = items.iter().map(|o| o.json().len() + 1).sum();
    let mut out = Vec::with_capacity(size + 256);
    let (kind, version) = (&served.kind.list_kind, served.resource.api_version());
    let head = format!("{{\"kind\":\"{kind}\",\"apiVersion\":\"{version}\",\"metadata\":{metadata},\"items\":[");
    out.extend_from_slice(head.as_bytes());
    for (i, object) in items.iter().enumerate() {
        if i > 0 {
            out.push(b',');
        }
        if served.is_native() {
            out.extend_from_slice(object.json());
        } else {
            out.extend_from_slice(served.present(object)?.json());
        }
    }
    out.extend_from_slice(b"]}\n");
    Ok(out)
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
pub fn meta(headers: &HeaderMap, code: u16, value: &Value, kind: &str) -> Response<Body> {
    self::value(headers, code, value, meta_type(kind))
}

/// A value that has one form.
pub fn value(headers: &HeaderMap, code: u16, value: &Value, of: Option<Type<'_>>) -> Response<Body> {
    let accepted = negotiate::accept(negotiate::accept_header(headers), Endpoint::Plain);
    match accepted.and_then(|accepted| Ok((accepted.syntax, encode(accepted.syntax, value, of)?))) {
        Ok((syntax, bytes)) => send(headers, code, syntax, bytes),
        Err(error) => status(headers, &error),
    }
}

/// A failed request. Whatever the client accepts, it hears what failed: in the worst case as JSON.
pub fn status(headers: &HeaderMap, status: &Status) -> Response<Body> {
    let accept = negotiate::accept_header(headers);
    let syntax = negotiate::accept(accept, Endpoint::Plain).map_or(Syntax::Json, |accepted| accepted.syntax);
    let value = status.to_value();
    let (syntax, bytes) = match encode(syntax, &value, meta_type("Status")) {
        Ok(bytes) => (syntax, bytes),
        Err(_) => (Syntax::Json, value.to_string().into()),
    };
    let mut response = body::typed(status.code, syntax.media_type(), bytes);
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
fn send(headers: &HeaderMap, code: u16, syntax: Syntax, bytes: Bytes) -> Response<Body> {
    body::maybe_gzip(negotiate::accepts_gzip(headers), code, syntax.media_type(), bytes)
}

/// What cells of tables are made from besides the object.
pub fn context() -> Context {
    Context { now: jiff::Timestamp::now() }
}
