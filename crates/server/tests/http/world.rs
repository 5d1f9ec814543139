//! A server in this process and a client that sees every byte.

use bytes::Bytes;
use coracle_api::{Object, Resource};
use coracle_kinds::flowcontrol::objects;
use coracle_pki::tls::{self, RotatingCertificate};
use coracle_server::{Server, ServerConfig};
use futures::StreamExt;
use http::{HeaderMap, Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::{body::Incoming, client::conn::http1};
use hyper_util::rt::TokioIo;
use k8s_openapi::api::flowcontrol::v1::FlowSchema;
use serde_json::Value;
use std::{collections::VecDeque, future::Future, net::SocketAddr, sync::Arc};
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, rustls::pki_types::ServerName};

pub const JSON: &str = "application/json";
pub const YAML: &str = "application/yaml";
pub const PROTOBUF: &str = "application/vnd.kubernetes.protobuf";

/// A server with its data, and the way to it as its administrator.
pub struct World {
    pub server: Server,
    connector: TlsConnector,
    address: SocketAddr,
    _data: tempfile::TempDir,
}

/// A whole answer.
pub struct Answer {
    pub code: u16,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Answer {
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|v| v.to_str().ok()).unwrap_or_default()
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|e| panic!("{e}: {:?}", self.body))
    }
}

/// Runs `check` against a new server.
pub fn in_world<F: Future<Output = ()>>(check: impl FnOnce(Arc<World>) -> F) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let world = Arc::new(World::start().await);
        check(world.clone()).await;
        world.server.stop().await;
    });
}

impl World {
    async fn start() -> Self {
        let data = tempfile::tempdir().unwrap();
        let mut config = ServerConfig::new(data.path().to_owned(), ([127, 0, 0, 1], 0).into());
        config.advertise = Some([192, 0, 2, 7].into());
        let now = config.clock.now();
        let server = Server::start(config).await.unwrap();
        quiet(&server).await;
        let identity = RotatingCertificate::new(server.pki().admin(now).unwrap()).unwrap();
        let authority = server.pki().authority().certificate_pem();
        let mut tls = tls::client_config(&authority, Some(identity)).unwrap();
        tls.alpn_protocols = vec![b"http/1.1".to_vec()];
        let address = server.address();
        Self { server, connector: TlsConnector::from(Arc::new(tls)), address, _data: data }
    }

    /// Sends a request on a connection of its own; the answer's body comes as it is read.
    pub async fn open(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Response<Incoming> {
        let stream = TcpStream::connect(self.address).await.unwrap();
        let name = ServerName::IpAddress(self.address.ip().into());
        let stream = self.connector.connect(name, stream).await.unwrap();
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection.with_upgrades());
        let mut request = Request::builder().method(method).uri(path).header("host", "test");
        for (key, value) in headers {
            request = request.header(*key, *value);
        }
        sender.send_request(request.body(Full::new(body.into())).unwrap()).await.unwrap()
    }

    /// Sends a request and reads the whole answer.
    pub async fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: impl Into<Bytes>) -> Answer {
        let (head, body) = self.open(method, path, headers, body).await.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        Answer { code: head.status.as_u16(), headers: head.headers, body }
    }

    /// A GET in one syntax.
    pub async fn get(&self, path: &str, accept: &str) -> Answer {
        self.send("GET", path, &[("accept", accept)], "").await
    }

    /// Creates an object, or panics.
    pub async fn create(&self, path: &str, object: &Value) -> Value {
        let answer = self.send("POST", path, &[("content-type", JSON)], object.to_string()).await;
        assert_eq!(answer.code, 201, "{:?}", answer.body);
        answer.json()
    }

    /// A merge patch, or panics.
    pub async fn patch(&self, path: &str, patch: &Value) -> Value {
        let headers = [("content-type", "application/merge-patch+json")];
        let answer = self.send("PATCH", path, &headers, patch.to_string()).await;
        assert_eq!(answer.code, 200, "{:?}", answer.body);
        answer.json()
    }

    /// A watch under way.
    pub async fn watch(&self, path: &str, accept: &str) -> Frames {
        let answer = self.open("GET", path, &[("accept", accept)], "").await;
        assert_eq!(answer.status(), 200, "{path}");
        let media = answer.headers()["content-type"].to_str().unwrap().to_string();
        Frames { body: answer.into_body(), media, read: VecDeque::new() }
    }
}

/// Waits for what a new server still writes when it answers already, so that two reads find the same: its flow schemas and their status.
async fn quiet(server: &Server) {
    let flows = Resource::of::<FlowSchema>();
    let view = server.view();
    let mut changes = view.changes(std::slice::from_ref(&flows));
    let judged = |flow: &Arc<Object>| flow.value()["status"]["conditions"].is_array();
    loop {
        let found = view.list(&flows, "");
        if found.len() == objects::flows().len() && found.iter().all(judged) {
            return;
        }
        changes.next().await.expect("changes come");
    }
}

/// The frames of a watch.
pub struct Frames {
    body: Incoming,
    pub media: String,
    read: VecDeque<u8>,
}

impl Frames {
    /// The next frame without what delimits it; `None` when the watch is over.
    pub async fn next(&mut self) -> Option<Vec<u8>> {
        loop {
            if let Some(frame) = self.whole() {
                return Some(frame);
            }
            match self.body.frame().await? {
                Ok(frame) => self.read.extend(frame.into_data().unwrap_or_default()),
                Err(_) => return None,
            }
        }
    }

    /// The next frame of a watch in JSON: (type, object).
    pub async fn event(&mut self) -> Option<(String, Value)> {
        let frame: Value = serde_json::from_slice(&self.next().await?).unwrap();
        Some((frame["type"].as_str().unwrap().to_string(), frame["object"].clone()))
    }

    fn whole(&mut self) -> Option<Vec<u8>> {
        if self.media.starts_with(PROTOBUF) {
            let head: Vec<u8> = self.read.iter().take(4).copied().collect();
            let length = u32::from_be_bytes(head.try_into().ok()?) as usize;
            return (self.read.len() >= length + 4).then(|| self.read.drain(..length + 4).skip(4).collect());
        }
        let end = self.read.iter().position(|b| *b == b'\n')?;
        Some(self.read.drain(..=end).collect())
    }
}
