//! Gathers what is written to a socket until it is flushed: a large answer leaves in few system calls instead of one for each TLS record or
//! HTTP/2 frame. Nothing waits here: whoever writes flushes when it has no more to say.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll, ready},
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// So much is gathered at most.
const MOST: usize = 128 << 10;
/// A buffer no larger than this is kept for the next write; connections that only wait are many.
const KEPT: usize = 4 << 10;

/// A stream whose writes are gathered.
pub struct Gather<S> {
    inner: S,
    buffer: Vec<u8>,
    /// How much of the buffer is written.
    written: usize,
}

impl<S> Gather<S> {
    /// Over `inner`.
    pub fn new(inner: S) -> Self {
        Self { inner, buffer: Vec::new(), written: 0 }
    }
}

impl<S: AsyncWrite + Unpin> Gather<S> {
    /// Writes all that was gathered.
    fn poll_drain(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.written < self.buffer.len() {
            let more = ready!(Pin::new(&mut self.inner).poll_write(cx, &self.buffer[self.written..]))?;
            if more == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.written += more;
        }
        self.written = 0;
        self.buffer.clear();
        self.buffer.shrink_to(KEPT);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Gather<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if this.buffer.len() >= MOST {
            ready!(this.poll_drain(cx))?;
        }
        let before = this.buffer.len();
        for slice in slices {
            let room = MOST.saturating_sub(this.buffer.len());
            this.buffer.extend_from_slice(&slice[..slice.len().min(room)]);
        }
        Poll::Ready(Ok(this.buffer.len() - before))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_drain(cx))?;
        Pin::new(&mut this.inner).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_drain(cx))?;
        Pin::new(&mut this.inner).poll_shutdown(cx)
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Gather<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_read(cx, into)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    #[tokio::test]
    async fn everything_arrives_in_order_and_only_when_flushed() {
        for (sizes, room) in [(&[1][..], 16), (&[0, 5, 3], 4), (&[MOST - 1, 2, 7], 1 << 20), (&[3 * MOST], 1000)] {
            let (near, mut far) = tokio::io::duplex(room);
            let sent: Vec<u8> = (0..sizes.iter().sum::<usize>()).map(|n| n as u8).collect();
            let (pieces, expected) = (sizes.to_vec(), sent.clone());
            let writing = tokio::spawn(async move {
                let (mut gather, mut rest) = (Gather::new(near), sent.as_slice());
                for size in pieces {
                    let (piece, after) = rest.split_at(size);
                    gather.write_all(piece).await.unwrap();
                    rest = after;
                }
                gather.flush().await.unwrap();
                assert!(gather.buffer.is_empty() && gather.buffer.capacity() <= KEPT);
                gather.write_all(b"!").await.unwrap();
                assert_eq!(gather.buffer, b"!", "it waits to be flushed");
                gather.shutdown().await.unwrap();
            });
            let mut got = Vec::new();
            far.read_to_end(&mut got).await.unwrap();
            writing.await.unwrap();
            assert_eq!(got.split_last(), Some((&b'!', expected.as_slice())), "{sizes:?}");
        }
    }
}
