//! The way of a request, as one stack of layers:
//!
//! ```text
//! count ─ route ─ authenticate ─ impersonate ─ authorize ─ dispatch ─┬─ resources (registry)
//!                                                                    ├─ discovery, OpenAPI, version
//!                                                                    └─ health, metrics, keys
//! ```

use crate::{
    auth::{Attributes, Auth, Credentials, Decision, User},
    discovery::Discovery,
    health::Health,
    http::{
        Peer,
        body::{self, Body},
    },
    metrics::Metrics,
    openapi::OpenApi,
    proxy::Nodes,
    registry::{Caller, Registry},
    resources,
    route::{Query, RequestInfo},
};
use coracle_api::{Resource, Result, Status};
use http::{HeaderMap, HeaderValue, Method, Request, Response, header};
use hyper::body::Incoming;
use std::{sync::Arc, time::Duration};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// A request that is no watch and no stream is answered within this time.
const TIMEOUT: Duration = Duration::from_secs(60);

/// Everything that answers requests.
pub struct App {
    /// Objects.
    pub registry: Arc<Registry>,
    /// Who asks, and whether they may.
    pub auth: Auth,
    /// What is served, as clients discover it.
    pub discovery: Discovery,
    /// The same as OpenAPI.
    pub openapi: OpenApi,
    /// Whether the server works.
    pub health: Health,
    /// What it has done.
    pub metrics: Metrics,
    /// The way to node agents.
    pub nodes: Nodes,
    /// Cancelled when the server stops.
    pub stop: CancellationToken,
}

/// A request on its way through the layers.
pub struct Ask {
    /// What it asks for.
    pub info: RequestInfo,
    /// Its query.
    pub query: Query,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its method.
    pub method: Method,
    /// On whose behalf.
    pub caller: Caller,
}

/// Answers one request.
pub async fn handle(app: Arc<App>, peer: Peer, request: Request<Incoming>) -> Response<Body> {
    let began = Instant::now();
    let query = Query::parse(request.uri().query().unwrap_or_default());
    let info = RequestInfo::parse(request.method().as_str(), request.uri().path(), &query);
    let (verb, resource) = (info.verb.clone(), info.resource.clone());
    let in_flight = app.metrics.begin();
    let work = answer(app.clone(), peer, request, info, query);
    // a panic in one request is that request's failure
    let mut response = match tokio::spawn(work).await {
        Ok(Ok(response)) => response,
        Ok(Err(status)) => body::status(&status),
        Err(error) => {
            tracing::error!(%error, "a request panicked");
            body::status(&Status::new(500, "InternalError", "This request caused apiserver to panic. Look in the logs for details."))
        }
    };
    if let Ok(id) = HeaderValue::from_str(&uuid::Uuid::new_v4().to_string()) {
        response.headers_mut().insert("audit-id", id);
    }
    drop(in_flight);
    app.metrics.end(&verb, &resource, response.status().as_u16(), began.elapsed());
    response
}

async fn answer(
    app: Arc<App>,
    peer: Peer,
    request: Request<Incoming>,
    info: RequestInfo,
    query: Query,
) -> Result<Response<Body>> {
    let user = authenticate(&app, &peer, request.headers())?;
    let user = impersonate(&app, user, request.headers())?;
    authorize(&app, &user, &info, &query)?;
    let (headers, method) = (request.headers().clone(), request.method().clone());
    let ask = Ask { info, query, headers, method, caller: Caller::new(user) };
    let long = is_long(&ask);
    let work = dispatch(&app, &ask, request);
    let mut response = if long {
        work.await?
    } else {
        tokio::time::timeout(TIMEOUT, work).await.map_err(|_| {
            Status::new(504, "Timeout", "the server was unable to return a response in the time allotted, but may still be processing the request")
        })??
    };
    for warning in ask.caller.warnings.lock().drain(..) {
        let text = warning.replace(['\n', '\r'], " ").replace('\\', "\\\\").replace('"', "\\\"");
        if let Ok(value) = HeaderValue::from_str(&format!("299 - \"{text}\"")) {
            response.headers_mut().append(header::WARNING, value);
        }
    }
    Ok(response)
}

fn is_long(ask: &Ask) -> bool {
    ask.info.verb == "watch" || matches!(ask.info.subresource.as_str(), "log" | "exec" | "attach" | "portforward" | "proxy")
}

fn authenticate(app: &App, peer: &Peer, headers: &HeaderMap) -> Result<User> {
    let bearer = headers
        .get(header::AUTHORIZATION)
        .and_then(|v| v.to_str().ok())
        .and_then(|v| v.split_once(' '))
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
        .map(|(_, token)| token.trim());
    // browsers cannot set headers on WebSockets; the token then is a subprotocol
    let protocol = headers
        .get("sec-websocket-protocol")
        .and_then(|v| v.to_str().ok())
        .and_then(|v| v.split(',').find_map(|p| p.trim().strip_prefix("base64url.bearer.authorization.k8s.io.")))
        .and_then(|t| base64::Engine::decode(&base64::engine::general_purpose::URL_SAFE_NO_PAD, t).ok())
        .and_then(|t| String::from_utf8(t).ok());
    let credentials = Credentials { certificate: peer.certificate.as_deref(), bearer: bearer.or(protocol.as_deref()) };
    Ok(app.auth.authenticator.authenticate(credentials)?.unwrap_or_else(User::anonymous))
}

/// `Impersonate-User` and its companions: each part is a permission of its own.
fn impersonate(app: &App, user: User, headers: &HeaderMap) -> Result<User> {
    let text = |v: &HeaderValue| v.to_str().map(ToString::to_string).unwrap_or_default();
    let Some(name) = headers.get("impersonate-user").map(text).filter(|n| !n.is_empty()) else {
        if headers.keys().any(|k| k.as_str().starts_with("impersonate-")) {
            return Err(Status::internal("requested impersonation without a user: Impersonate-User is missing"));
        }
        return Ok(user);
    };
    let check = |group: &str, resource: &str, subresource: &str, namespace: &str, name: &str| {
        let attributes = Attributes {
            verb: "impersonate".into(),
            group: group.into(),
            version: "v1".into(),
            resource: resource.into(),
            subresource: subresource.into(),
            namespace: namespace.into(),
            name: name.into(),
            ..Attributes::default()
        };
        decide(app, &user, &attributes)
    };
    let mut other = User { name: name.clone(), ..User::default() };
    match name.strip_prefix("system:serviceaccount:").and_then(|n| n.split_once(':')) {
        Some((namespace, account)) => {
            check("", "serviceaccounts", "", namespace, account)?;
            other.groups = vec!["system:serviceaccounts".into(), format!("system:serviceaccounts:{namespace}")];
        }
        None => check("", "users", "", "", &name)?,
    }
    let groups: Vec<String> = headers.get_all("impersonate-group").iter().map(text).collect();
    for group in &groups {
        check("", "groups", "", "", group)?;
    }
    if !groups.is_empty() {
        other.groups = groups;
    }
    if let Some(uid) = headers.get("impersonate-uid").map(text) {
        check("authentication.k8s.io", "uids", "", "", &uid)?;
        other.uid = uid;
    }
    for (key, value) in headers {
        if let Some(extra) = key.as_str().strip_prefix("impersonate-extra-") {
            let (extra, value) = (crate::route::decode(extra), text(value));
            check("authentication.k8s.io", "userextras", &extra, "", &value)?;
            other.extra.entry(extra).or_default().push(value);
        }
    }
    let all = if other.name == "system:anonymous" { "system:unauthenticated" } else { "system:authenticated" };
    if !other.in_group(all) {
        other.groups.push(all.into());
    }
    Ok(other)
}

fn authorize(app: &App, user: &User, info: &RequestInfo, query: &Query) -> Result<()> {
    let mut attributes = Attributes::of(info);
    attributes.field_selector = query.get("fieldSelector").unwrap_or_default().to_string();
    attributes.label_selector = query.get("labelSelector").unwrap_or_default().to_string();
    decide(app, user, &attributes)
}

fn decide(app: &App, user: &User, attributes: &Attributes) -> Result<()> {
    match app.auth.authorizer.authorize(user, attributes) {
        Decision::Allow => Ok(()),
        Decision::Deny(reason) => Err(forbidden(user, attributes, &reason)),
    }
}

/// 403 in upstream's words.
pub fn forbidden(user: &User, a: &Attributes, reason: &str) -> Status {
    let reason = if reason.is_empty() { String::new() } else { format!(": {reason}") };
    if a.resource.is_empty() {
        let message = format!("forbidden: User {:?} cannot {} path {:?}{reason}", user.name, a.verb, a.path);
        return Status { details: serde_json::json!({}), ..Status::new(403, "Forbidden", message) };
    }
    let resource = if a.subresource.is_empty() { a.resource.clone() } else { format!("{}/{}", a.resource, a.subresource) };
    let scope = if a.namespace.is_empty() {
        " at the cluster scope".to_string()
    } else {
        format!(" in the namespace {:?}", a.namespace)
    };
    let who = format!("User {:?} cannot {} resource {resource:?} in API group {:?}{scope}{reason}", user.name, a.verb, a.group);
    let named = Resource {
        group: a.group.clone().into(),
        version: a.version.clone().into(),
        plural: a.resource.clone().into(),
        kind: String::new().into(),
        namespaced: true,
    };
    let mut status = Status::forbidden(&named, &a.name, &who);
    if a.name.is_empty() {
        status.message = format!("{} is forbidden: {who}", named.qualified());
        if let Some(details) = status.details.as_object_mut() {
            details.remove("name");
        }
    }
    status
}

async fn dispatch(app: &Arc<App>, ask: &Ask, request: Request<Incoming>) -> Result<Response<Body>> {
    if ask.info.is_resource() {
        return resources::serve(app, ask, request).await;
    }
    let path = ask.info.path.trim_end_matches('/');
    let read = matches!(ask.method, Method::GET | Method::HEAD);
    if !read {
        return Err(Status::method_not_allowed());
    }
    let parts: Vec<&str> = path.split('/').skip(1).collect();
    let answer = match parts.as_slice() {
        ["healthz" | "livez" | "readyz", ..] => Some(app.health.answer(&parts, &ask.query)),
        ["version"] => Some(body::json(200, &crate::health::version())),
        ["metrics"] => Some(app.metrics.render(&app.registry)),
        ["api" | "apis", ..] => app.discovery.answer(&parts, &ask.headers),
        ["openapi", ..] => app.openapi.answer(&parts, &ask.headers, &ask.query),
        ["openid", "v1", "jwks"] => Some(body::json(200, &app.auth.reviewer.jwks())),
        [".well-known", "openid-configuration"] => Some(body::json(200, &app.auth.reviewer.openid_configuration())),
        [] | [""] => Some(body::json(200, &app.discovery.paths())),
        _ => None,
    };
    Ok(answer.unwrap_or_else(|| body::text(404, "404 page not found\n")))
}
