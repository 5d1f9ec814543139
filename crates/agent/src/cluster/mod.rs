//! What the node does for the cluster: service rules, routes to other nodes, DNS; all follow Services, EndpointSlices and Nodes.

mod records;
mod services;

use crate::{
    context::{NetworkFactory, Node},
    node::network::pod_cidr,
    spec::{self, files::Resolver, ports},
};
use coracle_api::Resource;
use coracle_client::View;
use coracle_network::{DnsConfig, HostPort, Network, NodeNetwork, Peer};
use futures::StreamExt;
use k8s_openapi::api::{
    core::v1::{self, Pod, Service},
    discovery::v1::EndpointSlice,
};
use parking_lot::RwLock;
use records::{RecordSet, SharedRecords};
use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

/// Changes that come within this time are applied together.
const TOGETHER: Duration = Duration::from_millis(5);
/// How long after a failure it is tried again.
const RETRY: Duration = Duration::from_secs(1);

/// The network of this program's own making; the cluster's DNS address becomes one of the node's.
pub fn embedded(dns: Ipv4Addr) -> NetworkFactory {
    Box::new(move |config| {
        Box::pin(async move {
            let network = tokio::task::spawn_blocking(move || NodeNetwork::open(config))
                .await
                .map_err(|e| coracle_network::Error::Config(e.to_string()))??;
            network.add_local_address(dns).await?;
            let network: Arc<dyn Network> = Arc::new(network);
            Ok(network)
        })
    })
}

/// Keeps rules, routes and records current. Never returns.
pub async fn follow(node: Arc<Node>) {
    let mut ready = node.network.clone();
    let Ok(network) = ready.wait_for(Option::is_some).await.map(|n| n.clone()) else { return };
    let Some(network) = network else { return };
    let records = Arc::new(SharedRecords(RwLock::new(RecordSet::default())));
    let services = Resource::of::<Service>();
    let slices = Resource::of::<EndpointSlice>();
    let nodes = Resource::of::<v1::Node>();
    let mut changes = node.view.changes(&[services, slices, nodes]);
    serve_dns(&node, records.clone());
    let mut applied: Option<(coracle_network::Services, Vec<Peer>)> = None;
    loop {
        tokio::select! {
            change = changes.next() => if change.is_none() { return },
            () = node.pods.addresses_changed.notified() => {}
        }
        // what belongs together arrives together: let it come in
        node.clock.sleep(TOGETHER).await;
        while let Some(Some(_)) = futures::FutureExt::now_or_never(changes.next()) {}
        loop {
            let wanted = wanted(&node, &records);
            match apply(network.as_ref(), applied.as_ref(), &wanted).await {
                Ok(()) => {
                    applied = Some(wanted);
                    break;
                }
                Err(error) => {
                    tracing::warn!(%error, "the node's rules could not be brought up to date");
                    applied = None;
                    node.clock.sleep(RETRY).await;
                }
            }
        }
    }
}

fn wanted(node: &Node, records: &SharedRecords) -> (coracle_network::Services, Vec<Peer>) {
    let typed = |resource: Resource| node.view.list(&resource, "");
    let services: Vec<Arc<Service>> = typed(Resource::of::<Service>()).iter().filter_map(|o| o.view().ok()).collect();
    let slices: Vec<Arc<EndpointSlice>> =
        typed(Resource::of::<EndpointSlice>()).iter().filter_map(|o| o.view().ok()).collect();
    *records.0.write() = RecordSet::build(&services, &slices, &node.config.cluster_domain);
    let mut rules = services::build(&services, &slices, &node.config.node_name, node.config.cluster_dns);
    rules.host_ports = host_ports(node);
    (rules, peers(node))
}

async fn apply(
    network: &dyn Network,
    applied: Option<&(coracle_network::Services, Vec<Peer>)>,
    wanted: &(coracle_network::Services, Vec<Peer>),
) -> coracle_network::Result<()> {
    if applied.is_none_or(|(_, peers)| *peers != wanted.1) {
        network.set_peers(&wanted.1).await?;
    }
    if applied.is_none_or(|(services, _)| *services != wanted.0) {
        network.set_services(&wanted.0).await?;
    }
    Ok(())
}

/// The other nodes that have a range and an address.
fn peers(node: &Node) -> Vec<Peer> {
    let mut peers: Vec<Peer> = node
        .view
        .list(&Resource::of::<v1::Node>(), "")
        .iter()
        .filter(|o| o.meta().name != node.config.node_name)
        .filter_map(|o| {
            let other = o.view::<v1::Node>().ok()?;
            let addresses = other.status.as_ref()?.addresses.as_ref()?;
            let address = addresses.iter().find(|a| a.type_ == "InternalIP")?.address.parse().ok()?;
            Some(Peer { node_ip: address, pod_cidr: pod_cidr(&other)? })
        })
        .collect();
    peers.sort();
    peers
}

fn host_ports(node: &Node) -> Vec<HostPort> {
    let mut out = Vec::new();
    for (object, ip) in node.pods.all() {
        let (Ok(pod), Some(Ok(ip))) = (object.view::<Pod>(), ip.map(|ip| ip.parse::<Ipv4Addr>())) else { continue };
        if spec::host_network(&pod) {
            continue;
        }
        for ((address, protocol, port), target) in ports::host_ports(&pod) {
            let number = |p: i32| u16::try_from(p).ok();
            if let (Ok(address), Some(protocol), Some(port), Some(target)) =
                (address.parse(), services::protocol(Some(&protocol)), number(port), number(target))
            {
                out.push(HostPort { address, protocol, port, target: (ip, target) });
            }
        }
    }
    out.sort();
    out
}

/// Answers DNS on the cluster's DNS address.
fn serve_dns(node: &Arc<Node>, records: Arc<SharedRecords>) {
    let text = std::fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
    let upstream = Resolver::parse(&text).servers;
    let upstream: Vec<SocketAddr> =
        upstream.iter().filter_map(|s| s.parse::<IpAddr>().ok()).map(|ip| SocketAddr::new(ip, 53)).collect();
    let config = DnsConfig {
        listen: vec![SocketAddr::from((node.config.cluster_dns, 53))],
        cluster_domain: node.config.cluster_domain.clone(),
        upstream,
        records,
    };
    if let Err(error) = coracle_network::dns::serve(config, &node.tasks) {
        tracing::error!(%error, "DNS cannot be served on this node");
    }
}
