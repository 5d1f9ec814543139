//! Which form and syntax a client wants its answer in, and which syntax its request body has.
//!
//! As upstream: the `Accept` header's ranges are tried in the order of their quality, each against JSON, YAML and protobuf; what cannot
//! be served is passed over. CBOR is spoken by upstream only behind a feature gate that is off, and so not here.

use crate::route::Query;
use coracle_api::{Media, PatchKind, Result, Status, protobuf};
use http::{HeaderMap, header};

/// How bytes say a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Syntax {
    /// JSON.
    Json,
    /// YAML.
    Yaml,
    /// Protobuf.
    Protobuf,
}

impl Syntax {
    /// In the order in which upstream offers them.
    const ALL: [Self; 3] = [Self::Json, Self::Yaml, Self::Protobuf];

    /// Its media type.
    pub fn media_type(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Yaml => "application/yaml",
            Self::Protobuf => protobuf::MEDIA_TYPE,
        }
    }

    /// The media type of a watch.
    pub fn stream_media_type(self) -> &'static str {
        match self {
            Self::Protobuf => "application/vnd.kubernetes.protobuf;stream=watch",
            other => other.media_type(),
        }
    }
}

/// The form of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Objects as they are.
    Object,
    /// `meta.k8s.io` Table.
    Table,
    /// Only metadata, of one object.
    Partial,
    /// Only metadata, of a list.
    PartialList,
    /// Aggregated discovery.
    Discovery,
}

/// What a client accepts and gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Accepted {
    /// The syntax.
    pub syntax: Syntax,
    /// The form.
    pub form: Form,
    /// The version of the form's group; empty for plain objects.
    pub version: &'static str,
}

impl Accepted {
    /// Plain objects in a syntax.
    pub fn plain(syntax: Syntax) -> Self {
        Self { syntax, form: Form::Object, version: "" }
    }
}

/// What an endpoint can answer in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// Objects of a kind, also as tables and metadata. Custom resources have no protobuf form of their own.
    Objects {
        /// Whether the kind has one.
        protobuf: bool,
    },
    /// Values that have one form: Status, reviews, discovery of a group.
    Plain,
    /// Discovery documents, which may be aggregated.
    Discovery,
}

/// In what a client takes its answers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Takes {
    /// The `Accept` header; empty if there is none.
    pub accept: String,
    /// Whether large answers may come compressed.
    pub gzip: bool,
    /// Whether JSON is laid out for people.
    pub pretty: bool,
}

/// Programs that people read the answers of, as their `User-Agent` begins.
const READ_BY_PEOPLE: [&str; 3] = ["curl", "Wget", "Mozilla/5.0"];

impl Takes {
    /// What the headers and the query of a request say.
    pub fn of(headers: &HeaderMap, query: &Query) -> Self {
        let text = |name| headers.get(name).and_then(|v| v.to_str().ok()).unwrap_or_default();
        let accept = text(header::ACCEPT);
        let asked = accept.split([',', ';']).any(|part| part.trim() == "pretty=1");
        let pretty = match query.get("pretty").filter(|said| !said.is_empty()) {
            Some(said) => matches!(said, "1" | "t" | "T" | "true" | "TRUE" | "True"),
            None => READ_BY_PEOPLE.iter().any(|program| text(header::USER_AGENT).starts_with(program)),
        };
        Self { accept: accept.to_string(), gzip: accepts_gzip(headers), pretty: asked || pretty }
    }
}

/// What an endpoint answers in, by an `Accept` header.
///
/// # Errors
/// 406 when it can serve nothing in the header.
pub fn accept(header: &str, endpoint: Endpoint) -> Result<Accepted> {
    if header.trim().is_empty() {
        return Ok(Accepted::plain(Syntax::Json));
    }
    let mut ranges: Vec<Range<'_>> = header.split(',').filter_map(Range::parse).collect();
    // the best first; among equals the more specific, then the earlier
    ranges.sort_by(|a, b| {
        let order = b.quality.total_cmp(&a.quality);
        order.then((a.main == "*").cmp(&(b.main == "*"))).then((a.sub == "*").cmp(&(b.sub == "*")))
    });
    let pick = |range: &Range<'_>| Syntax::ALL.into_iter().find_map(|syntax| range.accepted(syntax, endpoint));
    ranges.iter().find_map(pick).ok_or_else(|| not_acceptable(Syntax::ALL.map(Syntax::media_type).join(", ")))
}

/// As [`accept`], for a watch.
///
/// # Errors
/// 406 also when only YAML would do, which has no frames.
pub fn accept_stream(header: &str, endpoint: Endpoint) -> Result<Accepted> {
    match accept(header, endpoint)? {
        Accepted { syntax: Syntax::Yaml, .. } => {
            let framed = [Syntax::Json, Syntax::Protobuf].map(|s| format!("{};stream=watch", s.media_type()));
            Err(not_acceptable(framed.join(", ")))
        }
        accepted => Ok(accepted),
    }
}

fn not_acceptable(supported: String) -> Status {
    Status::new(406, "NotAcceptable", format!("only the following media types are accepted: {supported}"))
}

/// One range of an `Accept` header.
struct Range<'h> {
    main: &'h str,
    sub: &'h str,
    quality: f32,
    parameters: Vec<(&'h str, &'h str)>,
}

impl<'h> Range<'h> {
    fn parse(text: &'h str) -> Option<Self> {
        let mut parts = text.split(';').map(str::trim);
        let (main, sub) = match parts.next()? {
            "*" => ("*", "*"),
            media => media.split_once('/')?,
        };
        let parameters: Vec<_> = parts.filter_map(|p| p.split_once('=')).map(|(k, v)| (k.trim(), v.trim())).collect();
        let quality = parameters.iter().find(|(k, _)| *k == "q").and_then(|(_, v)| v.parse().ok()).unwrap_or(1.0);
        Some(Self { main, sub, quality, parameters })
    }

    fn parameter(&self, key: &str) -> Option<&'h str> {
        self.parameters.iter().find(|(k, _)| *k == key).map(|(_, v)| *v)
    }

    fn names(&self, syntax: Syntax) -> bool {
        syntax.media_type().split_once('/').is_some_and(|(main, sub)| match (self.main, self.sub) {
            ("*", "*") => true,
            (found, "*") => found == main,
            found => found == (main, sub),
        })
    }

    fn accepted(&self, syntax: Syntax, endpoint: Endpoint) -> Option<Accepted> {
        if !self.names(syntax) {
            return None;
        }
        if self.parameter("stream").is_some_and(|s| !s.is_empty() && (s != "watch" || syntax == Syntax::Yaml)) {
            return None;
        }
        if self.parameter("sv").is_some_and(|version| !version.is_empty()) {
            return None;
        }
        if ["as", "g", "v"].into_iter().all(|key| self.parameter(key).is_none()) {
            let served = syntax != Syntax::Protobuf || endpoint != Endpoint::Objects { protobuf: false };
            return served.then_some(Accepted::plain(syntax));
        }
        let [kind, group, version] = ["as", "g", "v"].map(|key| self.parameter(key).unwrap_or_default());
        let (form, versions) = match (endpoint, group, kind) {
            (Endpoint::Objects { .. }, "meta.k8s.io", "Table") if syntax != Syntax::Protobuf => {
                (Form::Table, ["v1", "v1beta1"])
            }
            (Endpoint::Objects { .. }, "meta.k8s.io", "PartialObjectMetadata") => (Form::Partial, ["v1", "v1beta1"]),
            (Endpoint::Objects { .. }, "meta.k8s.io", "PartialObjectMetadataList") => {
                (Form::PartialList, ["v1", "v1beta1"])
            }
            (Endpoint::Discovery, "apidiscovery.k8s.io", "APIGroupDiscoveryList") => {
                (Form::Discovery, ["v2", "v2beta1"])
            }
            _ => return None,
        };
        let version = versions.into_iter().find(|v| *v == version)?;
        Some(Accepted { syntax, form, version })
    }
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

/// How an object in a request body is to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodySyntax {
    /// As text.
    Text(Media),
    /// As protobuf.
    Protobuf,
}

/// The syntax of a custom resource in a request body: there is no protobuf of them.
///
/// # Errors
/// 415 for anything but JSON and YAML.
pub fn custom_media(headers: &HeaderMap) -> Result<Media> {
    match body_syntax(headers) {
        Ok(BodySyntax::Text(media)) => Ok(media),
        _ => Err(unsupported(&[Syntax::Json, Syntax::Yaml].map(Syntax::media_type))),
    }
}

/// Custom resources say nothing of how their lists are merged.
pub fn no_strategic() -> Status {
    unsupported(&[PatchKind::Json, PatchKind::Merge, PatchKind::Apply].map(PatchKind::media_type))
}

/// The syntax of an object in a request body.
///
/// # Errors
/// 415 for what is not spoken here.
pub fn body_syntax(headers: &HeaderMap) -> Result<BodySyntax> {
    match content_type(headers) {
        // an absent type is read as JSON, as upstream
        "" | "application/json" => Ok(BodySyntax::Text(Media::Json)),
        "application/yaml" => Ok(BodySyntax::Text(Media::Yaml)),
        protobuf::MEDIA_TYPE => Ok(BodySyntax::Protobuf),
        _ => Err(unsupported(&Syntax::ALL.map(Syntax::media_type))),
    }
}

/// The kind of patch in a request body.
///
/// # Errors
/// 415 for an unknown type.
pub fn patch_kind(headers: &HeaderMap) -> Result<PatchKind> {
    let all = [PatchKind::Json, PatchKind::Merge, PatchKind::Strategic, PatchKind::Apply];
    let found = content_type(headers);
    let kind = all.into_iter().find(|kind| kind.media_type() == found);
    kind.ok_or_else(|| unsupported(&all.map(PatchKind::media_type)))
}

fn unsupported(supported: &[&str]) -> Status {
    let known = supported.join(", ");
    let message = format!("the body of the request was in an unknown format - accepted media types include: {known}");
    Status::new(415, "UnsupportedMediaType", message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    const OBJECTS: Endpoint = Endpoint::Objects { protobuf: true };
    const CUSTOM: Endpoint = Endpoint::Objects { protobuf: false };
    const JSON: Accepted = Accepted { syntax: Syntax::Json, form: Form::Object, version: "" };
    const YAML: Accepted = Accepted { syntax: Syntax::Yaml, ..JSON };
    const PROTOBUF: Accepted = Accepted { syntax: Syntax::Protobuf, ..JSON };
    const TABLE: Accepted = Accepted { form: Form::Table, version: "v1", ..JSON };
    const PARTIAL: Accepted = Accepted { form: Form::Partial, version: "v1", ..PROTOBUF };

    #[test]
    fn accept_headers() {
        let table = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json;as=Table;v=v1beta1;g=meta.k8s.io,application/json";
        let metadata = "application/vnd.kubernetes.protobuf;as=PartialObjectMetadata;g=meta.k8s.io;v=v1";
        let aggregated = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json";
        for (header, endpoint, expected) in [
            ("", OBJECTS, Some(JSON)),
            ("*", OBJECTS, Some(JSON)),
            ("*/*", OBJECTS, Some(JSON)),
            ("application/*", OBJECTS, Some(JSON)),
            ("application/json", OBJECTS, Some(JSON)),
            ("application/yaml", OBJECTS, Some(YAML)),
            ("application/vnd.kubernetes.protobuf,application/json", OBJECTS, Some(PROTOBUF)),
            ("application/json;q=0.5, application/vnd.kubernetes.protobuf", OBJECTS, Some(PROTOBUF)),
            ("*/*, application/yaml", OBJECTS, Some(YAML)),
            ("application/vnd.kubernetes.protobuf;stream=watch", OBJECTS, Some(PROTOBUF)),
            ("application/vnd.kubernetes.protobuf,application/json", CUSTOM, Some(JSON)),
            ("application/vnd.kubernetes.protobuf", CUSTOM, None),
            (metadata, CUSTOM, Some(PARTIAL)),
            (metadata, Endpoint::Plain, None),
            (table, OBJECTS, Some(TABLE)),
            (table, Endpoint::Plain, Some(JSON)),
            ("application/vnd.kubernetes.protobuf;as=Table;v=v1;g=meta.k8s.io", OBJECTS, None),
            ("application/json;as=Table;v=v2;g=meta.k8s.io", OBJECTS, None),
            (
                "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1beta1",
                OBJECTS,
                Some(Accepted { form: Form::PartialList, version: "v1beta1", ..JSON }),
            ),
            (aggregated, OBJECTS, Some(JSON)),
            (aggregated, Endpoint::Discovery, Some(Accepted { form: Form::Discovery, version: "v2", ..JSON })),
            ("application/json;as=Unknown;g=x;v=v1,application/json", OBJECTS, Some(JSON)),
            ("application/json;stream=watch", OBJECTS, Some(JSON)),
            ("application/json;stream=other", OBJECTS, None),
            ("application/cbor", OBJECTS, None),
            ("application/cbor,application/json;q=0.9", OBJECTS, Some(JSON)),
            ("text/html", OBJECTS, None),
            ("nonsense", OBJECTS, None),
        ] {
            let found = accept(header, endpoint);
            assert_eq!(found.as_ref().ok(), expected.as_ref(), "{header} of {endpoint:?}");
            if let Err(error) = found {
                let message = "only the following media types are accepted: application/json, application/yaml, application/vnd.kubernetes.protobuf";
                assert_eq!((error.code, error.message.as_str()), (406, message));
            }
        }
        let watch = accept_stream("application/yaml", OBJECTS).unwrap_err();
        let message = "only the following media types are accepted: application/json;stream=watch, application/vnd.kubernetes.protobuf;stream=watch";
        assert_eq!((watch.code, watch.message.as_str()), (406, message));
    }

    #[test]
    fn people_get_json_laid_out() {
        for (agent, accept, query, pretty) in [
            ("kubectl/v1.37.0", "application/json", "", false),
            ("curl/8.0", "*/*", "", true),
            ("Mozilla/5.0 (X11)", "text/html,*/*", "", true),
            ("Wget/1", "", "", true),
            ("curl/8.0", "*/*", "pretty=false", false),
            ("curl/8.0", "*/*", "pretty=", true),
            ("kubectl", "", "pretty=true", true),
            ("kubectl", "", "pretty=1", true),
            ("kubectl", "", "pretty=yes", false),
            ("kubectl", "application/json;pretty=1", "", true),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::USER_AGENT, HeaderValue::from_static(agent));
            headers.insert(header::ACCEPT, HeaderValue::from_static(accept));
            assert_eq!(Takes::of(&headers, &Query::parse(query)).pretty, pretty, "{agent} {accept} {query}");
        }
    }

    #[test]
    fn content_types() {
        let known = "application/json, application/yaml, application/vnd.kubernetes.protobuf";
        for (given, expected) in [
            ("", Ok(BodySyntax::Text(Media::Json))),
            ("application/json; charset=utf-8", Ok(BodySyntax::Text(Media::Json))),
            ("application/yaml", Ok(BodySyntax::Text(Media::Yaml))),
            ("application/vnd.kubernetes.protobuf", Ok(BodySyntax::Protobuf)),
            ("application/cbor", Err(known)),
            ("text/plain", Err(known)),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(given));
            let expected = expected.map_err(|known| {
                (
                    415,
                    format!("the body of the request was in an unknown format - accepted media types include: {known}"),
                )
            });
            assert_eq!(body_syntax(&headers).map_err(|e| (e.code, e.message)), expected, "{given}");
        }
    }
}
