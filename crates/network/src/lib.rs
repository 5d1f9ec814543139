//! Links, addresses, the overlay, service rules and DNS: the data plane of a node.
//!
//! Everything acts on the network namespace that the calling process lives in (a node's), and on pod namespaces by path.
//! Invariant: decisions ([`Services`] to rules, records to answers) are pure values; only the edges speak netlink or UDP.

pub mod addresses;
pub mod conntrack;
pub mod dns;
pub mod fabric;
pub mod links;
pub mod netlink;
pub mod nft;
pub mod node;
pub mod rules;
pub mod table;

pub use node::NodeNetwork;

use async_trait::async_trait;
use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::Path,
    str::FromStr,
    sync::Arc,
};

/// What can go wrong on the wire or in the kernel.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The kernel refused.
    #[error("{what}: {source}")]
    Kernel {
        /// What was asked of it.
        what: String,
        /// Its answer.
        source: std::io::Error,
    },
    /// No address left in the node's range.
    #[error("no free address in {0}")]
    NoAddress(String),
    /// Settings that cannot work.
    #[error("{0}")]
    Config(String),
}

/// A result of the network.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An IPv4 range in CIDR form.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Cidr {
    /// First address.
    pub address: Ipv4Addr,
    /// Length of the prefix.
    pub prefix: u8,
}

impl Cidr {
    /// The address that lies `n` behind the first of the range (0: the network's own).
    pub fn nth(&self, n: u32) -> Ipv4Addr {
        Ipv4Addr::from((u32::from(self.address) & self.mask()).wrapping_add(n))
    }

    /// The last address of the range (broadcast).
    pub fn last(&self) -> Ipv4Addr {
        Ipv4Addr::from(u32::from(self.address) | !self.mask())
    }

    /// Whether `address` is in the range.
    pub fn contains(&self, address: Ipv4Addr) -> bool {
        u32::from(address) & self.mask() == u32::from(self.address) & self.mask()
    }

    /// The bits that all addresses of the range share.
    pub fn mask(&self) -> u32 {
        u32::MAX.checked_shl(32 - u32::from(self.prefix.min(32))).unwrap_or(0)
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

impl FromStr for Cidr {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let parse = || {
            let (address, prefix) = text.split_once('/')?;
            let prefix = prefix.parse().ok().filter(|prefix| *prefix <= 32)?;
            Some(Self { address: address.parse().ok()?, prefix })
        };
        parse().ok_or_else(|| Error::Config(format!("{text:?} is no IPv4 range: write it like 10.244.0.0/16")))
    }
}

/// How a node's network is to be.
#[derive(Clone, Debug)]
pub struct NodeConfig {
    /// The node's address on the link between nodes.
    pub node_ip: Ipv4Addr,
    /// The range of this node's pods; the first address is the bridge's.
    pub pod_cidr: Cidr,
    /// The range of all pods: leaving it is masqueraded.
    pub cluster_cidr: Cidr,
    /// The range of ClusterIPs.
    pub service_cidr: Cidr,
    /// Where addresses given to pods are remembered over restarts.
    pub state_dir: std::path::PathBuf,
}

/// Another node: how its pods are reached.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Peer {
    /// Its address on the link between nodes.
    pub node_ip: Ipv4Addr,
    /// The range of its pods.
    pub pod_cidr: Cidr,
}

/// A transport protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
    /// SCTP.
    Sctp,
}

impl Protocol {
    /// Its number in an IP header.
    pub fn number(self) -> u8 {
        match self {
            Self::Tcp => 6,
            Self::Udp => 17,
            Self::Sctp => 132,
        }
    }

    /// The protocol of that number.
    pub fn from_number(number: u8) -> Option<Self> {
        [Self::Tcp, Self::Udp, Self::Sctp].into_iter().find(|protocol| protocol.number() == number)
    }
}

/// One port of one service, as the rules need it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServicePort {
    /// `namespace/name:port`, for messages and as identity.
    pub id: String,
    /// Addresses that stand for it on every node: ClusterIP, external IPs, load-balancer IPs.
    pub addresses: Vec<Ipv4Addr>,
    /// Protocol.
    pub protocol: Protocol,
    /// Port at `addresses`.
    pub port: u16,
    /// Port on every address of the node; 0: none.
    pub node_port: u16,
    /// Ready endpoints, anywhere.
    pub endpoints: Vec<(Ipv4Addr, u16)>,
    /// Ready endpoints on this node.
    pub local_endpoints: Vec<(Ipv4Addr, u16)>,
    /// `externalTrafficPolicy: Local`: node ports reach only local endpoints and keep the client's address.
    pub external_local: bool,
    /// `internalTrafficPolicy: Local`.
    pub internal_local: bool,
    /// `sessionAffinity: ClientIP`: seconds; 0: none.
    pub affinity_seconds: u32,
}

/// A port of a pod that the node itself answers on (`hostPort`).
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct HostPort {
    /// Node address; `0.0.0.0`: all.
    pub address: Ipv4Addr,
    /// Protocol.
    pub protocol: Protocol,
    /// Port on the node.
    pub port: u16,
    /// Pod address and port.
    pub target: (Ipv4Addr, u16),
}

/// Everything that the node's rules shall do. Given whole; the implementation finds what changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Services {
    /// Service ports.
    pub ports: Vec<ServicePort>,
    /// Host ports of this node's pods.
    pub host_ports: Vec<HostPort>,
}

/// The network of one node.
#[async_trait]
pub trait Network: Send + Sync + 'static {
    /// Gives the pod an address and a link in the network namespace at `netns`. Repeated, it gives the same address.
    async fn attach_pod(&self, pod_uid: &str, netns: &Path) -> Result<IpAddr>;
    /// Takes link and address back. Not an error if there are none.
    async fn detach_pod(&self, pod_uid: &str) -> Result<()>;
    /// Frees the addresses of all pods but these (after a restart).
    async fn retain_pods(&self, pod_uids: &[String]) -> Result<()>;
    /// The other nodes, all of them.
    async fn set_peers(&self, peers: &[Peer]) -> Result<()>;
    /// The services, all of them.
    async fn set_services(&self, services: &Services) -> Result<()>;
    /// Removes links, routes and rules: the node leaves.
    async fn remove(&self) -> Result<()>;
}

/// What the DNS server answers from. Implementations read the agent's view of services and endpoints.
pub trait Records: Send + Sync + 'static {
    /// Answers for a name below the cluster domain (lower case, no final dot, e.g. `web.default.svc.cluster.local`).
    fn lookup(&self, name: &str) -> Option<Answer>;
    /// The name of an address inside the cluster (PTR), without final dot.
    fn reverse(&self, address: IpAddr) -> Option<String>;
}

/// An answer for an existing name. Empty lists mean: the name exists, without such records.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// A and AAAA.
    pub addresses: Vec<IpAddr>,
    /// SRV: (target without final dot, its addresses, port).
    pub services: Vec<(String, Vec<IpAddr>, u16)>,
    /// CNAME, for ExternalName.
    pub alias: Option<String>,
}

/// How DNS is served on a node.
#[derive(Clone)]
pub struct DnsConfig {
    /// Addresses to listen on (UDP and TCP).
    pub listen: Vec<SocketAddr>,
    /// `cluster.local`.
    pub cluster_domain: String,
    /// Servers for everything else; read from the node's resolv.conf.
    pub upstream: Vec<SocketAddr>,
    /// Cluster names.
    pub records: Arc<dyn Records>,
}
