//! One node of this machine: its namespaces, its link, its agent.

use super::{
    layout::{Layout, NodeState, Process, State},
    namespaces,
};
use anyhow::{Context, Result};
use coracle_network::fabric::Fabric;
use std::{fs::OpenOptions, process::Stdio};
use tokio::process::{Child, Command};

/// What every agent of a cluster is told.
#[derive(Clone, Debug)]
pub struct AgentSettings {
    /// Join token.
    pub token: String,
    /// Flags and values that the user gave for all nodes (`--log`, `--cluster-domain`, …).
    pub flags: Vec<String>,
}

/// Makes the node's namespaces and its link. Repeating it changes nothing.
///
/// # Errors
/// When the kernel refuses.
pub async fn prepare(layout: &Layout, state: &State, node: &NodeState) -> Result<()> {
    let (name, pins, log) = (node.name.clone(), layout.pins(&node.name), layout.node(&node.name).join("log"));
    tokio::task::spawn_blocking({
        let pins = pins.clone();
        move || namespaces::create(&name, &pins, &log)
    })
    .await??;
    let fabric = Fabric::named(&state.name, state.subnet);
    fabric
        .connect(&node.name, &pins.join("net"), node.ip)
        .await
        .with_context(|| format!("{} cannot be linked", node.name))
}

/// Starts the node's agent in its namespaces.
///
/// # Errors
/// When it cannot be started.
pub fn start_agent(
    layout: &Layout,
    state: &State,
    node: &NodeState,
    settings: &AgentSettings,
) -> Result<(Child, Process)> {
    let group = format!("{}/{}", state.cgroup(), node.name);
    let text = |path: std::path::PathBuf| path.to_string_lossy().into_owned();
    let mut program = vec![
        "agent".to_string(),
        "--server".into(),
        format!("https://{}:{}", state.gateway(), state.port),
        "--node-name".into(),
        node.name.clone(),
        "--node-ip".into(),
        node.ip.to_string(),
        "--data-dir".into(),
        text(layout.node(&node.name)),
        "--images-dir".into(),
        text(layout.images()),
        "--cgroup".into(),
        group.clone(),
    ];
    program.extend(settings.flags.iter().cloned());
    let program: Vec<&str> = program.iter().map(String::as_str).collect();
    let mut command: Command =
        namespaces::command(&layout.pins(&node.name), &format!("{group}/agent"), &program).into();
    // in the environment, not among the arguments, which every process can read
    command.env("CORACLE_TOKEN", &settings.token);
    spawn(command, layout, &node.name)
}

/// Starts a child whose log goes to a file named after it.
///
/// # Errors
/// When the program or the file cannot be had.
pub fn spawn(mut command: Command, layout: &Layout, name: &str) -> Result<(Child, Process)> {
    let file = layout.logs().join(format!("{name}.log"));
    let log = OpenOptions::new()
        .create(true)
        .append(true)
        .open(&file)
        .with_context(|| format!("{} cannot be written", file.display()))?;
    let child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(log)
        // a Ctrl-C on the terminal is for the supervisor, which then ends the others in order
        .process_group(0)
        .spawn()
        .with_context(|| format!("{name} cannot be started"))?;
    let process = child.id().and_then(Process::find).unwrap_or_default();
    Ok((child, process))
}
