//! The table `ip coracle`: its fixed chains, and how [`crate::rules`] become chains and elements in it.

use crate::{
    Cidr, Protocol,
    nft::{Base, Batch, Datum, Expr, Field, Hook, Meta, R0, R1, R4, Set, SetValue, TABLE, Verdict},
    rules::{Balance, Command, Desired, Element, Key, NODE, NODE_INSIDE, Refusal, Source, Target, Value},
};
use std::net::Ipv4Addr;

/// UDP port of the overlay, as in upstream's networks.
pub const VXLAN_PORT: u16 = 8472;
/// The mark of packets whose source shall become the node's; upstream uses the same bit.
const MASQUERADE_MARK: u32 = 0x4000;

const SERVICES: Set =
    Set { name: "services", key: &[Field::Address, Field::Protocol, Field::Port], value: SetValue::Verdict };
const ENDPOINTS: Set = Set {
    name: "endpoints",
    key: &[Field::Address, Field::Protocol, Field::Port, Field::Number],
    value: SetValue::Endpoint,
};
const REFUSED: Set =
    Set { name: "refused", key: &[Field::Address, Field::Protocol, Field::Port], value: SetValue::Verdict };
const CLUSTER_IPS: Set = Set { name: "cluster-ips", key: &[Field::Address], value: SetValue::None };
/// Which endpoint a client had: client, then the key of the service.
const AFFINITY: Set = Set {
    name: "affinity",
    key: &[Field::Address, Field::Address, Field::Protocol, Field::Port],
    value: SetValue::Remembered,
};
/// Pods of this node, each beside itself: a pod that reaches itself through a service.
const HAIRPIN: Set = Set { name: "hairpin", key: &[Field::Address, Field::Address], value: SetValue::None };
/// Service addresses that this node answers itself.
const LOCAL: Set = Set { name: "local", key: &[Field::Address], value: SetValue::None };

/// The affinity map, for whoever dumps it.
pub const AFFINITY_SET: &str = AFFINITY.name;

/// What the fixed part of the table depends on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fixed {
    /// The range of this node's pods.
    pub pod_cidr: Cidr,
    /// The range of all pods.
    pub cluster_cidr: Cidr,
    /// The range of ClusterIPs.
    pub service_cidr: Cidr,
    /// Pods of this node.
    pub pods: Vec<Ipv4Addr>,
    /// Service addresses answered here.
    pub local: Vec<Ipv4Addr>,
}

/// The whole table anew, in one transaction: there is no moment without rules.
pub fn replace(base: &Fixed, desired: &Desired) -> Batch {
    let mut batch = Batch::default();
    batch.add_table();
    batch.delete_table();
    batch.add_table();
    for set in [SERVICES, ENDPOINTS, REFUSED, CLUSTER_IPS, AFFINITY, HAIRPIN, LOCAL] {
        batch.add_set(&set);
    }
    add_fixed_chains(&mut batch, base);
    add_pods(&mut batch, &base.pods);
    add_local(&mut batch, &base.local);
    let commands = crate::rules::diff(&Desired::default(), desired);
    apply(&mut batch, base, &commands);
    batch
}

/// The table away; nothing happens if there is none.
pub fn remove() -> Batch {
    let mut batch = Batch::default();
    batch.add_table();
    batch.delete_table();
    batch
}

/// What comes from `inside` and leaves it gets the source of the link that it leaves by.
pub fn masquerade_leaving(inside: Cidr) -> Vec<Expr> {
    let mut rule = in_range(saddr(R0), inside, true).to_vec();
    rule.extend(in_range(daddr(R0), inside, false));
    rule.push(Expr::Masquerade);
    rule
}

/// Writes the steps that [`crate::rules::diff`] found.
pub fn apply(batch: &mut Batch, base: &Fixed, commands: &[Command]) {
    for command in commands {
        if let Command::AddChain(balance) = command {
            add_balance(batch, base, *balance);
        }
    }
    // Commands are sorted by element within deletions and additions: runs of one set become few messages.
    let mut rest = commands;
    while let Some(first) = rest.first() {
        let same = rest.iter().take_while(|command| place(command) == place(first)).count();
        let (run, behind) = rest.split_at(same);
        rest = behind;
        match place(first) {
            Place::Chain => {}
            Place::Delete(set) => batch.delete_elements(
                set,
                run.iter().filter_map(|c| if let Command::Delete(e) = c { Some(key_of(e)) } else { None }),
            ),
            Place::Add(set) => {
                batch.add_elements(
                    set,
                    run.iter()
                        .filter_map(|c| if let Command::Add(e, v) = c { Some((key_of(e), datum_of(v))) } else { None }),
                );
            }
        }
    }
}

/// Notes pods of this node.
pub fn add_pods(batch: &mut Batch, pods: &[Ipv4Addr]) {
    batch.add_elements(HAIRPIN.name, pods.iter().map(|pod| (twice(*pod), Datum::None)));
}

/// Forgets pods of this node.
pub fn delete_pods(batch: &mut Batch, pods: &[Ipv4Addr]) {
    batch.delete_elements(HAIRPIN.name, pods.iter().map(|pod| twice(*pod)));
}

/// Notes addresses that this node answers itself.
pub fn add_local(batch: &mut Batch, addresses: &[Ipv4Addr]) {
    batch.add_elements(LOCAL.name, addresses.iter().map(|address| (address.octets().to_vec(), Datum::None)));
}

/// Forgets what clients had.
pub fn delete_affinity(batch: &mut Batch, keys: Vec<Vec<u8>>) {
    batch.delete_elements(AFFINITY.name, keys);
}

/// The service and the endpoint in an element of the affinity map.
pub fn parse_affinity(key: &[u8], value: &[u8]) -> Option<(Key, (Ipv4Addr, u16))> {
    let address = |bytes: &[u8], at: usize| Some(Ipv4Addr::from(<[u8; 4]>::try_from(bytes.get(at..at + 4)?).ok()?));
    let port = |bytes: &[u8], at: usize| Some(u16::from_be_bytes(bytes.get(at..at + 2)?.try_into().ok()?));
    let service =
        Key { address: address(key, 4)?, protocol: Protocol::from_number(*key.get(8)?)?, port: port(key, 12)? };
    Some((service, (address(value, 0)?, port(value, 4)?)))
}

#[derive(PartialEq, Eq)]
enum Place {
    Chain,
    Delete(&'static str),
    Add(&'static str),
}

fn place(command: &Command) -> Place {
    match command {
        Command::AddChain(_) => Place::Chain,
        Command::Delete(element) => Place::Delete(set_of(element)),
        Command::Add(element, _) => Place::Add(set_of(element)),
    }
}

fn set_of(element: &Element) -> &'static str {
    match element {
        Element::Service(_) => SERVICES.name,
        Element::Endpoint(..) => ENDPOINTS.name,
        Element::Refused(_) => REFUSED.name,
        Element::ClusterIp(_) => CLUSTER_IPS.name,
    }
}

fn key_of(element: &Element) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(16);
    match element {
        Element::Service(key) | Element::Refused(key) => put_key(&mut bytes, key),
        Element::Endpoint(key, number) => {
            put_key(&mut bytes, key);
            bytes.extend(number.to_ne_bytes());
        }
        Element::ClusterIp(address) => bytes.extend(address.octets()),
    }
    bytes
}

fn put_key(bytes: &mut Vec<u8>, key: &Key) {
    bytes.extend(key.address.octets());
    bytes.extend([key.protocol.number(), 0, 0, 0]);
    bytes.extend(key.port.to_be_bytes());
    bytes.extend([0, 0]);
}

fn twice(address: Ipv4Addr) -> Vec<u8> {
    [address.octets(), address.octets()].concat()
}

fn datum_of(value: &Value) -> Datum {
    match value {
        Value::Balance(balance) => Datum::Verdict(Verdict::Goto(balance.chain())),
        Value::Endpoint(address, port) => {
            let mut bytes = address.octets().to_vec();
            bytes.extend(port.to_be_bytes());
            bytes.extend([0, 0]);
            Datum::Bytes(bytes)
        }
        Value::Refusal(Refusal::Reject) => Datum::Verdict(Verdict::Goto("reject".into())),
        Value::Refusal(Refusal::Drop) => Datum::Verdict(Verdict::Drop),
        Value::Present => Datum::None,
    }
}

// Pieces of rules.

fn saddr(to: u32) -> Expr {
    Expr::Payload { base: Base::Network, offset: 12, length: 4, to }
}

fn daddr(to: u32) -> Expr {
    Expr::Payload { base: Base::Network, offset: 16, length: 4, to }
}

fn dport(to: u32) -> Expr {
    Expr::Payload { base: Base::Transport, offset: 2, length: 2, to }
}

/// Goes on only if the address in `field` is (or is not) in the range.
fn in_range(field: Expr, cidr: Cidr, inside: bool) -> [Expr; 3] {
    let network = cidr.nth(0).octets().to_vec();
    [
        field,
        Expr::Bitwise(R0, cidr.mask().to_be_bytes(), [0; 4]),
        if inside { Expr::Equal(R0, network) } else { Expr::NotEqual(R0, network) },
    ]
}

/// Goes on only if the packet is for an address of this node, loopback excepted: answers from a pod to 127.0.0.1 would never leave it.
fn to_this_node() -> Vec<Expr> {
    let loopback = Cidr { address: Ipv4Addr::new(127, 0, 0, 0), prefix: 8 };
    let mut rule = vec![Expr::FibDaddrType(R0), Expr::Equal(R0, 2u32.to_ne_bytes().to_vec())];
    rule.extend(in_range(daddr(R0), loopback, false));
    rule
}

/// The key of the packet into three registers; `node`: under the node's stand-in address.
fn load_key(first: u32, node: Option<Ipv4Addr>) -> [Expr; 3] {
    let address = node.map_or_else(|| daddr(first), |address| Expr::Load(first, address.octets().to_vec()));
    [address, Expr::Meta(Meta::Protocol, first + 1), dport(first + 2)]
}

fn set_mark() -> [Expr; 3] {
    let bit = MASQUERADE_MARK.to_ne_bytes();
    [Expr::Meta(Meta::Mark, R0), Expr::Bitwise(R0, (!MASQUERADE_MARK).to_ne_bytes(), bit), Expr::SetMark(R0)]
}

/// Hooks. The output hook takes no priority by name, and -100 is before the kernel's routing decision is final.
fn add_fixed_chains(batch: &mut Batch, base: &Fixed) {
    let nat = |number, priority| Some(Hook { kind: "nat", number, priority });
    let filter = |number, priority| Some(Hook { kind: "filter", number, priority });
    for chain in ["dispatch", "refuse", "reject"] {
        batch.add_chain(chain, None);
    }
    batch.add_rule("reject", &[Expr::Reject]);
    add_dispatch(batch, base);
    add_refuse(batch);
    for (chain, hook, target) in [
        ("prerouting", nat(0, -100), "dispatch"),
        ("output", nat(3, -100), "dispatch"),
        ("filter-input", filter(1, 0), "refuse"),
        ("filter-forward", filter(2, 0), "refuse"),
        ("filter-output", filter(3, 0), "refuse"),
    ] {
        batch.add_chain(chain, hook);
        batch.add_rule(chain, &[Expr::Verdict(Verdict::Jump(target.into()))]);
    }
    batch.add_chain("postrouting", nat(4, 100));
    add_postrouting(batch, base);
    // Packets of the overlay would only fill the connection table.
    for (chain, hook) in [("raw-prerouting", filter(0, -300)), ("raw-output", filter(3, -300))] {
        batch.add_chain(chain, hook);
        let udp = Protocol::Udp.number();
        batch.add_rule(
            chain,
            &[
                Expr::Meta(Meta::Protocol, R0),
                Expr::Equal(R0, vec![udp]),
                dport(R0),
                Expr::Equal(R0, VXLAN_PORT.to_be_bytes().to_vec()),
                Expr::Notrack,
            ],
        );
    }
}

/// The first packet of a connection: is it for a service?
fn add_dispatch(batch: &mut Batch, base: &Fixed) {
    batch.add_rule("dispatch", &[daddr(R0), Expr::InSet(LOCAL.name, R0), Expr::Verdict(Verdict::Return)]);
    // A ClusterIP asked for from outside the cluster: the answer must come back through here.
    let mut outside = in_range(daddr(R0), base.service_cidr, true).to_vec();
    outside.extend(in_range(saddr(R0), base.cluster_cidr, false));
    outside.extend(set_mark());
    batch.add_rule("dispatch", &outside);
    let mut by_address = load_key(R0, None).to_vec();
    by_address.push(Expr::VerdictMap(SERVICES.name, R0));
    batch.add_rule("dispatch", &by_address);
    let mut by_node = to_this_node();
    by_node.extend(load_key(R0, Some(NODE)));
    by_node.push(Expr::VerdictMap(SERVICES.name, R0));
    batch.add_rule("dispatch", &by_node);
}

/// New connections that no endpoint takes.
fn add_refuse(batch: &mut Batch) {
    // Any state but new (bit 8) is not looked at further.
    let new = 8u32.to_ne_bytes();
    batch.add_rule(
        "refuse",
        &[
            Expr::CtState(R0),
            Expr::Bitwise(R0, new, [0; 4]),
            Expr::NotEqual(R0, new.to_vec()),
            Expr::Verdict(Verdict::Return),
        ],
    );
    batch.add_rule("refuse", &[daddr(R0), Expr::InSet(LOCAL.name, R0), Expr::Verdict(Verdict::Return)]);
    let mut by_address = load_key(R0, None).to_vec();
    by_address.push(Expr::VerdictMap(REFUSED.name, R0));
    batch.add_rule("refuse", &by_address);
    let mut by_node = to_this_node();
    by_node.extend(load_key(R0, Some(NODE)));
    by_node.push(Expr::VerdictMap(REFUSED.name, R0));
    batch.add_rule("refuse", &by_node);
    batch.add_rule(
        "refuse",
        &[daddr(R0), Expr::InSet(CLUSTER_IPS.name, R0), Expr::Verdict(Verdict::Goto("reject".into()))],
    );
}

fn add_postrouting(batch: &mut Batch, base: &Fixed) {
    let bit = MASQUERADE_MARK.to_ne_bytes();
    let marked = [
        Expr::Meta(Meta::Mark, R0),
        Expr::Bitwise(R0, bit, [0; 4]),
        Expr::Equal(R0, bit.to_vec()),
        Expr::Meta(Meta::Mark, R0),
        Expr::Bitwise(R0, (!MASQUERADE_MARK).to_ne_bytes(), [0; 4]),
        Expr::SetMark(R0),
        Expr::Masquerade,
    ];
    batch.add_rule("postrouting", &marked);
    batch.add_rule("postrouting", &[saddr(R0), daddr(R1), Expr::InSet(HAIRPIN.name, R0), Expr::Masquerade]);
    // Leaving the cluster. Link 1 is always loopback, where a masqueraded source would be 127.0.0.1.
    let multicast = Cidr { address: Ipv4Addr::new(224, 0, 0, 0), prefix: 4 };
    let mut leaving = vec![Expr::Meta(Meta::OutLink, R0), Expr::NotEqual(R0, 1u32.to_ne_bytes().to_vec())];
    leaving.extend(in_range(saddr(R0), base.pod_cidr, true));
    leaving.extend(in_range(daddr(R0), base.cluster_cidr, false));
    leaving.extend(in_range(daddr(R0), multicast, false));
    leaving.push(Expr::Masquerade);
    batch.add_rule("postrouting", &leaving);
}

/// One chain for each shape of balancing.
fn add_balance(batch: &mut Batch, base: &Fixed, balance: Balance) {
    let chain = balance.chain();
    batch.add_chain(&chain, None);
    if let Target::NodeOrInside(count) = balance.target {
        let mut rule = in_range(saddr(R0), base.cluster_cidr, true).to_vec();
        rule.extend(choose(R0, Some(NODE_INSIDE), count));
        rule.push(Expr::Dnat(R0, R1));
        batch.add_rule(&chain, &rule);
    }
    if balance.endpoints == 0 {
        batch.add_rule(&chain, &[Expr::Verdict(Verdict::Drop)]);
        return;
    }
    let node = (balance.target != Target::Address).then_some(NODE);
    if balance.source == Source::Masquerade {
        batch.add_rule(&chain, &set_mark());
    }
    if balance.affinity_seconds > 0 {
        add_affinity(batch, &chain, node, balance);
        return;
    }
    let mut rule = choose(R0, node, balance.endpoints);
    rule.push(Expr::Dnat(R0, R1));
    batch.add_rule(&chain, &rule);
}

/// Any endpoint: its address into `first`, its port into the next register.
fn choose(first: u32, node: Option<Ipv4Addr>, count: u32) -> Vec<Expr> {
    let mut rule = load_key(first, node).to_vec();
    rule.extend([Expr::Random(first + 3, count), Expr::Map(ENDPOINTS.name, first, first)]);
    rule
}

/// The endpoint that the client had; else any, and it is remembered. Both ways the time starts anew.
fn add_affinity(batch: &mut Batch, chain: &str, node: Option<Ipv4Addr>, balance: Balance) {
    let client = |rule: &mut Vec<Expr>| {
        rule.push(saddr(R0));
        rule.extend(load_key(R1, node));
    };
    let remember = Expr::Remember { set: AFFINITY.name, key: R0, value: R4, seconds: balance.affinity_seconds };
    let mut known = Vec::new();
    client(&mut known);
    known.extend([Expr::Map(AFFINITY.name, R0, R4), remember.clone(), Expr::Dnat(R4, R4 + 1)]);
    batch.add_rule(chain, &known);
    let mut new = choose(R4, node, balance.endpoints);
    client(&mut new);
    new.extend([remember, Expr::Dnat(R4, R4 + 1)]);
    batch.add_rule(chain, &new);
}

/// For messages: the table as its user knows it.
pub fn name() -> String {
    format!("nftables table ip {TABLE}")
}
