//! HTML on its way through a proxy: unpacked, its links rewritten, packed again.

use super::links::Place;
use crate::http::body::{self, Body, BoxError};
use bytes::{Bytes, BytesMut};
use flate2::{
    Compression,
    read::{DeflateDecoder, GzDecoder},
    write::{DeflateEncoder, GzEncoder},
};
use futures::StreamExt;
use http::{HeaderMap, Response, header};
use http_body_util::{BodyExt, BodyStream, StreamBody};
use hyper::body::Frame;
use std::io::{self, Read, Write};

/// A page larger than this is passed on as it is.
const MOST: usize = 16 << 20;

/// How a body is packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Packing {
    None,
    Gzip,
    Deflate,
}

fn packing(headers: &HeaderMap) -> Option<Packing> {
    match headers.get(header::CONTENT_ENCODING).map(|v| v.as_bytes()) {
        None | Some(b"") => Some(Packing::None),
        Some(b"gzip") => Some(Packing::Gzip),
        Some(b"deflate") => Some(Packing::Deflate),
        Some(_) => None,
    }
}

/// Whether a body is HTML that can be read.
pub(super) fn is(headers: &HeaderMap) -> bool {
    let media = headers.get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or_default();
    media.split(';').next().is_some_and(|m| m.trim() == "text/html") && packing(headers).is_some()
}

/// Rewrites the links of a page.
pub(super) async fn rewrite(place: Place, response: Response<Body>) -> Result<Response<Body>, BoxError> {
    let (mut parts, mut incoming) = response.into_parts();
    let mut whole = BytesMut::new();
    while let Some(frame) = incoming.frame().await {
        if let Ok(data) = frame?.into_data() {
            whole.extend_from_slice(&data);
        }
        if whole.len() > MOST {
            let begun = futures::stream::iter([Ok(Frame::data(whole.freeze()))]);
            let body = StreamBody::new(begun.chain(BodyStream::new(incoming))).boxed_unsync();
            return Ok(Response::from_parts(parts, body));
        }
    }
    let packing = packing(&parts.headers).unwrap_or(Packing::None);
    let page = whole.freeze();
    let rewritten = match convert(&place, packing, &page) {
        Ok(rewritten) => rewritten,
        Err(error) => {
            tracing::debug!(%error, "links of a page were not rewritten");
            page
        }
    };
    parts.headers.remove(header::CONTENT_LENGTH);
    Ok(Response::from_parts(parts, body::full(rewritten)))
}

fn convert(place: &Place, packing: Packing, page: &[u8]) -> io::Result<Bytes> {
    let plain = match packing {
        Packing::None => page.to_vec(),
        Packing::Gzip => read(GzDecoder::new(page))?,
        Packing::Deflate => read(DeflateDecoder::new(page))?,
    };
    // whatever encoding it has: markup is ASCII in all that matter, and what is not text stays as it is
    let Ok(html) = String::from_utf8(plain) else { return Ok(Bytes::copy_from_slice(page)) };
    let rewritten = place.rewrite_html(&html).into_bytes();
    Ok(match packing {
        Packing::None => rewritten,
        Packing::Gzip => {
            let mut out = GzEncoder::new(Vec::new(), Compression::fast());
            out.write_all(&rewritten)?;
            out.finish()?
        }
        Packing::Deflate => {
            let mut out = DeflateEncoder::new(Vec::new(), Compression::fast());
            out.write_all(&rewritten)?;
            out.finish()?
        }
    }
    .into())
}

fn read(from: impl Read) -> io::Result<Vec<u8>> {
    let mut out = Vec::new();
    let read = from.take(MOST as u64 + 1).read_to_end(&mut out)?;
    if read > MOST { Err(io::Error::other("unpacked, it is too large")) } else { Ok(out) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    const PAGE: &str = r#"<a href="/x">"#;

    fn place() -> Place {
        Place { prefix: "/p".into(), backend: "b:80".into(), host: "h".into() }
    }

    #[test]
    fn pages_are_unpacked_and_packed_again() {
        let gzip = |text: &str| {
            let mut out = GzEncoder::new(Vec::new(), Compression::fast());
            out.write_all(text.as_bytes()).unwrap();
            out.finish().unwrap()
        };
        let deflate = |text: &str| {
            let mut out = DeflateEncoder::new(Vec::new(), Compression::fast());
            out.write_all(text.as_bytes()).unwrap();
            out.finish().unwrap()
        };
        let expected = r#"<a href="/p/x">"#;
        for (packing, page, wanted) in [
            (Packing::None, PAGE.as_bytes().to_vec(), expected.as_bytes().to_vec()),
            (Packing::Gzip, gzip(PAGE), gzip(expected)),
            (Packing::Deflate, deflate(PAGE), deflate(expected)),
            (Packing::None, b"<a href='/\xff'>".to_vec(), b"<a href='/\xff'>".to_vec()),
        ] {
            assert_eq!(convert(&place(), packing, &page).unwrap(), wanted, "{packing:?}");
        }
        assert!(convert(&place(), Packing::Gzip, b"no").is_err());
    }

    #[test]
    fn html_is_known_by_its_headers() {
        for (media, encoding, expected) in [
            ("text/html; charset=utf-8", None, true),
            ("text/html", Some("gzip"), true),
            ("text/html", Some("br"), false),
            ("text/plain", None, false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(media));
            if let Some(encoding) = encoding {
                headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static(encoding));
            }
            assert_eq!(is(&headers), expected, "{media} {encoding:?}");
        }
    }
}
