//! HTTP/2 connections to the server, shared by all requests.
//!
//! A connection carries a bounded number of requests at once, below what servers allow, so that many watches never starve a call.

use super::{HttpConfig, Identity, tls};
use bytes::Bytes;
use coracle_api::{Result, Status};
use http::{HeaderValue, Request, Response, Uri, header};
use http_body_util::Full;
use hyper::{body::Incoming, client::conn::http2};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use parking_lot::Mutex;
use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// Requests at once on one connection (servers allow 100 to 250).
const STREAMS: usize = 90;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// A server that does not answer a ping in this time is gone.
const PING: Duration = Duration::from_secs(5);

type Sender = http2::SendRequest<Full<Bytes>>;

#[derive(Clone)]
struct Connection {
    sender: Sender,
    streams: Arc<AtomicUsize>,
}

/// One request's place on its connection; given back when the body is read or dropped.
pub(super) struct Place(Arc<AtomicUsize>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A response and its place.
pub(super) struct Reply {
    pub(super) response: Response<Incoming>,
    pub(super) place: Place,
}

struct State {
    config: HttpConfig,
    tls: Option<TlsConnector>,
    connections: Vec<Connection>,
}

pub(super) struct Pool {
    server: String,
    host: String,
    port: u16,
    authority: String,
    state: Mutex<State>,
    /// One connection is made at a time: a hundred waiting requests shall share it.
    connecting: tokio::sync::Mutex<()>,
}

impl Pool {
    pub(super) fn new(config: HttpConfig) -> Result<Self> {
        let bad = |why: &str| Status::bad_request(format!("{:?} is not a server URL: {why}", config.server));
        let uri: Uri = config.server.parse().map_err(|_| bad("it cannot be read"))?;
        let host = uri.host().ok_or_else(|| bad("it names no host"))?.trim_matches(['[', ']']).to_string();
        let secure = match uri.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            _ => return Err(bad("use https://host:port")),
        };
        let port = uri.port_u16().unwrap_or(if secure { 443 } else { 80 });
        let authority = uri.authority().map(ToString::to_string).unwrap_or_default();
        let tls = if secure { Some(tls::connector(&config)?) } else { None };
        let server = config.server.trim_end_matches('/').to_string();
        let state = Mutex::new(State { config, tls, connections: Vec::new() });
        Ok(Self { server, host, port, authority, state, connecting: tokio::sync::Mutex::default() })
    }

    pub(super) fn server(&self) -> &str {
        &self.server
    }

    pub(super) fn set_identity(&self, identity: Identity) -> Result<()> {
        let mut state = self.state.lock();
        let config = HttpConfig { identity, ..state.config.clone() };
        if state.tls.is_some() {
            state.tls = Some(tls::connector(&config)?);
        }
        state.config = config;
        // those with requests on them live on until these end
        state.connections.clear();
        Ok(())
    }

    /// Sends one request. A request that never left is sent again on a new connection.
    pub(super) async fn send(&self, request: impl Fn() -> Request<Full<Bytes>>) -> Result<Reply> {
        let mut tried = 0;
        loop {
            let (mut sender, place) = self.place().await?;
            match sender.send_request(self.addressed(request())).await {
                Ok(response) => return Ok(Reply { response, place }),
                Err(error) => {
                    tried += 1;
                    if !(error.is_canceled() || error.is_closed()) || tried > 2 {
                        return Err(Status::unavailable(format!("{}: {}", self.server, chain(&error))));
                    }
                }
            }
        }
    }

    fn addressed(&self, mut request: Request<Full<Bytes>>) -> Request<Full<Bytes>> {
        let state = self.state.lock();
        let mut parts = std::mem::take(request.uri_mut()).into_parts();
        parts.scheme = Some(if state.tls.is_some() { http::uri::Scheme::HTTPS } else { http::uri::Scheme::HTTP });
        parts.authority = self.authority.parse().ok();
        *request.uri_mut() = Uri::from_parts(parts).unwrap_or_default();
        if let Identity::Token(token) = &state.config.identity
            && let Ok(mut value) = HeaderValue::from_str(&format!("Bearer {token}"))
        {
            value.set_sensitive(true);
            request.headers_mut().insert(header::AUTHORIZATION, value);
        }
        request
    }

    fn free(&self) -> Option<(Sender, Place)> {
        let mut state = self.state.lock();
        state.connections.retain(|c| !c.sender.is_closed());
        let free = state.connections.iter().find(|c| c.streams.load(Ordering::Relaxed) < STREAMS)?;
        free.streams.fetch_add(1, Ordering::Relaxed);
        Some((free.sender.clone(), Place(free.streams.clone())))
    }

    async fn place(&self) -> Result<(Sender, Place)> {
        if let Some(found) = self.free() {
            return Ok(found);
        }
        let _one = self.connecting.lock().await;
        if let Some(found) = self.free() {
            return Ok(found);
        }
        let sender = tokio::time::timeout(CONNECT_TIMEOUT, self.connect())
            .await
            .map_err(|_| Status::unavailable(format!("{} does not answer", self.server)))??;
        let connection = Connection { sender: sender.clone(), streams: Arc::new(AtomicUsize::new(1)) };
        let place = Place(connection.streams.clone());
        self.state.lock().connections.push(connection);
        Ok((sender, place))
    }

    async fn connect(&self) -> Result<Sender> {
        let unreachable =
            |e: &dyn std::fmt::Display| Status::unavailable(format!("cannot connect to {}: {e}", self.server));
        let tls = self.state.lock().tls.clone();
        let tcp = TcpStream::connect((self.host.as_str(), self.port)).await.map_err(|e| unreachable(&e))?;
        let _ = tcp.set_nodelay(true);
        match tls {
            None => handshake(TokioIo::new(tcp)).await,
            Some(tls) => {
                let name = tls::server_name(&self.host)?;
                let stream = tls.connect(name, tcp).await.map_err(|e| unreachable(&e))?;
                handshake(TokioIo::new(stream)).await
            }
        }
        .map_err(|e| unreachable(&chain(&e)))
    }
}

async fn handshake<I>(io: I) -> hyper::Result<Sender>
where
    I: hyper::rt::Read + hyper::rt::Write + Unpin + Send + 'static,
{
    let (sender, connection) = http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .keep_alive_interval(Some(PING))
        .keep_alive_timeout(PING)
        .initial_stream_window_size(1 << 20)
        .initial_connection_window_size(4 << 20)
        .handshake(io)
        .await?;
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(error = %chain(&error), "connection to the server ended");
        }
    });
    Ok(sender)
}

/// An error with its causes: hyper's own messages say little without them.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}
