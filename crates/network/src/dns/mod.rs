//! The cluster's DNS server, one on each node: cluster names from [`crate::Records`], everything else from the node's own servers.
//!
//! [`answer`] decides without I/O; [`forward`] asks other servers; here are the sockets.

pub mod answer;
pub mod forward;

use crate::{DnsConfig, Error, Result};
use answer::{Answered, Question};
use coracle_base::Tasks;
use forward::Forwarder;
use hickory_proto::op::{Message, ResponseCode};
use std::{io, net::SocketAddr, sync::Arc, time::Duration};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream, UdpSocket},
    sync::Semaphore,
    time::timeout,
};

/// Questions to other servers that may be under way at once; more are refused, so that a loop among servers ends.
const MAX_FORWARDED: usize = 1024;
const MAX_CONNECTIONS: usize = 256;
const IDLE: Duration = Duration::from_secs(10);
const MAX_UDP: usize = 4096;

/// How a question came, and so how long its answer may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// Answers are cut to what the client takes.
    Udp,
    /// Answers have up to 64 KiB.
    Tcp,
}

struct Server {
    config: DnsConfig,
    forwarder: Forwarder,
    forwarded: Semaphore,
}

/// Listens on all configured addresses (in the calling thread's network namespace) and answers until `tasks` is stopped. Returns the addresses: a port 0
/// was chosen.
///
/// # Errors
/// If an address cannot be listened on.
pub fn serve(config: DnsConfig, tasks: &Tasks) -> Result<Vec<SocketAddr>> {
    let forwarder = Forwarder::new(&config.upstream, &config.listen);
    let listen = config.listen.clone();
    let server = Arc::new(Server { config, forwarder, forwarded: Semaphore::new(MAX_FORWARDED) });
    let mut bound = Vec::new();
    for address in listen {
        let failed = |source| Error::Kernel { what: format!("listen on {address} for DNS"), source };
        let udp = bind_udp(address).map_err(failed)?;
        let address = udp.local_addr().map_err(failed)?;
        let tcp = bind_tcp(address).map_err(failed)?;
        bound.push(address);
        tasks.spawn("dns-udp", serve_udp(Arc::clone(&server), udp));
        tasks.spawn("dns-tcp", serve_tcp(Arc::clone(&server), tcp));
    }
    Ok(bound)
}

fn bind_udp(address: SocketAddr) -> io::Result<UdpSocket> {
    let socket = std::net::UdpSocket::bind(address)?;
    socket.set_nonblocking(true)?;
    UdpSocket::from_std(socket)
}

fn bind_tcp(address: SocketAddr) -> io::Result<TcpListener> {
    let listener = std::net::TcpListener::bind(address)?;
    listener.set_nonblocking(true)?;
    TcpListener::from_std(listener)
}

async fn serve_udp(server: Arc<Server>, socket: UdpSocket) {
    let socket = Arc::new(socket);
    let mut buffer = vec![0; 65_535];
    loop {
        let Ok((length, client)) = socket.recv_from(&mut buffer).await else {
            // An ICMP answer to something sent earlier; the socket itself is fine.
            tokio::task::yield_now().await;
            continue;
        };
        let bytes = &buffer[..length];
        match server.at_once(bytes, Transport::Udp) {
            AtOnce::Answer(answer) => drop(socket.send_to(&answer, client).await),
            AtOnce::Nothing => {}
            AtOnce::Later(question) => {
                let (server, socket, bytes) = (Arc::clone(&server), Arc::clone(&socket), bytes.to_vec());
                tokio::spawn(async move {
                    if let Some(answer) = server.later(*question, &bytes, Transport::Udp).await {
                        let _ = socket.send_to(&answer, client).await;
                    }
                });
            }
        }
    }
}

async fn serve_tcp(server: Arc<Server>, listener: TcpListener) {
    let connections = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        let Ok(permit) = Arc::clone(&connections).acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, _)) => {
                let server = Arc::clone(&server);
                tokio::spawn(async move {
                    let _ = serve_stream(&server, stream).await;
                    drop(permit);
                });
            }
            // Out of file descriptors: that passes, but not in this instant.
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
}

async fn serve_stream(server: &Server, mut stream: TcpStream) -> io::Result<()> {
    loop {
        let length = timeout(IDLE, stream.read_u16()).await??;
        let mut bytes = vec![0; usize::from(length)];
        timeout(IDLE, stream.read_exact(&mut bytes)).await??;
        let answer = match server.at_once(&bytes, Transport::Tcp) {
            AtOnce::Answer(answer) => Some(answer),
            AtOnce::Nothing => None,
            AtOnce::Later(question) => server.later(*question, &bytes, Transport::Tcp).await,
        };
        let Some(answer) = answer else { return Ok(()) };
        let mut framed = (answer.len() as u16).to_be_bytes().to_vec();
        framed.extend(answer);
        timeout(IDLE, stream.write_all(&framed)).await??;
    }
}

/// What can be said without asking anybody.
enum AtOnce {
    Answer(Vec<u8>),
    /// Not a question at all.
    Nothing,
    Later(Box<Later>),
}

/// What another server must be asked for.
enum Later {
    /// The whole question.
    Forward(Message),
    /// The rest of the answer: an alias that leaves the cluster.
    Chase(Message, Message),
}

impl Server {
    fn at_once(&self, bytes: &[u8], transport: Transport) -> AtOnce {
        let query = match answer::parse(bytes) {
            Question::Query(query) => query,
            Question::Refused(refusal) => return AtOnce::Answer(refusal),
            Question::Nonsense => return AtOnce::Nothing,
        };
        match answer::answer(&self.config.cluster_domain, &*self.config.records, &query) {
            Answered::Whole(message) => encode(&message, &query, transport).map_or(AtOnce::Nothing, AtOnce::Answer),
            Answered::Alias(message, rest) => AtOnce::Later(Box::new(Later::Chase(message, rest))),
            Answered::Elsewhere => AtOnce::Later(Box::new(Later::Forward(query))),
        }
    }

    async fn later(&self, later: Later, bytes: &[u8], transport: Transport) -> Option<Vec<u8>> {
        let Ok(_permit) = self.forwarded.try_acquire() else {
            let (Later::Forward(query) | Later::Chase(query, _)) = later;
            return answer::failure(&query, ResponseCode::ServFail).to_vec().ok();
        };
        match later {
            Later::Forward(query) => match self.forwarder.ask(bytes, transport).await {
                Some(reply) => Some(reply),
                None => answer::failure(&query, ResponseCode::ServFail).to_vec().ok(),
            },
            Later::Chase(mut message, rest) => {
                if let Ok(question) = rest.to_vec()
                    && let Some(reply) = self.forwarder.ask(&question, Transport::Udp).await
                    && let Ok(reply) = Message::from_vec(&reply)
                {
                    message.answers.extend(reply.answers.iter().cloned());
                }
                let limit = answer::limit_of(bytes, transport);
                answer::fit(message, limit)
            }
        }
    }
}

fn encode(message: &Message, query: &Message, transport: Transport) -> Option<Vec<u8>> {
    let limit = match transport {
        Transport::Udp => usize::from(query.max_payload()).min(MAX_UDP),
        Transport::Tcp => usize::from(u16::MAX),
    };
    answer::fit(message.clone(), limit)
}

#[cfg(test)]
mod tests;
