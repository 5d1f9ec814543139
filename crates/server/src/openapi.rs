//! `/openapi/v2` and `/openapi/v3`: documents made from the schema table when first asked for, and kept.

use crate::{
    catalog::Catalog,
    http::body::{self, Body},
    http::negotiate::accepts_gzip,
    route::Query,
};
use coracle_api::{
    Schema,
    openapi::{self, Served, Subresource},
};
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use parking_lot::Mutex;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};
use std::{collections::HashMap, sync::Arc};

const SERVER: &str = crate::server::KUBERNETES_VERSION;

/// The documents.
pub struct OpenApi {
    served: Vec<Served>,
    made: Mutex<HashMap<String, Document>>,
}

/// A document and its hash.
type Document = Arc<(Vec<u8>, String)>;

impl OpenApi {
    /// The documents of a catalog.
    pub fn new(catalog: &Catalog) -> Self {
        let served = catalog.all().iter().map(|served| {
            let kind = served.kind;
            let subresources = kind.subresources.iter().map(|s| Subresource {
                name: s.action.name().to_string(),
                verbs: s.verbs.iter().map(ToString::to_string).collect(),
                group: s.group.to_string(),
                version: s.version.to_string(),
                kind: s.kind.to_string(),
            });
            Served {
                resource: kind.resource.clone(),
                verbs: kind.verbs.iter().map(ToString::to_string).collect(),
                subresources: subresources.collect(),
                definition: None,
            }
        });
        Self { served: served.collect(), made: Mutex::default() }
    }

    /// The answer for a path that begins with `openapi`; `None`: no such document.
    pub fn answer(&self, parts: &[&str], headers: &HeaderMap, query: &Query) -> Option<Response<Body>> {
        match parts {
            ["openapi", "v2"] => {
                // kubectl asks for protobuf first and takes JSON too
                let document = self.document("v2", || openapi::v2(Schema::builtin(), &self.served, SERVER));
                Some(send(&document, headers, false))
            }
            ["openapi", "v3"] => Some(body::json(200, &self.index())),
            ["openapi", "v3", "api", version] => self.v3("", version, headers, query),
            ["openapi", "v3", "apis", group, version] => self.v3(group, version, headers, query),
            _ => None,
        }
    }

    fn groups(&self) -> Vec<(&str, &str)> {
        let mut all: Vec<(&str, &str)> = Vec::new();
        for served in &self.served {
            let pair = (&*served.resource.group, &*served.resource.version);
            if !all.contains(&pair) {
                all.push(pair);
            }
        }
        all
    }

    fn index(&self) -> Value {
        let mut paths = Map::new();
        for (group, version) in self.groups() {
            let path = if group.is_empty() { format!("api/{version}") } else { format!("apis/{group}/{version}") };
            // what the documents are made from does not change while the program runs, so its version is their hash
            let hash = hex::encode_upper(Sha256::digest(format!("{path} {SERVER} {}", env!("CARGO_PKG_VERSION"))));
            paths.insert(path.clone(), json!({"serverRelativeURL": format!("/openapi/v3/{path}?hash={hash}")}));
        }
        json!({"paths": paths})
    }

    fn v3(&self, group: &str, version: &str, headers: &HeaderMap, query: &Query) -> Option<Response<Body>> {
        if !self.groups().contains(&(group, version)) {
            return None;
        }
        let make = || openapi::v3(Schema::builtin(), group, version, &self.served, SERVER);
        let document = self.document(&format!("{group}/{version}"), make);
        Some(send(&document, headers, query.get("hash").is_some()))
    }

    fn document(&self, name: &str, make: impl FnOnce() -> Vec<u8>) -> Document {
        if let Some(document) = self.made.lock().get(name) {
            return document.clone();
        }
        let bytes = make();
        let tag = format!("\"{}\"", hex::encode_upper(Sha256::digest(&bytes)));
        let document = Arc::new((bytes, tag));
        // the v2 document is large and asked for by old clients only: made anew each time rather than kept
        if name != "v2" {
            self.made.lock().insert(name.to_string(), document.clone());
        }
        document
    }
}

fn send(document: &Document, headers: &HeaderMap, forever: bool) -> Response<Body> {
    let (bytes, tag) = &**document;
    let known = headers.get(header::IF_NONE_MATCH).and_then(|v| v.to_str().ok()).is_some_and(|v| v == tag);
    let mut response = if known {
        let mut response = body::json_bytes(200, Vec::new());
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        response
    } else {
        body::maybe_gzip(accepts_gzip(headers), 200, bytes.clone())
    };
    if let Ok(tag) = HeaderValue::from_str(tag) {
        response.headers_mut().insert(header::ETAG, tag);
    }
    if forever {
        response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("public, immutable"));
    }
    response
}
