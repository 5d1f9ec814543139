//! Requests that go on to somewhere else: to a node's agent (logs, exec, attach, port-forward, `nodes/proxy`), or to a pod or Service.
//!
//! The agent is spoken to as any kubelet: the same paths, the server's client certificate. Upgraded connections (WebSocket, SPDY) are
//! passed through byte for byte: what they carry is between the client and the agent.

use crate::{
    app::{App, Ask},
    http::body::{self, Body, BoxError},
    registry::Target,
};
use coracle_api::{Object, Resource, Result, Status};
use coracle_client::View;
use coracle_kinds::Action;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, Uri, header};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use serde_json::Value;
use std::{sync::Arc, time::Duration};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};
use tokio_rustls::TlsConnector;

const NODES: Resource = Resource::fixed("", "v1", "nodes", "Node", false);
const SLICES: Resource = Resource::fixed("discovery.k8s.io", "v1", "endpointslices", "EndpointSlice", true);
const KUBELET_PORT: u16 = 10250;
const DIAL: Duration = Duration::from_secs(10);

/// The way to node agents.
pub struct Nodes {
    tls: Arc<rustls::ClientConfig>,
}

impl Nodes {
    /// With this TLS configuration (trusting the cluster's authority, presenting the server's client certificate).
    pub fn new(mut tls: rustls::ClientConfig) -> Self {
        // upgrades exist in HTTP/1.1 only
        tls.alpn_protocols = vec![b"http/1.1".to_vec()];
        Self { tls: Arc::new(tls) }
    }
}

/// Where a request goes on to.
#[derive(Debug, PartialEq)]
struct Destination {
    tls: bool,
    host: String,
    port: u16,
    path_and_query: String,
}

/// Answers a request to a connecting subresource.
pub async fn serve(
    app: &Arc<App>,
    ask: &Ask,
    target: Target<'_>,
    action: Action,
    request: Request<Incoming>,
) -> Result<Response<Body>> {
    if action != Action::Log {
        app.registry.admit_connect(&ask.caller, target).await?;
    }
    let destination = match (action, target.served.bucket.as_str()) {
        (Action::Proxy, "/nodes/") => node_proxy(app, ask, target)?,
        (Action::Proxy, "/pods/") => pod_proxy(app, ask, target)?,
        (Action::Proxy, _) => service_proxy(app, ask, target)?,
        _ => match kubelet(app, ask, target, action)? {
            Some(destination) => destination,
            // no node yet: no log yet
            None => return Ok(body::text(200, "")),
        },
    };
    let shown = format!("{}:{}", destination.host, destination.port);
    forward(app, destination, request).await.map_err(|error| match action {
        Action::Proxy => Status::unavailable(format!("error trying to reach service: dial tcp {shown}: {error}")),
        _ => Status::internal(format!("error dialing backend: dial tcp {shown}: {error}")),
    })
}

/// The agent's address for a request about a pod.
fn kubelet(app: &App, ask: &Ask, target: Target<'_>, action: Action) -> Result<Option<Destination>> {
    let pod = app.registry.get(Target { subresource: "", ..target })?.value();
    let node = pod["spec"]["nodeName"].as_str().unwrap_or_default();
    let container = match action {
        Action::PortForward => String::new(),
        _ => container(target.name, &pod, ask.query.get("container").unwrap_or_default())?,
    };
    if node.is_empty() {
        return match action {
            Action::Log => Ok(None),
            _ => Err(Status::bad_request(format!("pod {} does not have a host assigned", target.name))),
        };
    }
    let (namespace, name) = (target.namespace, target.name);
    let path = match action {
        Action::Log => format!("/containerLogs/{namespace}/{name}/{container}"),
        Action::Exec => format!("/exec/{namespace}/{name}/{container}"),
        Action::Attach => format!("/attach/{namespace}/{name}/{container}"),
        _ => format!("/portForward/{namespace}/{name}"),
    };
    let query = kubelet_query(ask, action)?;
    let (host, port) = node_address(app, node)?;
    let path_and_query = if query.is_empty() { path } else { format!("{path}?{query}") };
    Ok(Some(Destination { tls: true, host, port, path_and_query }))
}

/// The named container, or the only one.
fn container(pod: &str, value: &Value, asked: &str) -> Result<String> {
    let names = |list: &str| -> Vec<&str> {
        value["spec"][list].as_array().into_iter().flatten().filter_map(|c| c["name"].as_str()).collect()
    };
    let (containers, inits, ephemeral) = (names("containers"), names("initContainers"), names("ephemeralContainers"));
    if asked.is_empty() {
        return match containers.as_slice() {
            [one] if inits.is_empty() && ephemeral.is_empty() => Ok((*one).to_string()),
            [one] => Ok((*one).to_string()),
            many => {
                let mut message =
                    format!("a container name must be specified for pod {pod}, choose one of: [{}]", many.join(" "));
                for (list, what) in [(&inits, "init"), (&ephemeral, "ephemeral")] {
                    if !list.is_empty() {
                        message += &format!(" or one of the {what} containers: [{}]", list.join(" "));
                    }
                }
                Err(Status::bad_request(message))
            }
        };
    }
    if containers.iter().chain(&inits).chain(&ephemeral).any(|c| *c == asked) {
        Ok(asked.to_string())
    } else {
        Err(Status::bad_request(format!("container {asked} is not valid for pod {pod}")))
    }
}

/// The API's options under the kubelet's names.
fn kubelet_query(ask: &Ask, action: Action) -> Result<String> {
    let mut out: Vec<String> = Vec::new();
    let mut add = |key: &str, value: &str| out.push(format!("{key}={}", encode(value)));
    match action {
        Action::Log => {
            for key in
                ["follow", "previous", "sinceSeconds", "sinceTime", "timestamps", "tailLines", "limitBytes", "stream"]
            {
                if let Some(value) = ask.query.get(key).filter(|v| !v.is_empty()) {
                    add(key, value);
                }
            }
        }
        Action::PortForward => ask.query.all("ports").for_each(|port| add("port", port)),
        _ => {
            for (theirs, ours) in [("input", "stdin"), ("output", "stdout"), ("error", "stderr"), ("tty", "tty")] {
                if ask.query.flag(ours) {
                    add(theirs, "1");
                }
            }
            if action == Action::Exec {
                if ask.query.get("command").is_none_or(str::is_empty) {
                    return Err(Status::bad_request("you must specify at least 1 command for the container"));
                }
                ask.query.all("command").for_each(|word| add("command", word));
            }
        }
    }
    Ok(out.join("&"))
}

/// Percent-encodes a query value.
fn encode(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

/// Where a node's agent listens.
fn node_address(app: &App, node: &str) -> Result<(String, u16)> {
    let object = app.registry.view.get(&NODES, "", node).ok_or_else(|| Status::not_found(&NODES, node))?;
    let value = object.value();
    let addresses = value["status"]["addresses"].as_array();
    let of = |kind: &str| {
        let found = addresses.into_iter().flatten().find(|a| a["type"] == kind);
        found.and_then(|a| a["address"].as_str()).map(ToString::to_string)
    };
    let host = of("InternalIP")
        .or_else(|| of("ExternalIP"))
        .or_else(|| of("Hostname"))
        .ok_or_else(|| Status::internal(format!("no preferred addresses found for node {node:?}")))?;
    let port = value["status"]["daemonEndpoints"]["kubeletEndpoint"]["Port"].as_u64();
    Ok((host, port.and_then(|p| u16::try_from(p).ok()).filter(|p| *p > 0).unwrap_or(KUBELET_PORT)))
}

/// `[https:]name[:port]`, as names are written in proxy paths.
fn split_name(text: &str) -> (bool, &str, &str) {
    match text.split(':').collect::<Vec<_>>().as_slice() {
        [name] => (false, name, ""),
        [scheme, name, port] => (*scheme == "https", name, port),
        [name, port] => (false, name, port),
        _ => (false, text, ""),
    }
}

/// The rest of a proxy path with its query, as it came.
fn rest(ask: &Ask, request_query: &str) -> String {
    let path = format!("/{}", ask.info.rest.trim_start_matches('/'));
    if request_query.is_empty() { path } else { format!("{path}?{request_query}") }
}

fn raw_query(ask: &Ask) -> String {
    let pairs: Vec<String> = ask.query.0.iter().map(|(k, v)| format!("{}={}", encode(k), encode(v))).collect();
    pairs.join("&")
}

fn node_proxy(app: &App, ask: &Ask, target: Target<'_>) -> Result<Destination> {
    let (_, name, port) = split_name(target.name);
    let (host, kubelet) = node_address(app, name)?;
    let port = port.parse().unwrap_or(kubelet);
    Ok(Destination { tls: true, host, port, path_and_query: rest(ask, &raw_query(ask)) })
}

fn pod_proxy(app: &App, ask: &Ask, target: Target<'_>) -> Result<Destination> {
    let (tls, name, port) = split_name(target.name);
    let pod = app.registry.get(Target { name, subresource: "", ..target })?.value();
    let host = pod["status"]["podIP"].as_str().unwrap_or_default().to_string();
    if host.is_empty() {
        return Err(Status::bad_request(format!("pod {name:?} has no address yet")));
    }
    let ports = || {
        let containers = pod["spec"]["containers"].as_array();
        containers.into_iter().flatten().flat_map(|c| c["ports"].as_array().into_iter().flatten())
    };
    let number = |p: &Value| p["containerPort"].as_u64().and_then(|n| u16::try_from(n).ok());
    let port = match port {
        "" => ports().find_map(number).unwrap_or(80),
        text => text
            .parse()
            .ok()
            .or_else(|| ports().find(|p| p["name"] == text).and_then(number))
            .ok_or_else(|| Status::bad_request(format!("pod {name:?} has no port {text:?}")))?,
    };
    Ok(Destination { tls, host, port, path_and_query: rest(ask, &raw_query(ask)) })
}

fn service_proxy(app: &App, ask: &Ask, target: Target<'_>) -> Result<Destination> {
    let (tls, name, port) = split_name(target.name);
    let service = app.registry.get(Target { name, subresource: "", ..target })?.value();
    let ports = service["spec"]["ports"].as_array().cloned().unwrap_or_default();
    let wanted = ports.iter().find(|p| match port {
        "" => true,
        text => p["name"] == text || text.parse::<u64>().is_ok_and(|n| p["port"] == n),
    });
    let none = || Status::unavailable(format!("no endpoints available for service {name:?}"));
    let wanted = wanted.ok_or_else(none)?;
    let port_name = wanted["name"].as_str().unwrap_or_default();
    let slices = app.registry.view.list(&SLICES, target.namespace);
    let own = slices.iter().filter(|s| s.meta().labels.get("kubernetes.io/service-name").is_some_and(|n| n == name));
    let (host, port) = own.flat_map(|slice| endpoints(slice, port_name)).next().ok_or_else(none)?;
    Ok(Destination { tls, host, port, path_and_query: rest(ask, &raw_query(ask)) })
}

/// The ready endpoints of a slice for one port.
fn endpoints(slice: &Arc<Object>, port_name: &str) -> Vec<(String, u16)> {
    let value = slice.value();
    let port =
        value["ports"].as_array().into_iter().flatten().find(|p| p["name"].as_str().unwrap_or_default() == port_name);
    let Some(port) = port.and_then(|p| p["port"].as_u64()).and_then(|p| u16::try_from(p).ok()) else {
        return Vec::new();
    };
    let ready = value["endpoints"].as_array().into_iter().flatten().filter(|e| e["conditions"]["ready"] != false);
    ready
        .flat_map(|e| e["addresses"].as_array().into_iter().flatten())
        .filter_map(|a| a.as_str().map(|a| (a.to_string(), port)))
        .collect()
}

/// Headers that belong to one hop.
const HOP: [&str; 6] =
    ["keep-alive", "proxy-authenticate", "proxy-authorization", "te", "trailer", "transfer-encoding"];

fn outgoing(headers: &HeaderMap, upgrade: bool, host: &str) -> HeaderMap {
    let mut out = headers.clone();
    // the caller's credentials are for this server only
    out.remove(header::AUTHORIZATION);
    HOP.iter().for_each(|name| drop(out.remove(*name)));
    let own: Vec<_> = out.keys().filter(|k| k.as_str().starts_with("impersonate-")).cloned().collect();
    own.iter().for_each(|name| drop(out.remove(name)));
    if !upgrade {
        out.remove(header::CONNECTION);
        out.remove(header::UPGRADE);
    }
    if let Ok(host) = HeaderValue::from_str(host) {
        out.insert(header::HOST, host);
    }
    out
}

async fn forward(app: &App, to: Destination, mut request: Request<Incoming>) -> Result<Response<Body>, BoxError> {
    let address =
        if to.host.contains(':') { format!("[{}]:{}", to.host, to.port) } else { format!("{}:{}", to.host, to.port) };
    let upgrade = request.headers().contains_key(header::UPGRADE);
    let client = upgrade.then(|| hyper::upgrade::on(&mut request));
    let (parts, incoming) = request.into_parts();
    let mut onward = Request::new(incoming);
    *onward.method_mut() = parts.method;
    *onward.uri_mut() = to.path_and_query.parse::<Uri>()?;
    *onward.headers_mut() = outgoing(&parts.headers, upgrade, &address);
    let tcp = tokio::time::timeout(DIAL, TcpStream::connect(&address)).await.map_err(|_| "i/o timeout")??;
    tcp.set_nodelay(true)?;
    let mut response = if to.tls {
        let name = ServerName::try_from(to.host.clone())?;
        let tls = TlsConnector::from(app.nodes.tls.clone()).connect(name, tcp).await?;
        exchange(tls, onward).await?
    } else {
        exchange(tcp, onward).await?
    };
    if response.status() == StatusCode::SWITCHING_PROTOCOLS
        && let Some(client) = client
    {
        let agent = hyper::upgrade::on(&mut response);
        let stop = app.stop.clone();
        tokio::spawn(async move {
            let (Ok(client), Ok(agent)) = tokio::join!(client, agent) else { return };
            let (mut client, mut agent) = (TokioIo::new(client), TokioIo::new(agent));
            let copy = tokio::io::copy_bidirectional(&mut client, &mut agent);
            // either side may hang up at any time; there is nobody left to tell
            let _ = stop.run_until_cancelled(copy).await;
        });
        let mut answer = Response::new(body::full(""));
        *answer.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        *answer.headers_mut() = response.headers().clone();
        return Ok(answer);
    }
    let (mut parts, incoming) = response.into_parts();
    HOP.iter().for_each(|name| drop(parts.headers.remove(*name)));
    parts.headers.remove(header::CONNECTION);
    parts.version = http::Version::default();
    Ok(Response::from_parts(parts, incoming.map_err(Into::into).boxed_unsync()))
}

async fn exchange<S>(stream: S, request: Request<Incoming>) -> Result<Response<Incoming>, BoxError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection.with_upgrades());
    Ok(sender.send_request(request).await?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn names_in_proxy_paths() {
        for (text, expected) in [
            ("web", (false, "web", "")),
            ("web:80", (false, "web", "80")),
            ("https:web:443", (true, "web", "443")),
            ("http:web:", (false, "web", "")),
        ] {
            assert_eq!(split_name(text), expected, "{text}");
        }
    }

    #[test]
    fn containers_are_named_or_the_only_one() {
        let pod = json!({"spec": {"containers": [{"name": "a"}, {"name": "b"}], "initContainers": [{"name": "i"}]}});
        assert_eq!(container("p", &pod, "i").unwrap(), "i");
        assert_eq!(
            container("p", &pod, "").unwrap_err().message,
            "a container name must be specified for pod p, choose one of: [a b] or one of the init containers: [i]"
        );
        assert_eq!(container("p", &pod, "x").unwrap_err().message, "container x is not valid for pod p");
    }
}
