//! The embedded container runtime: images, snapshots, sandboxes, containers, and the shim that keeps them.
//!
//! [`Runtime`] is shaped like CRI, so that a CRI socket can stand in its place. Invariant: a container's life never depends on the
//! life of the process that holds the `Runtime`; a small shim per pod does, and a new `Runtime` over the same state finds it again.

mod cgroup;
mod embedded;
mod files;
pub mod image;
mod shim;
mod spec;

pub use embedded::{EmbeddedRuntime, RuntimeConfig};
pub use image::{Store as ImageStore, reference::Reference};
pub use shim::dispatch;

use async_trait::async_trait;
use std::{collections::BTreeMap, path::PathBuf, time::Duration};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::{broadcast, mpsc, oneshot},
};

/// What can go wrong in the runtime; the agent turns it into container states and events.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No such sandbox, container or image.
    #[error("{0} not found")]
    NotFound(String),
    /// The image reference cannot be read.
    #[error("couldn't parse image name {0:?}: {1}")]
    InvalidImage(String, String),
    /// The image could not be had.
    #[error("failed to pull and unpack image {image:?}: {why}")]
    Pull {
        /// As it was asked for.
        image: String,
        /// What the registry or the disk said.
        why: String,
    },
    /// The container could not be made or started (no such program, bad user, …).
    #[error("{0}")]
    Container(String),
    /// Took longer than it may.
    #[error("{0} timed out")]
    Timeout(String),
    /// The machine said no.
    #[error("{what}: {source}")]
    Io {
        /// What was tried.
        what: String,
        /// The error.
        source: std::io::Error,
    },
    /// A defect, or a damaged state directory.
    #[error("{0}")]
    Internal(String),
}

/// A result of the runtime.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Which namespace a sandbox or container lives in.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Namespace {
    /// Its own, shared by the pod's containers if the pod shares it.
    #[default]
    Pod,
    /// One per container.
    Container,
    /// The node's.
    Node,
}

/// A pod sandbox to be made: the namespaces that its containers share, and the cgroup above them.
#[derive(Clone, Debug, Default, serde::Serialize, serde::Deserialize)]
pub struct SandboxSpec {
    /// Pod name, namespace and uid; the sandbox is found again by them.
    pub name: String,
    /// Pod namespace.
    pub namespace: String,
    /// Pod uid.
    pub uid: String,
    /// How often the sandbox has been made anew.
    pub attempt: u32,
    /// Host name inside; empty with `Namespace::Node` network.
    pub hostname: String,
    /// Network: `Pod` or `Node`.
    pub network: Namespace,
    /// IPC: `Pod` or `Node`.
    pub ipc: Namespace,
    /// PID: `Pod` (shared), `Container` or `Node`.
    pub pid: Namespace,
    /// Namespaced sysctls.
    pub sysctls: BTreeMap<String, String>,
    /// Cgroup of the pod, relative to the node's (`kubepods/burstable/pod<uid>`).
    pub cgroup: String,
    /// Limits of the pod's cgroup.
    pub resources: Resources,
    /// Where container logs go (`/var/log/pods/<ns>_<name>_<uid>`).
    pub log_dir: PathBuf,
    /// Kept as they are.
    pub labels: BTreeMap<String, String>,
    /// Kept as they are.
    pub annotations: BTreeMap<String, String>,
}

/// Limits in kernel units; the runtime turns them into cgroup v1 or v2.
#[derive(Clone, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Resources {
    /// CPU shares (cgroup v1 scale, 2 to 262144); 0 leaves the default.
    pub cpu_shares: u64,
    /// CPU quota in microseconds per `cpu_period`; 0: none.
    pub cpu_quota: i64,
    /// CPU period in microseconds; 0: 100 000.
    pub cpu_period: u64,
    /// Memory limit in bytes; 0: none.
    pub memory: i64,
    /// Process limit; 0: none.
    pub pids: i64,
    /// `oom_score_adj` of the processes.
    pub oom_score_adj: i32,
}

/// A sandbox as it is.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
pub struct Sandbox {
    /// Its id.
    pub id: String,
    /// What it was made from.
    pub spec: SandboxSpec,
    /// Whether its shim lives and its namespaces are there.
    pub ready: bool,
    /// Path of its network namespace (`/proc/<pid>/ns/net` or a bind mount); `None` with the node's network.
    pub netns: Option<PathBuf>,
    /// When it was made.
    pub created: jiff::Timestamp,
}

/// A file system made visible in a container.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Mount {
    /// Path on the node.
    pub source: PathBuf,
    /// Path in the container.
    pub target: PathBuf,
    /// Whether writes are refused.
    pub read_only: bool,
    /// Mount propagation: `private`, `rslave` or `rshared`.
    pub propagation: String,
}

/// A container to be made in a sandbox.
#[derive(Clone, Debug, Default, serde::Serialize, serde::Deserialize)]
pub struct ContainerSpec {
    /// Container name.
    pub name: String,
    /// How often it was started before (restart count).
    pub attempt: u32,
    /// Id of the image to run ([`Image::id`]).
    pub image: String,
    /// Overrides the image's entrypoint if not empty.
    pub command: Vec<String>,
    /// Overrides the image's cmd if not empty (or if `command` is not empty).
    pub args: Vec<String>,
    /// Overrides the image's working directory if not empty.
    pub working_dir: String,
    /// Environment, added to the image's.
    pub env: Vec<(String, String)>,
    /// Mounts.
    pub mounts: Vec<Mount>,
    /// Limits.
    pub resources: Resources,
    /// Security.
    pub security: Security,
    /// A terminal instead of pipes.
    pub tty: bool,
    /// Keep standard input open for attach.
    pub stdin: bool,
    /// Standard input ends when the first attachment does.
    #[serde(default)]
    pub stdin_once: bool,
    /// A running container of the sandbox whose processes it sees and is seen by (its pid namespace).
    #[serde(default)]
    pub pid_target: Option<String>,
    /// Log file, relative to the sandbox's `log_dir` (`<container>/<attempt>.log`), in CRI format.
    pub log_path: PathBuf,
    /// Signal to stop with; empty: the image's, else SIGTERM.
    pub stop_signal: String,
    /// Kept as they are.
    pub labels: BTreeMap<String, String>,
    /// Kept as they are.
    pub annotations: BTreeMap<String, String>,
}

/// Security settings of a container.
#[derive(Clone, Debug, Default, serde::Serialize, serde::Deserialize)]
pub struct Security {
    /// All capabilities, all devices, nothing masked.
    pub privileged: bool,
    /// User; `None`: the image's.
    pub run_as_user: Option<i64>,
    /// Group; `None`: the image's.
    pub run_as_group: Option<i64>,
    /// Refuse to start as uid 0.
    pub run_as_non_root: bool,
    /// More groups.
    pub supplemental_groups: Vec<i64>,
    /// Capabilities added to the default set (`NET_ADMIN`, `ALL`).
    pub add_capabilities: Vec<String>,
    /// Capabilities dropped.
    pub drop_capabilities: Vec<String>,
    /// The root file system cannot be written.
    pub read_only_root: bool,
    /// `no_new_privs`.
    pub no_new_privileges: bool,
}

/// Where a container is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum ContainerState {
    /// Made, not started.
    Created,
    /// Its first process lives.
    Running,
    /// Its first process has ended.
    Exited,
}

/// A container as it is.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
pub struct Container {
    /// Its id (64 hex digits).
    pub id: String,
    /// The sandbox it belongs to.
    pub sandbox: String,
    /// What it was made from.
    pub spec: ContainerSpec,
    /// Where it is in its life.
    pub state: ContainerState,
    /// Process id on the machine while it runs.
    pub pid: Option<u32>,
    /// When it was made.
    pub created: jiff::Timestamp,
    /// When it was started.
    pub started: Option<jiff::Timestamp>,
    /// When it ended.
    pub finished: Option<jiff::Timestamp>,
    /// Exit code; 128 + signal when a signal ended it.
    pub exit_code: Option<i32>,
    /// The signal that ended it.
    pub signal: Option<i32>,
    /// `Completed`, `Error`, `OOMKilled`, `StartError`; empty while it lives.
    pub reason: String,
    /// More on `reason`.
    pub message: String,
}

/// An image on the node.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
pub struct Image {
    /// Digest of its config (`sha256:…`).
    pub id: String,
    /// Names (`coracle.dev/demo:v1`), normalised.
    pub tags: Vec<String>,
    /// Names by digest (`coracle.dev/demo@sha256:…`).
    pub digests: Vec<String>,
    /// Size of its layers, in bytes.
    pub size: u64,
    /// User that the image asks for.
    pub user: String,
}

/// Registry credentials.
#[derive(Clone, Debug, Default)]
pub struct Credentials {
    /// User name.
    pub username: String,
    /// Password or token.
    pub password: String,
}

/// How far a pull or load is.
#[derive(Clone, Debug)]
pub struct Progress {
    /// What is being worked on (a layer's digest).
    pub item: String,
    /// Bytes done.
    pub done: u64,
    /// Bytes in all; 0 if unknown.
    pub total: u64,
}

/// What happened to a container, as it happens.
#[derive(Clone, Debug)]
pub enum Event {
    /// Its first process runs.
    Started {
        /// The sandbox.
        sandbox: String,
        /// The container.
        container: String,
    },
    /// Its first process ended.
    Exited {
        /// The sandbox.
        sandbox: String,
        /// The container.
        container: String,
    },
    /// The sandbox's shim is gone.
    SandboxLost {
        /// The sandbox.
        sandbox: String,
    },
}

/// The result of a command that was waited for.
#[derive(Clone, Debug, Default)]
pub struct ExecOutput {
    /// Exit code.
    pub code: i32,
    /// Standard output.
    pub stdout: Vec<u8>,
    /// Standard error.
    pub stderr: Vec<u8>,
}

/// Size of a terminal.
#[derive(Clone, Copy, Debug)]
pub struct TerminalSize {
    /// Columns.
    pub width: u16,
    /// Rows.
    pub height: u16,
}

/// A running command (or an attachment) with its streams; dropping it closes them.
pub struct Session {
    /// Standard input, if asked for.
    pub stdin: Option<Box<dyn AsyncWrite + Send + Unpin>>,
    /// Standard output (with a terminal: all output).
    pub stdout: Option<Box<dyn AsyncRead + Send + Unpin>>,
    /// Standard error; `None` with a terminal.
    pub stderr: Option<Box<dyn AsyncRead + Send + Unpin>>,
    /// Terminal sizes to set.
    pub resize: Option<mpsc::Sender<TerminalSize>>,
    /// The exit code, once.
    pub exit: oneshot::Receiver<Result<i32>>,
}

/// What a command run in a container looks like.
#[derive(Clone, Debug, Default)]
pub struct ExecSpec {
    /// Program and arguments.
    pub command: Vec<String>,
    /// With a terminal.
    pub tty: bool,
    /// With standard input.
    pub stdin: bool,
}

/// Use of resources by one container.
#[derive(Clone, Copy, Debug, Default)]
pub struct Usage {
    /// CPU time in nanoseconds since the start.
    pub cpu_nanos: u64,
    /// Memory working set in bytes.
    pub memory_working_set: u64,
    /// Memory in use, caches included, in bytes.
    pub memory: u64,
    /// Processes.
    pub pids: u64,
}

/// Sandboxes, containers and images of one node. All calls may run at once and are safe to repeat.
#[async_trait]
pub trait Runtime: Send + Sync + 'static {
    /// Name and version, as in `nodeInfo.containerRuntimeVersion` (`coracle://0.1.0`).
    fn version(&self) -> String;

    /// Makes a sandbox. Its network namespace is there but empty (only `lo`, up).
    async fn run_sandbox(&self, spec: SandboxSpec) -> Result<Sandbox>;
    /// Kills what still runs in it and ends its shim. Not an error if it is gone.
    async fn stop_sandbox(&self, sandbox: &str) -> Result<()>;
    /// Removes it with its containers and their writable layers, its cgroup, its state. Not an error if it is gone.
    async fn remove_sandbox(&self, sandbox: &str) -> Result<()>;
    /// All sandboxes, also those made before a restart.
    async fn sandboxes(&self) -> Result<Vec<Sandbox>>;

    /// Makes a container; returns its id.
    async fn create_container(&self, sandbox: &str, spec: ContainerSpec) -> Result<String>;
    /// Starts it. [`Error::Container`] if its program cannot be run.
    async fn start_container(&self, container: &str) -> Result<()>;
    /// Sends its stop signal, and SIGKILL after `grace`; returns when it has ended.
    async fn stop_container(&self, container: &str, grace: Duration) -> Result<()>;
    /// Removes an ended container and its writable layer (its log stays). Not an error if it is gone.
    async fn remove_container(&self, container: &str) -> Result<()>;
    /// One container.
    async fn container(&self, container: &str) -> Result<Container>;
    /// All containers (of one sandbox).
    async fn containers(&self, sandbox: Option<&str>) -> Result<Vec<Container>>;
    /// Closes and opens the log file, after it was renamed for rotation.
    async fn reopen_log(&self, container: &str) -> Result<()>;

    /// Runs a command to its end; [`Error::Timeout`] (and the command killed) after `timeout`.
    async fn exec_sync(&self, container: &str, command: &[String], timeout: Duration) -> Result<ExecOutput>;
    /// Runs a command with streams.
    async fn exec(&self, container: &str, spec: ExecSpec) -> Result<Session>;
    /// Attaches to the first process's streams.
    async fn attach(&self, container: &str, stdin: bool) -> Result<Session>;
    /// What a container uses.
    async fn usage(&self, container: &str) -> Result<Usage>;
    /// What the node uses if it is a group of processes on a machine that it shares with others; `None` if it is the machine.
    async fn node_usage(&self) -> Result<Option<Usage>>;
    /// Events from now on. A receiver that lags compares with [`Runtime::containers`].
    fn events(&self) -> broadcast::Receiver<Event>;

    /// All images.
    async fn images(&self) -> Result<Vec<Image>>;
    /// One image by name, digest or id.
    async fn image(&self, reference: &str) -> Result<Option<Image>>;
    /// Fetches an image from its registry and unpacks it.
    async fn pull(
        &self,
        reference: &str,
        credentials: &[Credentials],
        progress: Option<mpsc::Sender<Progress>>,
    ) -> Result<Image>;
    /// Reads an OCI or Docker archive; the images in it.
    async fn load(&self, archive: PathBuf, progress: Option<mpsc::Sender<Progress>>) -> Result<Vec<Image>>;
    /// Removes an image by name or id. Layers that others use stay.
    async fn remove_image(&self, reference: &str) -> Result<()>;
}
