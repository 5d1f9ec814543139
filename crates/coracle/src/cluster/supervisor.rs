//! Runs a cluster on this machine: starts the server and the agents, starts them again when they end, adds and deletes nodes,
//! and takes everything down at the end.

use super::{
    control::{Answer, Request, tell},
    layout::{Layout, NodeState, Process, State},
    node::{self, AgentSettings},
    teardown, wait,
};
use anyhow::{Context, Result, bail};
use coracle_base::{Backoff, Tasks};
use coracle_client::{SharedClient, http::HttpClient};
use coracle_network::fabric::Fabric;
use parking_lot::Mutex;
use std::{future::Future, net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    net::{UnixListener, UnixStream},
    process::{Child, Command},
    sync::{mpsc, oneshot},
};

/// How long a start may take before it counts as failed.
const START: Duration = Duration::from_secs(60);
/// How long a process may take to stop before it is killed.
const STOP: Duration = Duration::from_secs(10);
/// The line by which a child says that it does its work.
pub const READY: &str = "ready";

/// How the cluster is to be.
pub struct Options {
    /// Its name.
    pub name: String,
    /// Where the API server listens.
    pub bind: SocketAddr,
    /// Range of the nodes' addresses; `None`: a free one.
    pub subnet: Option<(std::net::Ipv4Addr, u8)>,
    /// How many nodes.
    pub nodes: usize,
    /// Flags passed on to the server.
    pub server_flags: Vec<String>,
    /// Flags passed on to every agent.
    pub agent_flags: Vec<String>,
}

/// A running cluster.
pub struct Supervisor {
    layout: Layout,
    options: Options,
    state: Mutex<State>,
    tasks: Tasks,
    token: tokio::sync::OnceCell<AgentSettings>,
    show: Box<dyn Fn(&str) + Send + Sync>,
    stop: Mutex<Option<oneshot::Sender<()>>>,
    nodes: tokio::sync::Mutex<std::collections::BTreeMap<String, Tasks>>,
}

impl Supervisor {
    /// Brings a cluster up; returns once every node is ready, or gives up when `cancel` completes. `show` is told what happens.
    ///
    /// # Errors
    /// When a cluster runs already, the port is taken, something does not start, or it was cancelled. Nothing is left then.
    pub async fn start(
        layout: Layout,
        options: Options,
        show: impl Fn(&str) + Send + Sync + 'static,
        cancel: impl Future<Output = ()>,
    ) -> Result<(Arc<Self>, oneshot::Receiver<()>)> {
        let earlier = layout.state();
        if let Some(state) = &earlier
            && state.supervisor.lives()
        {
            bail!(
                "a cluster named {:?} already runs in {}; `coracle down` ends it",
                state.name,
                layout.root().display()
            );
        }
        // a supervisor that was killed leaves server, agents and containers: they are taken over, not restarted from nothing
        let nodes = earlier.as_ref().map(|s| s.nodes.clone()).unwrap_or_default();
        for process in earlier.iter().flat_map(|s| s.server.into_iter().chain(s.nodes.iter().filter_map(|n| n.agent))) {
            process.signal(nix::sys::signal::Signal::SIGTERM);
            while process.lives() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }
        let subnet = earlier.as_ref().map(|s| s.subnet).or(options.subnet);
        let fabric =
            Fabric::create(&options.name, subnet).await.context("the link between the nodes cannot be made")?;
        let supervisor = Process::find(std::process::id()).unwrap_or_default();
        let state = State {
            name: options.name.clone(),
            supervisor,
            server: None,
            port: options.bind.port(),
            subnet: fabric.subnet(),
            nodes,
        };
        layout.save(&state)?;
        let (stop, stopped) = oneshot::channel();
        let this = Arc::new(Self {
            layout,
            options,
            state: Mutex::new(state),
            tasks: Tasks::new(),
            token: tokio::sync::OnceCell::new(),
            show: Box::new(show),
            stop: Mutex::new(Some(stop)),
            nodes: tokio::sync::Mutex::default(),
        });
        let came_up = tokio::select! {
            result = this.clone().bring_up() => result,
            () = cancel => Err(anyhow::anyhow!("interrupted")),
        };
        if let Err(error) = came_up {
            this.stop().await?;
            return Err(error);
        }
        Ok((this, stopped))
    }

    async fn bring_up(self: Arc<Self>) -> Result<()> {
        let begun = std::time::Instant::now();
        self.start_server().await?;
        (self.show)(&format!("API ready after {} ms", begun.elapsed().as_millis()));
        self.listen()?;
        let wanted = self.options.nodes.max(self.state.lock().nodes.len());
        let names: Vec<String> = (0..wanted)
            .map(|i| {
                let mut state = self.state.lock();
                if let Some(known) = state.nodes.get(i) {
                    return known.name.clone();
                }
                let node = NodeState { name: state.free_name(), ip: state.free_address(), agent: None };
                state.nodes.push(node.clone());
                node.name
            })
            .collect();
        // a set: what is under way ends with this start
        let mut starting: tokio::task::JoinSet<_> =
            names.into_iter().map(|name| self.clone().start_node(name, Vec::new())).collect();
        while let Some(node) = starting.join_next().await {
            let name = node??;
            (self.show)(&format!("{name} Ready after {} ms", begun.elapsed().as_millis()));
        }
        Ok(())
    }

    /// A client with the administrator's rights.
    ///
    /// # Errors
    /// When the kubeconfig cannot be used.
    pub fn client(&self) -> Result<SharedClient> {
        Ok(Arc::new(HttpClient::from_kubeconfig(&self.layout.kubeconfig(), None)?))
    }

    async fn start_server(self: &Arc<Self>) -> Result<()> {
        let (this, (ready, is_ready)) = (self.clone(), oneshot::channel());
        let start = move || {
            let gateway = this.state.lock().gateway().to_string();
            let mut command = Command::new("/proc/self/exe");
            command
                .arg0("coracle")
                .args([
                    "server",
                    "--bind",
                    &this.options.bind.to_string(),
                    "--advertise-address",
                    &gateway,
                    "--data-dir",
                ])
                .arg(this.layout.root())
                .args(&this.options.server_flags);
            let (child, process) = node::spawn(command, &this.layout, "server")?;
            this.record(|state| state.server = Some(process))?;
            Ok(child)
        };
        self.keep("server", self.tasks.clone(), start, ready);
        started("the server", is_ready, self.layout.logs().join("server.log")).await
    }

    async fn start_node(self: Arc<Self>, name: String, labels: Vec<String>) -> Result<String> {
        let (state, node) = {
            let state = self.state.lock();
            let node = state.nodes.iter().find(|n| n.name == name).cloned();
            (state.clone(), node.with_context(|| format!("{name} is not known"))?)
        };
        node::prepare(&self.layout, &state, &node).await?;
        let mut settings = self.token.get_or_try_init(|| self.agent_settings()).await?.clone();
        settings.flags.extend(labels.into_iter().flat_map(|label| ["--label".to_string(), label]));
        let tasks = self.tasks.child();
        self.nodes.lock().await.insert(name.clone(), tasks.clone());
        let (this, (ready, is_ready)) = (self.clone(), oneshot::channel());
        let start = move || {
            let (child, process) = node::start_agent(&this.layout, &state, &node, &settings)?;
            this.record(|state| {
                if let Some(known) = state.nodes.iter_mut().find(|n| n.name == node.name) {
                    known.agent = Some(process);
                }
            })?;
            Ok(child)
        };
        self.keep("agent", tasks, start, ready);
        started(&name, is_ready, self.layout.logs().join(format!("{name}.log"))).await?;
        wait::node_ready(&self.client()?, &name, START).await?;
        Ok(name)
    }

    async fn agent_settings(&self) -> Result<AgentSettings> {
        let ttl = Duration::from_secs(10 * 365 * 86_400);
        let token = crate::commands::token::create(&self.client()?, &self.layout, ttl, "agents of coracle up").await?;
        Ok(AgentSettings { token, flags: self.options.agent_flags.clone() })
    }

    fn record(&self, change: impl FnOnce(&mut State)) -> Result<()> {
        let mut state = self.state.lock();
        change(&mut state);
        self.layout.save(&state)
    }

    /// Starts a child, and starts it again whenever it ends; `ready` gets the child's first word.
    fn keep(
        &self,
        name: &'static str,
        tasks: Tasks,
        start: impl Fn() -> Result<Child> + Send + 'static,
        ready: oneshot::Sender<Result<()>>,
    ) {
        let token = tasks.token();
        tasks.spawn(name, async move {
            let mut ready = Some(ready);
            let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(10));
            while !token.is_cancelled() {
                let begun = std::time::Instant::now();
                let ended = match start() {
                    Ok(child) => follow(child, &mut ready).await,
                    Err(error) => format!("{error:#}"),
                };
                if let Some(ready) = ready.take() {
                    // it never came up: that is an error of the start, not something to try again
                    let _ = ready.send(Err(anyhow::anyhow!(ended)));
                    return;
                }
                tracing::warn!(process = name, %ended, "ended; starting it again");
                if begun.elapsed() > Duration::from_secs(10) {
                    backoff.reset();
                }
                tokio::time::sleep(backoff.next_delay()).await;
            }
        });
    }

    fn listen(self: &Arc<Self>) -> Result<()> {
        let socket = self.layout.socket();
        // left by a supervisor that was killed
        let _ = std::fs::remove_file(&socket);
        let listener = UnixListener::bind(&socket).with_context(|| format!("{} cannot be made", socket.display()))?;
        std::fs::set_permissions(&socket, std::os::unix::fs::PermissionsExt::from_mode(0o600))?;
        let this = self.clone();
        self.tasks.spawn("control", async move {
            while let Ok((stream, _)) = listener.accept().await {
                let this = this.clone();
                tokio::spawn(async move { this.serve(stream).await });
            }
        });
        Ok(())
    }

    async fn serve(self: Arc<Self>, stream: UnixStream) {
        let (read, mut write) = stream.into_split();
        let Ok(Some(line)) = BufReader::new(read).lines().next_line().await else { return };
        let (progress, mut shown) = mpsc::unbounded_channel();
        let work = tokio::spawn(async move {
            match serde_json::from_str(&line)? {
                Request::AddNode { name, labels } => self.add_node(name, labels, progress).await,
                Request::DeleteNode { name } => self.delete_node(&name).await,
                Request::Stop => {
                    if let Some(stop) = self.stop.lock().take() {
                        let _ = stop.send(());
                    }
                    Ok("stopping".into())
                }
            }
        });
        while let Some(text) = shown.recv().await {
            tell(&mut write, &Answer::Progress(text)).await;
        }
        let answer = match work.await.map_err(anyhow::Error::from).and_then(|r| r) {
            Ok(text) => Answer::Done(text),
            Err(error) => Answer::Error(format!("{error:#}")),
        };
        tell(&mut write, &answer).await;
    }

    async fn add_node(
        self: Arc<Self>,
        name: String,
        labels: Vec<String>,
        progress: mpsc::UnboundedSender<String>,
    ) -> Result<String> {
        let node = {
            let mut state = self.state.lock();
            let name = if name.is_empty() { state.free_name() } else { name };
            if state.nodes.iter().any(|n| n.name == name) {
                bail!("there is a node named {name} already");
            }
            let node = NodeState { name, ip: state.free_address(), agent: None };
            state.nodes.push(node.clone());
            node
        };
        // nobody may listen any more; the node is wanted all the same
        let _ = progress.send(format!("{} at {}", node.name, node.ip));
        match self.clone().start_node(node.name.clone(), labels).await {
            Ok(name) => Ok(format!("{name} is Ready")),
            Err(error) => {
                self.remove_node(&node.name).await?;
                Err(error)
            }
        }
    }

    async fn delete_node(&self, name: &str) -> Result<String> {
        if !self.state.lock().nodes.iter().any(|n| n.name == name) {
            bail!("there is no node named {name} on this machine");
        }
        self.remove_node(name).await?;
        let resource = coracle_api::Resource::of::<k8s_openapi::api::core::v1::Node>();
        match self.client()?.delete(&resource, "", name, &coracle_api::DeleteOptions::default()).await {
            Err(error) if !error.is_not_found() => Err(error.into()),
            _ => Ok(format!("{name} is gone")),
        }
    }

    async fn remove_node(&self, name: &str) -> Result<()> {
        let tasks = self.nodes.lock().await.remove(name);
        let state = self.state.lock().clone();
        if let Some(agent) = state.nodes.iter().find(|n| n.name == name).and_then(|n| n.agent) {
            agent.signal(nix::sys::signal::Signal::SIGTERM);
        }
        if let Some(tasks) = tasks {
            tasks.stop().await;
        }
        teardown::node(&self.layout, &state, name).await?;
        match std::fs::remove_dir_all(self.layout.node(name)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(error).with_context(|| format!("the data of {name} cannot be removed"));
            }
            _ => {}
        }
        self.record(|state| state.nodes.retain(|n| n.name != name))
    }

    /// Ends everything: processes, mounts, links, rules, cgroups. Data stay.
    ///
    /// # Errors
    /// When something cannot be removed.
    pub async fn stop(&self) -> Result<()> {
        let state = self.state.lock().clone();
        self.tasks.token().cancel();
        let processes: Vec<Process> = state.nodes.iter().filter_map(|n| n.agent).chain(state.server).collect();
        for process in &processes {
            process.signal(nix::sys::signal::Signal::SIGTERM);
        }
        self.tasks.stop().await;
        ended(&processes, STOP).await;
        teardown::cluster(&self.layout, &state).await
    }
}

/// Waits until the processes are gone, and kills those that are not after `limit`.
async fn ended(processes: &[Process], limit: Duration) {
    let begun = std::time::Instant::now();
    while processes.iter().any(Process::lives) {
        tokio::time::sleep(Duration::from_millis(5)).await;
        if begun.elapsed() > limit {
            for process in processes {
                process.signal(nix::sys::signal::Signal::SIGKILL);
            }
        }
    }
}

/// Reads a child's output to its end; how it ended. The first line [`READY`] is passed on.
async fn follow(mut child: Child, ready: &mut Option<oneshot::Sender<Result<()>>>) -> String {
    if let Some(out) = child.stdout.take() {
        let mut lines = BufReader::new(out).lines();
        while let Ok(Some(line)) = lines.next_line().await {
            if line == READY
                && let Some(ready) = ready.take()
            {
                let _ = ready.send(Ok(()));
            }
        }
    }
    match child.wait().await {
        Ok(status) => status.to_string(),
        Err(error) => error.to_string(),
    }
}

async fn started(what: &str, ready: oneshot::Receiver<Result<()>>, log: PathBuf) -> Result<()> {
    let failed = match tokio::time::timeout(START, ready).await {
        Ok(Ok(Ok(()))) => return Ok(()),
        Ok(Ok(Err(error))) => format!("{error:#}"),
        Ok(Err(_)) => "it was stopped".into(),
        Err(_) => format!("it was not ready after {} s", START.as_secs()),
    };
    let text = std::fs::read_to_string(&log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    let tail = lines[lines.len().saturating_sub(5)..].join("\n");
    bail!("{what} did not start ({failed}); {} ends with:\n{tail}", log.display())
}
