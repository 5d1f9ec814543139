//! The [`Client`] of programs that are not in the server's process: HTTP/2 over TLS, as any Kubernetes client speaks it.
//!
//! Connections are shared by all requests and kept alive by pings, so that a dead server is noticed within seconds and a
//! watch never hangs. Identity (client certificate or bearer token) can be exchanged while requests run.

mod connection;
mod query;
mod tls;
mod wire;

pub use query::escape;
pub use tls::{ca_hash, discover_ca, unverified};

use crate::{Client, ObjectList, WatchEvent, kubeconfig};
use async_trait::async_trait;
use bytes::Bytes;
use connection::{Pool, Reply};
use coracle_api::{DeleteOptions, ListOptions, Object, Patch, Resource, Result, Status, WriteOptions};
use futures::stream::BoxStream;
use http::{Method, Request, StatusCode, header};
use http_body_util::Full;
use query::Query;
use serde_json::Value;
use std::{path::Path, sync::Arc, time::Duration};

/// How long a request may take; a watch only until its headers are there.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(34);
/// How often a request is repeated that the server put off (429).
const PUT_OFF_TRIES: u32 = 8;

/// Who the client is.
#[derive(Clone, Default)]
pub enum Identity {
    /// Nobody.
    #[default]
    Anonymous,
    /// A bearer token.
    Token(String),
    /// A client certificate (chain) and its key, both PEM.
    Certificate {
        /// Certificate chain.
        certificate: Vec<u8>,
        /// Private key.
        key: Vec<u8>,
    },
}

/// How the server is trusted.
#[derive(Clone, Debug)]
pub enum Trust {
    /// By a CA (PEM).
    Ca(Vec<u8>),
    /// By the hash of the CA's public key (`sha256:<hex>`); the CA must be in the chain that the server shows.
    CaHash(String),
    /// Not at all.
    Insecure,
}

/// Where the server is, how it is trusted, and who asks.
#[derive(Clone)]
pub struct HttpConfig {
    /// `https://host:port`.
    pub server: String,
    /// How the server is trusted.
    pub trust: Trust,
    /// Who asks.
    pub identity: Identity,
}

/// A [`Client`] over HTTP.
pub struct HttpClient {
    pool: Pool,
}

impl HttpClient {
    /// A client; it connects with the first request.
    ///
    /// # Errors
    /// When URL, CA, certificate or key cannot be read.
    pub fn new(config: HttpConfig) -> Result<Self> {
        Ok(Self { pool: Pool::new(config)? })
    }

    /// A client as a kubeconfig file's current context (or the one named) describes it.
    ///
    /// # Errors
    /// When the file cannot be read or names what it does not define.
    pub fn from_kubeconfig(path: &Path, context: Option<&str>) -> Result<Self> {
        Self::new(kubeconfig::load(path, context)?)
    }

    /// Exchanges the identity; requests from now on use it, running watches go on.
    ///
    /// # Errors
    /// When certificate or key cannot be read; the old identity then stays.
    pub fn set_identity(&self, identity: Identity) -> Result<()> {
        self.pool.set_identity(identity)
    }

    /// `https://host:port` of the server.
    pub fn server(&self) -> &str {
        self.pool.server()
    }

    /// Any GET by path (`/readyz`, `/version`); the body.
    pub async fn raw(&self, path: &str) -> Result<Bytes> {
        self.call(Method::GET, path.to_string(), None).await
    }

    async fn call(&self, method: Method, path: String, body: Option<(&'static str, Bytes)>) -> Result<Bytes> {
        let whole = async { wire::body(self.send(method, path, body).await?).await };
        tokio::time::timeout(REQUEST_TIMEOUT, whole)
            .await
            .map_err(|_| Status::new(504, "Timeout", format!("no answer from {} in time", self.pool.server())))?
    }

    /// Sends, and sends again while the server asks for patience.
    async fn send(&self, method: Method, path: String, body: Option<(&'static str, Bytes)>) -> Result<Reply> {
        for attempt in 0.. {
            let reply = self.pool.send(|| build(&method, &path, body.as_ref())).await?;
            let status = reply.response.status();
            if status.is_success() || status == StatusCode::SWITCHING_PROTOCOLS {
                return Ok(reply);
            }
            let wait = wire::retry_after(&reply.response);
            if status == StatusCode::TOO_MANY_REQUESTS && attempt < PUT_OFF_TRIES {
                // only a server that says when is asked again: an eviction refused by a budget is an answer
                if let Some(wait) = wait {
                    tokio::time::sleep(wait.min(Duration::from_secs(5))).await;
                    continue;
                }
            }
            return Err(wire::status(reply).await);
        }
        unreachable!("the loop returns")
    }

    async fn object(&self, method: Method, path: String, body: Option<(&'static str, Bytes)>) -> Result<Arc<Object>> {
        Ok(Arc::new(Object::from_json(self.call(method, path, body).await?)?))
    }
}

fn build(method: &Method, path: &str, body: Option<&(&'static str, Bytes)>) -> Request<Full<Bytes>> {
    let mut request = Request::new(Full::new(body.map(|(_, b)| b.clone()).unwrap_or_default()));
    *request.method_mut() = method.clone();
    // the pool puts scheme and authority in front; paths are made of escaped parts only
    *request.uri_mut() = path.parse().unwrap_or_default();
    let headers = request.headers_mut();
    headers.insert(header::ACCEPT, header::HeaderValue::from_static("application/json"));
    headers.insert(
        header::USER_AGENT,
        header::HeaderValue::from_static(concat!("coracle/", env!("CARGO_PKG_VERSION"), " (linux)")),
    );
    if let Some((kind, _)) = body {
        headers.insert(header::CONTENT_TYPE, header::HeaderValue::from_static(kind));
    }
    request
}

fn json(value: &Value) -> Result<Option<(&'static str, Bytes)>> {
    Ok(Some(("application/json", serde_json::to_vec(value).map_err(Status::internal)?.into())))
}

fn sub(resource: &Resource, namespace: &str, name: &str, subresource: &str) -> String {
    let path = resource.path(namespace, Some(&escape(name)));
    if subresource.is_empty() { path } else { format!("{path}/{subresource}") }
}

#[async_trait]
impl Client for HttpClient {
    async fn get(&self, resource: &Resource, namespace: &str, name: &str) -> Result<Arc<Object>> {
        self.object(Method::GET, sub(resource, namespace, name, ""), None).await
    }

    async fn read(&self, path: &str) -> Result<Value> {
        serde_json::from_slice(&self.raw(path).await?).map_err(Status::internal)
    }

    async fn list(&self, resource: &Resource, namespace: &str, options: &ListOptions) -> Result<ObjectList> {
        let path = Query::list(options).on(resource.path(namespace, None));
        wire::list(&self.call(Method::GET, path, None).await?, resource)
    }

    async fn watch(
        &self,
        resource: &Resource,
        namespace: &str,
        options: &ListOptions,
    ) -> Result<BoxStream<'static, Result<WatchEvent>>> {
        let path = Query::watch(options).on(resource.path(namespace, None));
        let reply = tokio::time::timeout(REQUEST_TIMEOUT, self.send(Method::GET, path, None))
            .await
            .map_err(|_| Status::new(504, "Timeout", "the watch was not opened in time"))??;
        Ok(wire::events(reply))
    }

    async fn create(
        &self,
        resource: &Resource,
        namespace: &str,
        body: Value,
        options: &WriteOptions,
    ) -> Result<Arc<Object>> {
        let path = Query::write(options, false).on(resource.path(namespace, None));
        self.object(Method::POST, path, json(&body)?).await
    }

    async fn post(
        &self,
        resource: &Resource,
        namespace: &str,
        name: &str,
        subresource: &str,
        body: Value,
    ) -> Result<Value> {
        let answer = self.call(Method::POST, sub(resource, namespace, name, subresource), json(&body)?).await?;
        serde_json::from_slice(&answer).map_err(Status::internal)
    }

    async fn update(
        &self,
        resource: &Resource,
        namespace: &str,
        name: &str,
        subresource: &str,
        body: Value,
        options: &WriteOptions,
    ) -> Result<Arc<Object>> {
        let path = Query::write(options, false).on(sub(resource, namespace, name, subresource));
        self.object(Method::PUT, path, json(&body)?).await
    }

    async fn patch(
        &self,
        resource: &Resource,
        namespace: &str,
        name: &str,
        subresource: &str,
        patch: Patch,
        options: &WriteOptions,
    ) -> Result<Arc<Object>> {
        let apply = patch.kind == coracle_api::PatchKind::Apply;
        let path = Query::write(options, apply).on(sub(resource, namespace, name, subresource));
        let body = serde_json::to_vec(&patch.body).map_err(Status::internal)?;
        self.object(Method::PATCH, path, Some((patch.kind.media_type(), body.into()))).await
    }

    async fn delete(
        &self,
        resource: &Resource,
        namespace: &str,
        name: &str,
        options: &DeleteOptions,
    ) -> Result<Option<Arc<Object>>> {
        let mut body = serde_json::to_value(options).map_err(Status::internal)?;
        body["kind"] = "DeleteOptions".into();
        body["apiVersion"] = "v1".into();
        let answer = self.call(Method::DELETE, sub(resource, namespace, name, ""), json(&body)?).await?;
        // a Status says that it is gone; so does an object whose deletion did not only begin
        let object = Object::from_json(answer)?;
        Ok(object.meta().is_deleting().then(|| Arc::new(object)))
    }
}
