//! The node's network: made once a controller has given the node its range of pod addresses.

use crate::context::{NetworkFactory, Node};
use coracle_api::Resource;
use coracle_client::View;
use coracle_network::{Cidr, Network, NodeConfig};
use futures::StreamExt;
use k8s_openapi::api::core::v1;
use std::{sync::Arc, time::Duration};
use tokio::sync::watch;

/// Reads `10.244.1.0/24`.
pub fn parse_cidr(text: &str) -> Option<Cidr> {
    let (address, prefix) = text.split_once('/')?;
    let prefix = prefix.parse().ok().filter(|p| *p <= 32)?;
    Some(Cidr { address: address.parse().ok()?, prefix })
}

/// The pod range of a node object, if it has one.
pub fn pod_cidr(node: &v1::Node) -> Option<Cidr> {
    node.spec.as_ref()?.pod_cidr.as_deref().and_then(parse_cidr)
}

/// Waits for the range and makes the network.
pub async fn start(node: Arc<Node>, make: NetworkFactory, ready: watch::Sender<Option<Arc<dyn Network>>>) {
    let nodes = Resource::of::<v1::Node>();
    let mut changes = node.view.changes(std::slice::from_ref(&nodes));
    let range = loop {
        let found = node.view.get(&nodes, "", &node.config.node_name);
        if let Some(range) = found.and_then(|o| pod_cidr(&*o.view::<v1::Node>().ok()?)) {
            break range;
        }
        if changes.next().await.is_none() {
            return;
        }
    };
    drop(changes);
    let config = NodeConfig {
        node_ip: node.config.node_ip,
        pod_cidr: range,
        cluster_cidr: node.config.cluster_cidr,
        service_cidr: node.config.service_cidr,
        state_dir: node.config.data_dir.join("network"),
    };
    match make(config).await {
        Ok(network) => {
            ready.send_replace(Some(network));
            node.state.set_network(None);
        }
        Err(error) => {
            tracing::error!(%error, "the node's network cannot be made");
            node.state.set_network(Some(error.to_string()));
            // `make` can be called once; the agent is started again to try again
            node.clock.sleep(Duration::from_secs(1)).await;
        }
    }
}
