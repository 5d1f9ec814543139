//! Links, addresses, routes and neighbours over rtnetlink.

use crate::{
    Cidr, Result,
    netlink::{Buffer, Socket, attribute, flag, kernel, u16_at, u32_at},
};
use nix::{errno::Errno, sys::socket::SockProtocol};
use std::{net::Ipv4Addr, os::fd::RawFd};

const NEWLINK: u16 = 16;
const DELLINK: u16 = 17;
const GETLINK: u16 = 18;
const NEWADDR: u16 = 20;
const DELADDR: u16 = 21;
const GETADDR: u16 = 22;
const NEWROUTE: u16 = 24;
const DELROUTE: u16 = 25;
const GETROUTE: u16 = 26;
const NEWNEIGH: u16 = 28;
const DELNEIGH: u16 = 29;
const GETNEIGH: u16 = 30;

const AF_INET: u8 = 2;
const AF_BRIDGE: u8 = 7;
const IFF_UP: u32 = 1;
const SCOPE_LINK: u8 = 253;
const TABLE_MAIN: u8 = 254;
const UNICAST: u8 = 1;
const NUD_PERMANENT: u16 = 0x80;
const NTF_SELF: u8 = 2;
const ONLINK: u32 = 4;
/// Who made a route (`rtm_protocol`): ours are found and removed by it.
const OUR_PROTOCOL: u8 = 111;

/// A hardware address.
pub type Mac = [u8; 6];

/// A link as the kernel shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// Its number.
    pub index: u32,
    /// Its name.
    pub name: String,
    /// The largest packet it takes.
    pub mtu: u32,
    /// The bridge it belongs to; 0: none.
    pub master: u32,
    /// Its hardware address.
    pub mac: Vec<u8>,
}

/// A route of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Route {
    /// Where to; prefix 0: everywhere.
    pub to: Cidr,
    /// The next hop; none: on the link itself.
    pub via: Option<Ipv4Addr>,
    /// The link's number.
    pub link: u32,
}

/// A static neighbour: who stands for `address` on a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Neighbour {
    /// ARP: the address has this hardware address.
    Address(Ipv4Addr, Mac),
    /// Forwarding on a VXLAN link: the hardware address lives behind this node.
    Tunnel(Ipv4Addr, Mac),
}

/// What kind of link to make.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// A bridge.
    Bridge {
        /// Fixed, so that it does not change as ports come and go.
        mac: Mac,
    },
    /// A VXLAN end that learns nothing by itself.
    Vxlan {
        /// The network's number.
        vni: u32,
        /// UDP port.
        port: u16,
        /// The node's address.
        local: Ipv4Addr,
        /// The link that carries it.
        under: u32,
        /// Known to the other nodes.
        mac: Mac,
    },
    /// A pair whose other end is made in another namespace.
    Veth {
        /// The bridge that this end joins.
        master: u32,
        /// Name of the other end.
        peer: &'static str,
        /// Hardware address of the other end.
        mac: Mac,
        /// The other end's namespace.
        netns: RawFd,
    },
}

/// The kernel's links, of the namespace that [`Links::open`] was called in.
pub struct Links {
    socket: Socket,
}

impl Links {
    /// Opens a socket in the calling thread's network namespace.
    pub fn open() -> Result<Self> {
        Ok(Self { socket: Socket::open(SockProtocol::NetlinkRoute)? })
    }

    /// All links.
    pub fn list(&mut self) -> Result<Vec<Link>> {
        let found = self.socket.dump(GETLINK, |b| info(b, 0, 0)).map_err(|e| kernel("list links", e))?;
        Ok(found.iter().filter_map(|payload| parse_link(payload)).collect())
    }

    /// The link called `name`.
    pub fn find(&mut self, name: &str) -> Result<Option<Link>> {
        Ok(self.list()?.into_iter().find(|link| link.name == name))
    }

    /// Makes a link and sets it up. `Ok(false)`: it exists already.
    pub fn add(&mut self, name: &str, mtu: u32, kind: Kind) -> Result<bool> {
        let outcome = self.socket.request(NEWLINK, flag::CREATE | flag::EXCL, |b| {
            info(b, 0, IFF_UP);
            b.string(3, name);
            b.u32(4, mtu);
            encode_kind(b, mtu, kind);
        });
        match outcome {
            Ok(()) => Ok(true),
            Err(Errno::EEXIST) => Ok(false),
            Err(errno) => Err(kernel(format!("make link {name}"), errno)),
        }
    }

    /// Removes a link; nothing happens if it is gone.
    pub fn delete(&mut self, name: &str) -> Result<()> {
        let outcome = self.socket.request(DELLINK, 0, |b| {
            info(b, 0, 0);
            b.string(3, name);
        });
        ignore(outcome, &[Errno::ENODEV, Errno::EINVAL]).map_err(|e| kernel(format!("remove link {name}"), e))
    }

    /// Sets a link up.
    pub fn set_up(&mut self, index: u32) -> Result<()> {
        self.socket
            .request(NEWLINK, 0, |b| info(b, index, IFF_UP))
            .map_err(|e| kernel(format!("set link {index} up"), e))
    }

    /// All addresses: link, address, prefix.
    pub fn addresses(&mut self) -> Result<Vec<(u32, Ipv4Addr, u8)>> {
        let found = self
            .socket
            .dump(GETADDR, |b| b.put(&[AF_INET, 0, 0, 0, 0, 0, 0, 0]))
            .map_err(|e| kernel("list addresses", e))?;
        Ok(found
            .iter()
            .filter_map(|payload| {
                let attrs = payload.get(8..)?;
                let address = ipv4(attribute(attrs, 2).or_else(|| attribute(attrs, 1))?)?;
                Some((u32_at(payload, 4)?, address, *payload.get(1)?))
            })
            .collect())
    }

    /// Gives a link an address.
    pub fn add_address(&mut self, link: u32, address: Cidr, scope: Scope) -> Result<()> {
        let outcome =
            self.socket.request(NEWADDR, flag::CREATE | flag::REPLACE, |b| encode_address(b, link, address, scope));
        ignore(outcome, &[Errno::EEXIST]).map_err(|e| kernel(format!("add address {address} to link {link}"), e))
    }

    /// Takes an address from a link; nothing happens if it is not there.
    pub fn delete_address(&mut self, link: u32, address: Cidr) -> Result<()> {
        let outcome = self.socket.request(DELADDR, 0, |b| encode_address(b, link, address, Scope::Global));
        ignore(outcome, &[Errno::EADDRNOTAVAIL, Errno::ENODEV])
            .map_err(|e| kernel(format!("remove address {address}"), e))
    }

    /// The routes that Coracle made.
    pub fn routes(&mut self) -> Result<Vec<Route>> {
        let found = self
            .socket
            .dump(GETROUTE, |b| b.put(&[AF_INET, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]))
            .map_err(|e| kernel("list routes", e))?;
        Ok(found.iter().filter_map(|payload| parse_route(payload)).collect())
    }

    /// Sets a route.
    pub fn replace_route(&mut self, route: Route) -> Result<()> {
        self.socket
            .request(NEWROUTE, flag::CREATE | flag::REPLACE, |b| encode_route(b, route))
            .map_err(|e| kernel(format!("route {} by {:?} on link {}", route.to, route.via, route.link), e))
    }

    /// Removes a route; nothing happens if it is gone.
    pub fn delete_route(&mut self, route: Route) -> Result<()> {
        let outcome = self.socket.request(DELROUTE, 0, |b| encode_route(b, route));
        ignore(outcome, &[Errno::ESRCH, Errno::ENODEV]).map_err(|e| kernel(format!("remove route {}", route.to), e))
    }

    /// The static neighbours of a VXLAN link.
    pub fn neighbours(&mut self, link: u32) -> Result<Vec<Neighbour>> {
        let mut all = Vec::new();
        for family in [AF_INET, AF_BRIDGE] {
            let found = self
                .socket
                .dump(GETNEIGH, |b| neighbour_header(b, family, link))
                .map_err(|e| kernel("list neighbours", e))?;
            all.extend(found.iter().filter_map(|payload| parse_neighbour(payload, link)));
        }
        Ok(all)
    }

    /// Sets a static neighbour.
    pub fn replace_neighbour(&mut self, link: u32, neighbour: Neighbour) -> Result<()> {
        self.socket
            .request(NEWNEIGH, flag::CREATE | flag::REPLACE, |b| encode_neighbour(b, link, neighbour))
            .map_err(|e| kernel(format!("set neighbour {neighbour:?}"), e))
    }

    /// Removes a static neighbour.
    pub fn delete_neighbour(&mut self, link: u32, neighbour: Neighbour) -> Result<()> {
        let outcome = self.socket.request(DELNEIGH, 0, |b| encode_neighbour(b, link, neighbour));
        ignore(outcome, &[Errno::ENOENT, Errno::ENODEV])
            .map_err(|e| kernel(format!("remove neighbour {neighbour:?}"), e))
    }
}

/// How far an address is valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Everywhere.
    Global,
    /// Only on its link: never chosen as a source for others.
    Link,
}

fn ignore(outcome: Result<(), Errno>, harmless: &[Errno]) -> Result<(), Errno> {
    outcome.or_else(|errno| if harmless.contains(&errno) { Ok(()) } else { Err(errno) })
}

fn ipv4(bytes: &[u8]) -> Option<Ipv4Addr> {
    Some(Ipv4Addr::from(<[u8; 4]>::try_from(bytes).ok()?))
}

fn info(b: &mut Buffer, index: u32, flags: u32) {
    b.put(&[0; 4]);
    b.put(&index.to_ne_bytes());
    b.put(&flags.to_ne_bytes());
    b.put(&flags.to_ne_bytes());
}

fn encode_kind(b: &mut Buffer, mtu: u32, kind: Kind) {
    match kind {
        Kind::Bridge { mac } => {
            b.attr(1, &mac);
            b.nest(18, |b| b.string(1, "bridge"));
        }
        Kind::Vxlan { vni, port, local, under, mac } => {
            b.attr(1, &mac);
            b.nest(18, |b| {
                b.string(1, "vxlan");
                b.nest(2, |b| {
                    b.u32(1, vni);
                    b.u32(3, under);
                    b.attr(4, &local.octets());
                    b.attr(7, &[0]);
                    b.attr(15, &port.to_be_bytes());
                });
            });
        }
        Kind::Veth { master, peer, mac, netns } => {
            b.u32(10, master);
            b.nest(18, |b| {
                b.string(1, "veth");
                b.nest(2, |b| {
                    b.nest(1, |b| {
                        info(b, 0, 0);
                        b.attr(1, &mac);
                        b.string(3, peer);
                        b.u32(4, mtu);
                        b.u32(28, netns as u32);
                    });
                });
            });
        }
    }
}

fn encode_address(b: &mut Buffer, link: u32, address: Cidr, scope: Scope) {
    b.put(&[AF_INET, address.prefix, 0, if scope == Scope::Link { SCOPE_LINK } else { 0 }]);
    b.put(&link.to_ne_bytes());
    b.attr(2, &address.address.octets());
    b.attr(1, &address.address.octets());
}

fn encode_route(b: &mut Buffer, route: Route) {
    let scope = if route.via.is_some() { 0 } else { SCOPE_LINK };
    b.put(&[AF_INET, route.to.prefix, 0, 0, TABLE_MAIN, OUR_PROTOCOL, scope, UNICAST]);
    // The next hop need not be inside a prefix of the link: a pod's gateway and a tunnel's end are not.
    b.put(&if route.via.is_some() { ONLINK } else { 0 }.to_ne_bytes());
    if route.to.prefix > 0 {
        b.attr(1, &route.to.address.octets());
    }
    b.u32(4, route.link);
    if let Some(via) = route.via {
        b.attr(5, &via.octets());
    }
}

fn neighbour_header(b: &mut Buffer, family: u8, link: u32) {
    b.put(&[family, 0, 0, 0]);
    b.put(&link.to_ne_bytes());
    let [low, high] = NUD_PERMANENT.to_ne_bytes();
    b.put(&[low, high, if family == AF_BRIDGE { NTF_SELF } else { 0 }, 0]);
}

fn encode_neighbour(b: &mut Buffer, link: u32, neighbour: Neighbour) {
    let (family, address, mac) = match neighbour {
        Neighbour::Address(address, mac) => (AF_INET, address, mac),
        Neighbour::Tunnel(address, mac) => (AF_BRIDGE, address, mac),
    };
    neighbour_header(b, family, link);
    b.attr(1, &address.octets());
    b.attr(2, &mac);
}

/// The link in a message of the kernel.
pub fn parse_link(payload: &[u8]) -> Option<Link> {
    let attrs = payload.get(16..)?;
    let name = attribute(attrs, 3)?;
    Some(Link {
        index: u32_at(payload, 4)?,
        name: String::from_utf8_lossy(name.strip_suffix(&[0]).unwrap_or(name)).into_owned(),
        mtu: attribute(attrs, 4).and_then(|v| u32_at(v, 0)).unwrap_or(1500),
        master: attribute(attrs, 10).and_then(|v| u32_at(v, 0)).unwrap_or(0),
        mac: attribute(attrs, 1).unwrap_or_default().to_vec(),
    })
}

/// The route in a message of the kernel, if it is one of ours.
pub fn parse_route(payload: &[u8]) -> Option<Route> {
    if payload.get(4..6)? != [TABLE_MAIN, OUR_PROTOCOL] {
        return None;
    }
    let attrs = payload.get(12..)?;
    let address = attribute(attrs, 1).and_then(ipv4).unwrap_or(Ipv4Addr::UNSPECIFIED);
    Some(Route {
        to: Cidr { address, prefix: *payload.get(1)? },
        via: attribute(attrs, 5).and_then(ipv4),
        link: u32_at(attribute(attrs, 4)?, 0)?,
    })
}

/// The neighbour in a message of the kernel, if it is a static one of that link.
pub fn parse_neighbour(payload: &[u8], link: u32) -> Option<Neighbour> {
    if u32_at(payload, 4)? != link || u16_at(payload, 8)? & NUD_PERMANENT == 0 {
        return None;
    }
    let attrs = payload.get(12..)?;
    let (address, mac) = (ipv4(attribute(attrs, 1)?)?, attribute(attrs, 2)?.try_into().ok()?);
    Some(if payload[0] == AF_BRIDGE { Neighbour::Tunnel(address, mac) } else { Neighbour::Address(address, mac) })
}
