//! WebSockets of watches and logs: what they tell, each frame or piece a message of its own. What the client says is ignored, until it leaves.
//!
//! (exec and its like speak over WebSockets too; those connections are passed on to the agent, see `proxy`.)

use super::body::{self, Body, Pieces};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use coracle_api::{Result, Status};
use futures::{SinkExt, StreamExt};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, header};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        Message,
        handshake::derive_accept_key,
        protocol::{CloseFrame, Role, WebSocketConfig, frame::coding::CloseCode},
    },
};

/// What may wait in a socket while nobody reads it: idle watches are many.
const BUFFER: usize = 4 << 10;
/// Clients of a watch have nothing to say.
const MOST_HEARD: usize = 64 << 10;
/// Where browsers put the token of a WebSocket.
const BEARER: &str = "base64url.bearer.authorization.k8s.io.";

/// How a frame of a watch becomes a message.
pub type Framing = fn(Bytes) -> Option<Message>;

/// A frame of text.
pub fn text(frame: Bytes) -> Option<Message> {
    String::from_utf8(frame.into()).ok().map(Message::text)
}

/// A frame of bytes, without the length that stands before it where there are no messages.
pub fn binary(frame: Bytes) -> Option<Message> {
    (frame.len() > 4).then(|| Message::binary(frame.slice(4..)))
}

/// How the pieces of a log become messages, by the protocol that is asked for: bytes, or text in base64.
pub fn of_log(headers: &HeaderMap) -> Framing {
    match protocol(headers) {
        Some("base64.binary.k8s.io") => |piece| Some(Message::text(STANDARD.encode(piece))),
        _ => |piece| Some(Message::binary(piece)),
    }
}

/// Takes the handshake out of a request, which then asks for the same without a WebSocket.
pub fn without_handshake(headers: &mut HeaderMap) {
    let named = ["key", "version", "protocol", "extensions"].map(|what| format!("sec-websocket-{what}"));
    for name in ["connection", "upgrade"].into_iter().chain(named.iter().map(String::as_str)) {
        headers.remove(name);
    }
}

/// Whether a request asks for a WebSocket.
pub fn asked(headers: &HeaderMap) -> bool {
    let has = |name, word: &str| {
        let lines = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
        lines.flat_map(|line| line.split(',')).any(|said| said.trim().eq_ignore_ascii_case(word))
    };
    has(header::UPGRADE, "websocket") && has(header::CONNECTION, "upgrade")
}

/// Agrees to a WebSocket and tells the pieces on it; `held` lives as long as it does.
///
/// # Errors
/// 400 when it is no handshake.
pub fn accept<B>(
    request: Request<B>,
    pieces: Pieces,
    framing: Framing,
    held: impl Send + 'static,
) -> Result<Response<Body>> {
    let refused = |why: &str| Status::bad_request(format!("the WebSocket handshake failed: {why}"));
    let headers = request.headers();
    let key = headers.get(header::SEC_WEBSOCKET_KEY).ok_or_else(|| refused("there is no Sec-WebSocket-Key"))?;
    if headers.get(header::SEC_WEBSOCKET_VERSION).is_some_and(|version| version != "13") {
        return Err(refused("only version 13 is spoken"));
    }
    let mut response = Response::new(body::full(""));
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let out = response.headers_mut();
    out.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    out.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    let accepted = HeaderValue::from_str(&derive_accept_key(key.as_bytes()));
    out.insert(header::SEC_WEBSOCKET_ACCEPT, accepted.map_err(Status::internal)?);
    if let Some(protocol) = protocol(headers).and_then(|name| HeaderValue::from_str(name).ok()) {
        out.insert(header::SEC_WEBSOCKET_PROTOCOL, protocol);
    }
    let upgrade = hyper::upgrade::on(request);
    tokio::spawn(async move {
        tell(upgrade, pieces, framing).await;
        drop(held);
    });
    Ok(response)
}

/// The one protocol that is asked for. It changes nothing, but clients give up if theirs is not named.
fn protocol(headers: &HeaderMap) -> Option<&str> {
    let lines = headers.get_all(header::SEC_WEBSOCKET_PROTOCOL).iter().filter_map(|value| value.to_str().ok());
    let mut named = lines.flat_map(|line| line.split(',')).map(str::trim).filter(|name| !name.starts_with(BEARER));
    named.next().filter(|name| !name.is_empty() && named.next().is_none())
}

async fn tell(upgrade: OnUpgrade, mut pieces: Pieces, framing: Framing) {
    let Ok(connection) = upgrade.await else { return };
    let config = WebSocketConfig::default()
        .read_buffer_size(BUFFER)
        .write_buffer_size(0)
        .max_message_size(Some(MOST_HEARD))
        .max_frame_size(Some(MOST_HEARD));
    let socket = WebSocketStream::from_raw_socket(TokioIo::new(connection), Role::Server, Some(config)).await;
    let (mut sink, mut heard) = socket.split();
    loop {
        tokio::select! {
            piece = pieces.next() => {
                let Some(message) = piece.and_then(framing) else { break };
                if sink.send(message).await.is_err() {
                    return;
                }
            }
            said = heard.next() => if !matches!(said, Some(Ok(_))) { return },
        }
    }
    // nobody is left to tell if this fails
    let _ = sink.send(Message::Close(Some(CloseFrame { code: CloseCode::Normal, reason: Default::default() }))).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_asks_for_a_websocket() {
        for (upgrade, connection, protocols, expected) in [
            ("websocket", "Upgrade", "", (true, None)),
            ("WebSocket", "keep-alive, upgrade", "a", (true, Some("a"))),
            (
                "websocket",
                "Upgrade",
                "base64url.bearer.authorization.k8s.io.dG9rZW4, base64.binary.k8s.io",
                (true, Some("base64.binary.k8s.io")),
            ),
            ("websocket", "Upgrade", "a, b", (true, None)),
            ("websocket", "close", "", (false, None)),
            ("SPDY/3.1", "Upgrade", "", (false, None)),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::UPGRADE, HeaderValue::from_static(upgrade));
            headers.insert(header::CONNECTION, HeaderValue::from_static(connection));
            headers.insert(header::SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(protocols));
            assert_eq!((asked(&headers), protocol(&headers)), expected, "{upgrade} {connection} {protocols}");
        }
    }

    #[test]
    fn pieces_of_logs_follow_the_protocol() {
        for (protocol, expected) in [
            ("binary.k8s.io", Message::binary("one")),
            ("", Message::binary("one")),
            ("base64.binary.k8s.io", Message::text("b25l")),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(protocol));
            headers.insert(header::ACCEPT, HeaderValue::from_static("*/*"));
            assert_eq!(of_log(&headers)(Bytes::from_static(b"one")), Some(expected), "{protocol}");
            without_handshake(&mut headers);
            assert_eq!(headers.len(), 1, "{headers:?}");
        }
    }
}
