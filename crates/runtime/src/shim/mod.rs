//! The shim: a small process per pod that its containers belong to, so that the node agent may come and go.
//!
//! It holds the pod's namespaces, is the parent of every container's first process, copies their output to the log files, and
//! records how each one ended. It is single-threaded: one poll loop, no async runtime. Containers are built by a helper process
//! (this same program, `shim-create`) because libcontainer clones, and cloning wants a small process without threads.
//!
//! Files, below the sandbox's directory:
//! ```text
//! sandbox.json          what the sandbox is (written by the agent, before the shim)
//! shim.json             process ids of the shim and the pause process
//! shim.sock             requests; made by the agent, so that connecting never races with the shim's start
//! shm/                  the pod's /dev/shm
//! c/<id>/container.json what the container is (agent)
//! c/<id>/launch.json    how to start it (agent)
//! c/<id>/config.json    its OCI spec (agent)
//! c/<id>/state.json     what became of it (shim)
//! c/<id>/rootfs, upper, work
//! lc/<id>/              libcontainer's own state
//! ```

mod container;
mod create;
mod log;
mod server;
mod setup;
pub mod wire;

use crate::{ContainerState, SandboxSpec};
use serde::{Deserialize, Serialize};
use std::{
    ffi::OsString,
    path::{Path, PathBuf},
    process::ExitCode,
};

/// Name of the subcommand that runs a shim.
pub const SHIM: &str = "shim";
/// Name of the subcommand that builds one container or starts one command in it.
pub const CREATE: &str = "shim-create";

/// Runs one of the runtime's own subcommands if `args` (with the program's name first) asks for it.
///
/// To be called first thing in `main`: what it runs must be single-threaded.
pub fn dispatch(args: &[OsString]) -> Option<ExitCode> {
    let path = |at: usize| args.get(at).map(PathBuf::from);
    match args.get(1)?.to_str()? {
        SHIM if args.len() == 3 => Some(server::main(&path(2)?)),
        CREATE if args.len() >= 5 => Some(create::main(&args[2..])),
        _ => None,
    }
}

/// `sandbox.json`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SandboxFile {
    /// Id.
    pub id: String,
    /// As asked for.
    pub spec: SandboxSpec,
    /// When it was made.
    pub created: jiff::Timestamp,
    /// The pod's cgroup, from the root of each hierarchy.
    pub cgroup: String,
    /// The cgroup of the node's shims.
    pub shim_cgroup: String,
}

/// `shim.json`, and the answer to [`Request::Hello`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Processes {
    /// The shim.
    pub shim: u32,
    /// When it was started, in the kernel's clock: tells it from a later process with the same id.
    pub shim_started: u64,
    /// Process 1 of a shared pid namespace.
    pub pause: Option<u32>,
}

/// `launch.json`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Launch {
    /// Where layers are.
    pub layers_directory: PathBuf,
    /// Names of layers, lowest first.
    pub layers: Vec<String>,
    /// Log file.
    pub log: Option<PathBuf>,
    /// Its cgroup.
    pub cgroup: String,
    /// With a terminal.
    pub tty: bool,
    /// With standard input.
    pub stdin: bool,
    /// Standard input ends with the first attachment.
    pub stdin_once: bool,
    /// Whether the kernel ends all its processes with the first one.
    pub own_pid_namespace: bool,
}

/// `state.json`: what became of a container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// The container.
    pub id: String,
    /// Where it is in its life.
    pub state: ContainerState,
    /// Its first process.
    pub pid: Option<u32>,
    /// When it was started.
    pub started: Option<jiff::Timestamp>,
    /// When it ended.
    pub finished: Option<jiff::Timestamp>,
    /// Exit code.
    pub exit_code: Option<i32>,
    /// Signal that ended it.
    pub signal: Option<i32>,
    /// Why it ended.
    pub reason: String,
    /// More on `reason`.
    pub message: String,
}

/// What the agent asks of a shim: one packet; descriptors go along where noted.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "snake_case")]
pub enum Request {
    /// Answered with [`Reply::Hello`] once the namespaces are there.
    Hello,
    /// All records now, then [`Reply::Ok`], and from then on each change.
    Subscribe,
    /// Starts a container that was prepared on disk. [`Reply::Record`], or [`Reply::Error`].
    Start { container: String },
    /// Starts the command in the file. Pipes for 0, 1, 2 come along unless `tty`. [`Reply::Running`] (with the terminal), later
    /// [`Reply::Exit`].
    Exec { container: String, file: PathBuf, tty: bool },
    /// Signals the command that was started on this connection.
    SignalExec { signal: i32 },
    /// Joins the streams. [`Reply::Attached`] with descriptors for what it names, later [`Reply::Exit`].
    Attach { container: String, stdin: bool },
    /// Opens the log file anew.
    ReopenLog { container: String },
    /// Signals the first process.
    Signal { container: String, signal: i32 },
    /// Unmounts what an ended container had.
    Remove { container: String },
    /// Ends everything, and the shim.
    Stop,
}

/// What a shim answers.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "snake_case")]
pub enum Reply {
    /// Done.
    Ok,
    /// Who is who.
    Hello(Processes),
    /// A container as it is now.
    Record(Record),
    /// The command runs.
    Running { pid: u32 },
    /// Which descriptors came along, in this order.
    Attached { stdin: bool, stdout: bool, stderr: bool, tty: bool },
    /// It ended.
    Exit { code: i32 },
    /// It did not work.
    Error { message: String },
}

/// Directory name of a sandbox or container: half an id is unique enough and keeps paths short.
pub fn short(id: &str) -> &str {
    id.get(..16).unwrap_or(id)
}

/// Directory of a container.
pub fn container_directory(sandbox: &Path, id: &str) -> PathBuf {
    sandbox.join("c").join(short(id))
}

/// When a process was started, in clock ticks since boot.
pub fn start_time(pid: u32) -> Option<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name may hold anything, also spaces and brackets.
    stat.rsplit_once(") ")?.1.split(' ').nth(19)?.parse().ok()
}

/// Takes a container's root file system away and forgets libcontainer's state; for the shim, and for the agent when the shim is gone.
pub fn dismantle(sandbox: &Path, id: &str) {
    let directory = container_directory(sandbox, id);
    let rootfs = directory.join("rootfs");
    while nix::mount::umount2(&rootfs, nix::mount::MntFlags::MNT_DETACH).is_ok() {}
    let _ = std::fs::remove_dir_all(sandbox.join("lc").join(id));
}

/// The failure of a start, in the words that Kubernetes users know from containerd and runc.
pub fn start_error(why: &str) -> String {
    let place = if why.starts_with("exec: ") { "error during container init: " } else { "" };
    format!(
        "failed to create containerd task: failed to create shim task: OCI runtime create failed: runc create failed: \
         unable to start container process: {place}{why}: unknown"
    )
}
