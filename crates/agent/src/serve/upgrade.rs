//! Connections that stop being HTTP: to WebSocket with one of Kubernetes' protocols, to SPDY/3.1, or to SPDY/3.1 inside a WebSocket.

use super::{
    Body, answer,
    channels::{self, PROTOCOLS, Protocol},
    spdy::Connection,
    whole,
};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, header};
use hyper::{body::Incoming, upgrade::OnUpgrade};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        handshake::derive_accept_key,
        protocol::{Role, WebSocketConfig},
    },
};

/// An upgraded connection that speaks WebSocket.
pub(super) type Socket = WebSocketStream<TokioIo<hyper::upgrade::Upgraded>>;

const SPDY: &str = "SPDY/3.1";
const STREAM_PROTOCOL: &str = "x-stream-protocol-version";
const STREAM_PROTOCOLS: &str = "x-accepted-stream-protocol-versions";
/// What may wait in a socket while nobody reads it: idle connections are many.
const SOCKET_BUFFER: usize = 4 << 10;
/// Clients send pieces of some ten kilobytes; what is larger than this has gone astray.
const MOST_MESSAGE: usize = 16 << 20;

/// What a path offers to who asks for an upgrade.
pub(super) struct Offer {
    /// Protocols over SPDY.
    pub(super) spdy: &'static [&'static str],
    /// The WebSocket protocol that carries SPDY.
    pub(super) tunnel: Option<&'static str>,
}

/// What a connection speaks from now on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Spoken {
    /// Channels over a WebSocket.
    Channels(Protocol),
    /// SPDY, with this protocol on it.
    Spdy(&'static str),
    /// SPDY inside a WebSocket, by this name.
    Tunnel(&'static str),
}

/// A connection about to be upgraded.
pub(super) struct Upgrade {
    pub(super) spoken: Spoken,
    upgrade: OnUpgrade,
}

/// An upgraded connection.
pub(super) enum Upgraded {
    /// Channels over a WebSocket.
    Channels(Box<Socket>, Protocol),
    /// SPDY, with this protocol on it.
    Spdy(Connection, &'static str),
}

impl Upgrade {
    /// Agrees to an upgrade; the answer must be sent before [`Upgrade::complete`] does.
    ///
    /// # Errors
    /// The refusal, when the request asks for something else than what is offered.
    pub(super) fn accept(request: Request<Incoming>, offer: &Offer) -> Result<(Self, Response<Body>), Response<Body>> {
        let spoken = choose(request.headers(), offer)?;
        let mut response = Response::new(whole(Bytes::new()));
        *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        let out = response.headers_mut();
        out.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
        match spoken {
            Spoken::Spdy(protocol) => {
                out.insert(header::UPGRADE, HeaderValue::from_static(SPDY));
                out.insert(STREAM_PROTOCOL, HeaderValue::from_static(protocol));
            }
            Spoken::Channels(Protocol { name, .. }) | Spoken::Tunnel(name) => {
                out.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
                let key = request.headers().get(header::SEC_WEBSOCKET_KEY).map(HeaderValue::as_bytes);
                if let Ok(accepted) = HeaderValue::from_str(&derive_accept_key(key.unwrap_or_default())) {
                    out.insert(header::SEC_WEBSOCKET_ACCEPT, accepted);
                }
                if !name.is_empty() {
                    out.insert(header::SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(name));
                }
            }
        }
        Ok((Self { spoken, upgrade: hyper::upgrade::on(request) }, response))
    }

    /// The connection, once the client has the answer.
    ///
    /// # Errors
    /// When it is gone by then.
    pub(super) async fn complete(self) -> Result<Upgraded, hyper::Error> {
        let io = TokioIo::new(self.upgrade.await?);
        let protocol = match self.spoken {
            Spoken::Spdy(protocol) => {
                let (reader, writer) = tokio::io::split(io);
                return Ok(Upgraded::Spdy(Connection::new(reader, writer), protocol));
            }
            Spoken::Channels(protocol) => Some(protocol),
            Spoken::Tunnel(_) => None,
        };
        let socket = socket(io).await;
        Ok(match protocol {
            Some(protocol) => Upgraded::Channels(Box::new(socket), protocol),
            None => {
                let (reader, writer) = channels::bytes(socket);
                Upgraded::Spdy(Connection::new(reader, writer), "")
            }
        })
    }
}

/// The server's end of a WebSocket whose handshake is done.
pub(super) async fn socket<S: AsyncRead + AsyncWrite + Unpin>(io: S) -> WebSocketStream<S> {
    let config = WebSocketConfig::default()
        .read_buffer_size(SOCKET_BUFFER)
        .write_buffer_size(0)
        .max_message_size(Some(MOST_MESSAGE))
        .max_frame_size(Some(MOST_MESSAGE));
    WebSocketStream::from_raw_socket(io, Role::Server, Some(config)).await
}

fn refusal(code: StatusCode, why: &str) -> Response<Body> {
    answer(code, "text/plain; charset=utf-8", format!("{why}\n"))
}

/// All values of a header, also those that share a line.
fn values<'a>(headers: &'a HeaderMap, name: &str) -> Vec<&'a str> {
    let lines = headers.get_all(name).iter().filter_map(|v| v.to_str().ok());
    lines.flat_map(|v| v.split(',')).map(str::trim).filter(|v| !v.is_empty()).collect()
}

fn choose(headers: &HeaderMap, offer: &Offer) -> Result<Spoken, Response<Body>> {
    let upgrade = values(headers, "upgrade");
    let asks = |what: &str| upgrade.iter().any(|u| u.eq_ignore_ascii_case(what));
    if asks(SPDY) {
        return choose_spdy(&values(headers, STREAM_PROTOCOL), offer);
    }
    if !asks("websocket") || !headers.contains_key(header::SEC_WEBSOCKET_KEY) {
        return Err(refusal(StatusCode::BAD_REQUEST, "Upgrade request required"));
    }
    let asked = values(headers, "sec-websocket-protocol");
    if let Some(tunnel) = offer.tunnel.filter(|t| asked.contains(t)) {
        return Ok(Spoken::Tunnel(tunnel));
    }
    // who asks for none gets the one without a name
    let found = PROTOCOLS.into_iter().find(|p| asked.contains(&p.name) || asked.is_empty() && p.name.is_empty());
    found.map(Spoken::Channels).ok_or_else(|| {
        let known: Vec<&str> = PROTOCOLS.iter().map(|p| p.name).filter(|n| !n.is_empty()).chain(offer.tunnel).collect();
        let why =
            format!("unable to upgrade: client supports [{}], server accepts [{}]", asked.join(" "), known.join(" "));
        refusal(StatusCode::FORBIDDEN, &why)
    })
}

fn choose_spdy(asked: &[&str], offer: &Offer) -> Result<Spoken, Response<Body>> {
    if asked.is_empty() {
        return Err(refusal(StatusCode::BAD_REQUEST, "unable to upgrade: X-Stream-Protocol-Version is required"));
    }
    // the first of the client's, as upstream
    let found = asked.iter().find_map(|a| offer.spdy.iter().find(|known| *known == a));
    found.map(|known| Spoken::Spdy(known)).ok_or_else(|| {
        let why = format!(
            "unable to upgrade: unable to negotiate protocol: client supports [{}], server accepts [{}]",
            asked.join(" "),
            offer.spdy.join(" ")
        );
        let mut response = refusal(StatusCode::FORBIDDEN, &why);
        for known in offer.spdy {
            response.headers_mut().append(STREAM_PROTOCOLS, HeaderValue::from_static(known));
        }
        response
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const OFFER: Offer =
        Offer { spdy: &["v4.channel.k8s.io", "channel.k8s.io"], tunnel: Some("SPDY/3.1+portforward.k8s.io") };

    /// What a request with these headers gets.
    fn check(lines: &[(&'static str, &'static str)]) -> String {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, HeaderValue::from_static(value));
        }
        match choose(&headers, &OFFER) {
            Ok(Spoken::Channels(protocol)) => format!("channels {}", protocol.name),
            Ok(Spoken::Spdy(name)) => format!("spdy {name}"),
            Ok(Spoken::Tunnel(name)) => format!("tunnel {name}"),
            Err(response) => response.status().as_u16().to_string(),
        }
    }

    #[test]
    fn what_is_asked_for_is_spoken() {
        let socket = [("upgrade", "websocket"), ("sec-websocket-key", "eA==")];
        let spdy = [("upgrade", "SPDY/3.1")];
        for (base, name, value, expected) in [
            (
                &socket[..],
                "sec-websocket-protocol",
                "v4.channel.k8s.io, v5.channel.k8s.io",
                "channels v5.channel.k8s.io",
            ),
            (&socket, "sec-websocket-protocol", "v4.channel.k8s.io", "channels v4.channel.k8s.io"),
            (&socket, "sec-websocket-protocol", "base64.channel.k8s.io", "channels base64.channel.k8s.io"),
            (&socket, "sec-websocket-protocol", "SPDY/3.1+portforward.k8s.io", "tunnel SPDY/3.1+portforward.k8s.io"),
            (&socket, "sec-websocket-protocol", "nonsense", "403"),
            (&socket, "x-else", "", "channels "),
            (&socket[..1], "x-else", "", "400"),
            (&spdy, "x-stream-protocol-version", "v5.channel.k8s.io,v4.channel.k8s.io", "spdy v4.channel.k8s.io"),
            (&spdy, "x-stream-protocol-version", "channel.k8s.io", "spdy channel.k8s.io"),
            (&spdy, "x-stream-protocol-version", "v9.channel.k8s.io", "403"),
            (&spdy, "x-else", "", "400"),
            (&[], "x-else", "", "400"),
        ] {
            let lines: Vec<_> = base.iter().copied().chain([(name, value)]).collect();
            assert_eq!(check(&lines), expected, "{lines:?}");
        }
    }

    #[test]
    fn a_refusal_names_what_is_known() {
        let refused = choose_spdy(&["x"], &OFFER).err().unwrap();
        let known: Vec<_> = refused.headers().get_all(STREAM_PROTOCOLS).iter().collect();
        assert_eq!(known, ["v4.channel.k8s.io", "channel.k8s.io"]);
    }
}
