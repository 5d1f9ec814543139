//! A control plane alone.

use crate::{Kubectl, Started, World};
use coracle_client::{HttpClient, SharedClient};
use std::{fs, path::PathBuf, sync::Arc};

/// `coracle server`, running.
pub struct Server<'w> {
    world: &'w World,
    process: Started,
    flags: Vec<String>,
}

impl<'w> Server<'w> {
    /// Starts one with further flags; returns when it is ready.
    pub fn start(world: &'w World, flags: &[&str]) -> Self {
        let flags: Vec<String> = flags.iter().map(|f| f.to_string()).collect();
        Self { world, process: launch(world, &flags), flags }
    }

    /// Kills it, as a power failure would.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// Starts it again over the same data.
    pub fn restart(&mut self) {
        self.process = launch(self.world, &self.flags);
    }

    /// Asks it to end; its exit code.
    pub fn terminate(&mut self) -> i32 {
        self.process.terminate()
    }

    /// Its process number.
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// kubectl of a version, as administrator.
    pub fn kubectl(&self, version: &str) -> Kubectl<'w> {
        Kubectl::new(self.world, version, self.kubeconfig())
    }

    /// A client in this program, as administrator. To be made within a runtime of this test's thread.
    pub fn client(&self) -> SharedClient {
        Arc::new(HttpClient::from_kubeconfig(&self.kubeconfig(), None).unwrap())
    }

    /// The administrator's kubeconfig.
    pub fn kubeconfig(&self) -> PathBuf {
        self.world.data().join("admin.kubeconfig")
    }
}

fn launch(world: &World, flags: &[String]) -> Started {
    let log = fs::File::options().create(true).append(true).open(world.dir().join("server.log")).unwrap();
    let data = world.data();
    let own = world.flags("server", data.to_str().unwrap());
    let run = flags.iter().fold(world.coracle(&own), |run, flag| run.arg(flag));
    let process = run.start(log);
    loop {
        match process.line() {
            Some(line) if line == "ready" => return process,
            Some(_) => {}
            None => {
                panic!("the server did not start:\n{}", fs::read_to_string(world.dir().join("server.log")).unwrap())
            }
        }
    }
}
