//! Connecting from inside a network namespace.
//!
//! A socket belongs to the namespace it was made in, wherever it is used. So a thread goes in for the moment that this takes, and the
//! connection itself is made, as any other, without one.

use nix::{
    sched::{CloneFlags, setns},
    sys::socket::{AddressFamily, SockFlag, SockType, socket},
};
use std::{
    fs::File,
    io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    os::fd::OwnedFd,
    path::PathBuf,
};
use tokio::{
    net::{TcpSocket, TcpStream},
    sync::oneshot,
};

/// Where a pod's ports are.
#[derive(Clone, Debug)]
pub(super) struct Target {
    /// Its sandbox, for messages.
    pub(super) sandbox: String,
    /// Its network namespace; `None`: the node's.
    pub(super) netns: Option<PathBuf>,
}

impl Target {
    /// Connects to a port on the loopback, by IPv4 or, if nobody answers there, IPv6.
    ///
    /// # Errors
    /// In upstream's words.
    pub(super) async fn connect(&self, port: u16) -> Result<TcpStream, String> {
        let refused = match self.dial(SocketAddr::from((Ipv4Addr::LOCALHOST, port))).await {
            Ok(stream) => return Ok(stream),
            Err(error) => error,
        };
        if let Ok(stream) = self.dial(SocketAddr::from((Ipv6Addr::LOCALHOST, port))).await {
            return Ok(stream);
        }
        let Self { sandbox, netns } = self;
        let namespace = netns.as_deref().map(|p| p.display().to_string()).unwrap_or_default();
        Err(format!(
            "error forwarding port {port} to pod {sandbox}, uid : failed to execute portforward in network namespace {namespace:?}: \
             failed to connect to localhost:{port} inside namespace {sandbox:?}, IPv4: dial tcp4 127.0.0.1:{port}: connect: {}",
            said(&refused)
        ))
    }

    async fn dial(&self, address: SocketAddr) -> io::Result<TcpStream> {
        let stream = self.socket(address)?.await.map_err(|_| io::Error::other("the thread has ended"))??;
        let stream = stream.connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(stream)
    }

    fn socket(&self, address: SocketAddr) -> io::Result<oneshot::Receiver<io::Result<TcpSocket>>> {
        let (sender, receiver) = oneshot::channel();
        let netns = self.netns.clone();
        let family = if address.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
        let make = move || -> io::Result<TcpSocket> {
            if let Some(path) = netns {
                setns(File::open(path)?, CloneFlags::CLONE_NEWNET)?;
            }
            let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
            let socket: OwnedFd = socket(family, SockType::Stream, flags, None)?;
            // a socket is a socket, connected or not
            Ok(TcpSocket::from_std_stream(socket.into()))
        };
        std::thread::Builder::new().name("port-forward".into()).stack_size(64 << 10).spawn(move || {
            // nobody waits for it any more: it is closed
            let _ = sender.send(make());
        })?;
        Ok(receiver)
    }
}

/// An error as Go's clients print it: lower case, without the number.
fn said(error: &io::Error) -> String {
    match error.raw_os_error().map(nix::errno::Errno::from_raw) {
        Some(errno) => errno.desc().to_lowercase(),
        None => error.to_string(),
    }
}
