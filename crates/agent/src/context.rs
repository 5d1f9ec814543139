//! What all parts of the agent share.

use crate::{
    eviction::Thresholds, machine::Machine, node::status::NodeState, pods::Pods, references::References,
    serve::usage::Averages, tokens::Tokens,
};
use coracle_base::{SharedClock, Tasks};
use coracle_client::{Recorder, Reflector, SharedClient};
use coracle_network::{Cidr, Network, NodeConfig};
use coracle_runtime::Runtime;
use futures::future::BoxFuture;
use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    sync::Arc,
};
use tokio::sync::watch;

/// How the agent finds and enters its cluster.
#[derive(Clone, Debug, Default)]
pub struct Join {
    /// The cluster's CA, if it is known already (PEM).
    pub ca: Option<Vec<u8>>,
    /// Hash of the CA's public key (`sha256:…`), by which the CA is taken from the server.
    pub ca_hash: Option<String>,
    /// A bootstrap token (`id.secret`); needed until the node has its certificate.
    pub token: Option<String>,
}

impl Join {
    /// From a join token as `coracle token create` prints it, or from a plain bootstrap token.
    pub fn from_token(token: &str) -> Self {
        match token.parse::<coracle_pki::JoinToken>() {
            Ok(join) => {
                Self { ca: None, ca_hash: Some(join.authority_hash.clone()), token: Some(join.bootstrap.to_string()) }
            }
            Err(_) => Self { ca: None, ca_hash: None, token: Some(token.to_string()) },
        }
    }
}

/// How a node is to be.
#[derive(Clone, Debug)]
pub struct AgentConfig {
    /// `https://host:port` of the API server.
    pub server: String,
    /// How it joins.
    pub join: Join,
    /// Where the agent keeps its identity, pods' volumes, addresses.
    pub data_dir: PathBuf,
    /// Where the runtime keeps images; its file system is watched (`imagefs`).
    pub images_dir: PathBuf,
    /// Where pods' logs go: `<log_dir>/pods`, `<log_dir>/containers` (`/var/log`).
    pub log_dir: PathBuf,
    /// The node's name.
    pub node_name: String,
    /// Its address on the link between nodes.
    pub node_ip: Ipv4Addr,
    /// More labels.
    pub labels: BTreeMap<String, String>,
    /// Taints at registration: (key, value, effect).
    pub taints: Vec<(String, String, String)>,
    /// Where the agent serves logs and exec.
    pub listen: SocketAddr,
    /// Address of the cluster's DNS service.
    pub cluster_dns: Ipv4Addr,
    /// `cluster.local`.
    pub cluster_domain: String,
    /// The range of all pods.
    pub cluster_cidr: Cidr,
    /// The range of services.
    pub service_cidr: Cidr,
    /// At most so many pods.
    pub max_pods: u32,
    /// Below which the node is short of something (`--eviction-hard`).
    pub eviction_hard: Thresholds,
}

impl AgentConfig {
    /// A configuration with everything at its default.
    pub fn new(server: &str, data_dir: PathBuf, node_name: &str, node_ip: Ipv4Addr) -> Self {
        Self {
            server: server.to_string(),
            join: Join::default(),
            images_dir: data_dir.join("images"),
            data_dir,
            log_dir: PathBuf::from("/var/log"),
            node_name: node_name.to_string(),
            node_ip,
            labels: BTreeMap::new(),
            taints: Vec::new(),
            listen: SocketAddr::from((Ipv4Addr::UNSPECIFIED, 10250)),
            cluster_dns: Ipv4Addr::new(10, 96, 0, 10),
            cluster_domain: "cluster.local".into(),
            cluster_cidr: Cidr { address: Ipv4Addr::new(10, 244, 0, 0), prefix: 16 },
            service_cidr: Cidr { address: Ipv4Addr::new(10, 96, 0, 0), prefix: 16 },
            max_pods: 110,
            eviction_hard: Thresholds::default(),
        }
    }
}

/// Makes the node's network once its pod range is known.
pub type NetworkFactory =
    Box<dyn FnOnce(NodeConfig) -> BoxFuture<'static, coracle_network::Result<Arc<dyn Network>>> + Send + Sync>;

/// What all parts of the agent share.
pub struct Node {
    /// How the node is to be.
    pub config: AgentConfig,
    /// Requests to the API server.
    pub client: SharedClient,
    /// What the API server says.
    pub view: Arc<Reflector>,
    /// Containers.
    pub runtime: Arc<dyn Runtime>,
    /// The pod network, once there is one.
    pub network: watch::Receiver<Option<Arc<dyn Network>>>,
    /// Events.
    pub events: Recorder,
    /// Time.
    pub clock: SharedClock,
    /// What the machine has.
    pub machine: Machine,
    /// ConfigMaps and Secrets that pods use.
    pub references: References,
    /// Service account tokens of pods.
    pub tokens: Tokens,
    /// The pods.
    pub pods: Pods,
    /// What containers used on the average.
    pub averages: Averages,
    /// What decides the node's conditions.
    pub state: NodeState,
    /// Everything that runs.
    pub tasks: Tasks,
}

impl Node {
    /// The network, if it is there.
    pub fn network(&self) -> Option<Arc<dyn Network>> {
        self.network.borrow().clone()
    }
}
