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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::HostPort;

    const A: (Ipv4Addr, u16) = (Ipv4Addr::new(10, 244, 0, 2), 80);
    const B: (Ipv4Addr, u16) = (Ipv4Addr::new(10, 244, 1, 2), 80);

    /// `web` on 10.96.0.7:80 and node port 30080, with A (here) and B (elsewhere), changed by `change`.
    fn web(change: impl FnOnce(&mut ServicePort)) -> ServicePort {
        let mut port = ServicePort {
            id: "default/web:".into(),
            addresses: vec![Ipv4Addr::new(10, 96, 0, 7)],
            protocol: Protocol::Tcp,
            port: 80,
            node_port: 0,
            endpoints: vec![A, B],
            local_endpoints: vec![A],
            external_local: false,
            internal_local: false,
            affinity_seconds: 0,
        };
        change(&mut port);
        port
    }

    fn desired(ports: &[ServicePort], host_ports: &[HostPort]) -> Desired {
        let services = Services { ports: ports.to_vec(), host_ports: host_ports.to_vec() };
        plan(&services, "10.96.0.0/16".parse().unwrap())
    }

    fn show_element(element: &Element) -> String {
        let key = |key: &Key| format!("{}:{}", key.address, key.port);
        match element {
            Element::Service(k) => key(k),
            Element::Endpoint(k, number) => format!("{}#{number}", key(k)),
            Element::Refused(k) => format!("refused {}", key(k)),
            Element::ClusterIp(address) => format!("cluster {address}"),
        }
    }

    fn show(element: &Element, value: &Value) -> String {
        let value = match value {
            Value::Balance(balance) => balance.chain(),
            Value::Endpoint(address, port) => format!("{address}:{port}"),
            Value::Refusal(refusal) => format!("{refusal:?}").to_lowercase(),
            Value::Present => return show_element(element),
        };
        format!("{} -> {value}", show_element(element))
    }

    #[track_caller]
    fn check(ports: &[ServicePort], host_ports: &[HostPort], expected: &[&str]) {
        let seen: Vec<String> = desired(ports, host_ports).elements.iter().map(|(e, v)| show(e, v)).collect();
        assert_eq!(seen, expected);
    }

    #[test]
    fn a_cluster_ip_leads_to_all_endpoints() {
        let expected = [
            "10.96.0.7:80 -> lb-2",
            "10.96.0.7:80#0 -> 10.244.0.2:80",
            "10.96.0.7:80#1 -> 10.244.1.2:80",
            "cluster 10.96.0.7",
        ];
        check(&[web(|_| {})], &[], &expected);
        let sticky = ["10.96.0.7:80 -> lb-2-sticky-10800", expected[1], expected[2], expected[3]];
        check(&[web(|p| p.affinity_seconds = 10800)], &[], &sticky);
    }

    #[test]
    fn the_internal_policy_binds_cluster_ips_only() {
        let change = |p: &mut ServicePort| (p.internal_local, p.node_port) = (true, 30080);
        check(
            &[web(change)],
            &[],
            &[
                "0.0.0.0:30080 -> node-2-masq",
                "10.96.0.7:80 -> lb-1",
                "0.0.0.0:30080#0 -> 10.244.0.2:80",
                "0.0.0.0:30080#1 -> 10.244.1.2:80",
                "10.96.0.7:80#0 -> 10.244.0.2:80",
                "cluster 10.96.0.7",
            ],
        );
    }

    #[test]
    fn the_external_policy_binds_node_ports_and_external_addresses() {
        let change = |p: &mut ServicePort| {
            p.addresses = vec![Ipv4Addr::new(192, 0, 2, 1)];
            (p.external_local, p.node_port) = (true, 30080);
        };
        check(
            &[web(change)],
            &[],
            &[
                "0.0.0.0:30080 -> node-1-inside-2",
                "192.0.2.1:80 -> lb-1",
                "0.0.0.0:30080#0 -> 10.244.0.2:80",
                "0.0.0.1:30080#0 -> 10.244.0.2:80",
                "0.0.0.1:30080#1 -> 10.244.1.2:80",
                "192.0.2.1:80#0 -> 10.244.0.2:80",
            ],
        );
        // Without the policy both hide the client.
        check(
            &[web(|p| p.addresses = vec![Ipv4Addr::new(192, 0, 2, 1)])],
            &[],
            &["192.0.2.1:80 -> lb-2-masq", "192.0.2.1:80#0 -> 10.244.0.2:80", "192.0.2.1:80#1 -> 10.244.1.2:80"],
        );
    }

    #[test]
    fn without_endpoints_it_is_refused_and_without_local_ones_dropped() {
        let none = |p: &mut ServicePort| {
            p.endpoints.clear();
            p.local_endpoints.clear();
            p.node_port = 30080;
        };
        check(
            &[web(none)],
            &[],
            &["refused 0.0.0.0:30080 -> reject", "refused 10.96.0.7:80 -> reject", "cluster 10.96.0.7"],
        );
        let far = |p: &mut ServicePort| {
            p.local_endpoints.clear();
            p.internal_local = true;
        };
        check(&[web(far)], &[], &["refused 10.96.0.7:80 -> drop", "cluster 10.96.0.7"]);
    }

    #[test]
    fn host_ports_lead_to_one_pod_and_the_first_claim_wins() {
        let host = |address, port| HostPort { address, protocol: Protocol::Tcp, port, target: A };
        let one = Ipv4Addr::new(172, 30, 0, 1);
        check(
            &[],
            &[host(NODE, 8080), host(one, 8081)],
            &[
                "0.0.0.0:8080 -> node-1",
                "172.30.0.1:8081 -> lb-1",
                "0.0.0.0:8080#0 -> 10.244.0.2:80",
                "172.30.0.1:8081#0 -> 10.244.0.2:80",
            ],
        );
        let ports = [web(|p| p.endpoints = vec![B]), web(|p| p.endpoints = vec![A])];
        check(&ports, &[], &["10.96.0.7:80 -> lb-1", "10.96.0.7:80#0 -> 10.244.1.2:80", "cluster 10.96.0.7"]);
    }

    #[track_caller]
    fn check_diff(old: &[ServicePort], new: &[ServicePort], expected: &[&str]) {
        let show = |command: &Command| match command {
            Command::AddChain(balance) => format!("chain {}", balance.chain()),
            Command::Delete(element) => format!("- {}", show_element(element)),
            Command::Add(element, value) => format!("+ {}", show(element, value)),
        };
        let seen: Vec<String> = diff(&desired(old, &[]), &desired(new, &[])).iter().map(show).collect();
        assert_eq!(seen, expected);
    }

    #[test]
    fn only_what_changed_is_sent() {
        let (two, one, none) = (web(|_| {}), web(|p| p.endpoints = vec![B]), web(|p| p.endpoints.clear()));
        check_diff(std::slice::from_ref(&two), std::slice::from_ref(&two), &[]);
        check_diff(
            std::slice::from_ref(&two),
            std::slice::from_ref(&one),
            &[
                "chain lb-1",
                "- 10.96.0.7:80",
                "- 10.96.0.7:80#0",
                "- 10.96.0.7:80#1",
                "+ 10.96.0.7:80 -> lb-1",
                "+ 10.96.0.7:80#0 -> 10.244.1.2:80",
            ],
        );
        check_diff(
            std::slice::from_ref(&one),
            std::slice::from_ref(&none),
            &["- 10.96.0.7:80", "- 10.96.0.7:80#0", "+ refused 10.96.0.7:80 -> reject"],
        );
        check_diff(&[none], &[], &["- refused 10.96.0.7:80", "- cluster 10.96.0.7"]);
    }

    proptest::proptest! {
        /// Whatever changes, applying the difference to the old elements gives the new ones.
        #[test]
        fn a_difference_leads_from_old_to_new(old in arbitrary_ports(), new in arbitrary_ports()) {
            let (old, new) = (desired(&old, &[]), desired(&new, &[]));
            let mut state = old.elements.clone();
            let mut chains = old.chains.clone();
            for command in diff(&old, &new) {
                match command {
                    Command::AddChain(balance) => assert!(chains.insert(balance)),
                    Command::Delete(element) => assert!(state.remove(&element).is_some()),
                    Command::Add(element, value) => {
                        if let Value::Balance(balance) = value {
                            assert!(chains.contains(&balance));
                        }
                        assert!(state.insert(element, value).is_none());
                    }
                }
            }
            assert_eq!(state, new.elements);
        }
    }

    fn arbitrary_ports() -> impl proptest::strategy::Strategy<Value = Vec<ServicePort>> {
        use proptest::prelude::*;
        let one = (0..4u8, 0..4usize, any::<[bool; 3]>()).prop_map(
            |(ip, count, [external_local, internal_local, sticky])| {
                web(|p| {
                    p.addresses = vec![Ipv4Addr::new(10, 96, 0, ip)];
                    p.node_port = 30000 + u16::from(ip);
                    p.endpoints = (0..count as u8).map(|n| (Ipv4Addr::new(10, 244, 0, n), 80)).collect();
                    p.local_endpoints = p.endpoints.iter().copied().take(1).collect();
                    (p.external_local, p.internal_local) = (external_local, internal_local);
                    p.affinity_seconds = if sticky { 10800 } else { 0 };
                })
            },
        );
        prop::collection::vec(one, 0..6)
    }
}
