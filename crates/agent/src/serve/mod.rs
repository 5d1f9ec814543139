//! The agent's HTTPS server, with a kubelet's paths: logs, exec, attach, port-forward, pods, statistics.
//!
//! Whoever asks must show a certificate of the cluster's CA or a token, and be allowed to use the node.

mod access;
mod channels;
mod idle;
mod logs;
mod metrics;
mod port_forward;
mod pump;
mod query;
mod sessions;
mod spdy;
mod stats;
pub mod strangers;
mod tunnel;
mod upgrade;
pub mod usage;

use crate::{Error, context::Node, node::serving};
use access::Caller;
use bytes::Bytes;
use coracle_api::{Result, Status};
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full, combinators::BoxBody};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
};
use k8s_openapi::api::core::v1::Pod;
use nix::sys::socket::{setsockopt, sockopt};
use query::Query;
use rustls::pki_types::{CertificateDer, pem::PemObject};
use serde_json::{Value, json};
use std::{io, sync::Arc, time::Duration};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

/// Body of a response.
type Body = BoxBody<Bytes, io::Error>;

const HANDSHAKE: Duration = Duration::from_secs(10);
/// Seconds of silence after which a peer is asked whether it is still there, and between asking again.
const KEEP_ALIVE: u32 = 15;

fn whole(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).map_err(|never| match never {}).boxed()
}

fn answer(code: StatusCode, kind: &str, bytes: impl Into<Bytes>) -> Response<Body> {
    let mut response = Response::new(whole(bytes));
    *response.status_mut() = code;
    if let Ok(kind) = header::HeaderValue::from_str(kind) {
        response.headers_mut().insert(header::CONTENT_TYPE, kind);
    }
    response
}

fn failure(status: &Status) -> Response<Body> {
    let code = StatusCode::from_u16(status.code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    answer(code, "application/json", status.to_value().to_string())
}

/// Listens, and serves until the agent ends.
///
/// # Errors
/// When the address is taken or no key can be made.
pub async fn start(node: &Arc<Node>, ca: &[u8]) -> Result<(), Error> {
    let certificate = serving::first(node)?;
    let authority = CertificateDer::from_pem_slice(ca)
        .map_err(|e| coracle_pki::Error::Malformed(format!("the cluster's CA: {e}")))?;
    let tls = coracle_pki::tls::server_config(certificate.clone(), Some(&authority))?;
    let acceptor = TlsAcceptor::from(Arc::new(tls));
    let listen = node.config.listen;
    let listener = TcpListener::bind(listen)
        .await
        .map_err(|source| Error::Io { what: format!("listening on {listen} for logs and exec"), source })?;
    node.tasks.spawn("serving-certificate", serving::keep_fresh(node.clone(), certificate));
    let served = node.clone();
    node.tasks.spawn("serve", async move {
        loop {
            match listener.accept().await {
                Ok((stream, _)) => {
                    let task = connection(served.clone(), acceptor.clone(), stream);
                    served.tasks.spawn("connection", task);
                }
                Err(error) => {
                    tracing::warn!(%error, "no connection could be accepted");
                    served.clock.sleep(Duration::from_millis(100)).await;
                }
            }
        }
    });
    Ok(())
}

/// Tunnels are quiet for hours; that the other side has vanished is found out all the same. A socket that refuses does without.
fn keep_alive(stream: &TcpStream) {
    let _ = setsockopt(stream, sockopt::KeepAlive, &true);
    let _ = setsockopt(stream, sockopt::TcpKeepIdle, &KEEP_ALIVE);
    let _ = setsockopt(stream, sockopt::TcpKeepInterval, &KEEP_ALIVE);
}

async fn connection(node: Arc<Node>, acceptor: TlsAcceptor, stream: TcpStream) {
    let _ = stream.set_nodelay(true);
    keep_alive(&stream);
    let Ok(Ok(stream)) = tokio::time::timeout(HANDSHAKE, acceptor.accept(stream)).await else { return };
    let caller = Caller::of(stream.get_ref().1.peer_certificates());
    let service = service_fn(move |request: Request<Incoming>| {
        let (node, caller) = (node.clone(), caller.clone());
        async move { Ok::<_, io::Error>(handle(node, caller, request).await) }
    });
    let builder = auto::Builder::new(TokioExecutor::new());
    if let Err(error) = builder.serve_connection_with_upgrades(TokioIo::new(stream), service).await {
        tracing::debug!(%error, "a connection ended");
    }
}

async fn handle(node: Arc<Node>, caller: Caller, request: Request<Incoming>) -> Response<Body> {
    if request.uri().path() == "/healthz" {
        return answer(StatusCode::OK, "text/plain; charset=utf-8", "ok");
    }
    if let Err(status) = caller.authorize(&node, &request).await {
        return failure(&status);
    }
    let tunnel = request.method() == Method::CONNECT
        || matches!(request.uri().path().split('/').nth(1), Some("exec" | "attach" | "portForward"));
    match route(node, request).await {
        Ok(response) => response,
        // clients print this text behind "unable to upgrade connection: "
        Err(status) if tunnel => refused(&status),
        Err(status) => failure(&status),
    }
}

fn refused(status: &Status) -> Response<Body> {
    let code = StatusCode::from_u16(status.code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    answer(code, "text/plain; charset=utf-8", format!("{}\n", status.message))
}

async fn route(node: Arc<Node>, request: Request<Incoming>) -> Result<Response<Body>> {
    if request.method() == Method::CONNECT {
        return tunnel::serve(node, request).await;
    }
    let path = request.uri().path().to_string();
    let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
    let query = Query::parse(request.uri().query().unwrap_or_default());
    let get = request.method() == Method::GET;
    match parts.as_slice() {
        ["pods"] if get => Ok(json_answer(&pods(&node))),
        ["stats", "summary"] if get => Ok(json_answer(&stats::summary(&node).await)),
        ["metrics"] if get => Ok(text_answer(metrics::agent(&node).await)),
        ["metrics", "cadvisor" | "resource"] if get => Ok(text_answer(metrics::resources(&node).await)),
        ["containerLogs", namespace, pod, container] if get => {
            logs::serve(&node, &*find(&node, namespace, pod)?, container, &query).await
        }
        ["exec", namespace, pod, container] | ["exec", namespace, pod, _, container] => {
            let pod = find(&node, namespace, pod)?;
            sessions::exec(node, &pod, container, &query, request).await
        }
        ["attach", namespace, pod, container] | ["attach", namespace, pod, _, container] => {
            let pod = find(&node, namespace, pod)?;
            sessions::attach(node, &pod, container, &query, request).await
        }
        ["portForward", namespace, pod] | ["portForward", namespace, pod, _] => {
            let pod = find(&node, namespace, pod)?;
            port_forward::serve(node, &pod, &query, request).await
        }
        _ => Err(Status::new(404, "NotFound", "404 page not found")),
    }
}

fn json_answer(value: &Value) -> Response<Body> {
    answer(StatusCode::OK, "application/json", value.to_string())
}

fn text_answer(text: String) -> Response<Body> {
    answer(StatusCode::OK, "text/plain; version=0.0.4; charset=utf-8", text)
}

fn find(node: &Node, namespace: &str, name: &str) -> Result<Arc<Pod>> {
    let found = node.pods.find(namespace, name);
    found.ok_or_else(|| Status::new(404, "NotFound", format!("pod \"{name}\" not found")))?.view()
}

fn pods(node: &Node) -> Value {
    let items: Vec<Value> = node.pods.all().iter().map(|(object, _)| object.value()).collect();
    json!({"kind": "PodList", "apiVersion": "v1", "metadata": {}, "items": items})
}

/// The running container of a name.
async fn running(node: &Node, pod: &Pod, container: &str) -> Result<String> {
    let found = crate::pods::containers(node, pod).await;
    match found.latest(container) {
        Some(c) if c.state == coracle_runtime::ContainerState::Running => Ok(c.id.clone()),
        _ => Err(Status::new(404, "NotFound", format!("container not found ({container:?})"))),
    }
}
