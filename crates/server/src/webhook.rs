//! Calls to webhooks: a POST of JSON to a URL, or to a Service through one of its ready endpoints.
//!
//! The server knows no cluster addresses: it goes to an endpoint itself, under the name that the Service's certificate carries.

use crate::view::StoreView;
use bytes::Bytes;
use coracle_api::Resource;
use coracle_client::View;
use coracle_pki::tls;
use http::{HeaderValue, Request, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::rt::TokioIo;
use rand::seq::IndexedRandom;
use rustls::pki_types::ServerName;
use serde_json::Value;
use std::{sync::Arc, time::Duration};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

const SERVICES: Resource = Resource::fixed("", "v1", "services", "Service", true);
const SLICES: Resource = Resource::fixed("discovery.k8s.io", "v1", "endpointslices", "EndpointSlice", true);
const MAX_ANSWER: usize = 16 << 20;
/// Where systems keep the authorities that they trust; asked for URLs without a bundle of their own.
const SYSTEM_ROOTS: [&str; 3] =
    ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem"];

/// The way to webhooks.
pub struct Webhooks {
    view: StoreView,
}

/// A webhook, as a `clientConfig` names it.
pub struct Webhook {
    to: To,
    tls: Arc<rustls::ClientConfig>,
}

enum To {
    /// Host, port, path with query.
    Url(String, u16, String),
    Service {
        namespace: String,
        name: String,
        port: i64,
        path: String,
    },
}

impl Webhook {
    /// Reads a `clientConfig`.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    pub fn new(client: &Value) -> Result<Self, String> {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_string();
        let service = &client["service"];
        let to = if service.is_object() {
            let path = format!("/{}", text(&service["path"]).trim_start_matches('/'));
            let port = service["port"].as_i64().unwrap_or(443);
            To::Service { namespace: text(&service["namespace"]), name: text(&service["name"]), port, path }
        } else {
            url(&text(&client["url"]))?
        };
        let bundle = text(&client["caBundle"]);
        let pem = match bundle.trim() {
            "" => system_roots()?,
            encoded => base64::Engine::decode(&base64::engine::general_purpose::STANDARD, encoded)
                .ok()
                .and_then(|bytes| String::from_utf8(bytes).ok())
                .ok_or("unable to load root certificates: unable to parse bytes as PEM block")?,
        };
        let mut tls = tls::client_config(&pem, None).map_err(|e| format!("unable to load root certificates: {e}"))?;
        tls.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self { to, tls: Arc::new(tls) })
    }
}

fn url(text: &str) -> Result<To, String> {
    let uri: http::Uri = text.parse().map_err(|e| format!("{text:?} is no URL: {e}"))?;
    let host = uri.host().ok_or_else(|| format!("{text:?} names no host"))?;
    let path = uri.path_and_query().map_or("/", |p| p.as_str()).to_string();
    Ok(To::Url(host.trim_matches(['[', ']']).to_string(), uri.port_u16().unwrap_or(443), path))
}

fn system_roots() -> Result<String, String> {
    let found = SYSTEM_ROOTS.iter().find_map(|path| std::fs::read_to_string(path).ok());
    found.ok_or_else(|| format!("no caBundle is given, and the system has none in {}", SYSTEM_ROOTS.join(", ")))
}

impl Webhooks {
    /// Services are looked up in `view`.
    pub fn new(view: StoreView) -> Self {
        Self { view }
    }

    /// Posts `body`; the answer.
    ///
    /// # Errors
    /// Why there is none, in upstream's words.
    pub async fn post(&self, hook: &Webhook, body: &Value, timeout: Duration) -> Result<Value, String> {
        let (shown, name) = match &hook.to {
            To::Url(host, port, path) => (format!("https://{host}:{port}{path}"), host.clone()),
            To::Service { namespace, name, port, path } => {
                let host = format!("{name}.{namespace}.svc");
                (format!("https://{host}:{port}{path}"), host)
            }
        };
        let url = format!("{shown}{}timeout={}s", if shown.contains('?') { '&' } else { '?' }, timeout.as_secs());
        let failed = |why: String| format!("Post {url:?}: {why}");
        match tokio::time::timeout(timeout, self.exchange(hook, &name, body, timeout)).await {
            Ok(answer) => answer.map_err(failed),
            Err(_) => Err(failed("context deadline exceeded".into())),
        }
    }

    async fn exchange(&self, hook: &Webhook, name: &str, body: &Value, timeout: Duration) -> Result<Value, String> {
        let (address, path) = match &hook.to {
            To::Url(host, port, path) => ((host.clone(), *port), path),
            To::Service { namespace, name, port, path } => (self.endpoint(namespace, name, *port)?, path),
        };
        let to = if address.0.contains(':') {
            format!("[{}]:{}", address.0, address.1)
        } else {
            format!("{}:{}", address.0, address.1)
        };
        let dial = |e: &dyn std::fmt::Display| format!("dial tcp {to}: {e}");
        let tcp = TcpStream::connect(&to).await.map_err(|e| dial(&e))?;
        tcp.set_nodelay(true).map_err(|e| dial(&e))?;
        let server = ServerName::try_from(name.to_string()).map_err(|e| e.to_string())?;
        let stream = TlsConnector::from(hook.tls.clone()).connect(server, tcp).await.map_err(|e| e.to_string())?;
        let handshake = hyper::client::conn::http1::handshake(TokioIo::new(stream));
        let (mut sender, connection) = handshake.await.map_err(|e| e.to_string())?;
        let connection = tokio::spawn(connection);
        let query = if path.contains('?') { '&' } else { '?' };
        let bytes: Bytes = serde_json::to_vec(body).map_err(|e| e.to_string())?.into();
        let mut request = Request::post(format!("{path}{query}timeout={}s", timeout.as_secs()))
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::ACCEPT, "application/json, */*")
            .body(Full::new(bytes))
            .map_err(|e| e.to_string())?;
        if let Ok(host) = HeaderValue::from_str(name) {
            request.headers_mut().insert(header::HOST, host);
        }
        let response = sender.send_request(request).await.map_err(|e| e.to_string())?;
        let status = response.status();
        let answer = Limited::new(response.into_body(), MAX_ANSWER).collect().await.map_err(|e| e.to_string())?;
        connection.abort();
        let bytes = answer.to_bytes();
        if !status.is_success() {
            return Err(format!("the server responded with the status code {}", status.as_u16()));
        }
        serde_json::from_slice(&bytes).map_err(|e| format!("the answer is no JSON: {e}"))
    }

    /// A ready endpoint of a Service's port.
    fn endpoint(&self, namespace: &str, name: &str, port: i64) -> Result<(String, u16), String> {
        let service = self.view.get(&SERVICES, namespace, name);
        let service = service.ok_or_else(|| format!("service \"{name}\" not found"))?.value();
        if service["spec"]["type"] == "ExternalName" {
            let host = service["spec"]["externalName"].as_str().unwrap_or_default().to_string();
            return Ok((host, u16::try_from(port).unwrap_or(443)));
        }
        let ports = service["spec"]["ports"].as_array().into_iter().flatten();
        let wanted = ports.into_iter().find(|p| p["port"] == port);
        let port_name = wanted.ok_or_else(|| format!("no service port {port} found for service {name:?}"))?["name"]
            .as_str()
            .unwrap_or_default()
            .to_string();
        let slices = self.view.list(&SLICES, namespace);
        let own =
            slices.iter().filter(|s| s.meta().labels.get("kubernetes.io/service-name").is_some_and(|n| n == name));
        let found: Vec<(String, u16)> = own.flat_map(|slice| ready(&slice.value(), &port_name)).collect();
        let chosen = found.choose(&mut rand::rng()).cloned();
        chosen.ok_or_else(|| format!("no endpoints available for service {name:?}"))
    }
}

/// The ready endpoints of a slice for one port.
fn ready(slice: &Value, port_name: &str) -> Vec<(String, u16)> {
    let mut ports = slice["ports"].as_array().into_iter().flatten();
    let port = ports.find(|p| p["name"].as_str().unwrap_or_default() == port_name);
    let Some(port) = port.and_then(|p| p["port"].as_u64()).and_then(|p| u16::try_from(p).ok()) else {
        return Vec::new();
    };
    let endpoints = slice["endpoints"].as_array().into_iter().flatten().filter(|e| e["conditions"]["ready"] != false);
    let addresses = endpoints.filter_map(|e| e["addresses"][0].as_str());
    addresses.map(|address| (address.to_string(), port)).collect()
}
