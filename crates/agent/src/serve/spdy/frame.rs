//! Frames: eight bytes of head, then a body. Control frames are read whole, data as it comes.

use super::Violation;
use bytes::{BufMut, Bytes, BytesMut};

/// Length of a frame's head.
pub(super) const HEAD: usize = 8;
const VERSION: u16 = 3;
const FIN: u8 = 1;
const CONTROL: u32 = 1 << 31;
/// The setting by which the other side says how much of a stream it takes before it says more.
const INITIAL_WINDOW_SIZE: u32 = 7;

const SYN_STREAM: u16 = 1;
const SYN_REPLY: u16 = 2;
const RST_STREAM: u16 = 3;
const SETTINGS: u16 = 4;
const PING: u16 = 6;
const GOAWAY: u16 = 7;
const HEADERS: u16 = 8;
const WINDOW_UPDATE: u16 = 9;

/// Why a stream is reset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reset {
    /// The stream breaks the protocol.
    Protocol = 1,
    /// It is not wanted, nothing of it was looked at.
    Refused = 3,
    /// It is not wanted any more.
    Cancel = 5,
}

/// The head of a frame.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Head {
    /// Of a control frame.
    Control { kind: u16, flags: u8, length: usize },
    /// Of a piece of a stream.
    Data { stream: u32, last: bool, length: usize },
}

impl Head {
    /// Reads one.
    pub(super) fn parse(bytes: [u8; HEAD]) -> Result<Self, Violation> {
        let [first, second] = [number(&bytes[..4]), number(&bytes[4..])];
        let (flags, length) = ((second >> 24) as u8, (second & 0xff_ffff) as usize);
        if first & CONTROL == 0 {
            return Ok(Self::Data { stream: first, last: flags & FIN != 0, length });
        }
        match ((first >> 16) & 0x7fff) as u16 {
            VERSION => Ok(Self::Control { kind: (first & 0xffff) as u16, flags, length }),
            other => Err(Violation::Version(other)),
        }
    }
}

/// A control frame.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Control {
    /// A stream begins; `last`: with nothing to come from the other side. The headers are packed.
    Begin { stream: u32, last: bool, headers: Bytes },
    /// More headers of a stream (or those of a reply), packed.
    Headers { stream: u32, last: bool, headers: Bytes },
    /// A stream is over.
    Reset { stream: u32 },
    /// The first window of every stream.
    InitialWindow(u32),
    /// To be sent back.
    Ping(u32),
    /// No more streams will begin.
    GoAway,
    /// So much more of a stream (0: of all together) may be sent.
    Window { stream: u32, more: u32 },
    /// Of no interest.
    Other,
}

impl Control {
    /// Reads the body of a control frame.
    pub(super) fn parse(kind: u16, flags: u8, body: &Bytes) -> Result<Self, Violation> {
        let wrong = || Violation::Length(kind, body.len());
        let word = |at: usize| body.get(at..at + 4).map(number).ok_or_else(wrong);
        let stream = || word(0).map(|id| id & !CONTROL);
        let last = flags & FIN != 0;
        let rest = |at: usize| if at <= body.len() { Ok(body.slice(at..)) } else { Err(wrong()) };
        Ok(match kind {
            // between the ids and the headers: the stream it belongs to, priority, slot
            SYN_STREAM => Self::Begin { stream: stream()?, last, headers: rest(10)? },
            SYN_REPLY | HEADERS => Self::Headers { stream: stream()?, last, headers: rest(4)? },
            RST_STREAM => Self::Reset { stream: stream()? },
            SETTINGS => initial_window(body).map_or(Self::Other, Self::InitialWindow),
            PING => Self::Ping(word(0)?),
            GOAWAY => Self::GoAway,
            WINDOW_UPDATE => Self::Window { stream: stream()?, more: word(4)? & !CONTROL },
            _ => Self::Other,
        })
    }
}

/// Entries of eight bytes behind their number: flags and id, value.
fn initial_window(body: &[u8]) -> Option<u32> {
    let entries = body.get(4..)?.chunks_exact(8);
    entries.filter(|e| number(&e[..4]) & 0xff_ffff == INITIAL_WINDOW_SIZE).map(|e| number(&e[4..])).next_back()
}

fn number(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0, |all, byte| all << 8 | u32::from(*byte))
}

fn control(kind: u16, body: &[u32], rest: &[u8]) -> Bytes {
    let length = body.len() * 4 + rest.len();
    let mut out = BytesMut::with_capacity(HEAD + length);
    out.put_u32(CONTROL | u32::from(VERSION) << 16 | u32::from(kind));
    // headers of ours are short: the length never reaches the flags
    out.put_u32(u32::try_from(length).unwrap_or_default());
    body.iter().for_each(|word| out.put_u32(*word));
    out.extend_from_slice(rest);
    out.freeze()
}

/// A piece of a stream; at most 16 MiB.
pub(super) fn data(stream: u32, data: &[u8], last: bool) -> Bytes {
    let mut out = BytesMut::with_capacity(HEAD + data.len());
    out.put_u32(stream);
    out.put_u32(u32::from(if last { FIN } else { 0 }) << 24 | (data.len() & 0xff_ffff) as u32);
    out.extend_from_slice(data);
    out.freeze()
}

/// A stream is accepted.
pub(super) fn reply(stream: u32, headers: &[u8]) -> Bytes {
    control(SYN_REPLY, &[stream], headers)
}

/// A stream is over.
pub(super) fn reset(stream: u32, why: Reset) -> Bytes {
    control(RST_STREAM, &[stream, why as u32], &[])
}

/// A ping, or the answer to one.
pub(super) fn ping(id: u32) -> Bytes {
    control(PING, &[id], &[])
}

/// No more streams, please; `last` is the newest that was served.
pub(super) fn go_away(last: u32) -> Bytes {
    control(GOAWAY, &[last, 0], &[])
}

/// So much more may be sent.
pub(super) fn window(stream: u32, more: u32) -> Bytes {
    control(WINDOW_UPDATE, &[stream, more], &[])
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A frame as text: its head, and what is in it.
    fn check(bytes: &[u8]) -> String {
        let Some(head) = bytes.get(..HEAD) else { return "short".into() };
        let body = Bytes::copy_from_slice(&bytes[HEAD..]);
        match Head::parse(head.try_into().unwrap()) {
            Ok(Head::Control { kind, flags, length }) => {
                assert_eq!(length, body.len());
                match Control::parse(kind, flags, &body) {
                    Ok(control) => format!("{control:?}"),
                    Err(violation) => violation.to_string(),
                }
            }
            Ok(data) => format!("{data:?} {:?}", String::from_utf8_lossy(&body)),
            Err(violation) => violation.to_string(),
        }
    }

    #[test]
    fn frames_are_read() {
        for (bytes, expected) in [
            (
                &b"\x80\x03\0\x01\x01\0\0\x0b\0\0\0\x05\0\0\0\0\0\0x"[..],
                r#"Begin { stream: 5, last: true, headers: b"x" }"#,
            ),
            (b"\x80\x03\0\x01\0\0\0\x04\0\0\0\x05", "a frame of type 1 with 4 bytes"),
            (b"\x80\x03\0\x08\0\0\0\x05\0\0\0\x05x", r#"Headers { stream: 5, last: false, headers: b"x" }"#),
            (b"\x80\x03\0\x03\0\0\0\x08\0\0\0\x07\0\0\0\x05", "Reset { stream: 7 }"),
            (b"\x80\x03\0\x03\0\0\0\x02\0\0", "a frame of type 3 with 2 bytes"),
            (b"\x80\x03\0\x04\0\0\0\x0c\0\0\0\x01\x01\0\0\x07\0\0\x10\0", "InitialWindow(4096)"),
            (b"\x80\x03\0\x04\0\0\0\x04\0\0\0\x09", "Other"),
            (b"\x80\x03\0\x06\0\0\0\x04\0\0\0\x01", "Ping(1)"),
            (b"\x80\x03\0\x07\0\0\0\x08\0\0\0\x05\0\0\0\0", "GoAway"),
            (b"\x80\x03\0\x09\0\0\0\x08\0\0\0\x05\0\0\x10\0", "Window { stream: 5, more: 4096 }"),
            (b"\x80\x03\0\x63\0\0\0\0", "Other"),
            (b"\x80\x02\0\x01\0\0\0\0", "a frame of SPDY version 2 instead of 3"),
            (b"\0\0\0\x03\x01\0\0\x02hi", r#"Data { stream: 3, last: true, length: 2 } "hi""#),
        ] {
            assert_eq!(check(bytes), expected);
        }
    }

    #[test]
    fn frames_are_written() {
        for (bytes, expected) in [
            (data(3, b"hi", true), r#"Data { stream: 3, last: true, length: 2 } "hi""#),
            (data(3, b"", false), r#"Data { stream: 3, last: false, length: 0 } """#),
            (reply(3, b"h"), r#"Headers { stream: 3, last: false, headers: b"h" }"#),
            (reset(9, Reset::Refused), "Reset { stream: 9 }"),
            (ping(7), "Ping(7)"),
            (go_away(5), "GoAway"),
            (window(5, 4096), "Window { stream: 5, more: 4096 }"),
        ] {
            assert_eq!(check(&bytes), expected);
        }
    }
}
