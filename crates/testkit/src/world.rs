//! A test's own world: namespaces, a directory, a name.

use crate::{Cluster, Helm, Kubectl, Run, Server, leaks};
use coracle_network::links::Links;
use nix::{
    mount::{MsFlags, mount},
    sched::{CloneFlags, unshare},
};
use std::{
    fs,
    os::unix::fs::PermissionsExt,
    panic::resume_unwind,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU32, Ordering},
    thread,
    time::{Duration, Instant},
};
use tempfile::TempDir;

/// A test's world. It exists on the thread that it was made on, and for what that thread starts.
pub struct World {
    name: String,
    dir: TempDir,
    binary: PathBuf,
    tools: PathBuf,
}

/// Runs a test in a world of its own, and searches it afterwards for what was left.
///
/// Without `CORACLE_BIN` (the binary) and `CORACLE_TOOLS` (the clients), which `./x test e2e` sets, it says so and does nothing.
pub fn in_world(test: impl FnOnce(&World) + Send) {
    let (Some(binary), Some(tools)) = (std::env::var_os("CORACLE_BIN"), std::env::var_os("CORACLE_TOOLS")) else {
        eprintln!("skipped: `./x test e2e` builds and fetches what this test needs");
        return;
    };
    // a thread may leave its namespaces, and what it starts goes with it; the test's own thread goes on to other tests
    let ended = thread::scope(|scope| {
        let inside = || {
            let world = World::new(binary.into(), tools.into());
            test(&world);
        };
        thread::Builder::new().spawn_scoped(scope, inside).unwrap().join()
    });
    if let Err(panic) = ended {
        resume_unwind(panic);
    }
}

impl World {
    fn new(binary: PathBuf, tools: PathBuf) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let name = format!("t{}-{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        unshare(CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWNS).expect("end-to-end tests need root");
        mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>).unwrap();
        let mut links = Links::open().unwrap();
        let lo = links.find("lo").unwrap().unwrap().index;
        links.set_up(lo).unwrap();
        let dir = tempfile::Builder::new().prefix("coracle-").tempdir().unwrap();
        // some tests look into it as another user
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
        leaks::hold_cgroups();
        Self { name, dir, binary, tools }
    }

    /// A name that no other world has: the cluster's.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// A directory that goes with the world.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// The data directory of this world's server or cluster.
    pub fn data(&self) -> PathBuf {
        self.dir().join("data")
    }

    /// The binary that is tested.
    pub fn binary(&self) -> &Path {
        &self.binary
    }

    /// A file among the fetched clients.
    pub fn tool(&self, name: &str) -> PathBuf {
        let path = self.tools.join(name);
        assert!(path.exists(), "{} is missing: `./x test tools` fetches it", path.display());
        path
    }

    /// The binary with these arguments.
    pub fn coracle(&self, arguments: &[&str]) -> Run {
        self.run(&self.binary, arguments)
    }

    /// A program in this world, with a home of its own.
    pub fn run(&self, program: impl AsRef<std::ffi::OsStr>, arguments: &[&str]) -> Run {
        Run::new(program, arguments)
            .env("HOME", self.dir())
            .env("KUBECONFIG", self.dir().join("user.kubeconfig"))
            .env(leaks::MARK, &self.name)
            // messages are compared; where errors come from is not their matter
            .env("RUST_BACKTRACE", "0")
    }

    /// The arguments that every server and cluster of this world is started with, after `command`.
    pub(crate) fn flags<'a>(&self, command: &'a str, data: &'a str) -> Vec<&'a str> {
        vec![command, "--data-dir", data, "--bind", "0.0.0.0:6443"]
    }

    /// A control plane alone, ready.
    pub fn server(&self) -> Server<'_> {
        Server::start(self, &[])
    }

    /// A cluster with the demo images on it, ready.
    pub fn cluster(&self, nodes: usize) -> Cluster<'_> {
        Cluster::start(self, nodes)
    }

    /// kubectl of a version, as administrator of whatever runs in this world's data directory.
    pub fn kubectl(&self, version: &str) -> Kubectl<'_> {
        Kubectl::new(self, version, self.data().join("admin.kubeconfig"))
    }

    /// Helm, as the same.
    pub fn helm(&self) -> Helm<'_> {
        Helm::new(self, crate::HELMS[0], self.data().join("admin.kubeconfig"))
    }

    /// Everything in this world, at this moment, that a test must not leave.
    pub fn found(&self) -> Vec<String> {
        leaks::find(&self.name, self.dir())
    }

    /// The same once nothing ends any more. A killed process needs a moment until the kernel is done with it.
    pub fn remaining(&self) -> Vec<String> {
        let begun = Instant::now();
        loop {
            let left = self.found();
            if left.is_empty() || begun.elapsed() > Duration::from_secs(3) {
                return left;
            }
            thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for World {
    fn drop(&mut self) {
        let left = self.remaining();
        leaks::clean(&self.name, self.dir());
        if !thread::panicking() {
            assert!(left.is_empty(), "left behind:\n  {}", left.join("\n  "));
        }
    }
}
