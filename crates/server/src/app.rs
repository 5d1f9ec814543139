//! The way of a request, as one stack of layers:
//!
//! ```text
//! count ─ route ─ authenticate ─ impersonate ─ authorize ─ dispatch ─┬─ resources (registry)
//!                                                                    ├─ discovery, OpenAPI, version
//!                                                                    └─ health, metrics, keys
//! ```

use crate::{
    answer,
    auth::{self, Attributes, Auth, Credentials, Decision, User},
    discovery::Discovery,
    egress::Egress,
    health::Health,
    http::{
        Peer,
        body::{self, Body},
        negotiate::Takes,
        warning,
    },
    metrics::{Labels, Metrics},
    openapi::OpenApi,
    registry::{Caller, Registry},
    resources,
    route::{Query, RequestInfo},
    usage::Usage,
};
use coracle_api::{Result, Status};
use http::{HeaderMap, HeaderValue, Method, Request, Response, header};
use hyper::body::Incoming;
use std::{net::SocketAddr, sync::Arc, time::Duration};
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
    /// The way to nodes, pods and endpoints.
    pub egress: Arc<Egress>,
    /// What nodes and pods use.
    pub usage: Usage,
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
    /// In what it takes its answer.
    pub takes: Takes,
    /// Its method.
    pub method: Method,
    /// On whose behalf.
    pub caller: Caller,
    /// From where.
    pub peer: SocketAddr,
}

/// Answers one request.
pub async fn handle(app: Arc<App>, peer: Peer, request: Request<Incoming>) -> Response<Body> {
    let began = Instant::now();
    let query = Query::parse(request.uri().query().unwrap_or_default());
    let info = RequestInfo::parse(request.method().as_str(), request.uri().path(), &query);
    let dry_run = query.get("dryRun").is_some_and(|d| d == "All");
    let labels = Labels::of(&info, request.method(), dry_run, &app.registry.catalog);
    let takes = Takes::of(request.headers(), &query);
    let in_flight = app.metrics.begin(&labels);
    let work = go(app.clone(), peer, request, info, query, takes.clone());
    // a panic in one request is that request's failure
    let mut response = match tokio::spawn(work).await {
        Ok(Ok(response)) => response,
        Ok(Err(status)) => answer::status(&takes, &status),
        Err(error) => {
            tracing::error!(%error, "a request panicked");
            let message = "This request caused apiserver to panic. Look in the logs for details.";
            answer::status(&takes, &Status::new(500, "InternalError", message))
        }
    };
    if let Ok(id) = HeaderValue::from_str(&uuid::Uuid::new_v4().to_string()) {
        response.headers_mut().insert("audit-id", id);
    }
    drop(in_flight);
    app.metrics.end(&labels, response.status().as_u16(), began.elapsed());
    app.metrics.follow(&labels, response)
}

async fn go(
    app: Arc<App>,
    peer: Peer,
    request: Request<Incoming>,
    info: RequestInfo,
    query: Query,
    takes: Takes,
) -> Result<Response<Body>> {
    let (bearer, odd) = bearer(request.headers());
    let user = authenticate(&app, &peer, request.headers(), bearer)?;
    let user = auth::impersonate(&*app.auth.authorizer, user, request.headers())?;
    authorize(&app, &user, &info, &query)?;
    let (headers, method) = (request.headers().clone(), request.method().clone());
    let ask = Ask { info, query, headers, takes, method, caller: Caller::new(user), peer: peer.address };
    ask.caller.warn(odd);
    let long = is_long(&ask);
    let work = dispatch(&app, &ask, request);
    let outcome = if long {
        work.await
    } else {
        tokio::time::timeout(TIMEOUT, work).await.unwrap_or_else(|_| {
            let message = "the server was unable to return a response in the time allotted, but may still be processing the request";
            Err(Status::new(504, "Timeout", message))
        })
    };
    // refusals are warned of, too
    let mut response = outcome.unwrap_or_else(|status| answer::status(&ask.takes, &status));
    for value in warning::headers(ask.caller.warnings.lock().drain(..)) {
        response.headers_mut().append(header::WARNING, value);
    }
    Ok(response)
}

fn is_long(ask: &Ask) -> bool {
    ask.info.verb == "watch"
        || matches!(ask.info.subresource.as_str(), "log" | "exec" | "attach" | "portforward" | "proxy")
}

/// The token in the headers, and what is odd about how it stands there.
fn bearer(headers: &HeaderMap) -> (Option<&str>, Option<String>) {
    let said = headers.get(header::AUTHORIZATION).and_then(|v| v.to_str().ok()).unwrap_or_default().trim();
    let mut parts = said.splitn(3, ' ');
    match (parts.next(), parts.next(), parts.next()) {
        (Some(scheme), Some(token), more) if scheme.eq_ignore_ascii_case("bearer") => {
            let why = "the provided Authorization header contains extra space before the bearer token, and is ignored";
            let odd = (token.is_empty() && more.is_some()).then(|| why.to_string());
            (Some(token).filter(|token| !token.is_empty()), odd)
        }
        _ => (None, None),
    }
}

fn authenticate(app: &App, peer: &Peer, headers: &HeaderMap, bearer: Option<&str>) -> Result<User> {
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

fn authorize(app: &App, user: &User, info: &RequestInfo, query: &Query) -> Result<()> {
    let mut attributes = Attributes::of(info);
    attributes.field_selector = query.get("fieldSelector").unwrap_or_default().to_string();
    attributes.label_selector = query.get("labelSelector").unwrap_or_default().to_string();
    decide(app, user, &attributes)
}

/// 403 unless `user` may.
///
/// # Errors
/// That.
pub fn decide(app: &App, user: &User, attributes: &Attributes) -> Result<()> {
    match app.auth.authorizer.authorize(user, attributes) {
        Decision::Allow => Ok(()),
        Decision::Deny(reason) => Err(auth::forbidden(user, attributes, &reason)),
    }
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
        ["version"] => Some(body::pretty_json(200, &crate::health::version())),
        ["metrics"] => Some(app.metrics.render(&app.registry)),
        ["metrics", "slis"] => Some(app.health.indicators()),
        ["api" | "apis", ..] => app.discovery.answer(&parts, ask),
        ["openapi", ..] => app.openapi.answer(&parts, &ask.headers, &ask.query),
        ["openid", "v1", "jwks"] => Some(body::json(200, &app.auth.reviewer.jwks())),
        [".well-known", "openid-configuration"] => Some(body::json(200, &app.auth.reviewer.openid_configuration())),
        [] | [""] => Some(body::pretty_json(200, &app.discovery.paths())),
        _ => None,
    };
    Ok(answer.unwrap_or_else(|| body::text(404, "404 page not found\n")))
}
