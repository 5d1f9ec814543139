//! Netlink, as far as links, rules and connection tracking need it: one small encoder and one socket for all three families.
//!
//! Everything the data plane asks of the kernel is one of a few dozen fixed messages, and the big ones (tens of thousands of map elements in one transaction)
//! are what general-purpose crates are slow at; so the messages are written here, byte by byte.

use crate::{Error, Result};
use nix::{
    errno::Errno,
    sys::{
        socket::{self, AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, sockopt},
        time::TimeVal,
    },
};
use std::{
    io,
    os::fd::{AsRawFd, OwnedFd},
};

/// Flags of a request; every request carries [`REQUEST`].
pub mod flag {
    /// A request to the kernel.
    pub const REQUEST: u16 = 0x1;
    /// Answer even if all went well.
    pub const ACK: u16 = 0x4;
    /// Overwrite what exists.
    pub const REPLACE: u16 = 0x100;
    /// Fail if it exists.
    pub const EXCL: u16 = 0x200;
    /// Make it if it does not exist.
    pub const CREATE: u16 = 0x400;
    /// Return everything.
    pub const DUMP: u16 = 0x300;
}

const HEADER: usize = 16;
const NESTED: u16 = 0x8000;
const TYPE_MASK: u16 = 0x3fff;
const MSG_ERROR: u16 = 2;
const MSG_DONE: u16 = 3;
/// The kernel's dumps come in pieces of up to 32 KiB; an error quotes the request it refuses.
const RECEIVE_BYTES: usize = 256 * 1024;
/// Room for one transaction with tens of thousands of elements.
const SEND_BUFFER: usize = 128 * 1024 * 1024;

/// One or more messages being written.
#[derive(Clone, Debug, Default)]
pub struct Buffer {
    bytes: Vec<u8>,
}

impl Buffer {
    /// Writes one message: its header, then what `body` puts.
    pub fn message(&mut self, kind: u16, flags: u16, seq: u32, body: impl FnOnce(&mut Self)) {
        let start = self.bytes.len();
        self.put(&0u32.to_ne_bytes());
        let [k0, k1] = kind.to_ne_bytes();
        let [f0, f1] = (flags | flag::REQUEST).to_ne_bytes();
        self.put(&[k0, k1, f0, f1]);
        self.put(&seq.to_ne_bytes());
        self.put(&0u32.to_ne_bytes());
        body(self);
        let length = (self.bytes.len() - start) as u32;
        self.bytes[start..start + 4].copy_from_slice(&length.to_ne_bytes());
    }

    /// Raw bytes, padded to four.
    pub fn put(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
        self.pad();
    }

    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }

    /// An attribute of raw bytes.
    pub fn attr(&mut self, kind: u16, value: &[u8]) {
        self.bytes.extend_from_slice(&((value.len() + 4) as u16).to_ne_bytes());
        self.bytes.extend_from_slice(&kind.to_ne_bytes());
        self.put(value);
    }

    /// A number in the machine's order, as rtnetlink has it.
    pub fn u32(&mut self, kind: u16, value: u32) {
        self.attr(kind, &value.to_ne_bytes());
    }

    /// A number in network order, as nfnetlink has it.
    pub fn be32(&mut self, kind: u16, value: u32) {
        self.attr(kind, &value.to_be_bytes());
    }

    /// A string with its final NUL.
    pub fn string(&mut self, kind: u16, value: &str) {
        self.bytes.extend_from_slice(&((value.len() + 5) as u16).to_ne_bytes());
        self.bytes.extend_from_slice(&kind.to_ne_bytes());
        self.bytes.extend_from_slice(value.as_bytes());
        self.bytes.push(0);
        self.pad();
    }

    /// An attribute made of attributes.
    pub fn nest(&mut self, kind: u16, fill: impl FnOnce(&mut Self)) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(&[0; 2]);
        self.bytes.extend_from_slice(&(kind | NESTED).to_ne_bytes());
        fill(self);
        let length = (self.bytes.len() - start) as u16;
        self.bytes[start..start + 2].copy_from_slice(&length.to_ne_bytes());
    }

    /// What has been written.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// How much has been written.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether nothing has been written.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }
}

/// The attributes in `bytes`; stops at the first malformed one.
pub fn attributes(bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        let length = usize::from(u16_at(rest, 0)?);
        let kind = u16_at(rest, 2)? & TYPE_MASK;
        let value = rest.get(4..length)?;
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, value))
    })
}

/// The value of the attribute `kind`.
pub fn attribute(bytes: &[u8], kind: u16) -> Option<&[u8]> {
    attributes(bytes).find(|(k, _)| *k == kind).map(|(_, value)| value)
}

/// A number in the machine's order at `offset`.
pub fn u16_at(bytes: &[u8], offset: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(bytes.get(offset..offset + 2)?.try_into().ok()?))
}

/// A number in the machine's order at `offset`.
pub fn u32_at(bytes: &[u8], offset: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(offset..offset + 4)?.try_into().ok()?))
}

/// A message from the kernel.
pub struct Reply<'a> {
    /// What it is.
    pub kind: u16,
    /// The request that it answers.
    pub seq: u32,
    /// What follows the header.
    pub payload: &'a [u8],
}

/// The messages in a packet; stops at the first malformed one.
pub fn replies(bytes: &[u8]) -> impl Iterator<Item = Reply<'_>> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        let length = (u32_at(rest, 0)? as usize).min(rest.len());
        let reply = Reply { kind: u16_at(rest, 4)?, seq: u32_at(rest, 8)?, payload: rest.get(HEADER..length)? };
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some(reply)
    })
}

/// A netlink socket. It stays in the network namespace of the thread that opened it.
pub struct Socket {
    fd: OwnedFd,
    seq: u32,
    received: Vec<u8>,
}

impl Socket {
    /// Opens a socket of the family `protocol`.
    pub fn open(protocol: SockProtocol) -> Result<Self> {
        let open = || -> nix::Result<OwnedFd> {
            let fd = socket::socket(AddressFamily::Netlink, SockType::Raw, SockFlag::SOCK_CLOEXEC, protocol)?;
            socket::bind(fd.as_raw_fd(), &NetlinkAddr::new(0, 0))?;
            // The kernel answers at once; the limit only keeps a bug from hanging the node.
            socket::setsockopt(&fd, sockopt::ReceiveTimeout, &TimeVal::new(10, 0))?;
            socket::setsockopt(&fd, sockopt::SndBufForce, &SEND_BUFFER)?;
            socket::setsockopt(&fd, sockopt::RcvBufForce, &(8 * 1024 * 1024))?;
            Ok(fd)
        };
        let fd = open().map_err(|errno| kernel("open a netlink socket (this needs CAP_NET_ADMIN)", errno))?;
        Ok(Self { fd, seq: 1, received: vec![0; RECEIVE_BYTES] })
    }

    /// Asks for one thing and waits until it is done. `Err` is the kernel's errno.
    pub fn request(&mut self, kind: u16, flags: u16, body: impl FnOnce(&mut Buffer)) -> Result<(), Errno> {
        let mut buffer = Buffer::default();
        self.seq = self.seq.wrapping_add(1);
        buffer.message(kind, flags | flag::ACK, self.seq, body);
        self.send(&buffer)?;
        loop {
            let length = self.receive(MsgFlags::empty())?;
            for reply in replies(&self.received[..length]).filter(|r| r.seq == self.seq) {
                if reply.kind == MSG_ERROR {
                    return errno_of(reply.payload);
                }
            }
        }
    }

    /// Asks for everything of a kind; returns the payload of every message.
    pub fn dump(&mut self, kind: u16, body: impl FnOnce(&mut Buffer)) -> Result<Vec<Vec<u8>>, Errno> {
        let mut buffer = Buffer::default();
        self.seq = self.seq.wrapping_add(1);
        buffer.message(kind, flag::DUMP, self.seq, body);
        self.send(&buffer)?;
        let mut found = Vec::new();
        loop {
            let length = self.receive(MsgFlags::empty())?;
            for reply in replies(&self.received[..length]).filter(|r| r.seq == self.seq) {
                match reply.kind {
                    MSG_DONE => return Ok(found),
                    MSG_ERROR => return errno_of(reply.payload).map(|()| found),
                    _ => found.push(reply.payload.to_vec()),
                }
            }
        }
    }

    /// Sends messages that the kernel handles while they are sent, and returns the first error among its answers.
    pub fn transact(&mut self, buffer: &Buffer) -> Result<(), Errno> {
        self.send(buffer)?;
        let mut outcome = Ok(());
        loop {
            match self.receive(MsgFlags::MSG_DONTWAIT) {
                Ok(length) => {
                    for reply in replies(&self.received[..length]).filter(|r| r.kind == MSG_ERROR) {
                        outcome = outcome.and(errno_of(reply.payload));
                    }
                }
                Err(Errno::EAGAIN) => return outcome,
                // More errors than fit: the first one tells enough.
                Err(Errno::ENOBUFS) => outcome = outcome.and(Err(Errno::ENOBUFS)),
                Err(errno) => return Err(errno),
            }
        }
    }

    fn send(&self, buffer: &Buffer) -> Result<(), Errno> {
        socket::send(self.fd.as_raw_fd(), buffer.as_bytes(), MsgFlags::empty()).map(drop)
    }

    fn receive(&mut self, flags: MsgFlags) -> Result<usize, Errno> {
        loop {
            match socket::recv(self.fd.as_raw_fd(), &mut self.received, flags) {
                Err(Errno::EINTR) => {}
                other => return other,
            }
        }
    }
}

/// What an error message says.
pub fn errno_of(payload: &[u8]) -> Result<(), Errno> {
    match u32_at(payload, 0).unwrap_or_default() as i32 {
        0 => Ok(()),
        code => Err(Errno::from_raw(code.saturating_neg())),
    }
}

/// The kernel's refusal of `what`.
pub fn kernel(what: impl Into<String>, errno: Errno) -> Error {
    Error::Kernel { what: what.into(), source: io::Error::from(errno) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_knows_its_length_and_pads_its_attributes() {
        let mut b = Buffer::default();
        b.message(0x10, flag::ACK, 7, |b| {
            b.string(3, "eth0");
            b.nest(18, |b| b.be32(1, 0x0102_0304));
        });
        #[rustfmt::skip]
        let expected = [
            40, 0, 0, 0, 0x10, 0, 5, 0, 7, 0, 0, 0, 0, 0, 0, 0, // header: length, type, flags, sequence, port
            9, 0, 3, 0, b'e', b't', b'h', b'0', 0, 0, 0, 0, // the length leaves the padding out
            12, 0, 18, 0x80, 8, 0, 1, 0, 1, 2, 3, 4,
        ];
        assert_eq!(b.as_bytes(), expected);
        assert_eq!(attribute(&b.as_bytes()[HEADER..], 3), Some(&b"eth0\0"[..]));
    }

    #[test]
    fn malformed_attributes_end_the_walk() {
        for bytes in [&[][..], &[1], &[3, 0, 1, 0], &[0, 0, 0, 0], &[200, 0, 1, 0, 5]] {
            assert_eq!(attributes(bytes).count(), 0, "{bytes:?}");
        }
    }
}
