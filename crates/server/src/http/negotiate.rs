//! Which form a client wants its answer in, and which form its request body has.

use coracle_api::{Media, PatchKind, Result, Status};
use http::{HeaderMap, header};

/// The form of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Objects as they are.
    Object,
    /// `meta.k8s.io/v1` Table.
    Table,
    /// Only metadata.
    Partial,
}

/// Picks the first form in the Accept header that can be served. Protobuf cannot, so it is passed over.
///
/// # Errors
/// 406 when nothing in the header can be served.
pub fn accept(headers: &HeaderMap) -> Result<Form> {
    let Some(accept) = headers.get(header::ACCEPT).and_then(|v| v.to_str().ok()).filter(|v| !v.trim().is_empty())
    else {
        return Ok(Form::Object);
    };
    for range in accept.split(',') {
        let mut parts = range.split(';').map(str::trim);
        let media = parts.next().unwrap_or_default();
        let parameters: Vec<(&str, &str)> = parts.filter_map(|p| p.split_once('=')).collect();
        let get = |key: &str| parameters.iter().find(|(k, _)| *k == key).map_or("", |(_, v)| *v);
        if !matches!(media, "application/json" | "application/*" | "*/*" | "application/yaml") {
            continue;
        }
        match (get("as"), get("g"), get("v")) {
            ("", ..) => return Ok(Form::Object),
            ("Table", "meta.k8s.io", "v1" | "v1beta1") => return Ok(Form::Table),
            ("PartialObjectMetadata" | "PartialObjectMetadataList", "meta.k8s.io", "v1" | "v1beta1") => {
                return Ok(Form::Partial);
            }
            // upstream passes over what it does not know, discovery's APIGroupDiscoveryList included
            _ => {}
        }
    }
    Err(Status::new(
        406,
        "NotAcceptable",
        "only the following media types are accepted: application/json, application/yaml",
    ))
}

/// Whether the client takes gzip.
pub fn accepts_gzip(headers: &HeaderMap) -> bool {
    headers
        .get_all(header::ACCEPT_ENCODING)
        .iter()
        .filter_map(|v| v.to_str().ok())
        .any(|v| v.split(',').any(|e| e.trim().split(';').next() == Some("gzip")))
}

/// The media type of the request body, without parameters; empty if there is none.
pub fn content_type(headers: &HeaderMap) -> &str {
    let value = headers.get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or_default();
    value.split(';').next().unwrap_or_default().trim()
}

/// Whether the request body is protobuf.
pub fn is_protobuf(headers: &HeaderMap) -> bool {
    content_type(headers) == "application/vnd.kubernetes.protobuf"
}

/// The syntax of an object in a request body.
///
/// # Errors
/// 415 for anything but JSON and YAML.
pub fn body_media(headers: &HeaderMap) -> Result<Media> {
    match content_type(headers) {
        // an absent type is read as JSON, as upstream
        "" | "application/json" | "*/*" | "text/json" => Ok(Media::Json),
        "application/yaml" | "application/x-yaml" | "text/yaml" => Ok(Media::Yaml),
        other => Err(unsupported(other, "application/json, application/yaml, application/vnd.kubernetes.protobuf")),
    }
}

/// The kind of patch in a request body.
///
/// # Errors
/// 415 for an unknown type.
pub fn patch_kind(headers: &HeaderMap) -> Result<PatchKind> {
    match content_type(headers) {
        "application/json-patch+json" => Ok(PatchKind::Json),
        "application/merge-patch+json" => Ok(PatchKind::Merge),
        "application/strategic-merge-patch+json" => Ok(PatchKind::Strategic),
        "application/apply-patch+yaml" => Ok(PatchKind::Apply),
        other => Err(unsupported(
            other,
            "application/json-patch+json, application/merge-patch+json, application/strategic-merge-patch+json, application/apply-patch+yaml",
        )),
    }
}

fn unsupported(found: &str, supported: &str) -> Status {
    Status::new(
        415,
        "UnsupportedMediaType",
        format!(
            "the body of the request was in an unknown format - accepted media types include: {supported} (found {found:?})"
        ),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    #[test]
    fn accept_headers() {
        for (accept_header, expected) in [
            ("", Some(Form::Object)),
            ("*/*", Some(Form::Object)),
            ("application/json", Some(Form::Object)),
            ("application/vnd.kubernetes.protobuf,application/json", Some(Form::Object)),
            ("application/vnd.kubernetes.protobuf", None),
            (
                "application/json;as=Table;v=v1;g=meta.k8s.io,application/json;as=Table;v=v1beta1;g=meta.k8s.io,application/json",
                Some(Form::Table),
            ),
            ("application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1", Some(Form::Partial)),
            ("application/json;as=Unknown;g=x;v=v1,application/json", Some(Form::Object)),
            ("application/json;stream=watch", Some(Form::Object)),
            ("text/html", None),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::ACCEPT, HeaderValue::from_str(accept_header).unwrap());
            assert_eq!(accept(&headers).ok(), expected, "{accept_header}");
        }
    }
}
