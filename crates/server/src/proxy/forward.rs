//! Passing a request on, and its answer back.

use super::{Destination, html, links::Place};
use crate::{
    app::{App, Ask},
    http::body::{self, Body, BoxError},
    metrics::Labels,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri, header, request};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;

/// Headers that belong to one hop.
const HOP: [&str; 7] = [
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
];
/// Where browsers put the token of a WebSocket.
const BEARER: &str = "base64url.bearer.authorization.k8s.io.";
/// Whatever is behind a proxy appears with the server's origin; it must not open that to others.
const CORS: [&str; 4] = [
    "access-control-allow-credentials",
    "access-control-allow-headers",
    "access-control-allow-methods",
    "access-control-allow-origin",
];

/// Passes a request on.
pub(super) async fn forward(
    app: &App,
    ask: &Ask,
    to: Destination,
    mut request: Request<Incoming>,
) -> Result<Response<Body>, BoxError> {
    let upgrade = request.headers().contains_key(header::UPGRADE);
    let client = upgrade.then(|| hyper::upgrade::on(&mut request));
    let (parts, incoming) = request.into_parts();
    let host = host(&parts);
    let mut onward = Request::new(incoming);
    *onward.method_mut() = parts.method.clone();
    *onward.uri_mut() = to.path_and_query.parse::<Uri>()?;
    *onward.headers_mut() = outgoing(&parts.headers, upgrade);
    let seen = host.as_deref().filter(|_| to.prefix.is_some()).map_or_else(|| to.address.to_string(), str::to_string);
    onward.headers_mut().insert(header::HOST, HeaderValue::from_str(&seen)?);
    if let Some(prefix) = &to.prefix {
        forwarded(onward.headers_mut(), ask, &format!("{prefix}{}", path(&to.path_and_query)))?;
    }
    let stream = app.egress.connect(&to.address, to.peer).await?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection.with_upgrades());
    let mut response = sender.send_request(onward).await?;
    if response.status() == StatusCode::SWITCHING_PROTOCOLS
        && let Some(client) = client
    {
        let agent = hyper::upgrade::on(&mut response);
        let labels = Labels::of(&ask.info, &parts.method, false, &app.registry.catalog);
        tokio::spawn(join(app.stop.clone(), app.metrics.running(&labels), client, agent));
        let mut answer = Response::new(body::full(""));
        *answer.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        *answer.headers_mut() = response.headers().clone();
        return Ok(answer);
    }
    let mut response = incoming_answer(response);
    let Some(prefix) = to.prefix else { return Ok(response) };
    CORS.iter().for_each(|name| drop(response.headers_mut().remove(*name)));
    let place = Place { prefix, backend: to.address.to_string(), host: host.unwrap_or_default() };
    if let Some(location) = response.headers().get(header::LOCATION).and_then(|v| v.to_str().ok()) {
        let rewritten = HeaderValue::from_str(&place.rewrite(location))?;
        response.headers_mut().insert(header::LOCATION, rewritten);
        return Ok(response);
    }
    if parts.method != Method::HEAD && html::is(response.headers()) {
        return html::rewrite(place, response).await;
    }
    Ok(response)
}

/// Bytes both ways until either side has enough.
async fn join(
    stop: tokio_util::sync::CancellationToken,
    _counted: Option<coracle_base::metrics::Held>,
    client: hyper::upgrade::OnUpgrade,
    agent: hyper::upgrade::OnUpgrade,
) {
    let (Ok(client), Ok(agent)) = tokio::join!(client, agent) else { return };
    let (mut client, mut agent) = (TokioIo::new(client), TokioIo::new(agent));
    // either side may hang up at any time; there is nobody left to tell
    let _ = stop.run_until_cancelled(tokio::io::copy_bidirectional(&mut client, &mut agent)).await;
}

/// The host that the client asked for: in a header, or with HTTP/2 in the URL.
fn host(parts: &request::Parts) -> Option<String> {
    let header = parts.headers.get(header::HOST).and_then(|v| v.to_str().ok()).map(str::to_string);
    header.or_else(|| parts.uri.authority().map(ToString::to_string))
}

fn path(path_and_query: &str) -> &str {
    path_and_query.split('?').next().unwrap_or_default()
}

fn outgoing(headers: &HeaderMap, upgrade: bool) -> HeaderMap {
    let mut out = headers.clone();
    // the caller's credentials are for this server only
    out.remove(header::AUTHORIZATION);
    without_token(&mut out);
    HOP.iter().for_each(|name| drop(out.remove(*name)));
    let own: Vec<_> = out.keys().filter(|k| k.as_str().starts_with("impersonate-")).cloned().collect();
    own.iter().for_each(|name| drop(out.remove(name)));
    if !upgrade {
        // what it names belongs to this hop, too
        let named: Vec<HeaderName> = out
            .get_all(header::CONNECTION)
            .iter()
            .filter_map(|v| v.to_str().ok())
            .flat_map(|v| v.split(','))
            .filter_map(|name| name.trim().parse().ok())
            .collect();
        named.iter().for_each(|name| drop(out.remove(name)));
        out.remove(header::CONNECTION);
    }
    out
}

/// Takes the token out of the protocols that a WebSocket asks for.
fn without_token(headers: &mut HeaderMap) {
    let asked: Vec<&str> = headers
        .get_all(header::SEC_WEBSOCKET_PROTOCOL)
        .iter()
        .filter_map(|v| v.to_str().ok())
        .flat_map(|v| v.split(','))
        .map(str::trim)
        .collect();
    if !asked.iter().any(|p| p.starts_with(BEARER)) {
        return;
    }
    let kept = asked.into_iter().filter(|p| !p.starts_with(BEARER)).collect::<Vec<_>>().join(", ");
    headers.remove(header::SEC_WEBSOCKET_PROTOCOL);
    if let (false, Ok(kept)) = (kept.is_empty(), HeaderValue::from_str(&kept)) {
        headers.insert(header::SEC_WEBSOCKET_PROTOCOL, kept);
    }
}

/// Says by which way a request came.
fn forwarded(headers: &mut HeaderMap, ask: &Ask, uri: &str) -> Result<(), BoxError> {
    headers.insert("x-forwarded-uri", HeaderValue::from_str(uri)?);
    let mut way: Vec<String> =
        headers.get_all("x-forwarded-for").iter().filter_map(|v| v.to_str().ok()).map(str::to_string).collect();
    way.push(ask.peer.ip().to_string());
    headers.insert("x-forwarded-for", HeaderValue::from_str(&way.join(", "))?);
    Ok(())
}

fn incoming_answer(response: Response<Incoming>) -> Response<Body> {
    let (mut parts, incoming) = response.into_parts();
    HOP.iter().for_each(|name| drop(parts.headers.remove(*name)));
    parts.headers.remove(header::CONNECTION);
    parts.version = http::Version::default();
    Response::from_parts(parts, incoming.map_err(Into::into).boxed_unsync())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_for_this_server_stays_here() {
        for (name, value, plain, upgraded) in [
            ("authorization", "Bearer x", None, None),
            ("impersonate-user", "x", None, None),
            ("te", "trailers", None, None),
            ("connection", "x-hop, keep-alive", None, Some("x-hop, keep-alive")),
            ("accept", "text/html", Some("text/html"), Some("text/html")),
            (
                "sec-websocket-protocol",
                "v4.channel.k8s.io, base64url.bearer.authorization.k8s.io.eHg",
                Some("v4.channel.k8s.io"),
                Some("v4.channel.k8s.io"),
            ),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(name, HeaderValue::from_static(value));
            headers.insert("x-hop", HeaderValue::from_static("1"));
            for (upgrade, expected) in [(false, plain), (true, upgraded)] {
                let out = outgoing(&headers, upgrade);
                assert_eq!(out.get(name).map(|v| v.to_str().unwrap()), expected, "{name} {upgrade}");
                assert_eq!(out.contains_key("x-hop"), upgrade || name != "connection", "{name} {upgrade}");
            }
        }
    }
}
