//! Streams over one WebSocket, as Kubernetes multiplexes them: the first byte of a message is its channel.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use futures::{SinkExt, StreamExt, stream::SplitSink};
use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        Message,
        protocol::{CloseFrame, frame::coding::CloseCode},
    },
};
use tokio_util::io::StreamReader;

/// What a protocol's name says of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Protocol {
    pub(super) name: &'static str,
    /// Messages are base64 text.
    pub(super) text: bool,
    /// The status channel carries a Status object (not bare text).
    pub(super) status: bool,
    /// Channels can be closed one by one.
    pub(super) close: bool,
}

/// Best first.
pub(super) const PROTOCOLS: [Protocol; 6] = [
    Protocol { name: "v5.channel.k8s.io", text: false, status: true, close: true },
    Protocol { name: "v4.channel.k8s.io", text: false, status: true, close: false },
    Protocol { name: "v4.base64.channel.k8s.io", text: true, status: true, close: false },
    Protocol { name: "channel.k8s.io", text: false, status: false, close: false },
    Protocol { name: "base64.channel.k8s.io", text: true, status: false, close: false },
    Protocol { name: "", text: false, status: false, close: false },
];

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
            Message::Text(text) if self.text => match text.as_str().split_at_checked(1) {
                Some((channel, rest)) => match (channel.parse(), STANDARD.decode(rest)) {
                    (Ok(channel), Ok(data)) => Received::Data(channel, data.into()),
                    _ => Received::Nothing,
                },
                None => Received::Nothing,
            },
            Message::Close(_) => Received::End,
            _ => Received::Nothing,
        }
    }
}

/// The end of a session that went well: clients take a close without a code for a broken connection.
pub(super) fn goodbye() -> Message {
    Message::Close(Some(CloseFrame { code: CloseCode::Normal, reason: Default::default() }))
}

/// A WebSocket as a plain stream of bytes: binary messages, whose borders mean nothing.
pub(super) fn bytes<S>(socket: WebSocketStream<S>) -> (impl AsyncRead + Unpin + Send, impl AsyncWrite + Unpin + Send)
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
{
    let (sink, stream) = socket.split();
    let pieces = stream.filter_map(|message| {
        std::future::ready(match message {
            Ok(Message::Binary(data)) => Some(Ok(data)),
            Ok(_) => None,
            Err(error) => Some(Err(io::Error::other(error))),
        })
    });
    (StreamReader::new(pieces), Messages(sink))
}

/// What is written becomes messages.
struct Messages<S>(SplitSink<WebSocketStream<S>, Message>);

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Messages<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        ready!(self.0.poll_ready_unpin(cx)).map_err(io::Error::other)?;
        let message = Message::binary(Bytes::copy_from_slice(data));
        self.0.start_send_unpin(message).map_err(io::Error::other)?;
        Poll::Ready(Ok(data.len()))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.poll_flush_unpin(cx).map_err(io::Error::other)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.poll_close_unpin(cx).map_err(io::Error::other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_carry_their_channel() {
        let (v5, v4, text) = (PROTOCOLS[0], PROTOCOLS[1], PROTOCOLS[2]);
        for (protocol, message, expected) in [
            (v5, Message::binary(vec![0, b'h', b'i']), Received::Data(0, Bytes::from_static(b"hi"))),
            (v5, Message::binary(vec![255, 0]), Received::Close(0)),
            (v4, Message::binary(vec![255, 0]), Received::Data(255, Bytes::from_static(&[0]))),
            (text, Message::text("0aGk="), Received::Data(0, Bytes::from_static(b"hi"))),
            (text, Message::text("ä0"), Received::Nothing),
            (text, Message::text(""), Received::Nothing),
            (v5, Message::Close(None), Received::End),
            (v5, Message::binary(vec![]), Received::Nothing),
        ] {
            assert_eq!(protocol.read(message), expected);
        }
        assert_eq!(v5.message(1, b"x"), Message::binary(vec![1, b'x']));
        assert_eq!(text.message(1, b"x"), Message::text("1eA=="));
    }
}
