//! Makes a pod ready to take containers: volumes, sandbox, network, the files in `/etc`.

use super::{log_dir, observed::Observed};
use crate::{
    context::Node,
    spec::{self, fieldref::Addresses, files, resources, security},
    volumes::{self, Volumes},
};
use coracle_runtime::{Namespace, Sandbox, SandboxSpec};
use k8s_openapi::api::core::v1::Pod;
use std::{collections::BTreeMap, fs, path::PathBuf, sync::Arc};

/// A pod that can take containers.
#[derive(Clone, Debug, Default)]
pub(crate) struct Prepared {
    /// Its addresses.
    pub(crate) ips: Vec<String>,
    /// Its volumes.
    pub(crate) volumes: Volumes,
    /// Files for `/etc`: (file on the node, path in containers).
    pub(crate) files: Vec<(PathBuf, &'static str)>,
}

/// Why not.
pub(crate) struct Failure {
    pub(crate) reason: &'static str,
    pub(crate) message: String,
}

fn mount_failed(message: String) -> Failure {
    Failure { reason: "FailedMount", message }
}

fn sandbox_failed(error: impl std::fmt::Display) -> Failure {
    Failure { reason: "FailedCreatePodSandBox", message: format!("Failed to create pod sandbox: {error}") }
}

pub(super) async fn run(node: &Arc<Node>, pod: &Pod, observed: &Observed, attempt: u32) -> Result<Prepared, Failure> {
    let host = spec::host_network(pod);
    let node_ip = node.config.node_ip.to_string();
    let mut addresses = Addresses { host_ips: vec![node_ip.clone()], pod_ips: Vec::new() };
    if host {
        addresses.pod_ips.push(node_ip.clone());
    }
    node.references.ready(pod).await.map_err(mount_failed)?;
    let volumes = volumes::set_up(node, pod, &addresses).await.map_err(mount_failed)?;
    if !host && node.network().is_none() {
        let missing = node.state.network_missing().unwrap_or_default();
        let message = format!(
            "network is not ready: container runtime network not ready: NetworkReady=false reason:NetworkPluginNotReady message:{missing}"
        );
        return Err(Failure { reason: "NetworkNotReady", message });
    }
    let sandbox = match observed.ready_sandbox() {
        Some(sandbox) => sandbox.clone(),
        None => make_sandbox(node, pod, observed, attempt).await?,
    };
    node.pods.belongs(&sandbox.id, spec::uid(pod));
    let ips = match (&sandbox.netns, node.network()) {
        (Some(netns), Some(network)) if !host => {
            let ip = network.attach_pod(spec::uid(pod), netns).await.map_err(sandbox_failed)?;
            vec![ip.to_string()]
        }
        _ => vec![node_ip],
    };
    let files = etc(node, pod, &ips).map_err(sandbox_failed)?;
    Ok(Prepared { ips, volumes, files })
}

async fn make_sandbox(node: &Node, pod: &Pod, observed: &Observed, attempt: u32) -> Result<Sandbox, Failure> {
    if let Some(old) = &observed.sandbox {
        // its processes and its address must not stand in the way; its containers' records stay
        if let Some(network) = node.network() {
            network.detach_pod(spec::uid(pod)).await.map_err(sandbox_failed)?;
        }
        node.runtime.stop_sandbox(&old.id).await.map_err(sandbox_failed)?;
    }
    let logs = log_dir(node, pod);
    fs::create_dir_all(&logs).map_err(sandbox_failed)?;
    node.runtime.run_sandbox(sandbox_spec(pod, attempt, logs)).await.map_err(sandbox_failed)
}

fn sandbox_spec(pod: &Pod, attempt: u32, log_dir: PathBuf) -> SandboxSpec {
    let pod_spec = spec::of(pod);
    let network = security::shared_namespace(pod_spec.host_network);
    let sysctls = pod_spec.security_context.as_ref().and_then(|s| s.sysctls.as_ref());
    SandboxSpec {
        name: spec::name(pod).into(),
        namespace: spec::namespace(pod).into(),
        uid: spec::uid(pod).into(),
        attempt,
        hostname: if network == Namespace::Node { String::new() } else { hostname(pod) },
        network,
        ipc: security::shared_namespace(pod_spec.host_ipc),
        pid: security::pid_namespace(pod),
        sysctls: sysctls.into_iter().flatten().map(|s| (s.name.clone(), s.value.clone())).collect(),
        cgroup: resources::cgroup(pod),
        resources: resources::of_pod(pod),
        log_dir,
        labels: pod.metadata.labels.clone().unwrap_or_default(),
        annotations: BTreeMap::new(),
    }
}

fn hostname(pod: &Pod) -> String {
    if spec::of(pod).set_hostname_as_fqdn == Some(true)
        && let Some(full) = spec::domain_name(pod, "cluster.local").filter(|f| f.len() <= 64)
    {
        return full;
    }
    spec::hostname(pod)
}

/// Writes the files that containers see in `/etc`. Those that exist are written in place: they are mounted already.
fn etc(node: &Node, pod: &Pod, ips: &[String]) -> std::io::Result<Vec<(PathBuf, &'static str)>> {
    let dir = volumes::pod_dir(&node.config.data_dir, spec::uid(pod));
    fs::create_dir_all(&dir)?;
    let domain = &node.config.cluster_domain;
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let resolver = files::resolver(
        pod,
        &[node.config.cluster_dns.to_string()],
        domain,
        &files::Resolver::parse(&read("/etc/resolv.conf")),
    );
    let name = if spec::host_network(pod) { read("/etc/hostname").trim().to_string() } else { hostname(pod) };
    let mut out = Vec::new();
    for (file, target, text) in [
        ("etc-hosts", "/etc/hosts", files::hosts(pod, ips, domain, &read("/etc/hosts"))),
        ("resolv.conf", "/etc/resolv.conf", resolver.render()),
        ("hostname", "/etc/hostname", format!("{name}\n")),
    ] {
        let path = dir.join(file);
        fs::write(&path, text)?;
        out.push((path, target));
    }
    Ok(out)
}
