//! A server and a client for small JSON answers.

use anyhow::{Context, Result, bail};
use http_body_util::{BodyExt, Full};
use hyper::{Method, Request, Response, StatusCode, body::Bytes, body::Incoming, service::service_fn};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use std::{convert::Infallible, time::Duration};
use tokio::net::{TcpListener, TcpStream};

/// Serves `answer(method, path, body)` at `address` until the program ends. `None` is 404.
pub async fn serve(
    address: &str,
    answer: impl Fn(&Method, &str, &str) -> Option<Value> + Clone + 'static,
) -> Result<()> {
    let listener = TcpListener::bind(address).await.with_context(|| format!("{address} cannot be listened on"))?;
    let local = tokio::task::LocalSet::new();
    local
        .run_until(async move {
            loop {
                let (stream, _) = listener.accept().await?;
                let answer = answer.clone();
                tokio::task::spawn_local(async move {
                    let service = service_fn(move |request| respond(request, answer.clone()));
                    // a client that goes away is its own business
                    let _ = hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service)
                        .await;
                });
            }
        })
        .await
}

async fn respond(
    request: Request<Incoming>,
    answer: impl Fn(&Method, &str, &str) -> Option<Value>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let (parts, body) = request.into_parts();
    let body = body.collect().await.map(|b| b.to_bytes()).unwrap_or_default();
    let answered = answer(&parts.method, parts.uri.path(), &String::from_utf8_lossy(&body));
    let status = if answered.is_some() { StatusCode::OK } else { StatusCode::NOT_FOUND };
    let text = answered.unwrap_or_default().to_string();
    let mut response = Response::new(Full::new(Bytes::from(text)));
    *response.status_mut() = status;
    Ok(response)
}

/// GET on a connection of its own, within `limit`.
pub async fn get(address: &str, path: &str, limit: Duration) -> Result<Value> {
    request("GET", address, path, "", limit).await
}

/// A request on a connection of its own, answered within `limit`.
pub async fn request(method: &str, address: &str, path: &str, body: &str, limit: Duration) -> Result<Value> {
    match tokio::time::timeout(limit, ask(method, address, path, body)).await {
        Ok(result) => result,
        Err(_) => bail!("no answer from {address} within {} ms", limit.as_millis()),
    }
}

async fn ask(method: &str, address: &str, path: &str, body: &str) -> Result<Value> {
    let stream = TcpStream::connect(address).await?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let driving = tokio::spawn(connection);
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header("host", address)
        .header("connection", "close")
        .body(Full::new(Bytes::from(body.to_string())))?;
    let response = sender.send_request(request).await?;
    let status = response.status();
    let body = response.into_body().collect().await?.to_bytes();
    driving.abort();
    if !status.is_success() {
        bail!("{status}");
    }
    Ok(serde_json::from_slice(&body)?)
}
