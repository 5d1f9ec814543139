//! [`EmbeddedRuntime`]: the runtime that needs nothing but this program and the kernel.
//!
//! What exists is on disk and in the shims; this side keeps a mirror of it, fed by the shims' messages. Dropping it, or killing the
//! process, loses nothing: [`EmbeddedRuntime::open`] over the same directory finds everything again.

mod connection;
mod containers;
mod exec;
mod sandboxes;
mod stream;

use crate::{
    Container, ContainerSpec, ContainerState, Credentials, Error, Event, ExecOutput, ExecSpec, Image, Progress, Result,
    Runtime, Sandbox, SandboxSpec, Session, Usage, cgroup::Cgroups, image::Store, shim::Record,
};
use async_trait::async_trait;
use parking_lot::Mutex;
use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use tokio::sync::{broadcast, mpsc, watch};

/// Where a runtime keeps things, and under which cgroup.
#[derive(Clone, Debug)]
pub struct RuntimeConfig {
    /// State of this node's sandboxes and containers; must not lie on an overlay.
    pub state_dir: PathBuf,
    /// Images; nodes of one machine may share it.
    pub images_dir: PathBuf,
    /// Cgroup that all of this node's pods live below (`coracle/<cluster>/<node>`).
    pub cgroup_parent: String,
    /// The program that is run as `shim …` (it calls [`crate::dispatch`]); usually `/proc/self/exe`.
    pub shim_exe: PathBuf,
    /// Registries spoken to over plain HTTP, besides those on this machine.
    pub insecure_registries: Vec<String>,
}

/// The embedded runtime.
pub struct EmbeddedRuntime {
    config: RuntimeConfig,
    images: Store,
    cgroups: Cgroups,
    mirror: Arc<Mirror>,
}

/// What is known of sandboxes and containers.
#[derive(Default)]
struct Tables {
    sandboxes: BTreeMap<String, SandboxEntry>,
    containers: BTreeMap<String, Container>,
}

struct SandboxEntry {
    sandbox: Sandbox,
    directory: PathBuf,
    cgroup: String,
    processes: crate::shim::Processes,
    /// Being stopped on purpose: its end is no loss.
    stopping: bool,
}

struct Mirror {
    tables: Mutex<Tables>,
    events: broadcast::Sender<Event>,
    /// Counts changes, for those who wait for one.
    changes: watch::Sender<u64>,
}

/// How many events a slow receiver may lag behind.
const EVENTS: usize = 4096;

impl Mirror {
    fn new() -> Arc<Self> {
        Arc::new(Self { tables: Mutex::default(), events: broadcast::channel(EVENTS).0, changes: watch::channel(0).0 })
    }

    /// Takes over what a shim says. Messages come by two ways, so an older one may arrive late: a life never goes back.
    fn apply(&self, record: &Record) {
        let event = {
            let mut tables = self.tables.lock();
            let Some(container) = tables.containers.get_mut(&record.id) else { return };
            let rank = |state| match state {
                ContainerState::Created => 0,
                ContainerState::Running => 1,
                ContainerState::Exited => 2,
            };
            if rank(record.state) <= rank(container.state) {
                return;
            }
            update(container, record);
            let (sandbox, container) = (container.sandbox.clone(), container.id.clone());
            match record.state {
                ContainerState::Created => None,
                ContainerState::Running => Some(Event::Started { sandbox, container }),
                ContainerState::Exited => Some(Event::Exited { sandbox, container }),
            }
        };
        self.changes.send_modify(|count| *count += 1);
        if let Some(event) = event {
            // Nobody listening is fine.
            let _ = self.events.send(event);
        }
    }

    fn container(&self, id: &str) -> Result<Container> {
        self.tables.lock().containers.get(id).cloned().ok_or_else(|| Error::NotFound(format!("container {id}")))
    }

    /// The directory of a sandbox.
    fn directory(&self, sandbox: &str) -> Result<PathBuf> {
        let tables = self.tables.lock();
        let entry = tables.sandboxes.get(sandbox).ok_or_else(|| Error::NotFound(format!("sandbox {sandbox}")))?;
        Ok(entry.directory.clone())
    }

    /// Waits until `done` holds for what is known; `None` after `limit`.
    async fn wait_until<T>(&self, limit: Duration, done: impl Fn(&Tables) -> Option<T>) -> Option<T> {
        let mut changes = self.changes.subscribe();
        let wait = async {
            loop {
                changes.borrow_and_update();
                if let Some(value) = done(&self.tables.lock()) {
                    return Some(value);
                }
                if changes.changed().await.is_err() {
                    return None;
                }
            }
        };
        tokio::time::timeout(limit, wait).await.ok().flatten()
    }
}

fn update(container: &mut Container, record: &Record) {
    container.state = record.state;
    container.pid = record.pid;
    container.started = record.started.or(container.started);
    container.finished = record.finished;
    container.exit_code = record.exit_code;
    container.signal = record.signal;
    container.reason.clone_from(&record.reason);
    container.message.clone_from(&record.message);
}

impl EmbeddedRuntime {
    /// Opens the runtime over its directories and finds what still runs.
    pub async fn open(config: RuntimeConfig) -> Result<Arc<Self>> {
        let images = Store::open(&config.images_dir, config.insecure_registries.clone())?;
        let sandboxes = config.state_dir.join("sandboxes");
        std::fs::create_dir_all(&sandboxes).map_err(|e| io_error(&format!("creating {}", sandboxes.display()), e))?;
        let cgroups = Cgroups::detect();
        let runtime = Arc::new(Self { config, images, cgroups, mirror: Mirror::new() });
        runtime.recover(&sandboxes).await?;
        Ok(runtime)
    }

    fn pod_cgroup(&self, relative: &str) -> String {
        format!("/{}/{}", self.config.cgroup_parent.trim_matches('/'), relative.trim_matches('/'))
    }
}

fn io_error(what: &str, source: io::Error) -> Error {
    Error::Io { what: what.to_owned(), source }
}

/// 64 random hex digits.
fn new_id() -> Result<String> {
    use std::io::Read;
    let mut bytes = [0u8; 32];
    let random = std::fs::File::open("/dev/urandom").and_then(|mut file| file.read_exact(&mut bytes));
    random.map_err(|e| io_error("reading /dev/urandom", e))?;
    Ok(hex::encode(bytes))
}

/// Runs work that blocks (disk, mounts) beside the event loop.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|e| Err(Error::Internal(format!("a task failed: {e}"))))
}

fn read_json<T: serde::de::DeserializeOwned>(path: &Path) -> io::Result<T> {
    Ok(serde_json::from_slice(&std::fs::read(path)?)?)
}

fn write_json(path: &Path, value: &impl serde::Serialize) -> Result<()> {
    let bytes = serde_json::to_vec(value).map_err(|e| Error::Internal(e.to_string()))?;
    crate::files::write_atomically(path, &bytes).map_err(|e| io_error(&format!("writing {}", path.display()), e))
}

#[async_trait]
impl Runtime for EmbeddedRuntime {
    fn version(&self) -> String {
        format!("coracle://{}", env!("CARGO_PKG_VERSION"))
    }

    async fn run_sandbox(&self, spec: SandboxSpec) -> Result<Sandbox> {
        self.make_sandbox(spec).await
    }

    async fn stop_sandbox(&self, sandbox: &str) -> Result<()> {
        self.end_sandbox(sandbox).await
    }

    async fn remove_sandbox(&self, sandbox: &str) -> Result<()> {
        self.delete_sandbox(sandbox).await
    }

    async fn sandboxes(&self) -> Result<Vec<Sandbox>> {
        Ok(self.mirror.tables.lock().sandboxes.values().map(|entry| entry.sandbox.clone()).collect())
    }

    async fn create_container(&self, sandbox: &str, spec: ContainerSpec) -> Result<String> {
        self.make_container(sandbox, spec).await
    }

    async fn start_container(&self, container: &str) -> Result<()> {
        self.launch_container(container).await
    }

    async fn stop_container(&self, container: &str, grace: Duration) -> Result<()> {
        self.end_container(container, grace).await
    }

    async fn remove_container(&self, container: &str) -> Result<()> {
        self.delete_container(container).await
    }

    async fn container(&self, container: &str) -> Result<Container> {
        self.mirror.container(container)
    }

    async fn containers(&self, sandbox: Option<&str>) -> Result<Vec<Container>> {
        let tables = self.mirror.tables.lock();
        let wanted = |c: &&Container| sandbox.is_none_or(|sandbox| c.sandbox == sandbox);
        Ok(tables.containers.values().filter(wanted).cloned().collect())
    }

    async fn reopen_log(&self, container: &str) -> Result<()> {
        self.tell(container, |container| crate::shim::Request::ReopenLog { container }).await
    }

    async fn exec_sync(&self, container: &str, command: &[String], timeout: Duration) -> Result<ExecOutput> {
        self.run_command(container, command, timeout).await
    }

    async fn exec(&self, container: &str, spec: ExecSpec) -> Result<Session> {
        self.open_command(container, spec).await
    }

    async fn attach(&self, container: &str, stdin: bool) -> Result<Session> {
        self.join_streams(container, stdin).await
    }

    async fn usage(&self, container: &str) -> Result<Usage> {
        let container = self.mirror.container(container)?;
        let cgroup = self.container_cgroup(&container)?;
        let cgroups = self.cgroups.clone();
        blocking(move || Ok(cgroups.usage(&cgroup))).await
    }

    async fn node_usage(&self) -> Result<Option<Usage>> {
        let (cgroups, parent) = (self.cgroups.clone(), self.config.cgroup_parent.clone());
        // where this process, too, lives in the node's group, that group is all of the node
        blocking(move || Ok(cgroups.holds_this_process(&parent).then(|| cgroups.usage(&parent)))).await
    }

    fn events(&self) -> broadcast::Receiver<Event> {
        self.mirror.events.subscribe()
    }

    async fn images(&self) -> Result<Vec<Image>> {
        let store = self.images.clone();
        blocking(move || store.list()).await
    }

    async fn image(&self, reference: &str) -> Result<Option<Image>> {
        let (store, reference) = (self.images.clone(), reference.to_owned());
        blocking(move || Ok(store.find(&reference)?.map(|record| record.image()))).await
    }

    async fn pull(
        &self,
        reference: &str,
        credentials: &[Credentials],
        progress: Option<mpsc::Sender<Progress>>,
    ) -> Result<Image> {
        self.images.pull(reference, credentials, progress).await
    }

    async fn load(&self, archive: PathBuf, progress: Option<mpsc::Sender<Progress>>) -> Result<Vec<Image>> {
        let store = self.images.clone();
        blocking(move || store.load(&archive, progress.as_ref())).await
    }

    async fn remove_image(&self, reference: &str) -> Result<()> {
        let (store, reference) = (self.images.clone(), reference.to_owned());
        blocking(move || store.remove(&reference)).await
    }
}
