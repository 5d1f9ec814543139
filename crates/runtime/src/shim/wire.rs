//! Packets between agent and shim: JSON over a sequenced-packet socket, with descriptors alongside.

use nix::sys::socket::{ControlMessage, ControlMessageOwned, MsgFlags, UnixAddr, recvmsg, sendmsg};
use serde::{Serialize, de::DeserializeOwned};
use std::{
    io::{self, IoSlice, IoSliceMut},
    os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd},
};

/// Larger than any packet: what is long travels in files.
const LONGEST: usize = 64 << 10;

/// Sends one message.
pub fn send(socket: impl AsFd, message: &impl Serialize, descriptors: &[RawFd]) -> io::Result<()> {
    let bytes = serde_json::to_vec(message)?;
    let parts = [IoSlice::new(&bytes)];
    let rights = [ControlMessage::ScmRights(descriptors)];
    let control: &[ControlMessage<'_>] = if descriptors.is_empty() { &[] } else { &rights };
    sendmsg::<()>(socket.as_fd().as_raw_fd(), &parts, control, MsgFlags::MSG_NOSIGNAL, None)?;
    Ok(())
}

/// Receives one message; `None` when the other side has closed.
#[allow(unsafe_code)] // received descriptors come as numbers
pub fn receive<T: DeserializeOwned>(socket: impl AsFd) -> io::Result<Option<(T, Vec<OwnedFd>)>> {
    let mut bytes = vec![0u8; LONGEST];
    let mut control = nix::cmsg_space!([RawFd; 4]);
    let mut descriptors = Vec::new();
    let length = {
        let mut parts = [IoSliceMut::new(&mut bytes)];
        let flags = MsgFlags::MSG_CMSG_CLOEXEC;
        let got = recvmsg::<UnixAddr>(socket.as_fd().as_raw_fd(), &mut parts, Some(&mut control), flags)?;
        for message in got.cmsgs()? {
            if let ControlMessageOwned::ScmRights(numbers) = message {
                // SAFETY: the kernel has just made these descriptors for us alone.
                descriptors.extend(numbers.into_iter().map(|fd| unsafe { OwnedFd::from_raw_fd(fd) }));
            }
        }
        got.bytes
    };
    if length == 0 {
        return Ok(None);
    }
    Ok(Some((serde_json::from_slice(&bytes[..length])?, descriptors)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};

    #[test]
    fn messages_keep_their_borders_and_descriptors() {
        let (a, b) = socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC).unwrap();
        let (reader, writer) = nix::unistd::pipe().unwrap();
        send(&a, &"one", &[writer.as_raw_fd()]).unwrap();
        send(&a, &"two", &[]).unwrap();
        drop(writer);
        let (first, mut fds): (String, _) = receive(&b).unwrap().unwrap();
        assert_eq!((first.as_str(), fds.len()), ("one", 1));
        nix::unistd::write(fds.remove(0), b"x").unwrap();
        let mut byte = [0];
        nix::unistd::read(&reader, &mut byte).unwrap();
        assert_eq!(&byte, b"x");
        assert_eq!(receive::<String>(&b).unwrap().unwrap().0, "two");
        drop(a);
        assert!(receive::<String>(&b).unwrap().is_none());
    }
}
