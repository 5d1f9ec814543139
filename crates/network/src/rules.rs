//! Services to rules, without I/O: [`plan`] says what must be in the kernel, [`diff`] what must change.
//!
//! The layout is flat, so that ten thousand services load in a tenth of a second and one more costs a handful of elements:
//! one map leads from address, protocol and port to a chain; there is one chain for each *shape* of balancing (how many endpoints, which policy), not for each
//! service; a second map leads from address, protocol, port and a number to an endpoint.
//!
//! Node ports stand in the same maps, under the address 0.0.0.0, which no packet carries.

use crate::{Cidr, Protocol, ServicePort, Services};
use std::{
    collections::{BTreeMap, BTreeSet},
    net::Ipv4Addr,
};

/// Stands for "any address of this node" in the maps.
pub const NODE: Ipv4Addr = Ipv4Addr::UNSPECIFIED;
/// Stands for the same, asked from inside the cluster (`externalTrafficPolicy: Local` binds only the outside).
pub const NODE_INSIDE: Ipv4Addr = Ipv4Addr::new(0, 0, 0, 1);

/// What a packet asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key {
    /// Address of the service, or [`NODE`].
    pub address: Ipv4Addr,
    /// Protocol.
    pub protocol: Protocol,
    /// Port.
    pub port: u16,
}

/// One shape of balancing: a chain of its own in the kernel, shared by all services of that shape.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Balance {
    /// Over how many endpoints; 0: dropped.
    pub endpoints: u32,
    /// Whether the key's address is the packet's or [`NODE`].
    pub target: Target,
    /// Whether the source becomes the node's address, so that answers come back through it.
    pub source: Source,
    /// For how many seconds a client keeps its endpoint; 0: not at all.
    pub affinity_seconds: u32,
}

/// What the endpoints of a [`Balance`] are found by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Target {
    /// The packet's destination address.
    Address,
    /// [`NODE`].
    Node,
    /// [`NODE`]; but clients inside the cluster reach so many endpoints anywhere, under [`NODE_INSIDE`].
    NodeOrInside(u32),
}

/// What becomes of the source address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Source {
    /// It stays.
    Keep,
    /// It becomes the node's.
    Masquerade,
}

impl Balance {
    /// The chain's name.
    pub fn chain(&self) -> String {
        let mut name = match self.target {
            Target::Address => format!("lb-{}", self.endpoints),
            Target::Node => format!("node-{}", self.endpoints),
            Target::NodeOrInside(inside) => format!("node-{}-inside-{inside}", self.endpoints),
        };
        if self.source == Source::Masquerade {
            name += "-masq";
        }
        if self.affinity_seconds > 0 {
            name += &format!("-sticky-{}", self.affinity_seconds);
        }
        name
    }
}

/// Why nobody answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Refusal {
    /// There are no endpoints: the client is told.
    Reject,
    /// The policy wants local endpoints and there are none: silence, so that load balancers go elsewhere.
    Drop,
}

/// An element of one of the kernel's sets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Element {
    /// A service port or node port.
    Service(Key),
    /// Its endpoint of that number.
    Endpoint(Key, u32),
    /// A port that refuses.
    Refused(Key),
    /// An address whose other ports refuse.
    ClusterIp(Ipv4Addr),
}

/// What an element maps to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Value {
    /// A way of balancing.
    Balance(Balance),
    /// Address and port of a pod.
    Endpoint(Ipv4Addr, u16),
    /// How it refuses.
    Refusal(Refusal),
    /// Just being there.
    Present,
}

/// What shall be in the kernel.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Desired {
    /// All elements of all sets.
    pub elements: BTreeMap<Element, Value>,
    /// The chains that they lead to.
    pub chains: BTreeSet<Balance>,
}

/// A step from one state to another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// A new chain.
    AddChain(Balance),
    /// An element goes.
    Delete(Element),
    /// An element comes.
    Add(Element, Value),
}

/// The rules for `services`. Of two that claim the same address and port the first wins.
pub fn plan(services: &Services, service_cidr: Cidr) -> Desired {
    let mut found = Vec::with_capacity(services.ports.len() * 8);
    for port in &services.ports {
        plan_addresses(port, service_cidr, &mut found);
        plan_node_port(port, &mut found);
    }
    for host in &services.host_ports {
        let target = if host.address == NODE { Target::Node } else { Target::Address };
        let key = Key { address: host.address, protocol: host.protocol, port: host.port };
        let balance = Balance { endpoints: 1, target, source: Source::Keep, affinity_seconds: 0 };
        found.push((Element::Service(key), Value::Balance(balance)));
        found.push((Element::Endpoint(key, 0), Value::Endpoint(host.target.0, host.target.1)));
    }
    let mut chains = BTreeSet::new();
    // Collected backwards, the first of several claims is the one that stays.
    let elements: BTreeMap<Element, Value> = found.into_iter().rev().collect();
    for value in elements.values() {
        if let Value::Balance(balance) = value {
            chains.insert(*balance);
        }
    }
    Desired { elements, chains }
}

/// ClusterIP obeys the internal policy; external and load-balancer addresses the external one.
fn plan_addresses(port: &ServicePort, service_cidr: Cidr, found: &mut Vec<(Element, Value)>) {
    for address in &port.addresses {
        let key = Key { address: *address, protocol: port.protocol, port: port.port };
        let inside = service_cidr.contains(*address);
        let local = if inside { port.internal_local } else { port.external_local };
        let endpoints = if local { &port.local_endpoints } else { &port.endpoints };
        if inside {
            found.push((Element::ClusterIp(*address), Value::Present));
        }
        if endpoints.is_empty() {
            let refusal = if port.endpoints.is_empty() { Refusal::Reject } else { Refusal::Drop };
            found.push((Element::Refused(key), Value::Refusal(refusal)));
            continue;
        }
        let source = if inside || port.external_local { Source::Keep } else { Source::Masquerade };
        let balance = Balance {
            endpoints: endpoints.len() as u32,
            target: Target::Address,
            source,
            affinity_seconds: port.affinity_seconds,
        };
        plan_endpoints(key, balance, endpoints, found);
    }
}

fn plan_node_port(port: &ServicePort, found: &mut Vec<(Element, Value)>) {
    if port.node_port == 0 {
        return;
    }
    let key = Key { address: NODE, protocol: port.protocol, port: port.node_port };
    if port.endpoints.is_empty() {
        found.push((Element::Refused(key), Value::Refusal(Refusal::Reject)));
        return;
    }
    let count = port.endpoints.len() as u32;
    let affinity_seconds = port.affinity_seconds;
    if port.external_local {
        let target = Target::NodeOrInside(count);
        let balance =
            Balance { endpoints: port.local_endpoints.len() as u32, target, source: Source::Keep, affinity_seconds };
        plan_endpoints(key, balance, &port.local_endpoints, found);
        number_endpoints(Key { address: NODE_INSIDE, ..key }, &port.endpoints, found);
    } else {
        let balance = Balance { endpoints: count, target: Target::Node, source: Source::Masquerade, affinity_seconds };
        plan_endpoints(key, balance, &port.endpoints, found);
    }
}

fn plan_endpoints(key: Key, balance: Balance, endpoints: &[(Ipv4Addr, u16)], found: &mut Vec<(Element, Value)>) {
    found.push((Element::Service(key), Value::Balance(balance)));
    number_endpoints(key, endpoints, found);
}

fn number_endpoints(key: Key, endpoints: &[(Ipv4Addr, u16)], found: &mut Vec<(Element, Value)>) {
    for (number, (address, port)) in endpoints.iter().enumerate() {
        found.push((Element::Endpoint(key, number as u32), Value::Endpoint(*address, *port)));
    }
}

/// The steps from `old` to `new`: chains first, then what goes, then what comes. Chains stay once made: there are as many as shapes.
pub fn diff(old: &Desired, new: &Desired) -> Vec<Command> {
    let mut commands: Vec<Command> =
        new.chains.difference(&old.chains).map(|balance| Command::AddChain(*balance)).collect();
    let mut added = Vec::new();
    let (mut olds, mut news) = (old.elements.iter().peekable(), new.elements.iter().peekable());
    // Both are sorted: one walk over both finds all differences.
    loop {
        let order = match (olds.peek(), news.peek()) {
            (None, None) => break,
            (Some(_), None) => std::cmp::Ordering::Less,
            (None, Some(_)) => std::cmp::Ordering::Greater,
            (Some((old, _)), Some((new, _))) => old.cmp(new),
        };
        let gone = if order.is_le() { olds.next() } else { None };
        let come = if order.is_ge() { news.next() } else { None };
        if gone.map(|(_, value)| value) == come.map(|(_, value)| value) {
            continue;
        }
        commands.extend(gone.map(|(element, _)| Command::Delete(*element)));
        added.extend(come.map(|(element, value)| Command::Add(*element, *value)));
    }
    commands.append(&mut added);
    commands
}
