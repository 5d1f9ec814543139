//! The way out of the server: to node agents, to pods, to the endpoints of Services. Whoever in the server connects to something in the cluster
//! (the proxies; later webhooks and aggregated APIs) asks here.
//!
//! A server need not be inside the pod network: it may run on a machine that is no node, and several clusters of one machine have the same
//! range of pods. So it goes to a pod the way it goes to everything on a node: through the node's agent, whose authenticated port also is an
//! HTTP proxy (`CONNECT`) to the pods of its own node. Addresses that no node's pods have are connected to from here.

use crate::http::body::BoxError;
use coracle_api::{Object, Resource, Result, Status};
use coracle_client::SharedView;
use http::{Method, Request, StatusCode, Uri, header};
use http_body_util::{BodyExt, Empty, Limited};
use hyper_util::rt::TokioIo;
use k8s_openapi::api::{core::v1, discovery::v1::EndpointSlice};
use rand::seq::IndexedRandom;
use rustls::{
    DigitallySignedStruct, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime},
};
use std::{
    fmt, io,
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};
use tokio_rustls::TlsConnector;

const KUBELET_PORT: u16 = 10250;
/// How long a connection may take to be made, as Go's clients do it.
const DIAL: Duration = Duration::from_secs(30);
/// What is read of an agent's refusal.
const MOST_REFUSAL: usize = 4 << 10;

/// A connection to wherever.
pub type Stream = Box<dyn Duplex>;

/// Bytes both ways.
pub trait Duplex: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Duplex for T {}

/// Host and port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// Address or name.
    pub host: String,
    /// Port.
    pub port: u16,
}

impl Address {
    /// Of these parts.
    pub fn new(host: impl Into<String>, port: u16) -> Self {
        Self { host: host.into(), port }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

/// Who the other side has to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    /// Anybody, in plain text.
    Plain,
    /// Anybody, encrypted: certificates of pods are not checked, as upstream.
    Encrypted,
    /// A node's agent, known by the cluster's authority; it is shown the server's own certificate.
    Agent,
}

/// How a port of a Service is named.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServicePort<'a> {
    /// By its name; empty: the port without one.
    Name(&'a str),
    /// By its number.
    Number(u16),
}

impl<'a> ServicePort<'a> {
    /// What is all digits is a number.
    pub fn parse(text: &'a str) -> Self {
        text.parse().map_or(Self::Name(text), Self::Number)
    }
}

/// The way out.
pub struct Egress {
    view: SharedView,
    agents: TlsConnector,
    anybody: TlsConnector,
}

impl Egress {
    /// With the TLS configuration for agents: trusting the cluster's authority, presenting the server's client certificate.
    ///
    /// # Errors
    /// When TLS cannot be configured.
    pub fn new(view: SharedView, mut agents: rustls::ClientConfig) -> Result<Self, rustls::Error> {
        let provider = agents.crypto_provider().clone();
        let mut anybody = rustls::ClientConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Anybody(provider)))
            .with_no_client_auth();
        // upgrades exist in HTTP/1.1 only
        for config in [&mut agents, &mut anybody] {
            config.alpn_protocols = vec![b"http/1.1".to_vec()];
        }
        Ok(Self { view, agents: Arc::new(agents).into(), anybody: Arc::new(anybody).into() })
    }

    /// Where a node's agent listens.
    ///
    /// # Errors
    /// 404 without such a node, 500 if it has no address.
    pub fn agent(&self, node: &str) -> Result<Address> {
        let nodes = Resource::of::<v1::Node>();
        let object = self.view.get(&nodes, "", node).ok_or_else(|| Status::not_found(&nodes, node))?;
        agent(&*object.view::<v1::Node>()?)
            .ok_or_else(|| Status::internal(format!("no preferred addresses found for node {node:?}")))
    }

    /// A ready endpoint of a Service, any of them.
    ///
    /// # Errors
    /// 404 without such a Service, 503 without such a port or without endpoints.
    pub fn service(&self, namespace: &str, name: &str, port: ServicePort<'_>) -> Result<Address> {
        let services = Resource::of::<v1::Service>();
        let object = self.view.get(&services, namespace, name).ok_or_else(|| Status::not_found(&services, name))?;
        let service = object.view::<v1::Service>()?;
        let ports = service.spec.as_ref().and_then(|s| s.ports.as_deref()).unwrap_or_default();
        let port_name = match port {
            ServicePort::Name(name) => name,
            ServicePort::Number(number) => {
                let found = ports.iter().find(|p| p.port == i32::from(number)).ok_or_else(|| {
                    Status::unavailable(format!("no service port {number} found for service {name:?}"))
                })?;
                found.name.as_deref().unwrap_or_default()
            }
        };
        let slices = self.view.list(&Resource::of::<EndpointSlice>(), namespace);
        let all: Vec<Address> = slices
            .iter()
            .filter(|slice| slice.meta().labels.get("kubernetes.io/service-name").is_some_and(|n| n == name))
            .filter_map(|slice: &Arc<Object>| slice.view::<EndpointSlice>().ok())
            .flat_map(|slice| endpoints(&slice, port_name))
            .collect();
        let found = all.choose(&mut rand::rng()).cloned();
        found.ok_or_else(|| Status::unavailable(format!("no endpoints available for service {name:?}")))
    }

    /// Connects, through the agent of the node whose pods have the address if there is one.
    ///
    /// # Errors
    /// In the words of Go's clients: `dial tcp 10.244.0.7:80: connect: connection refused`.
    pub async fn connect(&self, to: &Address, peer: Peer) -> Result<Stream, BoxError> {
        let dialed = tokio::time::timeout(DIAL, self.dial(to, peer)).await;
        let stream = dialed.unwrap_or_else(|_| Err("i/o timeout".into())).map_err(|e| format!("dial tcp {to}: {e}"))?;
        let connector = match peer {
            Peer::Plain => return Ok(stream),
            Peer::Encrypted => &self.anybody,
            Peer::Agent => &self.agents,
        };
        Ok(Box::new(connector.connect(ServerName::try_from(to.host.clone())?, stream).await?))
    }

    async fn dial(&self, to: &Address, peer: Peer) -> Result<Stream, BoxError> {
        match (peer, self.behind(to)) {
            (Peer::Plain | Peer::Encrypted, Some(agent)) => self.tunnel(&agent, to).await,
            _ => Ok(Box::new(direct(to).await?)),
        }
    }

    /// The agent of the node whose pods have this address.
    fn behind(&self, to: &Address) -> Option<Address> {
        let address: Ipv4Addr = to.host.parse().ok()?;
        let nodes = self.view.list(&Resource::of::<v1::Node>(), "");
        let node = nodes.iter().filter_map(|node| node.view::<v1::Node>().ok()).find(|node| has(node, address))?;
        agent(&node)
    }

    async fn tunnel(&self, agent: &Address, to: &Address) -> Result<Stream, BoxError> {
        let tcp = direct(agent).await.map_err(|e| format!("through the node's agent at {agent}: {e}"))?;
        let tls = self.agents.connect(ServerName::try_from(agent.host.clone())?, tcp).await?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(tls)).await?;
        tokio::spawn(connection.with_upgrades());
        let mut request = Request::new(Empty::<bytes::Bytes>::new());
        *request.method_mut() = Method::CONNECT;
        *request.uri_mut() = to.to_string().parse::<Uri>()?;
        request.headers_mut().insert(header::HOST, to.to_string().parse()?);
        let response = sender.send_request(request).await?;
        match response.status() {
            StatusCode::OK => Ok(Box::new(TokioIo::new(hyper::upgrade::on(response).await?))),
            status => {
                let body = Limited::new(response.into_body(), MOST_REFUSAL).collect().await?.to_bytes();
                let text = String::from_utf8_lossy(&body);
                Err(match text.trim() {
                    "" => format!("the node's agent at {agent} answers {status}").into(),
                    text => text.into(),
                })
            }
        }
    }
}

async fn direct(to: &Address) -> Result<TcpStream, BoxError> {
    let stream = TcpStream::connect(to.to_string()).await.map_err(|error| said(&error))?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// An error of connecting, as Go's clients say it.
fn said(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => "connect: connection refused".into(),
        io::ErrorKind::HostUnreachable => "connect: no route to host".into(),
        io::ErrorKind::NetworkUnreachable => "connect: network is unreachable".into(),
        io::ErrorKind::TimedOut => "connect: connection timed out".into(),
        _ => error.to_string(),
    }
}

fn agent(node: &v1::Node) -> Option<Address> {
    let status = node.status.as_ref()?;
    let addresses = status.addresses.as_deref().unwrap_or_default();
    let of = |kind: &str| addresses.iter().find(|a| a.type_ == kind).map(|a| a.address.clone());
    let host = ["InternalIP", "ExternalIP", "Hostname"].into_iter().find_map(of)?;
    let port = status.daemon_endpoints.as_ref().and_then(|d| d.kubelet_endpoint.as_ref()).map(|e| e.port);
    Some(Address { host, port: port.and_then(|p| u16::try_from(p).ok()).filter(|p| *p > 0).unwrap_or(KUBELET_PORT) })
}

/// Whether an address is in the range of a node's pods.
fn has(node: &v1::Node, address: Ipv4Addr) -> bool {
    let Some(spec) = &node.spec else { return false };
    let ranges = spec.pod_cidrs.iter().flatten().chain(&spec.pod_cidr);
    ranges.filter_map(|range| range.split_once('/')).any(|(base, prefix)| {
        let (Ok(base), Ok(prefix)) = (base.parse::<Ipv4Addr>(), prefix.parse::<u32>()) else { return false };
        let mask = u32::MAX.checked_shl(32_u32.saturating_sub(prefix)).unwrap_or(0);
        base.to_bits() & mask == address.to_bits() & mask
    })
}

/// The ready endpoints of a slice for one port.
fn endpoints(slice: &EndpointSlice, port_name: &str) -> Vec<Address> {
    let port = slice.ports.iter().flatten().find(|p| p.name.as_deref().unwrap_or_default() == port_name);
    let Some(port) = port.and_then(|p| p.port).and_then(|p| u16::try_from(p).ok()) else { return Vec::new() };
    let ready =
        slice.endpoints.iter().flatten().filter(|e| e.conditions.as_ref().is_none_or(|c| c.ready != Some(false)));
    // only what is an address, and one of somebody else: no way back into the server itself
    let allowed = |a: &&String| a.parse::<IpAddr>().is_ok_and(|a| is_proxyable(&a));
    ready.flat_map(|e| e.addresses.iter().filter(allowed).map(|a| Address::new(a, port)).collect::<Vec<_>>()).collect()
}

/// Whether an address may be that of a pod: not loopback, link-local, multicast or nothing.
pub fn is_proxyable(address: &IpAddr) -> bool {
    !address.is_loopback()
        && !address.is_unspecified()
        && !address.is_multicast()
        && match address {
            IpAddr::V4(v4) => !v4.is_link_local() && !v4.is_broadcast(),
            IpAddr::V6(v6) => !v6.is_unicast_link_local(),
        }
}

/// Takes any certificate, as long as its owner has the key.
#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn endpoints_are_those_that_are_ready_and_elsewhere() {
        let slice: EndpointSlice = serde_json::from_value(json!({
            "metadata": {"name": "s"}, "addressType": "IPv4",
            "ports": [{"name": "http", "port": 8080}, {"name": "", "port": 9}],
            "endpoints": [
                {"addresses": ["10.244.0.1"], "conditions": {"ready": true}},
                {"addresses": ["10.244.0.2"], "conditions": {"ready": false}},
                {"addresses": ["10.244.0.3"], "conditions": {}},
                {"addresses": ["127.0.0.1"]}, {"addresses": ["169.254.169.254"]},
            ],
        }))
        .unwrap();
        for (port, expected) in
            [("http", "10.244.0.1:8080 10.244.0.3:8080"), ("", "10.244.0.1:9 10.244.0.3:9"), ("none", "")]
        {
            let found: Vec<String> = endpoints(&slice, port).iter().map(ToString::to_string).collect();
            assert_eq!(found.join(" "), expected, "{port}");
        }
    }

    #[test]
    fn pods_are_behind_their_node() {
        let node: v1::Node = serde_json::from_value(json!({
            "metadata": {"name": "n"}, "spec": {"podCIDR": "10.244.1.0/24", "podCIDRs": ["10.244.1.0/24"]},
            "status": {"addresses": [{"type": "Hostname", "address": "n"}, {"type": "InternalIP", "address": "10.89.0.2"}]},
        }))
        .unwrap();
        for (address, expected) in [("10.244.1.7", true), ("10.244.2.7", false), ("10.89.0.2", false)] {
            assert_eq!(has(&node, address.parse().unwrap()), expected, "{address}");
        }
        assert_eq!(agent(&node).map(|a| a.to_string()).as_deref(), Some("10.89.0.2:10250"));
        assert_eq!(Address::new("fd00::1", 80).to_string(), "[fd00::1]:80");
    }

    #[test]
    fn ports_have_names_or_numbers() {
        for (text, expected) in
            [("", ServicePort::Name("")), ("http", ServicePort::Name("http")), ("80", ServicePort::Number(80))]
        {
            assert_eq!(ServicePort::parse(text), expected);
        }
    }
}
