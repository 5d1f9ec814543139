//! OpenAPI documents, from the schema table.

use crate::{http::body::Body, route::Query};
use http::{HeaderMap, Response};

/// The documents.
#[derive(Default)]
pub struct OpenApi {}

impl OpenApi {
    /// The answer for a path that begins with `openapi`; `None`: no such document.
    pub fn answer(&self, _parts: &[&str], _headers: &HeaderMap, _query: &Query) -> Option<Response<Body>> {
        None
    }
}
