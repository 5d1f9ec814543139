//! One probe, once: a command, an HTTP request, a TCP connection, a gRPC health check.

use super::seconds;
use crate::{context::Node, spec::ports};
use bytes::Bytes;
use http::{Request, Uri, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::rt::{TokioExecutor, TokioIo};
use k8s_openapi::api::core::v1::{Container, GRPCAction, HTTPGetAction, Probe};
use std::{sync::Arc, time::Duration};
use tokio::net::TcpStream;

/// What a probe found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Well.
    Success,
    /// Not, because.
    Failure(String),
}

/// Bytes of a body or an output that a message shows.
const SHOWN: usize = 10 * 1024;

/// Runs a probe once.
pub(super) async fn run(node: &Node, container: &Container, id: &str, probe: &Probe, ip: &str) -> Outcome {
    let limit = seconds(probe.timeout_seconds, 1);
    if let Some(exec) = &probe.exec {
        return match node.runtime.exec_sync(id, exec.command.as_deref().unwrap_or_default(), limit).await {
            Ok(output) if output.code == 0 => Outcome::Success,
            Ok(output) => {
                let mut said = output.stdout;
                said.extend(output.stderr);
                said.truncate(SHOWN);
                Outcome::Failure(String::from_utf8_lossy(&said).into_owned())
            }
            Err(coracle_runtime::Error::Timeout(_)) => {
                let command = exec.command.clone().unwrap_or_default().join(" ");
                Outcome::Failure(format!("command timed out: \"{command}\" timed out after {}s", limit.as_secs()))
            }
            Err(error) => Outcome::Failure(error.to_string()),
        };
    }
    if let Some(get) = &probe.http_get {
        let host = get.host.as_deref().filter(|h| !h.is_empty()).unwrap_or(ip);
        return match ports::resolve(&get.port, container) {
            Ok(port) => http(get, host, port, limit).await,
            Err(error) => Outcome::Failure(error),
        };
    }
    if let Some(socket) = &probe.tcp_socket {
        let host = socket.host.as_deref().filter(|h| !h.is_empty()).unwrap_or(ip);
        return match ports::resolve(&socket.port, container) {
            Ok(port) => tcp(host, port, limit).await,
            Err(error) => Outcome::Failure(error),
        };
    }
    if let Some(action) = &probe.grpc {
        let call = grpc(action, ip);
        return match tokio::time::timeout(limit, call).await {
            Ok(Ok(())) => Outcome::Success,
            Ok(Err(error)) => Outcome::Failure(error),
            Err(_) => Outcome::Failure(format!("timeout: health rpc did not complete within {}s", limit.as_secs())),
        };
    }
    Outcome::Success
}

/// Connects and closes.
pub async fn tcp(host: &str, port: u16, limit: Duration) -> Outcome {
    match tokio::time::timeout(limit, TcpStream::connect((host, port))).await {
        Ok(Ok(_)) => Outcome::Success,
        Ok(Err(error)) => Outcome::Failure(format!("dial tcp {host}:{port}: connect: {error}")),
        Err(_) => Outcome::Failure(format!("dial tcp {host}:{port}: i/o timeout")),
    }
}

/// A GET; 200 to 399 are well.
pub async fn http(get: &HTTPGetAction, host: &str, port: u16, limit: Duration) -> Outcome {
    let scheme = get.scheme.as_deref().unwrap_or("HTTP").to_lowercase();
    let path = get.path.as_deref().unwrap_or("/");
    let slash = if path.starts_with('/') { "" } else { "/" };
    let shown_host = if host.contains(':') { format!("[{host}]") } else { host.to_string() };
    let url = format!("{scheme}://{shown_host}:{port}{slash}{path}");
    match tokio::time::timeout(limit, request(get, &url, host, port, scheme == "https")).await {
        Ok(Ok((code, _))) if (200..400).contains(&code) => Outcome::Success,
        Ok(Ok((code, _))) => Outcome::Failure(format!("HTTP probe failed with statuscode: {code}")),
        Ok(Err(error)) => Outcome::Failure(format!("Get \"{url}\": {error}")),
        Err(_) => Outcome::Failure(format!(
            "Get \"{url}\": context deadline exceeded (Client.Timeout exceeded while awaiting headers)"
        )),
    }
}

async fn request(get: &HTTPGetAction, url: &str, host: &str, port: u16, secure: bool) -> Result<(u16, Bytes), String> {
    let uri: Uri = url.parse().map_err(|e| format!("{e}"))?;
    let target = uri.path_and_query().map_or("/", |p| p.as_str());
    let authority = uri.authority().map(ToString::to_string).unwrap_or_default();
    let mut builder = Request::get(target)
        .header(header::USER_AGENT, "kube-probe/1.37")
        .header(header::ACCEPT, "*/*")
        .header(header::CONNECTION, "close");
    let mut named_host = false;
    for header in get.http_headers.iter().flatten() {
        named_host |= header.name.eq_ignore_ascii_case("host");
        builder = builder.header(&header.name, &header.value);
    }
    if !named_host {
        builder = builder.header(header::HOST, authority);
    }
    let request = builder.body(Full::<Bytes>::default()).map_err(|e| e.to_string())?;
    let stream = TcpStream::connect((host, port)).await.map_err(|e| format!("dial tcp {host}:{port}: connect: {e}"))?;
    if secure {
        // as upstream: a probe does not ask who answers
        let tls = insecure().connect(name(host)?, stream).await.map_err(|e| e.to_string())?;
        send(TokioIo::new(tls), request).await
    } else {
        send(TokioIo::new(stream), request).await
    }
}

async fn send<I>(io: I, request: Request<Full<Bytes>>) -> Result<(u16, Bytes), String>
where
    I: hyper::rt::Read + hyper::rt::Write + Unpin + Send + 'static,
{
    let (mut sender, connection) = hyper::client::conn::http1::handshake(io).await.map_err(|e| e.to_string())?;
    let connection = tokio::spawn(connection);
    let answer = async {
        let response = sender.send_request(request).await.map_err(|e| e.to_string())?;
        let code = response.status().as_u16();
        let body = Limited::new(response.into_body(), SHOWN).collect().await;
        Ok((code, body.map(|b| b.to_bytes()).unwrap_or_default()))
    }
    .await;
    connection.abort();
    answer
}

fn name(host: &str) -> Result<rustls::pki_types::ServerName<'static>, String> {
    rustls::pki_types::ServerName::try_from(host.to_string()).map_err(|e| e.to_string())
}

fn insecure() -> tokio_rustls::TlsConnector {
    static CONNECTOR: std::sync::OnceLock<tokio_rustls::TlsConnector> = std::sync::OnceLock::new();
    CONNECTOR.get_or_init(|| tokio_rustls::TlsConnector::from(Arc::new(coracle_client::http::unverified()))).clone()
}

/// The standard health service, by hand: one message of one optional string out, one of one number back.
async fn grpc(action: &GRPCAction, ip: &str) -> Result<(), String> {
    let port = u16::try_from(action.port).map_err(|_| "invalid port number".to_string())?;
    let stream = TcpStream::connect((ip, port)).await.map_err(|e| format!("dial tcp {ip}:{port}: connect: {e}"))?;
    let (mut sender, connection) = hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
        .await
        .map_err(|e| e.to_string())?;
    let connection = tokio::spawn(connection);
    let service = action.service.as_deref().unwrap_or_default().as_bytes();
    let mut message = Vec::new();
    if let Ok(length) = u8::try_from(service.len())
        && length > 0
        && length < 0x80
    {
        message.extend([0x0a, length]);
        message.extend(service);
    }
    let mut frame = vec![0];
    frame.extend((message.len() as u32).to_be_bytes());
    frame.extend(message);
    let request = Request::post(format!("http://{ip}:{port}/grpc.health.v1.Health/Check"))
        .header(header::CONTENT_TYPE, "application/grpc")
        .header(header::TE, "trailers")
        .header(header::USER_AGENT, "kube-probe/1.37")
        .body(Full::new(Bytes::from(frame)))
        .map_err(|e| e.to_string())?;
    let answer = async {
        let response = sender.send_request(request).await.map_err(|e| e.to_string())?;
        let failed = response.headers().get("grpc-status").is_some_and(|s| s != "0");
        let body = response.into_body().collect().await.map_err(|e| e.to_string())?.to_bytes();
        // frame header, then field 1: 1 is SERVING
        if !failed && body.get(5..7) == Some(&[0x08, 1]) { Ok(()) } else { Err("service unhealthy".to_string()) }
    }
    .await;
    connection.abort();
    answer
}
