//! Reading for somebody else: in blocks that grow with what there is to read, so that thousands of quiet streams hold little.

use bytes::{Bytes, BytesMut};
use std::io;
use tokio::io::{AsyncRead, AsyncReadExt};

const SMALLEST: usize = 1 << 10;
const LARGEST: usize = 32 << 10;

/// How large the next block is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Block(usize);

impl Default for Block {
    fn default() -> Self {
        Self(SMALLEST)
    }
}

impl Block {
    /// After a read of so many bytes.
    fn after(self, read: usize) -> Self {
        match self.0 {
            size if read == size => Self((size * 4).min(LARGEST)),
            size if read < size / 8 => Self((size / 4).max(SMALLEST)),
            size => Self(size),
        }
    }

    /// Reads the next block; `None` at the end.
    pub(super) async fn read(&mut self, from: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<Bytes>> {
        let mut block = BytesMut::with_capacity(self.0);
        let read = from.read_buf(&mut block).await?;
        *self = self.after(read);
        Ok((read > 0).then(|| block.freeze()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_follow_what_there_is() {
        let mut block = Block::default();
        for (read, expected) in [
            (10, 1024),
            (1024, 4096),
            (4096, 16384),
            (16384, 32768),
            (32768, 32768),
            (10000, 32768),
            (5, 8192),
            (2000, 8192),
            (3, 2048),
            (1, 1024),
        ] {
            block = block.after(read);
            assert_eq!(block.0, expected, "after {read}");
        }
    }
}
