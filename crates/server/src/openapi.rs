//! `/openapi/v2` and `/openapi/v3`: documents made from the schema table when first asked for, and kept.

use crate::{
    catalog::{self, Catalog, Kinds},
    http::body::{self, Body},
    http::negotiate::accepts_gzip,
    route::Query,
};
use coracle_api::{
    Schema,
    openapi::{self, Served, Subresource},
};
use coracle_kinds::Kind;
use coracle_structural as structural;
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use parking_lot::Mutex;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};
use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

const JSON: &str = "application/json";
const SERVER: &str = crate::server::KUBERNETES_VERSION;

/// The documents. Each is kept until something changes that it is made from.
pub struct OpenApi {
    catalog: Catalog,
    made: Mutex<HashMap<String, Document>>,
}

/// A document.
type Document = Arc<Made>;

struct Made {
    /// What it was made from.
    stamp: String,
    bytes: Vec<u8>,
    tag: String,
}

impl OpenApi {
    /// The documents of a catalog.
    pub fn new(catalog: &Catalog) -> Self {
        Self { catalog: catalog.clone(), made: Mutex::default() }
    }

    /// The answer for a path that begins with `openapi`; `None`: no such document.
    pub fn answer(&self, parts: &[&str], headers: &HeaderMap, query: &Query) -> Option<Response<Body>> {
        match parts {
            ["openapi", "v2"] => {
                let kinds = self.catalog.kinds();
                let stamp = kinds.generation.to_string();
                let json = || openapi::v2(Schema::builtin(), &served(&kinds, |_| true, structural::v2), SERVER);
                Some(match protobuf_type(headers) {
                    None => send(&self.document("v2", &stamp, json), headers, JSON, false),
                    Some(media_type) => {
                        let encode = || {
                            let document = serde_json::from_slice(&json()).unwrap_or_default();
                            openapi::protobuf::encode(&document)
                        };
                        send(&self.document("v2", &stamp, encode), headers, media_type, false)
                    }
                })
            }
            ["openapi", "v3"] => Some(body::json(200, &self.index())),
            ["openapi", "v3", "api", version] => self.v3("", version, headers, query),
            ["openapi", "v3", "apis", group, version] => self.v3(group, version, headers, query),
            _ => None,
        }
    }

    fn index(&self) -> Value {
        let kinds = self.catalog.kinds();
        let mut paths = Map::new();
        for (group, version) in groups(&kinds) {
            let path = if group.is_empty() { format!("api/{version}") } else { format!("apis/{group}/{version}") };
            let hash = hex::encode_upper(Sha256::digest(format!("{path} {}", stamp(&kinds, group))));
            paths.insert(path.clone(), json!({"serverRelativeURL": format!("/openapi/v3/{path}?hash={hash}")}));
        }
        json!({"paths": paths})
    }

    fn v3(&self, group: &str, version: &str, headers: &HeaderMap, query: &Query) -> Option<Response<Body>> {
        let kinds = self.catalog.kinds();
        let name = format!("{group}/{version}");
        if !groups(&kinds).contains(&(group, version)) {
            self.made.lock().remove(&name);
            return None;
        }
        let own = |kind: &Kind| kind.resource.group == group && kind.resource.version == version;
        let make = || openapi::v3(Schema::builtin(), group, version, &served(&kinds, own, structural::v3), SERVER);
        let document = self.document(&name, &stamp(&kinds, group), make);
        Some(send(&document, headers, JSON, query.get("hash").is_some()))
    }

    fn document(&self, name: &str, stamp: &str, make: impl FnOnce() -> Vec<u8>) -> Document {
        if let Some(document) = self.made.lock().get(name).filter(|d| d.stamp == stamp) {
            return document.clone();
        }
        let bytes = make();
        let tag = format!("\"{}\"", hex::encode_upper(Sha256::digest(&bytes)));
        let document = Arc::new(Made { stamp: stamp.to_string(), bytes, tag });
        // the v2 document is large and asked for by old clients only: made anew each time rather than kept
        if name != "v2" {
            self.made.lock().insert(name.to_string(), document.clone());
        }
        document
    }
}

/// What the documents of a group are made from. Of the built-in kinds that is this program.
fn stamp(kinds: &Kinds, group: &str) -> String {
    let program = [SERVER, env!("CARGO_PKG_VERSION")];
    program.into_iter().chain(kinds.stamps(group)).collect::<Vec<_>>().join(" ")
}

fn groups(kinds: &Kinds) -> Vec<(&str, &str)> {
    let mut all: Vec<(&str, &str)> = Vec::new();
    let mut seen = HashSet::new();
    for served in kinds.all() {
        let pair = (&*served.resource.group, &*served.resource.version);
        if seen.insert(pair) {
            all.push(pair);
        }
    }
    all
}

/// The wanted kinds, custom ones with what `publish` makes of their schema.
fn served(kinds: &Kinds, wanted: impl Fn(&Kind) -> bool, publish: impl Fn(&Value) -> Value) -> Vec<Served> {
    let one = |served: &catalog::Served| {
        let kind = &served.kind;
        Served {
            resource: kind.resource.clone(),
            verbs: kind.verbs.iter().map(ToString::to_string).collect(),
            subresources: kind.subresources.iter().map(|s| subresource(kind, s)).collect(),
            definition: served.custom.as_ref().and_then(|custom| Some(publish(&custom.of()?.published))),
        }
    };
    kinds.all().filter(|served| wanted(&served.kind)).map(|served| one(served)).collect()
}

fn subresource(kind: &Kind, sub: &coracle_kinds::Subresource) -> Subresource {
    let spoken = kind.spoken(sub);
    Subresource {
        name: sub.action.name().to_string(),
        verbs: sub.verbs.iter().map(ToString::to_string).collect(),
        group: spoken.group.to_string(),
        version: spoken.version.to_string(),
        kind: spoken.kind.to_string(),
    }
}

/// The protobuf type, if a client asks for it first: kubectl up to 1.26 and client-go's discovery take nothing else. The answer has the
/// newer name; the older one is no media type by RFC 6838.
fn protobuf_type(headers: &HeaderMap) -> Option<&'static str> {
    let accepted = headers.get(header::ACCEPT)?.to_str().ok()?;
    let first = accepted.split(',').next()?.split(';').next()?.trim();
    let [newer, older] = openapi::protobuf::MEDIA_TYPES;
    [newer, older].contains(&first).then_some(newer)
}

fn send(document: &Document, headers: &HeaderMap, media_type: &str, forever: bool) -> Response<Body> {
    let Made { bytes, tag, .. } = &**document;
    let known = headers.get(header::IF_NONE_MATCH).and_then(|v| v.to_str().ok()).is_some_and(|v| v == tag);
    let mut response = if known {
        let mut response = body::json_bytes(200, Vec::new());
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        response
    } else {
        body::maybe_gzip(accepts_gzip(headers), 200, media_type, bytes.clone().into())
    };
    if let Ok(tag) = HeaderValue::from_str(tag) {
        response.headers_mut().insert(header::ETAG, tag);
    }
    if forever {
        response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("public, immutable"));
    }
    response
}
