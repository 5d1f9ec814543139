//! `coracle up`.

use super::Command;
use crate::{
    cluster::{
        layout::Layout,
        supervisor::{Options, Supervisor},
    },
    settings::Values,
};
use anyhow::{Context, Result, bail};
use coracle_agent::eviction::Thresholds;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::{
    io::{BufRead, BufReader},
    net::{Ipv4Addr, SocketAddr},
    process::{ExitCode, Stdio},
    time::Duration,
};
use tokio::signal::unix::{SignalKind, signal};

/// The command.
pub static COMMAND: Command = Command {
    name: "up",
    about: "Start a cluster on this machine",
    settings: &[
        "nodes",
        "detach",
        "data-dir",
        "name",
        "bind",
        "node-subnet",
        "cluster-cidr",
        "service-cidr",
        "cluster-domain",
        "tls-san",
        "runtime-config",
        "eviction-hard",
        "no-kubeconfig",
        "log",
    ],
    arguments: &[],
    action: crate::run!(run),
};

/// What nodes keep free unless the user says otherwise. They share the machine's disk with everything else that is on it, and how full
/// that is says little about the cluster.
const EVICTION_HARD: &str = "memory.available<100Mi,nodefs.available<512Mi,imagefs.available<512Mi";

/// The line by which a cluster in the background says that it is up.
const UP: &str = "the cluster is up";

async fn run(values: Values) -> Result<ExitCode> {
    super::need_root("up")?;
    if values.on("detach") {
        return detach(&values);
    }
    coracle_base::telemetry::init(if values.get("log") == "info" { "warn" } else { values.get("log") });
    let layout = Layout::open(&values.path("data-dir"))?;
    let name = values.get("name").to_string();
    // from here on a signal must not end this process where it stands: what is made by then has to be taken down
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let cancel = async {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    };
    let options = options(&values)?;
    let bar = progress(options.nodes)?;
    let shown = bar.clone();
    let show = move |line: &str| {
        // the bar's own lines are for a terminal only
        if shown.is_finished() || shown.is_hidden() {
            println!("{line}");
        } else {
            shown.println(line);
            shown.inc(1);
        }
    };
    let started = Supervisor::start(layout.clone(), options, show, cancel).await;
    bar.finish_and_clear();
    let (supervisor, stopped) = started?;
    if !values.on("no-kubeconfig") {
        let file = super::kubeconfig::merge_into_users(&layout.kubeconfig(), &name)?;
        println!("context {name:?} added to {}", file.display());
    }
    println!("{UP}: kubectl --kubeconfig {} get nodes", layout.kubeconfig().display());
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
        _ = stopped => {}
    }
    supervisor.stop().await?;
    if !values.on("no-kubeconfig") {
        super::kubeconfig::remove_from_users(&name)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// A bar on a terminal, nothing elsewhere: one step for the API and one for each node.
fn progress(nodes: usize) -> Result<ProgressBar> {
    let bar = ProgressBar::with_draw_target(Some(nodes as u64 + 1), ProgressDrawTarget::stdout())
        .with_style(ProgressStyle::with_template("starting {bar:30} {pos}/{len} {elapsed}")?);
    bar.enable_steady_tick(Duration::from_millis(100));
    Ok(bar)
}

fn options(values: &Values) -> Result<Options> {
    let pass = |names: &[&str]| -> Vec<String> {
        names.iter().flat_map(|n| values.all(n).iter().flat_map(move |v| [format!("--{n}"), v.clone()])).collect()
    };
    let subnet = match values.get("node-subnet") {
        "" => None,
        text => Some(
            parse_subnet(text).with_context(|| format!("--node-subnet {text:?} is not of the form 10.89.0.0/24"))?,
        ),
    };
    let nodes = values.parse("nodes")?;
    if nodes == 0 {
        bail!("--nodes 0: a cluster needs a node; `coracle server` runs the control plane alone");
    }
    let name = values.get("name").to_string();
    if name.is_empty()
        || name.len() > 40
        || !name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
    {
        bail!("--name {name:?}: up to 40 lower-case letters, digits and '-'");
    }
    let bind: SocketAddr = values.parse("bind")?;
    if bind.ip().is_loopback() {
        bail!(
            "--bind {bind}: the nodes could not reach the server at a loopback address; 0.0.0.0:{} is reached by them and by you",
            bind.port()
        );
    }
    // each agent parses it again; a mistake is told here, where the user looks
    let kept = values.parse_opt("eviction-hard")?.unwrap_or(EVICTION_HARD.parse::<Thresholds>()?);
    let mut agent_flags = pass(&["cluster-cidr", "service-cidr", "cluster-domain", "log"]);
    agent_flags.extend(["--eviction-hard".to_string(), kept.to_string()]);
    Ok(Options {
        name,
        bind,
        subnet,
        nodes,
        server_flags: pass(&["cluster-cidr", "service-cidr", "cluster-domain", "tls-san", "runtime-config", "log"]),
        agent_flags,
    })
}

fn parse_subnet(text: &str) -> Option<(Ipv4Addr, u8)> {
    let (address, prefix) = text.split_once('/')?;
    Some((address.parse().ok()?, prefix.parse().ok().filter(|p| (16..=28).contains(p))?))
}

/// Starts the same command in the background and shows its progress until the cluster is up.
fn detach(values: &Values) -> Result<ExitCode> {
    let layout = Layout::open(&values.path("data-dir"))?;
    let file = layout.logs().join("up.log");
    let log = std::fs::File::create(&file).with_context(|| format!("{} cannot be written", file.display()))?;
    let arguments = std::env::args_os().skip(1).filter(|a| a != "--detach");
    let mut command = std::process::Command::new("/proc/self/exe");
    let mut child = command
        .args(arguments)
        .env_remove("CORACLE_DETACH")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(log)
        .process_group_of_its_own()
        .spawn()
        .context("the cluster cannot be started")?;
    let out = child.stdout.take().context("the cluster's output cannot be read")?;
    for line in BufReader::new(out).lines() {
        let line = line?;
        println!("{line}");
        if line.starts_with(UP) {
            return Ok(ExitCode::SUCCESS);
        }
    }
    child.wait()?;
    bail!("{}", std::fs::read_to_string(&file).unwrap_or_default().trim().trim_start_matches("coracle: "))
}

trait OwnGroup {
    fn process_group_of_its_own(&mut self) -> &mut Self;
}

impl OwnGroup for std::process::Command {
    fn process_group_of_its_own(&mut self) -> &mut Self {
        std::os::unix::process::CommandExt::process_group(self, 0)
    }
}
