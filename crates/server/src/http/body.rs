//! Response bodies and the headers that all of them carry.

use bytes::Bytes;
use flate2::{Compression, write::GzEncoder};
use futures::Stream;
use http::{HeaderValue, Response, StatusCode, header};
use http_body_util::{BodyExt, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::body::Frame;
use serde::Serialize;
use std::io::Write;

/// A failure while a body is sent; the connection is then reset.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;
/// Any response body.
pub type Body = UnsyncBoxBody<Bytes, BoxError>;

/// Bodies above this size are compressed when the client asks for it, as upstream.
const GZIP_ABOVE: usize = 128 << 10;

/// A body that is all there.
pub fn full(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).map_err(|never| match never {}).boxed_unsync()
}

/// A body that comes piece by piece.
pub fn streamed(pieces: impl Stream<Item = Bytes> + Send + 'static) -> Body {
    use futures::StreamExt;
    StreamBody::new(pieces.map(|bytes| Ok(Frame::data(bytes)))).boxed_unsync()
}

/// A response with a body of JSON bytes.
pub fn json_bytes(code: u16, bytes: impl Into<Bytes>) -> Response<Body> {
    typed(code, "application/json", bytes)
}

/// A response with a body of some media type.
pub fn typed(code: u16, media_type: &str, bytes: impl Into<Bytes>) -> Response<Body> {
    let mut response = Response::new(full(bytes));
    *response.status_mut() = StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    if let Ok(media_type) = HeaderValue::from_str(media_type) {
        headers.insert(header::CONTENT_TYPE, media_type);
    }
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache, private"));
    response
}

/// A response with a value as JSON.
pub fn json(code: u16, value: &impl Serialize) -> Response<Body> {
    match serde_json::to_vec(value) {
        Ok(bytes) => json_bytes(code, bytes),
        Err(error) => text(500, error.to_string()),
    }
}

/// The same, laid out for people.
pub fn pretty_json(code: u16, value: &impl Serialize) -> Response<Body> {
    match serde_json::to_vec_pretty(value) {
        Ok(bytes) => json_bytes(code, bytes),
        Err(error) => text(500, error.to_string()),
    }
}

/// A plain text response.
pub fn text(code: u16, text: impl Into<Bytes>) -> Response<Body> {
    let mut response = typed(code, "text/plain; charset=utf-8", text);
    response.headers_mut().insert("x-content-type-options", HeaderValue::from_static("nosniff"));
    response
}

/// Pieces of a body.
pub type Pieces = std::pin::Pin<Box<dyn Stream<Item = Bytes> + Send>>;

/// Compresses a large body if the client takes gzip.
pub fn maybe_gzip(accepts_gzip: bool, code: u16, media_type: &str, bytes: Bytes) -> Response<Body> {
    if !accepts_gzip || bytes.len() <= GZIP_ABOVE {
        return typed(code, media_type, bytes);
    }
    // level 1 as upstream: most of the gain, a fraction of the time
    let mut encoder = GzEncoder::new(Vec::with_capacity(bytes.len() / 6), Compression::fast());
    match encoder.write_all(&bytes).and_then(|()| encoder.finish()) {
        Ok(packed) => {
            let mut response = typed(code, media_type, packed);
            response.headers_mut().insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
            response.headers_mut().insert(header::VARY, HeaderValue::from_static("Accept-Encoding"));
            response
        }
        Err(_) => typed(code, media_type, bytes),
    }
}
