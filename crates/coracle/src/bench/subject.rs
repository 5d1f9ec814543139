//! What is measured: processes of this very binary, each with an empty directory, and gone without a trace afterwards.

use super::objects;
use crate::{
    cluster::{
        layout::{Layout, State},
        teardown, wait,
    },
    demo::images,
};
use anyhow::{Context, Result, bail};
use coracle_api::{ListOptions, WriteOptions};
use coracle_client::{
    HttpClient, Kind, SharedClient,
    http::{HttpConfig, Identity, Trust},
};
use coracle_runtime::ImageStore;
use k8s_openapi::api::core::v1::{Node, Pod, ServiceAccount};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use std::{
    io,
    path::{Path, PathBuf},
    process::Stdio,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::process::{Child, Command};

/// Longer than any start or stop may take.
const LIMIT: Duration = Duration::from_secs(60);
/// Between two questions whether the server is ready.
const PAUSE: Duration = Duration::from_millis(1);

/// A server alone.
pub struct Server {
    child: Child,
    directory: PathBuf,
}

impl Server {
    /// Starts one; it, and how long it took until it was ready.
    pub async fn start(directory: &Path) -> Result<(Self, Duration)> {
        empty(directory)?;
        let port = free_port()?;
        let begun = Instant::now();
        let bind = format!("127.0.0.1:{port}");
        let child = spawn(&["server", "--name", "bench", "--bind", &bind], directory, &directory.join("server.log"))?;
        let mut server = Self { child, directory: directory.to_owned() };
        until_ready(&mut server.child, port, &directory.join("server.log")).await?;
        Ok((server, begun.elapsed()))
    }

    /// Clients with the administrator's certificate, each with a connection of its own.
    pub fn clients(&self, count: usize) -> Result<Vec<Arc<HttpClient>>> {
        let file = self.directory.join("admin.kubeconfig");
        (0..count).map(|_| Ok(Arc::new(HttpClient::from_kubeconfig(&file, None)?))).collect()
    }

    /// Its process.
    pub fn pid(&self) -> Result<u32> {
        self.child.id().context("the server has ended")
    }

    /// Pods are refused until their account has been made, a moment after the server is ready.
    pub async fn wait_for_service_account(&self) -> Result<()> {
        let client: SharedClient =
            Arc::new(HttpClient::from_kubeconfig(&self.directory.join("admin.kubeconfig"), None)?);
        service_account(&client).await
    }

    /// Ends it and removes its data.
    pub async fn stop(self) -> Result<()> {
        end(self.child).await?;
        std::fs::remove_dir_all(&self.directory).context("the server's data cannot be removed")
    }
}

/// A cluster of one node.
pub struct Cluster {
    /// The administrator's client.
    pub client: SharedClient,
    child: Child,
    layout: Layout,
}

/// How long after its start a cluster had …
pub struct Times {
    /// … a server that was ready,
    pub ready: Duration,
    /// a node that was Ready,
    pub node: Duration,
    /// and a first pod that ran.
    pub pod: Duration,
}

impl Cluster {
    /// Starts one, and a first pod, which is deleted again.
    pub async fn start(directory: &Path) -> Result<(Self, Times)> {
        take_down(directory).await?;
        empty(directory)?;
        let layout = Layout::open(directory)?;
        let archive = layout.run().join("images.tar");
        images::archive(&archive)?;
        ImageStore::open(&layout.images(), Vec::new())?.load(&archive, None)?;
        std::fs::remove_file(&archive)?;
        let port = free_port()?;
        let bind = format!("0.0.0.0:{port}");
        // two benchmarks on one machine disturb each other, but they are not to take each other down
        let name = format!("bench-{}", std::process::id());
        let arguments = ["up", "--nodes", "1", "--name", &name, "--no-kubeconfig", "--bind", &bind];
        let log = layout.logs().join("up.log");
        let begun = Instant::now();
        let mut child = spawn(&arguments, directory, &log)?;
        until_ready(&mut child, port, &log).await?;
        let ready = begun.elapsed();
        let client: SharedClient = Arc::new(HttpClient::from_kubeconfig(&layout.kubeconfig(), None)?);
        let cluster = Self { client, child, layout };
        let (node, pod) = tokio::try_join!(cluster.node_ready(begun), cluster.pod_running(begun))?;
        cluster.client.delete(&Pod::resource(), "default", "first", &coracle_api::DeleteOptions::default()).await?;
        let gone = |pods: &std::collections::BTreeMap<_, _>| pods.is_empty().then_some(());
        cluster.until::<Pod, _>("the first pod to go", gone).await?;
        Ok((cluster, Times { ready, node, pod }))
    }

    async fn node_ready(&self, begun: Instant) -> Result<Duration> {
        let ready = |nodes: &std::collections::BTreeMap<String, _>| {
            nodes.values().any(|n: &Arc<coracle_api::Object>| wait::ready(n)).then(|| begun.elapsed())
        };
        self.until::<Node, _>("the node to be Ready", ready).await
    }

    async fn pod_running(&self, begun: Instant) -> Result<Duration> {
        service_account(&self.client).await?;
        let pod = objects::running_pod("first");
        self.client.create(&Pod::resource(), "default", pod, &WriteOptions::default()).await?;
        let running = |pods: &std::collections::BTreeMap<String, Arc<coracle_api::Object>>| {
            pods.values().any(|p| p.value()["status"]["phase"] == "Running").then(|| begun.elapsed())
        };
        self.until::<Pod, _>("the first pod to run", running).await
    }

    async fn until<K: Kind, T>(
        &self,
        what: &str,
        done: impl FnMut(&std::collections::BTreeMap<String, Arc<coracle_api::Object>>) -> Option<T>,
    ) -> Result<T> {
        let namespace = if K::resource().namespaced { "default" } else { "" };
        wait::until(&self.client, &K::resource(), namespace, ListOptions::default(), LIMIT, what, done).await
    }

    /// What is recorded of it.
    pub fn state(&self) -> Result<State> {
        self.layout.state().context("the cluster is gone")
    }

    /// Takes it down and removes its data.
    pub async fn stop(self) -> Result<()> {
        end(self.child).await?;
        take_down(self.layout.root()).await
    }
}

/// Ends what a cluster in `directory` left, if there is one, and removes the directory.
pub async fn take_down(directory: &Path) -> Result<()> {
    if !directory.exists() {
        return Ok(());
    }
    let layout = Layout::open(directory)?;
    if let Some(state) = layout.state() {
        state.supervisor.signal(Signal::SIGTERM);
        let begun = Instant::now();
        while state.supervisor.lives() && begun.elapsed() < LIMIT {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        if let Some(left) = layout.state() {
            left.supervisor.signal(Signal::SIGKILL);
            teardown::cluster(&layout, &left).await?;
        }
    }
    std::fs::remove_dir_all(directory).with_context(|| format!("{} cannot be removed", directory.display()))
}

fn empty(directory: &Path) -> Result<()> {
    match std::fs::remove_dir_all(directory) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(error).with_context(|| format!("{} cannot be removed", directory.display()));
        }
        _ => {}
    }
    std::fs::create_dir_all(directory).with_context(|| format!("{} cannot be made", directory.display()))
}

fn free_port() -> Result<u16> {
    Ok(std::net::TcpListener::bind("0.0.0.0:0")?.local_addr()?.port())
}

/// This binary with other arguments; its log is a file, its output nobody reads.
fn spawn(arguments: &[&str], directory: &Path, log: &Path) -> Result<Child> {
    let log = std::fs::File::create(log).with_context(|| format!("{} cannot be written", log.display()))?;
    Command::new("/proc/self/exe")
        .arg0("coracle")
        .args(arguments)
        .arg("--data-dir")
        .arg(directory)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log)
        // an interrupt on the terminal is for the benchmark, which then takes everything down
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
        .context("this program cannot be started")
}

async fn until_ready(child: &mut Child, port: u16, log: &Path) -> Result<()> {
    let client = HttpClient::new(HttpConfig {
        server: format!("https://127.0.0.1:{port}"),
        // the CA is being made just now; that the certificates are right is tested elsewhere
        trust: Trust::Insecure,
        identity: Identity::Anonymous,
    })?;
    let begun = Instant::now();
    while client.raw("/readyz").await.is_err() {
        if let Some(status) = child.try_wait()? {
            let text = std::fs::read_to_string(log).unwrap_or_default();
            bail!("it ended ({status}): {}", text.lines().last().unwrap_or("it said nothing"));
        }
        if begun.elapsed() > LIMIT {
            bail!("it was not ready after {} s", LIMIT.as_secs());
        }
        tokio::time::sleep(PAUSE).await;
    }
    Ok(())
}

async fn service_account(client: &SharedClient) -> Result<()> {
    let what = "the default service account";
    let resource = ServiceAccount::resource();
    let exists = |all: &std::collections::BTreeMap<String, _>| all.contains_key("default/default").then_some(());
    wait::until(client, &resource, "default", ListOptions::default(), LIMIT, what, exists).await
}

async fn end(mut child: Child) -> Result<()> {
    if let Some(pid) = child.id().and_then(|pid| i32::try_from(pid).ok()) {
        let _ = kill(Pid::from_raw(pid), Signal::SIGTERM);
    }
    match tokio::time::timeout(LIMIT, child.wait()).await {
        Ok(status) => status.map(drop).context("it cannot be waited for"),
        Err(_) => bail!("it did not stop within {} s", LIMIT.as_secs()),
    }
}
