//! Requests that go on to somewhere else: to a node's agent (logs, exec, attach, port-forward, `nodes/proxy`), or to a pod or Service.
//!
//! The agent is spoken to as any kubelet: the same paths, the server's client certificate. Upgraded connections (WebSocket, SPDY) are
//! passed through byte for byte: what they carry is between the client and the agent.

mod forward;
mod html;
mod kubelet;
mod links;
mod target;

use crate::{
    app::{App, Ask, decide},
    auth::Attributes,
    egress::{Address, Peer},
    http::{
        body::{self, Body, BoxError},
        websocket,
    },
    registry::Target,
};
use bytes::Bytes;
use coracle_api::{Result, Status};
use coracle_kinds::Action;
use futures::{StreamExt, stream};
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use std::sync::Arc;
use target::ProxyPath;

/// Where a request goes on to.
#[derive(Debug)]
struct Destination {
    peer: Peer,
    address: Address,
    path_and_query: String,
    /// Of a proxy: the path under which the other side appears to clients.
    prefix: Option<String>,
}

/// Whether a proxy passes on requests with this method.
pub fn takes(method: &Method) -> bool {
    let all = [Method::GET, Method::HEAD, Method::POST, Method::PUT, Method::PATCH, Method::DELETE, Method::OPTIONS];
    all.contains(method)
}

/// Answers a request to a connecting subresource.
pub async fn serve(
    app: &Arc<App>,
    ask: &Ask,
    target: Target<'_>,
    action: Action,
    request: Request<Incoming>,
) -> Result<Response<Body>> {
    may_create(app, ask, action)?;
    if action != Action::Log {
        app.registry.admit_connect(&ask.caller, target).await?;
    }
    let destination = if action == Action::Proxy {
        let path = ProxyPath::split(request.uri().path());
        if let Some(redirect) = to_root(ask, &path, &request) {
            return Ok(redirect);
        }
        target::destination(app, target, &path, request.uri().query().unwrap_or_default())?
    } else {
        match kubelet::destination(app, ask, target, action)? {
            Some(destination) => destination,
            // no node yet: no log yet
            None => return Ok(body::text(200, "")),
        }
    };
    let failed = |error| match action {
        Action::Proxy => Status::unavailable(format!("error trying to reach service: {error}")),
        _ => Status::internal(format!("error dialing backend: {error}")),
    };
    if action == Action::Log && websocket::asked(request.headers()) {
        return by_socket(app, ask, destination, request).await?.map_err(failed);
    }
    forward::forward(app, ask, destination, request).await.map_err(failed)
}

/// A log over a WebSocket. The agent knows logs as plain streams only. As upstream, the first message is empty.
async fn by_socket(
    app: &Arc<App>,
    ask: &Ask,
    destination: Destination,
    request: Request<Incoming>,
) -> Result<Result<Response<Body>, BoxError>> {
    let (mut parts, incoming) = request.into_parts();
    let shell = Request::from_parts(parts.clone(), ());
    websocket::without_handshake(&mut parts.headers);
    let answer = match forward::forward(app, ask, destination, Request::from_parts(parts, incoming)).await {
        Ok(answer) if answer.status() == StatusCode::OK => answer,
        other => return Ok(other),
    };
    let pieces = answer.into_body().into_data_stream().filter_map(|piece| std::future::ready(piece.ok()));
    let framing = websocket::of_log(shell.headers());
    websocket::accept(shell, stream::once(async { Bytes::new() }).chain(pieces).boxed(), framing, ()).map(Ok)
}

/// A WebSocket begins with GET, but what happens in a container is no reading: it takes the right to create, too.
fn may_create(app: &App, ask: &Ask, action: Action) -> Result<()> {
    if !matches!(action, Action::Exec | Action::Attach | Action::PortForward) || ask.info.verb == "create" {
        return Ok(());
    }
    decide(app, &ask.caller.user, &Attributes { verb: "create".into(), ..Attributes::of(&ask.info) })
}

/// Relative links of a root that was asked for without its slash would lead beside it.
fn to_root(ask: &Ask, path: &ProxyPath<'_>, request: &Request<Incoming>) -> Option<Response<Body>> {
    let reads = matches!(ask.method, Method::GET | Method::HEAD);
    if !path.rest.is_empty() || !reads || request.headers().contains_key(header::UPGRADE) {
        return None;
    }
    let query = request.uri().query().map(|q| format!("?{q}")).unwrap_or_default();
    let mut response = Response::new(body::full(""));
    *response.status_mut() = StatusCode::MOVED_PERMANENTLY;
    let location = HeaderValue::from_str(&format!("{}/{query}", path.prefix)).ok()?;
    response.headers_mut().insert(header::LOCATION, location);
    Some(response)
}
