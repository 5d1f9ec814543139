//! `CONNECT`: the way into the pod network for an API server that is not inside it.
//!
//! Who may use the node's API may already run commands in its pods; this adds no right. Only pods of this node are reached: the node's own
//! ports, and what else it can reach, are not the caller's.

use super::{Body, answer, whole};
use crate::context::Node;
use bytes::Bytes;
use coracle_api::{Result, Status};
use http::{Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use std::{
    io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};
use tokio::net::TcpStream;

/// How long a connection may take to be made.
const DIAL: Duration = Duration::from_secs(30);

pub(super) async fn serve(node: Arc<Node>, request: Request<Incoming>) -> Result<Response<Body>> {
    let target: SocketAddr = request
        .uri()
        .authority()
        .and_then(|a| a.as_str().parse().ok())
        .ok_or_else(|| Status::bad_request("CONNECT takes an address and a port"))?;
    if !is_own(&node, target.ip()) {
        return Err(Status::new(403, "Forbidden", format!("{} is no pod of this node", target.ip())));
    }
    let stream = match tokio::time::timeout(DIAL, TcpStream::connect(target)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return Ok(failed(&said(&error))),
        Err(_) => return Ok(failed("i/o timeout")),
    };
    // a socket that refuses is only slower
    let _ = stream.set_nodelay(true);
    node.tasks.spawn("tunnel", join(hyper::upgrade::on(request), stream));
    Ok(Response::new(whole(Bytes::new())))
}

async fn join(client: hyper::upgrade::OnUpgrade, mut stream: TcpStream) {
    if let Ok(client) = client.await {
        // either side may hang up at any time; there is nobody left to tell
        let _ = tokio::io::copy_bidirectional(&mut TokioIo::new(client), &mut stream).await;
    }
}

fn failed(why: &str) -> Response<Body> {
    answer(StatusCode::BAD_GATEWAY, "text/plain; charset=utf-8", why.to_string())
}

fn is_own(node: &Node, address: IpAddr) -> bool {
    let of = |ip: &Option<String>| ip.as_ref().and_then(|ip| ip.parse::<IpAddr>().ok());
    node.pods.all().iter().any(|(_, ip)| of(ip) == Some(address))
}

/// An error of connecting, as Go's clients say it: the server passes it on as if it had been its own.
fn said(error: &io::Error) -> String {
    match error.raw_os_error().map(nix::errno::Errno::from_raw) {
        Some(errno) => format!("connect: {}", errno.desc().to_lowercase()),
        None => error.to_string(),
    }
}
