//! Connection tracking: connections to endpoints that are gone are forgotten.
//!
//! A UDP client that goes on sending keeps its entry alive, and with it the translation to a dead endpoint; TCP ends by itself.

use crate::{
    Protocol, Result,
    netlink::{Buffer, Socket, attribute, flag, kernel},
    nft,
    rules::{Desired, Element, Key, NODE, Value},
};
use nix::errno::Errno;
use std::{
    collections::{HashMap, HashSet},
    net::Ipv4Addr,
};

const GET: u16 = 0x101;
const DELETE: u16 = 0x102;
const TUPLE_ORIGINAL: u16 = 1;
const TUPLE_REPLY: u16 = 2;

/// One connection, as far as it matters here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its protocol.
    pub protocol: u8,
    /// Where the client sent to.
    pub to: (Ipv4Addr, u16),
    /// Who answers.
    pub answers: (Ipv4Addr, u16),
    /// The original tuple as the kernel gave it: names the entry.
    tuple: Vec<u8>,
}

/// Which endpoints are right for the services that changed.
#[derive(Debug, Default)]
pub struct Expected {
    services: HashMap<Key, HashSet<(Ipv4Addr, u16)>>,
}

impl Expected {
    /// Of all UDP services that `changed` names, as they shall be.
    pub fn new<'a>(changed: impl IntoIterator<Item = &'a Element>, desired: &Desired) -> Self {
        let mut services: HashMap<Key, HashSet<(Ipv4Addr, u16)>> = HashMap::new();
        for element in changed {
            if let Element::Service(key) | Element::Endpoint(key, _) | Element::Refused(key) = element
                && key.protocol == Protocol::Udp
            {
                services.entry(*key).or_default();
            }
        }
        for (key, endpoints) in &mut services {
            let range = Element::Endpoint(*key, 0)..=Element::Endpoint(*key, u32::MAX);
            endpoints.extend(
                desired
                    .elements
                    .range(range)
                    .filter_map(|(_, value)| if let Value::Endpoint(a, p) = value { Some((*a, *p)) } else { None }),
            );
        }
        Self { services }
    }

    /// Whether there is nothing to look for.
    pub fn is_empty(&self) -> bool {
        self.services.is_empty()
    }

    /// Whether a connection goes where it should no longer go. `node`: addresses of this node.
    pub fn stale(&self, entry: &Entry, node: &HashSet<Ipv4Addr>) -> bool {
        if entry.protocol != Protocol::Udp.number() {
            return false;
        }
        let key = |address| Key { address, protocol: Protocol::Udp, port: entry.to.1 };
        let by_node = || if node.contains(&entry.to.0) { self.services.get(&key(NODE)) } else { None };
        self.services
            .get(&key(entry.to.0))
            .or_else(by_node)
            .is_some_and(|endpoints| !endpoints.contains(&entry.answers))
    }
}

/// All connections that are tracked.
pub fn list(socket: &mut Socket) -> Result<Vec<Entry>> {
    let found = socket.dump(GET, |b| b.put(&nft::header())).map_err(|e| kernel("list tracked connections", e))?;
    Ok(found.iter().filter_map(|payload| parse(payload.get(4..)?)).collect())
}

/// Forgets one connection; nothing happens if it is gone.
pub fn delete(socket: &mut Socket, entry: &Entry) -> Result<()> {
    let outcome = socket.request(DELETE, flag::ACK, |b: &mut Buffer| {
        b.put(&nft::header());
        b.attr(TUPLE_ORIGINAL | 0x8000, &entry.tuple);
    });
    match outcome {
        Ok(()) | Err(Errno::ENOENT) => Ok(()),
        Err(errno) => Err(kernel("forget a tracked connection", errno)),
    }
}

/// The connection that attributes of the kernel describe.
pub fn parse(attrs: &[u8]) -> Option<Entry> {
    let tuple = attribute(attrs, TUPLE_ORIGINAL)?;
    let reply = attribute(attrs, TUPLE_REPLY)?;
    Some(Entry {
        protocol: *attribute(attribute(tuple, 2)?, 1)?.first()?,
        to: (address(tuple, 2)?, port(tuple, 3)?),
        answers: (address(reply, 1)?, port(reply, 2)?),
        tuple: tuple.to_vec(),
    })
}

fn address(tuple: &[u8], kind: u16) -> Option<Ipv4Addr> {
    Some(Ipv4Addr::from(<[u8; 4]>::try_from(attribute(attribute(tuple, 1)?, kind)?).ok()?))
}

fn port(tuple: &[u8], kind: u16) -> Option<u16> {
    Some(u16::from_be_bytes(attribute(attribute(tuple, 2)?, kind)?.try_into().ok()?))
}
