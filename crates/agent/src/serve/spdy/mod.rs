//! SPDY/3.1, the server's half: many streams over one connection, each with headers of its own.
//!
//! HTTP has left it behind; Kubernetes' clients have not. kubectl before 1.31, and everything that is built with an older client-go, speaks
//! it for exec, attach and port-forward; newer ones tunnel it through a WebSocket for port-forward. The text of the protocol is
//! <https://www.chromium.org/spdy/spdy-protocol/spdy-protocol-draft3-1/>. Left out is what only HTTP needs: pushed streams, credentials,
//! priorities.
//!
//! [`frame`] and [`headers`] are values without I/O; [`connection`] moves them.

mod connection;
mod frame;
mod headers;
#[cfg(test)]
mod tests;

pub(super) use connection::{Connection, Stream, StreamReader, StreamWriter};

/// What the other side did that the protocol does not allow; the connection cannot go on.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(super) enum Violation {
    /// A frame of another version.
    #[error("a frame of SPDY version {0} instead of 3")]
    Version(u16),
    /// A frame whose length does not fit its type.
    #[error("a frame of type {0} with {1} bytes")]
    Length(u16, usize),
    /// Headers that cannot be unpacked or read.
    #[error("the headers of a stream cannot be read: {0}")]
    Headers(&'static str),
}
