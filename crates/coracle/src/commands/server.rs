//! `coracle server`: the control plane alone.

use super::Command;
use crate::{cluster::supervisor::READY, settings::Values};
use anyhow::Result;
use coracle_base::{SharedClock, SystemClock, Tasks};
use coracle_controllers::{ClusterSettings, Controllers};
use coracle_server::{Server, ServerConfig, User};
use std::{process::ExitCode, sync::Arc};
use tokio::signal::unix::{SignalKind, signal};

/// The command.
pub static COMMAND: Command = Command {
    name: "server",
    about: "Run the control plane alone: API server, store, controllers, scheduler",
    settings: &[
        "data-dir",
        "bind",
        "advertise-address",
        "name",
        "cluster-cidr",
        "service-cidr",
        "cluster-domain",
        "tls-san",
        "runtime-config",
        "log",
    ],
    arguments: &[],
    action: crate::run!(run),
};

async fn run(values: Values) -> Result<ExitCode> {
    coracle_base::telemetry::init(values.get("log"));
    let clock: SharedClock = Arc::new(SystemClock);
    let config = ServerConfig {
        advertise: values.parse_opt("advertise-address")?,
        names: values.all("tls-san").to_vec(),
        cluster: values.get("name").to_string(),
        domain: values.get("cluster-domain").to_string(),
        services: values.get("service-cidr").to_string(),
        runtime_config: values.all("runtime-config").to_vec(),
        clock: clock.clone(),
        ..ServerConfig::new(values.path("data-dir"), values.parse("bind")?)
    };
    let server = Server::start(config).await?;
    let tasks = Tasks::new();
    let cluster_cidr = values.get("cluster-cidr");
    let settings =
        ClusterSettings::new(server.pki().clone(), cluster_cidr).map_err(|e| anyhow::anyhow!("--cluster-cidr {e}"))?;
    let client_for = |name: &str| server.client(User::controller(name));
    Controllers::start(client_for, server.view(), clock.clone(), &settings, &tasks);
    let scheduler = server.client(User::component("system:kube-scheduler", &[]));
    coracle_scheduler::start(scheduler, server.view(), clock, &tasks);
    tracing::info!(url = server.url(), "serving");
    // whoever reads the word may end this process at once
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    println!("{READY}");
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
        () = crate::thrift::run() => {}
    }
    tasks.stop().await;
    server.stop().await;
    Ok(ExitCode::SUCCESS)
}
