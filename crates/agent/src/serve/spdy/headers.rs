//! Headers of streams: pairs of texts, packed with zlib over a dictionary that both sides know. One zlib stream runs through all headers
//! of a connection and direction.
//!
//! `flate2` over its Rust backend has no dictionaries. Its backend itself unpacks into a ring whose beginning can be filled beforehand,
//! which is all that a dictionary is. Packing is done without packing: what the server has to say fits a stored block.

use super::Violation;
use miniz_oxide::inflate::{
    TINFLStatus,
    core::{DecompressorOxide, decompress, inflate_flags::TINFL_FLAG_HAS_MORE_INPUT},
};
use std::sync::LazyLock;

/// How far back packed data may refer, by zlib's definition.
const WINDOW: usize = 32 << 10;
/// Headers of one stream, unpacked. Those of Kubernetes have about a hundred bytes.
const MOST: usize = 64 << 10;
const HAS_DICTIONARY: u8 = 0x20;
/// Checksum of the dictionary, which stands before data that were packed with it.
const DICTIONARY_ID: [u8; 4] = [0xe3, 0xc6, 0xa7, 0xc2];

/// Words of the dictionary, each behind its length.
const WORDS: [&str; 65] = [
    "options",
    "head",
    "post",
    "put",
    "delete",
    "trace",
    "accept",
    "accept-charset",
    "accept-encoding",
    "accept-language",
    "accept-ranges",
    "age",
    "allow",
    "authorization",
    "cache-control",
    "connection",
    "content-base",
    "content-encoding",
    "content-language",
    "content-length",
    "content-location",
    "content-md5",
    "content-range",
    "content-type",
    "date",
    "etag",
    "expect",
    "expires",
    "from",
    "host",
    "if-match",
    "if-modified-since",
    "if-none-match",
    "if-range",
    "if-unmodified-since",
    "last-modified",
    "location",
    "max-forwards",
    "pragma",
    "proxy-authenticate",
    "proxy-authorization",
    "range",
    "referer",
    "retry-after",
    "server",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "user-agent",
    "vary",
    "via",
    "warning",
    "www-authenticate",
    "method",
    "get",
    "status",
    "200 OK",
    "version",
    "HTTP/1.1",
    "url",
    "public",
    "set-cookie",
    "keep-alive",
    "origin",
];

/// What follows the words, without lengths.
const TAIL: &str = "100101201202205206300302303304305306307402405406407408409410411412413414415416417502504505203 \
    Non-Authoritative Information204 No Content301 Moved Permanently400 Bad Request401 Unauthorized403 Forbidden404 Not \
    Found500 Internal Server Error501 Not Implemented503 Service UnavailableJan Feb Mar Apr May Jun Jul Aug Sept Oct Nov \
    Dec 00:00:00 Mon, Tue, Wed, Thu, Fri, Sat, Sun, GMTchunked,text/html,image/png,image/jpg,image/gif,application/xml,\
    application/xhtml+xml,text/plain,text/javascript,publicprivatemax-age=gzip,deflate,sdchcharset=utf-8charset=iso-8859-1,\
    utf-,*,enq=0.";

/// Section 2.6.10.1 of the protocol's text.
static DICTIONARY: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let words = WORDS.iter().flat_map(|word| {
        let length = u32::try_from(word.len()).unwrap_or_default().to_be_bytes();
        length.into_iter().chain(word.bytes())
    });
    words.chain(TAIL.bytes()).collect()
});

/// Headers of a stream, names in lower case.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::serve) struct Headers(Vec<(String, String)>);

impl Headers {
    /// The value of a header; several are kept apart by NUL.
    pub(in crate::serve) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// Reads an unpacked block: how many, then names and values, each behind its length.
    fn parse(block: &[u8]) -> Result<Self, Violation> {
        let mut block = Block(block);
        let count = block.number()?;
        // a count that promises more than there is ends at the first that is missing
        (0..count).map(|_| Ok((block.text()?.to_lowercase(), block.text()?))).collect::<Result<_, _>>().map(Self)
    }
}

struct Block<'a>(&'a [u8]);

impl<'a> Block<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], Violation> {
        self.0.split_off(..count).ok_or(Violation::Headers("they end too early"))
    }

    fn number(&mut self) -> Result<usize, Violation> {
        Ok(self.take(4)?.iter().fold(0, |all, byte| all << 8 | usize::from(*byte)))
    }

    fn text(&mut self) -> Result<String, Violation> {
        let length = self.number()?;
        Ok(String::from_utf8_lossy(self.take(length)?).into_owned())
    }
}

/// Unpacks the headers of one connection.
pub(super) struct Unpacker {
    state: Box<DecompressorOxide>,
    ring: Box<[u8]>,
    at: usize,
    begun: bool,
}

impl Unpacker {
    pub(super) fn new() -> Self {
        let mut ring = vec![0; WINDOW].into_boxed_slice();
        ring[..DICTIONARY.len()].copy_from_slice(&DICTIONARY);
        Self { state: Box::default(), ring, at: DICTIONARY.len(), begun: false }
    }

    /// The headers in a frame.
    pub(super) fn unpack(&mut self, packed: &[u8]) -> Result<Headers, Violation> {
        let packed = if self.begun { packed } else { self.begin(packed)? };
        Headers::parse(&self.inflate(packed)?)
    }

    /// Checks what stands before the first block, and leaves it away.
    fn begin<'a>(&mut self, packed: &'a [u8]) -> Result<&'a [u8], Violation> {
        let (head, rest) = packed.split_at_checked(2).ok_or(Violation::Headers("there is no zlib header"))?;
        if head[0] & 0x0f != 8 || (u16::from(head[0]) << 8 | u16::from(head[1])) % 31 != 0 {
            return Err(Violation::Headers("that is no zlib stream"));
        }
        self.begun = true;
        if head[1] & HAS_DICTIONARY == 0 {
            return Ok(rest);
        }
        rest.strip_prefix(&DICTIONARY_ID).ok_or(Violation::Headers("packed with another dictionary"))
    }

    fn inflate(&mut self, mut packed: &[u8]) -> Result<Vec<u8>, Violation> {
        let mut out = Vec::new();
        loop {
            let (status, read, written) =
                decompress(&mut self.state, packed, &mut self.ring, self.at, TINFL_FLAG_HAS_MORE_INPUT);
            out.extend_from_slice(&self.ring[self.at..self.at + written]);
            self.at = (self.at + written) % WINDOW;
            packed = &packed[read..];
            if out.len() > MOST {
                return Err(Violation::Headers("they are too long"));
            }
            match status {
                TINFLStatus::HasMoreOutput => {}
                TINFLStatus::NeedsMoreInput if packed.is_empty() => return Ok(out),
                TINFLStatus::NeedsMoreInput if read + written > 0 => {}
                _ => return Err(Violation::Headers("they are damaged")),
            }
        }
    }
}

/// Packs the server's headers, of which there are none: replies only say that a stream was accepted.
#[derive(Default)]
pub(super) struct Packer {
    begun: bool,
}

impl Packer {
    /// An empty block: the number 0, stored as it is.
    pub(super) fn empty(&mut self) -> Vec<u8> {
        let mut out = Vec::with_capacity(16);
        if !std::mem::replace(&mut self.begun, true) {
            // zlib, a window of 32 KiB, no dictionary
            out.extend_from_slice(&[0x78, 0x01]);
        }
        // not the last block, stored; its length, and again with all bits turned round
        out.extend_from_slice(&[0, 4, 0, 0xfb, 0xff, 0, 0, 0, 0]);
        // an empty one, as a flush ends: before it Go's reader does not give out what it has
        out.extend_from_slice(&[0, 0, 0, 0xff, 0xff]);
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(hex: &str) -> Vec<u8> {
        hex::decode(hex).unwrap()
    }

    #[test]
    fn the_dictionary_is_the_right_one() {
        let (a, b) = DICTIONARY.iter().fold((1_u32, 0), |(a, b), byte| {
            let a = (a + u32::from(*byte)) % 65521;
            (a, (b + a) % 65521)
        });
        assert_eq!((DICTIONARY.len(), (b << 16 | a).to_be_bytes()), (1423, DICTIONARY_ID));
    }

    /// Blocks that zlib itself made, in the order of one connection.
    #[test]
    fn headers_are_unpacked() {
        let mut unpacker = Unpacker::new();
        for (hex, expected) in [
            ("78f9e3c6a7c202a62346703a2b294a4dcc851625aca9a08006000000ffff", &[("streamtype", "error")][..]),
            (
                "02a54748d15c044ac64c16064092b308129199a004ce6880a115540a2502000000ffff",
                &[("port", "80"), ("requestid", "0"), ("streamtype", "data")][..],
            ),
            (
                "c26aa85b055500000000ffff",
                &[("streamtype", "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx")][..],
            ),
        ] {
            let headers = unpacker.unpack(&bytes(hex)).unwrap();
            for (name, value) in expected {
                assert_eq!(headers.get(name), Some(*value), "{name}");
            }
            assert_eq!(headers.0.len(), expected.len());
        }
    }

    #[test]
    fn damaged_headers_are_refused() {
        for (hex, expected) in [
            ("", "there is no zlib header"),
            ("0000", "that is no zlib stream"),
            ("78bb00000000", "packed with another dictionary"),
            ("7801ffffffff", "they are damaged"),
            // stored: one pair that is not there
            ("7801000400fbff00000001", "they end too early"),
            ("7801000400fbffffffffff", "they end too early"),
            (
                "78f9e3c6a7c2ecc13101000000c220fba75e067f6000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000c02d000000ffff",
                "they are too long",
            ),
        ] {
            let refused = Unpacker::new().unpack(&bytes(hex)).unwrap_err();
            assert_eq!(refused, Violation::Headers(expected), "{hex}");
        }
    }

    #[test]
    fn replies_have_no_headers() {
        let (mut packer, mut unpacker) = (Packer::default(), Unpacker::new());
        for _ in 0..3 {
            let block = packer.empty();
            assert!(block.ends_with(&[0, 0, 0xff, 0xff]), "flushed");
            assert_eq!(unpacker.unpack(&block).unwrap(), Headers::default());
        }
    }
}
