//! The agent's end of a connection to a shim.

use crate::{
    Error, Result,
    shim::{
        Reply, Request,
        wire::{receive, send},
    },
};
use nix::sys::socket::{AddressFamily, Backlog, SockFlag, SockType, UnixAddr, bind, connect, listen, socket};
use std::{
    fs::File,
    io,
    os::fd::{AsRawFd, OwnedFd, RawFd},
    path::Path,
};
use tokio::io::{Interest, unix::AsyncFd};

const SOCKET: &str = "shim.sock";

/// One connection; requests on it are answered in order.
pub struct Connection {
    socket: AsyncFd<OwnedFd>,
}

impl Connection {
    /// Connects to the shim of the sandbox in `directory`; refused if there is none.
    pub fn open(directory: &Path) -> io::Result<Self> {
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let socket = socket(AddressFamily::Unix, SockType::SeqPacket, flags, None)?;
        with_address(directory, |address| connect(socket.as_raw_fd(), address))?;
        // SAFETY: an owned descriptor stays the same and open as long as it is registered.
        #[allow(unsafe_code)]
        let socket = unsafe { AsyncFd::register(socket) }?;
        Ok(Self { socket })
    }

    /// Sends a request.
    pub async fn send(&self, request: &Request, descriptors: &[RawFd]) -> io::Result<()> {
        self.socket.async_io(Interest::WRITABLE, |socket| send(socket, request, descriptors)).await
    }

    /// The next reply; the end of the connection is an error.
    pub async fn receive(&self) -> io::Result<(Reply, Vec<OwnedFd>)> {
        let got = self.socket.async_io(Interest::READABLE, |socket| receive::<Reply>(socket)).await?;
        got.ok_or_else(|| io::Error::from(io::ErrorKind::ConnectionReset))
    }

    /// Asks and waits for the answer; what the shim refuses is [`Error::Container`].
    pub async fn ask(&self, request: &Request, descriptors: &[RawFd]) -> Result<(Reply, Vec<OwnedFd>)> {
        self.send(request, descriptors).await.map_err(lost)?;
        match self.receive().await.map_err(lost)? {
            (Reply::Error { message }, _) => Err(Error::Container(message)),
            other => Ok(other),
        }
    }
}

/// The shim is gone, or going.
pub fn lost(source: io::Error) -> Error {
    Error::Io { what: "talking to the pod's shim".to_owned(), source }
}

/// Makes the socket that a new shim will listen on.
pub fn listener(directory: &Path) -> io::Result<OwnedFd> {
    let socket = socket(AddressFamily::Unix, SockType::SeqPacket, SockFlag::SOCK_CLOEXEC, None)?;
    with_address(directory, |address| bind(socket.as_raw_fd(), address))?;
    listen(&socket, Backlog::new(128)?)?;
    Ok(socket)
}

/// Socket names are at most 108 bytes, directories may be longer: the way goes through a descriptor.
fn with_address<T>(directory: &Path, act: impl FnOnce(&UnixAddr) -> nix::Result<T>) -> io::Result<T> {
    let directory = File::open(directory)?;
    let path = format!("/proc/self/fd/{}/{SOCKET}", directory.as_raw_fd());
    Ok(act(&UnixAddr::new(path.as_str())?)?)
}
