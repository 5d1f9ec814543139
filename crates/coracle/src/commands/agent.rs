//! `coracle agent`: this machine as a node of a cluster whose server runs elsewhere.

use super::Command;
use crate::{cluster::supervisor::READY, settings::Values};
use anyhow::{Context, Result, bail};
use coracle_agent::{Agent, AgentConfig, Join, eviction};
use coracle_network::Cidr;
use coracle_runtime::{EmbeddedRuntime, RuntimeConfig};
use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, UdpSocket},
    path::PathBuf,
    process::ExitCode,
};
use tokio::signal::unix::{SignalKind, signal};

/// The command.
pub static COMMAND: Command = Command {
    name: "agent",
    about: "Run a node: join the cluster of --server with a token of `coracle token create`",
    settings: &[
        "server",
        "token",
        "ca-hash",
        "node-name",
        "node-ip",
        "label",
        "data-dir",
        "images-dir",
        "cgroup",
        "cluster-cidr",
        "service-cidr",
        "cluster-domain",
        "eviction-hard",
        "log",
    ],
    arguments: &[],
    action: crate::run!(run),
};

async fn run(values: Values) -> Result<ExitCode> {
    super::need_root("agent")?;
    coracle_base::telemetry::init(values.get("log"));
    let config = config(&values)?;
    let runtime = RuntimeConfig {
        state_dir: config.data_dir.join("runtime"),
        images_dir: config.images_dir.clone(),
        cgroup_parent: values.get("cgroup").to_string(),
        shim_exe: PathBuf::from("/proc/self/exe"),
        insecure_registries: Vec::new(),
    };
    let runtime = EmbeddedRuntime::open(runtime).await.context("the container runtime cannot start")?;
    let network = coracle_agent::cluster::embedded(config.cluster_dns);
    let agent = Agent::start(config, runtime, network).await.context("the node cannot start")?;
    // whoever reads the word may end this process at once
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    println!("{READY}");
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
        () = crate::thrift::run() => {}
    }
    agent.stop().await;
    Ok(ExitCode::SUCCESS)
}

fn config(values: &Values) -> Result<AgentConfig> {
    let server = values.get("server");
    if !server.starts_with("https://") {
        bail!("--server {server:?}: the URL of the API server, https://ADDRESS:6443");
    }
    let name = match values.get("node-name") {
        "" => nix::unistd::gethostname()?.to_string_lossy().to_lowercase(),
        name => name.to_string(),
    };
    let ip = match values.parse_opt("node-ip")? {
        Some(ip) => ip,
        None => own_address(server)?,
    };
    let mut config = AgentConfig::new(server, values.path("data-dir"), &name, ip);
    if !values.get("images-dir").is_empty() {
        config.images_dir = values.path("images-dir");
    }
    config.eviction_hard = match values.parse_opt("eviction-hard")? {
        Some(thresholds) => thresholds,
        None => eviction::DEFAULT.parse()?,
    };
    config.join = match values.get("token") {
        "" => Join::default(),
        token => Join::from_token(token),
    };
    if !values.get("ca-hash").is_empty() {
        config.join.ca_hash = Some(values.get("ca-hash").to_string());
    }
    config.labels = values.all("label").iter().map(|l| label(l)).collect::<Result<BTreeMap<_, _>>>()?;
    config.cluster_cidr = values.parse("cluster-cidr")?;
    config.service_cidr = values.parse::<Cidr>("service-cidr")?;
    config.cluster_dns = config.service_cidr.nth(10);
    config.cluster_domain = values.get("cluster-domain").to_string();
    Ok(config)
}

fn label(text: &str) -> Result<(String, String)> {
    let (key, value) =
        text.split_once('=').with_context(|| format!("--label {text:?} is not of the form key=value"))?;
    Ok((key.to_string(), value.to_string()))
}

/// The address of this machine on the way to the server.
fn own_address(server: &str) -> Result<Ipv4Addr> {
    let host = server.trim_start_matches("https://").trim_end_matches('/');
    // connecting a datagram socket sends nothing; it only asks which way packets would go
    let socket = UdpSocket::bind("0.0.0.0:0")?;
    socket.connect(host).with_context(|| format!("{host} cannot be reached"))?;
    match socket.local_addr()?.ip() {
        IpAddr::V4(ip) => Ok(ip),
        IpAddr::V6(_) => bail!("this machine has no IPv4 address towards {host}; give one with --node-ip"),
    }
}
