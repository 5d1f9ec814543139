//! Questions that others answer: asked with an id and a port of their own, one server after the other, remembered for a short while.

use super::Transport;
use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::RData;
use parking_lot::Mutex;
use std::{
    collections::HashMap,
    io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::atomic::{AtomicUsize, Ordering},
    time::{Duration, Instant},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpStream, UdpSocket},
    time::timeout,
};

const TRY: Duration = Duration::from_secs(2);
const ROUNDS: usize = 2;
/// As CoreDNS' default configuration for clusters.
const MAX_TTL: Duration = Duration::from_secs(30);
const MAX_REMEMBERED: usize = 4096;

/// Asks other servers.
pub struct Forwarder {
    servers: Vec<SocketAddr>,
    /// The server that answered last; asked first.
    preferred: AtomicUsize,
    /// Question (without its id) to answer.
    remembered: Mutex<HashMap<Vec<u8>, Remembered>>,
}

struct Remembered {
    reply: Vec<u8>,
    since: Instant,
    until: Instant,
}

impl Forwarder {
    /// Asks `servers`, but never one of `ourselves`.
    pub fn new(servers: &[SocketAddr], ourselves: &[SocketAddr]) -> Self {
        let is_us = |server: &SocketAddr| {
            ourselves.iter().any(|us| {
                us == server || (us.port() == server.port() && us.ip().is_unspecified() && server.ip().is_loopback())
            })
        };
        let servers = servers.iter().copied().filter(|server| !is_us(server)).collect();
        Self { servers, preferred: AtomicUsize::new(0), remembered: Mutex::default() }
    }

    /// The answer to the packet `question`, with its id; `None` if no server answers.
    pub async fn ask(&self, question: &[u8], transport: Transport) -> Option<Vec<u8>> {
        let id = question.get(..2)?.to_vec();
        let key = question.get(2..)?.to_vec();
        if let Some(mut reply) = self.recall(&key) {
            reply[..2].copy_from_slice(&id);
            return Some(reply);
        }
        let first = self.preferred.load(Ordering::Relaxed);
        for attempt in 0..ROUNDS * self.servers.len() {
            let number = (first + attempt) % self.servers.len();
            let asked = timeout(TRY, exchange(self.servers[number], question, transport)).await;
            let Ok(Ok(mut reply)) = asked else { continue };
            self.preferred.store(number, Ordering::Relaxed);
            reply[..2].copy_from_slice(&id);
            self.remember(key, &reply);
            return Some(reply);
        }
        None
    }

    fn recall(&self, key: &[u8]) -> Option<Vec<u8>> {
        let now = Instant::now();
        let mut all = self.remembered.lock();
        let entry = all.get(key)?;
        if entry.until <= now {
            all.remove(key);
            return None;
        }
        let age = now.duration_since(entry.since).as_secs() as u32;
        let mut message = Message::from_vec(&entry.reply).ok()?;
        for record in message.answers.iter_mut().chain(&mut message.authorities).chain(&mut message.additionals) {
            record.ttl = record.ttl.saturating_sub(age);
        }
        message.to_vec().ok()
    }

    fn remember(&self, key: Vec<u8>, reply: &[u8]) {
        let Some(ttl) = Message::from_vec(reply).ok().as_ref().and_then(time_to_live) else { return };
        let now = Instant::now();
        let mut all = self.remembered.lock();
        if all.len() >= MAX_REMEMBERED {
            all.retain(|_, entry| entry.until > now);
        }
        if all.len() < MAX_REMEMBERED {
            all.insert(key, Remembered { reply: reply.to_vec(), since: now, until: now + ttl });
        }
    }
}

/// For how long an answer may be remembered; not at all if it failed or is cut.
pub fn time_to_live(message: &Message) -> Option<Duration> {
    let answered = matches!(message.metadata.response_code, ResponseCode::NoError | ResponseCode::NXDomain);
    if !answered || message.metadata.truncation {
        return None;
    }
    let positive = message.answers.iter().map(|record| record.ttl).min();
    let negative = || {
        message.authorities.iter().find_map(|record| match &record.data {
            RData::SOA(soa) => Some(record.ttl.min(soa.minimum)),
            _ => None,
        })
    };
    let seconds = positive.or_else(negative).filter(|seconds| *seconds > 0)?;
    Some(Duration::from_secs(seconds.into()).min(MAX_TTL))
}

async fn exchange(server: SocketAddr, question: &[u8], transport: Transport) -> io::Result<Vec<u8>> {
    let mut asked = question.to_vec();
    // Whoever wants to slip us a false answer must guess this and the port.
    asked[..2].copy_from_slice(&rand::random::<[u8; 2]>());
    match transport {
        Transport::Udp => exchange_udp(server, &asked).await,
        Transport::Tcp => exchange_tcp(server, &asked).await,
    }
}

async fn exchange_udp(server: SocketAddr, asked: &[u8]) -> io::Result<Vec<u8>> {
    let any: SocketAddr =
        if server.is_ipv4() { (Ipv4Addr::UNSPECIFIED, 0).into() } else { (Ipv6Addr::UNSPECIFIED, 0).into() };
    let socket = UdpSocket::bind(any).await?;
    socket.connect(server).await?;
    socket.send(asked).await?;
    let mut buffer = vec![0; 65_535];
    loop {
        let length = socket.recv(&mut buffer).await?;
        if answers(asked, &buffer[..length]) {
            buffer.truncate(length);
            return Ok(buffer);
        }
    }
}

async fn exchange_tcp(server: SocketAddr, asked: &[u8]) -> io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(server).await?;
    let mut framed = (asked.len() as u16).to_be_bytes().to_vec();
    framed.extend(asked);
    stream.write_all(&framed).await?;
    let mut reply = vec![0; usize::from(stream.read_u16().await?)];
    stream.read_exact(&mut reply).await?;
    if answers(asked, &reply) {
        Ok(reply)
    } else {
        Err(io::Error::new(io::ErrorKind::InvalidData, "an answer to something else"))
    }
}

/// Whether `reply` is a readable answer to `asked`: same id, same question.
pub fn answers(asked: &[u8], reply: &[u8]) -> bool {
    if reply.len() < 12 || reply[..2] != asked[..2] || reply[2] & 0x80 == 0 {
        return false;
    }
    match (Message::from_vec(asked), Message::from_vec(reply)) {
        // Some servers leave the question out of a refusal.
        (Ok(asked), Ok(reply)) => reply.queries.is_empty() || reply.queries == asked.queries,
        _ => false,
    }
}
