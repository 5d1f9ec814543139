//! Response bodies and the headers that all of them carry.

use bytes::Bytes;
use flate2::{Compression, write::GzEncoder};
use futures::Stream;
use http::{HeaderValue, Response, StatusCode, header};
use http_body_util::{BodyExt, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::body::{Frame, SizeHint};
use serde::Serialize;
use std::{
    convert::Infallible,
    io::Write,
    pin::Pin,
    task::{Context, Poll},
};

/// A failure while a body is sent; the connection is then reset.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;
/// Any response body.
pub type Body = UnsyncBoxBody<Bytes, BoxError>;

/// Bodies above this size are compressed when the client asks for it, as upstream.
const GZIP_ABOVE: usize = 128 << 10;
/// What a large body is cut into: a few TLS records, which stay in the processor's cache from their copying to their encryption.
const PIECE: usize = 64 << 10;

/// A body that is all there.
pub fn full(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).map_err(|never| match never {}).boxed_unsync()
}

/// A body that comes piece by piece.
pub fn streamed(pieces: impl Stream<Item = Bytes> + Send + 'static) -> Body {
    use futures::StreamExt;
    StreamBody::new(pieces.map(|bytes| Ok(Frame::data(bytes)))).boxed_unsync()
}

/// A body of many parts, `length` bytes together, that is put together while it is sent.
pub fn gathered(length: usize, parts: impl Iterator<Item = Bytes> + Send + Unpin + 'static) -> Body {
    Gathered { parts, left: length as u64 }.map_err(|never| match never {}).boxed_unsync()
}

struct Gathered<I> {
    parts: I,
    left: u64,
}

impl<I: Iterator<Item = Bytes> + Unpin> hyper::body::Body for Gathered<I> {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        // the last part may reach beyond
        let room = PIECE + PIECE / 8;
        let mut piece = Vec::with_capacity(room.min(usize::try_from(self.left).unwrap_or(room)));
        while piece.len() < PIECE
            && let Some(part) = self.parts.next()
        {
            piece.extend_from_slice(&part);
        }
        self.left = self.left.saturating_sub(piece.len() as u64);
        Poll::Ready((!piece.is_empty()).then(|| Ok(Frame::data(piece.into()))))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

/// A response with a body of JSON bytes.
pub fn json_bytes(code: u16, bytes: impl Into<Bytes>) -> Response<Body> {
    typed(code, "application/json", bytes)
}

/// A response with a body of some media type.
pub fn typed(code: u16, media_type: &str, bytes: impl Into<Bytes>) -> Response<Body> {
    with(code, media_type, full(bytes))
}

/// A response with a body of some media type, which may still be on its way.
pub fn with(code: u16, media_type: &str, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
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
pub type Pieces = Pin<Box<dyn Stream<Item = Bytes> + Send>>;

/// Whether a body is compressed for a client that takes gzip.
pub fn is_large(length: usize) -> bool {
    length > GZIP_ABOVE
}

/// Compresses a large body if the client takes gzip.
pub fn maybe_gzip(accepts_gzip: bool, code: u16, media_type: &str, bytes: Bytes) -> Response<Body> {
    if !accepts_gzip || !is_large(bytes.len()) {
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
