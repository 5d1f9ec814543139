//! Streams over one WebSocket, as Kubernetes multiplexes them: the first byte of a message is its channel.

use super::Body;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use coracle_api::{Result, Status};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, header};
use hyper::{body::Incoming, upgrade::OnUpgrade};
use hyper_util::rt::TokioIo;
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        Message,
        handshake::derive_accept_key,
        protocol::{CloseFrame, Role, frame::coding::CloseCode},
    },
};

/// An upgraded connection.
pub(super) type Socket = WebSocketStream<TokioIo<hyper::upgrade::Upgraded>>;

/// What a protocol's name says of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Protocol {
    name: &'static str,
    /// Messages are base64 text.
    pub(super) text: bool,
    /// The status channel carries a Status object (not bare text).
    pub(super) status: bool,
    /// Channels can be closed one by one.
    pub(super) close: bool,
}

/// Best first.
const PROTOCOLS: [Protocol; 6] = [
    Protocol { name: "v5.channel.k8s.io", text: false, status: true, close: true },
    Protocol { name: "v4.channel.k8s.io", text: false, status: true, close: false },
    Protocol { name: "v4.base64.channel.k8s.io", text: true, status: true, close: false },
    Protocol { name: "channel.k8s.io", text: false, status: false, close: false },
    Protocol { name: "base64.channel.k8s.io", text: true, status: false, close: false },
    Protocol { name: "", text: false, status: false, close: false },
];

fn choose(headers: &HeaderMap) -> Option<Protocol> {
    let asked: Vec<&str> = headers
        .get_all(header::SEC_WEBSOCKET_PROTOCOL)
        .iter()
        .filter_map(|v| v.to_str().ok())
        .flat_map(|v| v.split(','))
        .map(str::trim)
        .collect();
    if asked.is_empty() {
        return Some(PROTOCOLS[5]);
    }
    PROTOCOLS.into_iter().find(|p| asked.contains(&p.name))
}

/// A connection about to become a WebSocket.
pub(super) struct Upgrade {
    pub(super) protocol: Protocol,
    upgrade: OnUpgrade,
}

impl Upgrade {
    /// Agrees to an upgrade; the answer must be sent before [`Upgrade::socket`] completes.
    ///
    /// # Errors
    /// When the request asks for something else than a WebSocket with a known protocol.
    pub(super) fn accept(request: Request<Incoming>) -> Result<(Self, Response<Body>)> {
        let headers = request.headers();
        let is = |name: header::HeaderName, value: &str| {
            headers.get(name).and_then(|v| v.to_str().ok()).is_some_and(|v| v.to_lowercase().contains(value))
        };
        let key = headers.get(header::SEC_WEBSOCKET_KEY).cloned();
        let (true, Some(key)) = (is(header::UPGRADE, "websocket"), key) else {
            return Err(Status::bad_request(
                "Upgrade request required: this node speaks WebSocket (v5.channel.k8s.io, v4.channel.k8s.io), not SPDY",
            ));
        };
        let protocol = choose(headers).ok_or_else(|| {
            Status::new(
                403,
                "Forbidden",
                "none of the requested WebSocket protocols is known: use v5.channel.k8s.io or v4.channel.k8s.io",
            )
        })?;
        let mut response = Response::new(super::whole(Bytes::new()));
        *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        let out = response.headers_mut();
        out.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
        out.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
        let accepted = derive_accept_key(key.as_bytes());
        out.insert(header::SEC_WEBSOCKET_ACCEPT, HeaderValue::from_str(&accepted).map_err(Status::internal)?);
        if !protocol.name.is_empty() {
            out.insert(header::SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(protocol.name));
        }
        Ok((Self { protocol, upgrade: hyper::upgrade::on(request) }, response))
    }

    pub(super) async fn socket(self) -> std::result::Result<Socket, hyper::Error> {
        let io = TokioIo::new(self.upgrade.await?);
        Ok(WebSocketStream::from_raw_socket(io, Role::Server, None).await)
    }
}

/// What a client sent.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Received {
    /// Data for a channel.
    Data(u8, Bytes),
    /// No more data for a channel.
    Close(u8),
    /// The connection ends.
    End,
    /// Nothing of interest.
    Nothing,
}

impl Protocol {
    /// A message for a channel.
    pub(super) fn message(self, channel: u8, data: &[u8]) -> Message {
        if self.text {
            return Message::text(format!("{}{}", char::from(b'0' + channel), STANDARD.encode(data)));
        }
        let mut out = Vec::with_capacity(data.len() + 1);
        out.push(channel);
        out.extend_from_slice(data);
        Message::binary(out)
    }

    pub(super) fn read(self, message: Message) -> Received {
        match message {
            Message::Binary(data) if data.len() == 2 && data[0] == 255 && self.close => Received::Close(data[1]),
            Message::Binary(data) if !data.is_empty() => Received::Data(data[0], data.slice(1..)),
            Message::Text(text) if self.text && !text.is_empty() => {
                let (channel, rest) = text.as_str().split_at(1);
                match (channel.parse(), STANDARD.decode(rest)) {
                    (Ok(channel), Ok(data)) => Received::Data(channel, data.into()),
                    _ => Received::Nothing,
                }
            }
            Message::Close(_) => Received::End,
            _ => Received::Nothing,
        }
    }
}

/// The end of a session that went well: clients take a close without a code for a broken connection.
pub fn goodbye() -> Message {
    Message::Close(Some(CloseFrame { code: CloseCode::Normal, reason: Default::default() }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_protocol_is_chosen() {
        for (asked, expected) in [
            (Some("v4.channel.k8s.io, v5.channel.k8s.io"), Some("v5.channel.k8s.io")),
            (Some("v4.channel.k8s.io"), Some("v4.channel.k8s.io")),
            (Some("base64.channel.k8s.io"), Some("base64.channel.k8s.io")),
            (Some("nonsense"), None),
            (None, Some("")),
        ] {
            let mut headers = HeaderMap::new();
            if let Some(asked) = asked {
                headers.insert(header::SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_str(asked).unwrap());
            }
            assert_eq!(choose(&headers).map(|p| p.name), expected, "{asked:?}");
        }
    }

    #[test]
    fn messages_carry_their_channel() {
        let (v5, v4, text) = (PROTOCOLS[0], PROTOCOLS[1], PROTOCOLS[2]);
        for (protocol, message, expected) in [
            (v5, Message::binary(vec![0, b'h', b'i']), Received::Data(0, Bytes::from_static(b"hi"))),
            (v5, Message::binary(vec![255, 0]), Received::Close(0)),
            (v4, Message::binary(vec![255, 0]), Received::Data(255, Bytes::from_static(&[0]))),
            (text, Message::text("0aGk="), Received::Data(0, Bytes::from_static(b"hi"))),
            (v5, Message::Close(None), Received::End),
            (v5, Message::binary(vec![]), Received::Nothing),
        ] {
            assert_eq!(protocol.read(message), expected);
        }
        assert_eq!(v5.message(1, b"x"), Message::binary(vec![1, b'x']));
        assert_eq!(text.message(1, b"x"), Message::text("1eA=="));
    }
}
