//! `nodes/proxy`, `pods/proxy` and `services/proxy`: what the path names, and where that is.

use super::Destination;
use crate::{
    app::App,
    egress::{Address, Peer, ServicePort, is_proxyable},
    registry::Target,
};
use coracle_api::{Result, Status};
use serde_json::Value;
use std::net::IpAddr;

/// A proxied path, taken apart.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct ProxyPath<'a> {
    /// Up to and with `/proxy`.
    pub(super) prefix: &'a str,
    /// What follows, as it came: empty, or with its leading slash.
    pub(super) rest: &'a str,
}

impl<'a> ProxyPath<'a> {
    /// From a path that was routed to a proxy.
    pub(super) fn split(path: &'a str) -> Self {
        // /api/v1/nodes/<name>/proxy, /api/v1/namespaces/<namespace>/pods/<name>/proxy
        let depth = if path.starts_with("/api/v1/namespaces/") { 7 } else { 5 };
        let end = path.match_indices('/').nth(depth).map_or(path.len(), |(at, _)| at);
        let (prefix, rest) = path.split_at(end);
        Self { prefix, rest }
    }
}

/// `[scheme:]name[:port]`, as names are written in proxy paths.
#[derive(Debug, PartialEq, Eq)]
struct Name<'a> {
    scheme: &'a str,
    name: &'a str,
    port: &'a str,
}

impl<'a> Name<'a> {
    fn parse(kind: &str, text: &'a str) -> Result<Self> {
        let parts: Vec<&str> = text.split(':').collect();
        let found = match *parts.as_slice() {
            [name] => Some(Self { scheme: "", name, port: "" }),
            [name, port] => Some(Self { scheme: "", name, port }),
            [scheme @ ("" | "http" | "https"), name, port] => Some(Self { scheme, name, port }),
            _ => None,
        };
        let invalid = || Status::bad_request(format!("invalid {kind} request {text:?}"));
        found.filter(|f| !f.name.is_empty()).ok_or_else(invalid)
    }

    fn peer(&self) -> Peer {
        if self.scheme == "https" { Peer::Encrypted } else { Peer::Plain }
    }
}

/// Where a proxied request goes.
pub(super) fn destination(app: &App, target: Target<'_>, path: &ProxyPath<'_>, query: &str) -> Result<Destination> {
    let (peer, address) = match target.served.bucket.as_str() {
        "/nodes/" => node(app, target)?,
        "/pods/" => pod(app, target)?,
        _ => service(app, target)?,
    };
    let path_and_query = match (path.rest, query) {
        ("", "") => "/".into(),
        ("", query) => format!("/?{query}"),
        (rest, "") => rest.to_string(),
        (rest, query) => format!("{rest}?{query}"),
    };
    Ok(Destination { peer, address, path_and_query, prefix: Some(path.prefix.to_string()) })
}

fn number(port: &str) -> Result<u16> {
    let invalid = || Status::bad_request(format!("invalid port {port:?}"));
    port.parse().ok().filter(|port| *port > 0).ok_or_else(invalid)
}

fn node(app: &App, target: Target<'_>) -> Result<(Peer, Address)> {
    let name = Name::parse("node", target.name)?;
    let agent = app.egress.agent(name.name)?;
    if name.port.is_empty() || name.port == agent.port.to_string() {
        return Ok((Peer::Agent, agent));
    }
    // the server's certificate is for the agent only
    Ok((name.peer(), Address { port: number(name.port)?, ..agent }))
}

fn pod(app: &App, target: Target<'_>) -> Result<(Peer, Address)> {
    let name = Name::parse("pod", target.name)?;
    let pod = app.registry.get(Target { name: name.name, subresource: "", ..target })?.value();
    let host = pod["status"]["podIP"].as_str().unwrap_or_default();
    if !host.parse::<IpAddr>().is_ok_and(|address| is_proxyable(&address)) {
        return Err(Status::bad_request("address not allowed"));
    }
    let standard = if name.peer() == Peer::Encrypted { 443 } else { 80 };
    let port = match name.port {
        "" => first_port(&pod).unwrap_or(standard),
        port => number(port)?,
    };
    Ok((name.peer(), Address::new(host, port)))
}

/// The first port of the first container that declares one.
fn first_port(pod: &Value) -> Option<u16> {
    let containers = pod["spec"]["containers"].as_array()?;
    let port = containers.iter().find_map(|c| c["ports"].get(0))?;
    u16::try_from(port["containerPort"].as_u64()?).ok()
}

fn service(app: &App, target: Target<'_>) -> Result<(Peer, Address)> {
    let name = Name::parse("service", target.name)?;
    let address = app.egress.service(target.namespace, name.name, ServicePort::parse(name.port))?;
    Ok((name.peer(), address))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn paths_are_split_behind_proxy() {
        for (path, prefix, rest) in [
            ("/api/v1/namespaces/a/pods/b/proxy", "/api/v1/namespaces/a/pods/b/proxy", ""),
            ("/api/v1/namespaces/a/pods/b/proxy/", "/api/v1/namespaces/a/pods/b/proxy", "/"),
            (
                "/api/v1/namespaces/a/services/https:b:1/proxy/x//y/",
                "/api/v1/namespaces/a/services/https:b:1/proxy",
                "/x//y/",
            ),
            ("/api/v1/nodes/n:10250/proxy/proxy/pods", "/api/v1/nodes/n:10250/proxy", "/proxy/pods"),
        ] {
            assert_eq!(ProxyPath::split(path), ProxyPath { prefix, rest });
        }
    }

    #[test]
    fn names_have_schemes_and_ports() {
        for (text, expected) in [
            ("web", Some(("", "web", ""))),
            ("web:80", Some(("", "web", "80"))),
            ("https:web:443", Some(("https", "web", "443"))),
            ("http:web:", Some(("http", "web", ""))),
            (":web:x", Some(("", "web", "x"))),
            ("ftp:web:80", None),
            (":80", None),
            ("a:b:c:d", None),
        ] {
            let got = Name::parse("pod", text).map(|n| (n.scheme, n.name, n.port));
            assert_eq!(got.as_ref().ok(), expected.as_ref(), "{text}");
        }
        let refused = Name::parse("service", "a:b:c:d").unwrap_err();
        assert_eq!(refused.message, "invalid service request \"a:b:c:d\"");
    }

    #[test]
    fn the_first_declared_port_is_taken() {
        for (containers, expected) in [
            (json!([{"name": "a"}, {"name": "b", "ports": [{"containerPort": 81}, {"containerPort": 82}]}]), Some(81)),
            (json!([{"name": "a"}]), None),
        ] {
            assert_eq!(first_port(&json!({"spec": {"containers": containers}})), expected);
        }
    }
}
