//! Calls to webhooks: a POST of JSON to a URL, or to a Service through one of its ready endpoints.
//!
//! The server knows no cluster addresses: it goes to an endpoint itself ([`Egress`]), and asks there for the name that the Service's
//! certificate carries.

use crate::egress::{Address, Egress, Peer, ServicePort};
use bytes::Bytes;
use coracle_api::Resource;
use coracle_client::SharedView;
use coracle_pki::bundle;
use http::{HeaderValue, Request, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use serde_json::Value;
use std::{sync::Arc, time::Duration};
use tokio_rustls::TlsConnector;

const SERVICES: Resource = Resource::fixed("", "v1", "services", "Service", true);
const MAX_ANSWER: usize = 16 << 20;
/// Where systems keep the authorities that they trust; asked for URLs without a bundle of their own.
const SYSTEM_ROOTS: [&str; 3] =
    ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem"];

/// The way to webhooks.
pub struct Webhooks {
    egress: Arc<Egress>,
    view: SharedView,
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
        let mut tls = bundle::client_config(&pem).map_err(|e| format!("unable to load root certificates: {e}"))?;
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
    /// By this way out; Services are looked up in `view`.
    pub fn new(egress: Arc<Egress>, view: SharedView) -> Self {
        Self { egress, view }
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
            To::Url(host, port, path) => (Address::new(host, *port), path),
            To::Service { namespace, name, port, path } => (self.endpoint(namespace, name, *port)?, path),
        };
        let stream = self.egress.connect(&address, Peer::Plain).await.map_err(|e| e.to_string())?;
        let server = ServerName::try_from(name.to_string()).map_err(|e| e.to_string())?;
        let stream = TlsConnector::from(hook.tls.clone()).connect(server, stream).await.map_err(|e| e.to_string())?;
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

    /// A ready endpoint of a Service's port; the other name of one that is only that.
    fn endpoint(&self, namespace: &str, name: &str, port: i64) -> Result<Address, String> {
        let service = self.view.get(&SERVICES, namespace, name).map(|service| service.value());
        let number = u16::try_from(port).map_err(|_| format!("{port} is no port"))?;
        match service {
            Some(service) if service["spec"]["type"] == "ExternalName" => {
                Ok(Address::new(service["spec"]["externalName"].as_str().unwrap_or_default(), number))
            }
            _ => {
                let found = self.egress.service(namespace, name, ServicePort::Number(number));
                found.map_err(|status| status.message)
            }
        }
    }
}
