//! A whole cluster: `coracle up`.

use crate::{Helm, Kubectl, Started, World};
use serde_json::Value;
use std::{fs, path::PathBuf, time::Duration};

/// `coracle up`, running. It goes down with this value.
pub struct Cluster<'w> {
    world: &'w World,
    up: Started,
}

impl<'w> Cluster<'w> {
    pub(crate) fn start(world: &'w World, nodes: usize) -> Self {
        let data = world.data();
        let data = data.to_str().unwrap();
        world.coracle(&["image", "demo", "--data-dir", data]).ok();
        let mut flags = world.flags("up", data);
        let nodes = nodes.to_string();
        flags.extend(["--nodes", &nodes, "--name", world.name()]);
        let log = fs::File::create(world.dir().join("up.log")).unwrap();
        let up = world.coracle(&flags).start(log);
        let cluster = Self { world, up };
        loop {
            match cluster.up.line() {
                Some(line) if line.starts_with("the cluster is up") => return cluster,
                Some(_) => {}
                None => {
                    let log = |name: &str| fs::read_to_string(name).unwrap_or_default();
                    panic!(
                        "the cluster did not come up:\n{}\n{}",
                        log(&format!("{}/up.log", world.dir().display())),
                        cluster.logs()
                    );
                }
            }
        }
    }

    /// kubectl of the newest version, as administrator.
    pub fn kubectl(&self) -> Kubectl<'w> {
        Kubectl::new(self.world, crate::VERSIONS[0], self.kubeconfig())
    }

    /// kubectl of a version, as administrator.
    pub fn kubectl_of(&self, version: &str) -> Kubectl<'w> {
        Kubectl::new(self.world, version, self.kubeconfig())
    }

    /// Kills the process that started everything; the others are on their own.
    pub fn kill_supervisor(&mut self) {
        self.up.kill();
    }

    /// Helm of a version, as administrator.
    pub fn helm_of(&self, version: &str) -> Helm<'w> {
        Helm::new(self.world, version, self.kubeconfig())
    }

    /// The administrator's kubeconfig.
    pub fn kubeconfig(&self) -> PathBuf {
        self.world.data().join("admin.kubeconfig")
    }

    /// What the cluster records of itself: server, nodes, their processes.
    pub fn state(&self) -> Value {
        let file = self.world.data().join("run/state.json");
        serde_json::from_slice(&fs::read(&file).unwrap_or_else(|e| panic!("{}: {e}", file.display()))).unwrap()
    }

    /// Names and addresses of the nodes.
    pub fn nodes(&self) -> Vec<(String, String)> {
        let text = |v: &Value| v.as_str().unwrap().to_string();
        self.state()["nodes"].as_array().unwrap().iter().map(|n| (text(&n["name"]), text(&n["ip"]))).collect()
    }

    /// The process number of the server.
    pub fn server_pid(&self) -> i32 {
        i32::try_from(self.state()["server"]["pid"].as_i64().unwrap()).unwrap()
    }

    /// The process number of a node's agent.
    pub fn agent_pid(&self, node: &str) -> i32 {
        let state = self.state();
        let found = state["nodes"].as_array().unwrap().iter().find(|n| n["name"] == node).unwrap();
        i32::try_from(found["agent"]["pid"].as_i64().unwrap()).unwrap()
    }

    /// A program of the demo image in the network of a node: `get ADDRESS PATH`, `load ADDRESS…`.
    pub fn on_node(&self, node: &str, program: &[&str]) -> crate::Run {
        let network = format!("--net={}", self.world.data().join("run/ns").join(node).join("net").display());
        let binary = self.world.binary().to_str().unwrap();
        let words: Vec<&str> = [&network, "--", binary, "app"].into_iter().chain(program.iter().copied()).collect();
        self.world.run("nsenter", &words).limit(Duration::from_secs(20))
    }

    /// GET from a node; the answer.
    pub fn get(&self, node: &str, address: &str, path: &str) -> Result<Value, String> {
        let output = self.on_node(node, &["get", address, path]).output();
        if output.code != 0 {
            return Err(output.to_string());
        }
        serde_json::from_str(&output.stdout).map_err(|e| format!("{e}: {}", output.stdout))
    }

    /// Starts asking addresses in turn from a node; a line of figures answers each line said.
    pub fn load(&self, node: &str, addresses: &[String]) -> Started {
        let words: Vec<&str> = ["load"].into_iter().chain(addresses.iter().map(String::as_str)).collect();
        self.on_node(node, &words).start(fs::File::create(self.world.dir().join("load.log")).unwrap())
    }

    /// The processes of a pod: number and command line.
    pub fn processes(&self, uid: &str) -> Vec<(i32, String)> {
        let read = |pid: i32, file: &str| fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default();
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).replace('\0', " ");
        let all = fs::read_dir("/proc").unwrap().flatten().filter_map(|e| e.file_name().to_str()?.parse::<i32>().ok());
        all.filter(|pid| text(read(*pid, "cgroup")).contains(uid))
            .map(|pid| (pid, text(read(pid, "cmdline"))))
            .collect()
    }

    /// The ends of all logs: what to look at when something did not happen.
    pub fn logs(&self) -> String {
        let files = fs::read_dir(self.world.data().join("log")).into_iter().flatten().flatten();
        let end = |text: String| {
            text.lines().rev().take(40).collect::<Vec<_>>().into_iter().rev().collect::<Vec<_>>().join("\n")
        };
        files
            .map(|f| format!("== {}\n{}\n", f.path().display(), end(fs::read_to_string(f.path()).unwrap_or_default())))
            .collect()
    }
}

impl Drop for Cluster<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let kubectl = self.kubectl();
            for line in ["get pods -A -o wide", "get events -A --sort-by=.metadata.creationTimestamp"] {
                eprintln!("== kubectl {line}\n{}", kubectl.command(&line.split(' ').collect::<Vec<_>>()).output());
            }
            eprintln!("{}", self.logs());
        }
        self.up.terminate();
    }
}
