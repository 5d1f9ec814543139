//! Where a cluster keeps what, and what is known about it while it runs.

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use std::{
    net::Ipv4Addr,
    path::{Path, PathBuf},
};

/// The data directory of a cluster.
#[derive(Clone, Debug)]
pub struct Layout {
    root: PathBuf,
}

impl Layout {
    /// The layout below `root`, which is made if need be.
    ///
    /// # Errors
    /// When the directories cannot be made.
    pub fn open(root: &Path) -> Result<Self> {
        let make =
            |dir: &Path| std::fs::create_dir_all(dir).with_context(|| format!("{} cannot be made", dir.display()));
        make(root)?;
        let root = root.canonicalize().with_context(|| format!("{} cannot be used", root.display()))?;
        let layout = Self { root };
        for dir in [layout.images(), layout.logs(), layout.run(), layout.root.join("nodes")] {
            make(&dir)?;
        }
        Ok(layout)
    }

    /// The data directory.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The cluster's CA certificate.
    pub fn authority(&self) -> PathBuf {
        self.root.join("pki/ca.crt")
    }

    /// The images of all nodes.
    pub fn images(&self) -> PathBuf {
        self.root.join("images")
    }

    /// What the processes log.
    pub fn logs(&self) -> PathBuf {
        self.root.join("log")
    }

    /// One node's data.
    pub fn node(&self, name: &str) -> PathBuf {
        self.root.join("nodes").join(name)
    }

    /// What only lives as long as the cluster runs.
    pub fn run(&self) -> PathBuf {
        self.root.join("run")
    }

    /// Where a node's namespaces are pinned.
    pub fn pins(&self, node: &str) -> PathBuf {
        self.run().join("ns").join(node)
    }

    /// The supervisor's socket.
    pub fn socket(&self) -> PathBuf {
        self.run().join("control.sock")
    }

    /// The administrator's kubeconfig.
    pub fn kubeconfig(&self) -> PathBuf {
        self.root.join("admin.kubeconfig")
    }

    fn state_file(&self) -> PathBuf {
        self.run().join("state.json")
    }

    /// What is recorded of the running cluster; `None` if none is.
    pub fn state(&self) -> Option<State> {
        serde_json::from_slice(&std::fs::read(self.state_file()).ok()?).ok()
    }

    /// Records it, whole or not at all.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn save(&self, state: &State) -> Result<()> {
        let (file, new) = (self.state_file(), self.run().join("state.json.new"));
        std::fs::write(&new, serde_json::to_vec_pretty(state)?)
            .and_then(|()| std::fs::rename(&new, &file))
            .with_context(|| format!("{} cannot be written", file.display()))
    }

    /// Forgets it.
    pub fn forget(&self) {
        // gone already is as good
        let _ = std::fs::remove_file(self.state_file());
        let _ = std::fs::remove_file(self.socket());
    }
}

/// A process, told apart from a later one with the same number by its start time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    /// Its number.
    pub pid: u32,
    /// When it started, in clock ticks since boot.
    pub started: u64,
}

impl Process {
    /// The process with this number, if there is one.
    pub fn find(pid: u32) -> Option<Self> {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // the name in parentheses may hold anything; the start time is the 20th field after it
        let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
        let zombie = fields.first() == Some(&"Z");
        (!zombie).then_some(Self { pid, started: fields.get(19)?.parse().ok()? })
    }

    /// Whether it still runs.
    pub fn lives(&self) -> bool {
        Self::find(self.pid) == Some(*self)
    }

    /// Sends a signal if it still runs.
    pub fn signal(&self, signal: nix::sys::signal::Signal) {
        if self.lives() {
            let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(self.pid.cast_signed()), signal);
        }
    }
}

/// A cluster while it runs.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct State {
    /// Its name.
    pub name: String,
    /// The supervisor.
    pub supervisor: Process,
    /// The server.
    pub server: Option<Process>,
    /// Port of the API server.
    pub port: u16,
    /// The link between the nodes of this machine: network address and prefix length.
    pub subnet: (Ipv4Addr, u8),
    /// The nodes of this machine.
    pub nodes: Vec<NodeState>,
}

/// A node of this machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeState {
    /// Its name.
    pub name: String,
    /// Its address.
    pub ip: Ipv4Addr,
    /// Its agent.
    pub agent: Option<Process>,
}

impl State {
    /// The cgroup of the whole cluster.
    pub fn cgroup(&self) -> String {
        cluster_cgroup(&self.name)
    }

    /// The address of this machine on the link between the nodes.
    pub fn gateway(&self) -> Ipv4Addr {
        nth(self.subnet.0, 1)
    }

    /// The first address on the link that no node has.
    pub fn free_address(&self) -> Ipv4Addr {
        (2..)
            .map(|n| nth(self.subnet.0, n))
            .find(|ip| self.nodes.iter().all(|n| n.ip != *ip))
            .expect("a subnet has an end, the search does not")
    }

    /// The first of `node-1`, `node-2`, … that is not taken.
    pub fn free_name(&self) -> String {
        (1..)
            .map(|n| format!("node-{n}"))
            .find(|name| self.nodes.iter().all(|n| n.name != *name))
            .expect("names do not end")
    }
}

/// The cgroup of a cluster.
pub fn cluster_cgroup(name: &str) -> String {
    format!("coracle/{name}")
}

fn nth(base: Ipv4Addr, n: u32) -> Ipv4Addr {
    Ipv4Addr::from_bits(base.to_bits() + n)
}
