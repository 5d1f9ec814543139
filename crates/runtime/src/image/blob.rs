//! Streams on their way from an archive or registry to a layer's directory: hashed and decompressed as they pass.

use sha2::{Digest, Sha256};
use std::io::{self, BufRead, BufReader, Read};

/// Hashes what is read through it.
pub struct Hashing<R> {
    inner: R,
    hash: Sha256,
    /// Bytes seen.
    pub seen: u64,
}

impl<R: Read> Hashing<R> {
    /// Wraps `inner`.
    pub fn new(inner: R) -> Self {
        Self { inner, hash: Sha256::new(), seen: 0 }
    }

    /// Reads what is left and compares with `digest`.
    pub fn verify(mut self, digest: &str) -> io::Result<()> {
        io::copy(&mut self, &mut io::sink())?;
        let found = format!("sha256:{}", hex::encode(self.hash.finalize()));
        if found == digest {
            return Ok(());
        }
        Err(io::Error::new(io::ErrorKind::InvalidData, format!("digest is {found}, expected {digest}")))
    }
}

impl<R: Read> Read for Hashing<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buffer)?;
        self.hash.update(&buffer[..n]);
        self.seen += n as u64;
        Ok(n)
    }
}

/// How a stream is compressed; told by its first bytes, since media types are often wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// Not at all.
    None,
    /// gzip.
    Gzip,
    /// Zstandard.
    Zstd,
}

impl Compression {
    /// Looks at the first bytes without taking them.
    pub fn of(reader: &mut impl BufRead) -> io::Result<Self> {
        let start = reader.fill_buf()?;
        Ok(if start.starts_with(&[0x1f, 0x8b]) {
            Self::Gzip
        } else if start.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]) {
            Self::Zstd
        } else {
            Self::None
        })
    }
}

/// Reads the plain bytes of a possibly compressed stream.
pub fn decompressed<'a>(reader: impl Read + 'a) -> io::Result<Box<dyn Read + 'a>> {
    let mut reader = BufReader::with_capacity(64 << 10, reader);
    Ok(match Compression::of(&mut reader)? {
        Compression::None => Box::new(reader),
        Compression::Gzip => Box::new(flate2::bufread::MultiGzDecoder::new(reader)),
        Compression::Zstd => Box::new(Frames { reader: Some(reader), frame: None }),
    })
}

/// All frames of a Zstandard stream: tools that write seekable layers make many.
struct Frames<R: BufRead> {
    reader: Option<R>,
    frame: Option<ruzstd::decoding::StreamingDecoder<R, ruzstd::decoding::FrameDecoder>>,
}

impl<R: BufRead> Read for Frames<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            if let Some(frame) = &mut self.frame {
                let n = frame.read(buffer)?;
                if n > 0 || buffer.is_empty() {
                    return Ok(n);
                }
                self.reader = self.frame.take().map(|frame| frame.into_inner());
            }
            let Some(mut reader) = self.reader.take() else { return Ok(0) };
            if !next_frame(&mut reader)? {
                return Ok(0);
            }
            self.frame = Some(ruzstd::decoding::StreamingDecoder::new(reader).map_err(io::Error::other)?);
        }
    }
}

/// Passes over skippable frames; whether a frame with data follows.
fn next_frame(reader: &mut impl BufRead) -> io::Result<bool> {
    loop {
        let start = reader.fill_buf()?;
        if start.is_empty() {
            return Ok(false);
        }
        // A magic number cut by the end of the buffer is left to the decoder.
        if start.len() < 8 || start[0] & 0xf0 != 0x50 || start[1..4] != [0x2a, 0x4d, 0x18] {
            return Ok(true);
        }
        let length = u32::from_le_bytes([start[4], start[5], start[6], start[7]]);
        io::copy(&mut reader.take(8 + u64::from(length)), &mut io::sink())?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn check(bytes: &[u8], expected: &[u8]) {
        let mut out = Vec::new();
        decompressed(bytes).unwrap().read_to_end(&mut out).unwrap();
        assert_eq!(out, expected);
    }

    #[test]
    fn streams_are_told_apart_by_their_first_bytes() {
        check(b"plain", b"plain");
        check(b"", b"");
        let gzip = |data: &[u8]| {
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            encoder.write_all(data).unwrap();
            encoder.finish().unwrap()
        };
        check(&[gzip(b"one "), gzip(b"two")].concat(), b"one two");
        let zstd = |data: &[u8]| ruzstd::encoding::compress_to_vec(data, ruzstd::encoding::CompressionLevel::Fastest);
        let skippable = [0x50, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 9, 9, 9];
        check(&[zstd(b"one "), skippable.to_vec(), zstd(b"two")].concat(), b"one two");
    }

    #[test]
    fn digests_are_compared() {
        let of_abc = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert!(Hashing::new(&b"abc"[..]).verify(of_abc).is_ok());
        assert!(Hashing::new(&b"abd"[..]).verify(of_abc).is_err());
    }
}
