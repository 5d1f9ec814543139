//! The edge: sockets, TLS, HTTP/1.1 and HTTP/2. What is inside a request is not decided here.

pub mod body;
mod gather;
pub mod negotiate;
pub mod warning;
pub mod websocket;

use body::Body;
use coracle_base::Tasks;
use gather::Gather;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto,
};
use nix::sys::socket::{setsockopt, sockopt};
use std::{convert::Infallible, future::Future, net::SocketAddr, sync::Arc, time::Duration};
use tokio::{
    io::AsyncWriteExt,
    net::{TcpListener, TcpStream},
};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

/// Who is at the other end of a connection.
#[derive(Clone, Debug)]
pub struct Peer {
    /// Its address.
    pub address: SocketAddr,
    /// Its certificate (DER), if it showed one; the TLS stack has verified it.
    pub certificate: Option<Arc<[u8]>>,
}

/// A peer that does not finish its handshake holds a socket; it gets this long.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// How long open requests may go on once the server is asked to stop.
const DRAIN: Duration = Duration::from_secs(5);
/// How often a silent peer is asked whether it is there.
const IDLE_SECONDS: u32 = 30;
/// How long a peer may leave unread what was sent to it: a client that stopped reading its watch does not hold it for ever.
const UNREAD_MILLISECONDS: u32 = 180_000;
/// The largest request header block, as upstream.
const MAX_HEADER_BYTES: u32 = 1 << 20;

/// Accepts connections until `tasks` is stopped and answers every request with `handler`.
pub async fn serve<H, F>(listener: TcpListener, tls: TlsAcceptor, tasks: Tasks, handler: H)
where
    H: Fn(Peer, Request<Incoming>) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Response<Body>> + Send + 'static,
{
    let stop = tasks.token();
    loop {
        let (stream, address) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                // out of file descriptors, most likely: the next accept would fail at once too
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        let (tls, stop, handler) = (tls.clone(), stop.clone(), handler.clone());
        // not through `tasks`: a connection drains by itself instead of being dropped
        tokio::spawn(async move {
            if let Err(error) = connection(stream, address, tls, stop, handler).await {
                tracing::debug!(%address, error, "connection ended");
            }
        });
    }
}

/// Lets the kernel end the connection of a peer that is gone, or that takes nothing although something is there for it.
fn mortal(stream: &TcpStream) -> nix::Result<()> {
    setsockopt(stream, sockopt::KeepAlive, &true)?;
    setsockopt(stream, sockopt::TcpKeepIdle, &IDLE_SECONDS)?;
    setsockopt(stream, sockopt::TcpKeepInterval, &IDLE_SECONDS)?;
    setsockopt(stream, sockopt::TcpUserTimeout, &UNREAD_MILLISECONDS)
}

async fn connection<H, F>(
    stream: TcpStream,
    address: SocketAddr,
    tls: TlsAcceptor,
    stop: CancellationToken,
    handler: H,
) -> Result<(), String>
where
    H: Fn(Peer, Request<Incoming>) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Response<Body>> + Send + 'static,
{
    stream.set_nodelay(true).map_err(|e| e.to_string())?;
    mortal(&stream).map_err(|e| e.to_string())?;
    let accepted = async {
        match tls.accept(Gather::new(stream)).into_fallible().await {
            Ok(stream) => Ok(stream),
            Err((error, mut stream)) => {
                // the alert that tells the other side why
                let _ = stream.flush().await;
                Err(format!("TLS handshake: {error}"))
            }
        }
    };
    let stream = tokio::time::timeout(HANDSHAKE, accepted)
        .await
        .map_err(|_| "the TLS handshake took too long".to_string())??;
    let certificate = stream.get_ref().1.peer_certificates().and_then(|c| c.first()).map(|c| Arc::from(c.as_ref()));
    let peer = Peer { address, certificate };
    let service = hyper::service::service_fn(move |request| {
        let answer = handler(peer.clone(), request);
        async move { Ok::<_, Infallible>(answer.await) }
    });
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(Some(Duration::from_secs(30)));
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(1000)
        .max_header_list_size(MAX_HEADER_BYTES)
        .keep_alive_interval(Some(Duration::from_secs(30)));
    let connection = builder.serve_connection_with_upgrades(TokioIo::new(stream), service);
    tokio::pin!(connection);
    tokio::select! {
        ended = connection.as_mut() => return ended.map_err(|e| e.to_string()),
        () = stop.cancelled() => connection.as_mut().graceful_shutdown(),
    }
    tokio::time::timeout(DRAIN, connection)
        .await
        .map_err(|_| "drained too slowly".to_string())?
        .map_err(|e| e.to_string())
}
