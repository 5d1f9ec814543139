//! The node agent: runs the pods that are bound to its node, and reports what becomes of them.
//!
//! It joins the cluster ([`node`]), runs a task per pod ([`pods`]: observe, plan, apply, report), makes [`volumes`], probes containers
//! ([`probes`]), serves logs and exec ([`serve`]), and keeps the node's service rules and DNS records current ([`cluster`]).
//!
//! Invariant: everything it knows is in the API, in the runtime, or in files below its data directory; started again, it goes on where it was.

pub mod cluster;
pub mod context;
pub mod eviction;
pub mod hooks;
pub mod logs;
pub mod machine;
pub mod node;
pub mod pods;
pub mod probes;
pub mod references;
pub mod serve;
pub mod spec;
pub mod tokens;
pub mod volumes;

pub use context::{AgentConfig, Join, NetworkFactory, Node};

use coracle_api::{Resource, Status};
use coracle_base::{Backoff, SharedClock, SystemClock, Tasks};
use coracle_client::{Recorder, Reflector, Selection, SharedClient};
use coracle_runtime::Runtime;
use k8s_openapi::api::{core::v1, discovery::v1::EndpointSlice};
use std::{sync::Arc, time::Duration};
use tokio::sync::watch;

/// What keeps the agent from starting.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The API server refused.
    #[error("the cluster cannot be joined: {0}")]
    Join(Status),
    /// Something on this machine.
    #[error("{what}: {source}")]
    Io {
        /// What was tried.
        what: String,
        /// Why it failed.
        source: std::io::Error,
    },
    /// Keys or certificates.
    #[error(transparent)]
    Pki(#[from] coracle_pki::Error),
}

/// A running agent.
pub struct Agent {
    node: Arc<Node>,
}

impl Agent {
    /// Joins the cluster, registers the node, and starts everything. The network is made when the node has its range.
    ///
    /// # Errors
    /// When the cluster cannot be joined, or this machine refuses something that the agent needs.
    pub async fn start(config: AgentConfig, runtime: Arc<dyn Runtime>, network: NetworkFactory) -> Result<Self, Error> {
        let clock: SharedClock = Arc::new(SystemClock);
        let tasks = Tasks::new();
        // pods of collectors mount the directory of logs before there is any log
        for dir in [config.data_dir.clone(), config.log_dir.join("pods"), config.log_dir.join("containers")] {
            std::fs::create_dir_all(&dir)
                .map_err(|source| Error::Io { what: format!("making {}", dir.display()), source })?;
        }
        let joined = node::join::join(&config, &clock).await.map_err(Error::Join)?;
        let client: SharedClient = joined.client.clone();
        let ca = joined.ca.clone();
        tasks.spawn("renew-certificate", node::join::keep_fresh(joined, config.clone(), clock.clone()));
        let view = Reflector::new(client.clone());
        let (network_ready, network_seen) = watch::channel(None);
        let node = Arc::new(Node {
            machine: machine::Machine::measure(&config),
            events: Recorder::new(client.clone(), "kubelet", &config.node_name, clock.clone(), &tasks),
            references: references::References::new(view.clone()),
            tokens: tokens::Tokens::new(client.clone(), clock.clone()),
            pods: pods::Pods::default(),
            averages: serve::usage::Averages::default(),
            state: node::status::NodeState::new(),
            network: network_seen,
            config,
            client,
            view,
            runtime,
            clock,
            tasks,
        });
        register(&node).await?;
        serve::start(&node, &ca).await?;
        follow(&node);
        let tasks = &node.tasks;
        tasks.spawn("lease", node::renew_lease(node.clone()));
        tasks.spawn("node-status", node::report(node.clone()));
        node.view.synced().await;
        tasks.spawn("network", node::network::start(node.clone(), network, network_ready));
        tasks.spawn("pods", pods::run(node.clone()));
        tasks.spawn("runtime-events", pods::follow_runtime(node.clone()));
        tasks.spawn("references", pods::follow_references(node.clone()));
        tasks.spawn("log-rotation", pods::worker::rotate_logs(node.clone()));
        tasks.spawn("local-path", volumes::local_path::follow(node.clone()));
        tasks.spawn("services", cluster::follow(node.clone()));
        Ok(Self { node })
    }

    /// What the agent's parts share.
    pub fn node(&self) -> &Arc<Node> {
        &self.node
    }

    /// Stops the agent. Pods go on running; the next start finds them.
    pub async fn stop(&self) {
        self.node.tasks.stop().await;
    }
}

/// Makes the node known; keeps trying while the server is away.
async fn register(node: &Arc<Node>) -> Result<(), Error> {
    let mut backoff = Backoff::new(Duration::from_millis(50), Duration::from_secs(5));
    loop {
        match node::register(node).await {
            Ok(_) => return Ok(()),
            Err(error) if error.code >= 500 || error.code == 429 || error.is_conflict() => {
                tracing::info!(%error, "waiting to register the node");
                node.clock.sleep(backoff.next_delay()).await;
            }
            Err(error) => return Err(Error::Join(error)),
        }
    }
}

/// What a node reads: its own pods; nodes, services and endpoints of the cluster.
fn follow(node: &Arc<Node>) {
    let view = &node.view;
    view.keep(Selection::field(Resource::of::<v1::Pod>(), "", "spec.nodeName", &node.config.node_name));
    view.keep(Selection::all(Resource::of::<v1::Node>()));
    view.keep(Selection::all(Resource::of::<v1::Service>()));
    view.keep(Selection::all(Resource::of::<EndpointSlice>()));
}
