//! Making, finding, stopping and removing sandboxes.

use super::{
    EmbeddedRuntime, Mirror, SandboxEntry, blocking,
    connection::{Connection, listener, lost},
    io_error, new_id, read_json, write_json,
};
use crate::{
    Container, ContainerState, Error, Event, Namespace, Result, Sandbox, SandboxSpec,
    cgroup::Cgroups,
    shim::{Processes, Record, Reply, Request, SHIM, SandboxFile, container_directory, dismantle, short, start_time},
};
use std::{
    fs, io,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::Arc,
    time::Duration,
};

/// A shim that does not end by then is killed.
const STOP_LIMIT: Duration = Duration::from_secs(10);

impl EmbeddedRuntime {
    pub(super) async fn make_sandbox(&self, spec: SandboxSpec) -> Result<Sandbox> {
        if let Some(same) = self.ready_sandbox(&spec) {
            return Ok(same);
        }
        let id = new_id()?;
        let directory = self.config.state_dir.join("sandboxes").join(short(&id));
        let file = SandboxFile {
            cgroup: self.pod_cgroup(&spec.cgroup),
            shim_cgroup: self.pod_cgroup("shims"),
            created: jiff::Timestamp::now(),
            id,
            spec,
        };
        let (cgroups, exe) = (self.cgroups.clone(), self.config.shim_exe.clone());
        let prepared = {
            let (directory, file) = (directory.clone(), file.clone());
            blocking(move || spawn_shim(&directory, &file, &cgroups, &exe)).await
        };
        let started = match prepared {
            Ok(()) => hello(&directory).await,
            Err(error) => Err(error),
        };
        match started {
            Ok(processes) => {
                let sandbox = self.enter(file, directory.clone(), processes, true);
                self.watch(&sandbox.id, &directory).await?;
                Ok(sandbox)
            }
            Err(error) => {
                // The shim may live and wait for us.
                if let Ok(connection) = Connection::open(&directory) {
                    let _ = tokio::time::timeout(STOP_LIMIT, connection.ask(&Request::Stop, &[])).await;
                }
                let cgroups = self.cgroups.clone();
                blocking(move || {
                    clear_away(&directory, &file.cgroup, &cgroups);
                    Ok(())
                })
                .await?;
                Err(Error::Container(format!("failed to create pod sandbox: {error}")))
            }
        }
    }

    fn ready_sandbox(&self, spec: &SandboxSpec) -> Option<Sandbox> {
        let tables = self.mirror.tables.lock();
        let same =
            |s: &Sandbox| s.ready && s.spec.uid == spec.uid && s.spec.attempt == spec.attempt && !spec.uid.is_empty();
        tables.sandboxes.values().find(|e| same(&e.sandbox) && !e.stopping).map(|e| e.sandbox.clone())
    }

    fn enter(&self, file: SandboxFile, directory: PathBuf, processes: Processes, ready: bool) -> Sandbox {
        let own_network = file.spec.network != Namespace::Node;
        let netns = (ready && own_network).then(|| PathBuf::from(format!("/proc/{}/ns/net", processes.shim)));
        let sandbox = Sandbox { id: file.id, spec: file.spec, ready, netns, created: file.created };
        let entry =
            SandboxEntry { sandbox: sandbox.clone(), directory, cgroup: file.cgroup, processes, stopping: false };
        self.mirror.tables.lock().sandboxes.insert(sandbox.id.clone(), entry);
        sandbox
    }

    /// Subscribes to the shim's messages and mirrors them until it ends.
    async fn watch(&self, id: &str, directory: &Path) -> Result<()> {
        let connection = subscribe(directory, &self.mirror).await?;
        let (mirror, cgroups) = (self.mirror.clone(), self.cgroups.clone());
        let (id, directory) = (id.to_owned(), directory.to_owned());
        tokio::spawn(async move {
            let mut connection = connection;
            loop {
                match connection.receive().await {
                    Ok((Reply::Record(record), _)) => mirror.apply(&record),
                    Ok(_) => {}
                    // The connection broke; only if the shim cannot be reached again is it gone.
                    Err(_) => match subscribe(&directory, &mirror).await {
                        Ok(again) => connection = again,
                        Err(_) => break,
                    },
                }
            }
            sandbox_ended(&mirror, &cgroups, &id).await;
        });
        Ok(())
    }

    /// Finds the sandboxes that an earlier process has left.
    pub(super) async fn recover(&self, sandboxes: &Path) -> Result<()> {
        let entries = fs::read_dir(sandboxes).map_err(|e| io_error(&format!("reading {}", sandboxes.display()), e))?;
        for entry in entries.flatten() {
            let directory = entry.path();
            match read_json::<SandboxFile>(&directory.join("sandbox.json")) {
                Ok(file) => self.recover_sandbox(file, directory).await?,
                Err(error) => {
                    // Killed while making or removing it: nothing runs there yet or any more.
                    tracing::warn!(directory = %directory.display(), %error, "removing an unfinished sandbox");
                    let cgroups = self.cgroups.clone();
                    blocking(move || {
                        clear_away(&directory, "", &cgroups);
                        Ok(())
                    })
                    .await?;
                }
            }
        }
        Ok(())
    }

    async fn recover_sandbox(&self, file: SandboxFile, directory: PathBuf) -> Result<()> {
        let id = file.id.clone();
        let containers = recover_containers(&id, &directory);
        let answer = hello(&directory).await;
        let processes = match &answer {
            Ok(processes) => processes.clone(),
            Err(_) => read_json(&directory.join("shim.json")).unwrap_or_default(),
        };
        self.enter(file, directory.clone(), processes, answer.is_ok());
        self.mirror.tables.lock().containers.extend(containers);
        if answer.is_ok() && self.watch(&id, &directory).await.is_ok() {
            return Ok(());
        }
        sandbox_ended(&self.mirror, &self.cgroups, &id).await;
        Ok(())
    }

    pub(super) async fn end_sandbox(&self, id: &str) -> Result<()> {
        let (directory, processes, cgroup) = {
            let mut tables = self.mirror.tables.lock();
            let Some(entry) = tables.sandboxes.get_mut(id) else { return Ok(()) };
            entry.stopping = true;
            (entry.directory.clone(), entry.processes.clone(), entry.cgroup.clone())
        };
        if let Ok(connection) = Connection::open(&directory) {
            let asked = tokio::time::timeout(STOP_LIMIT, connection.ask(&Request::Stop, &[])).await;
            if !matches!(asked, Ok(Ok(_))) {
                kill_shim(&processes);
            }
        }
        let cgroups = self.cgroups.clone();
        blocking(move || {
            empty_cgroup(&cgroups, &cgroup);
            await_shim(&processes);
            Ok(())
        })
        .await?;
        sandbox_ended(&self.mirror, &self.cgroups, id).await;
        Ok(())
    }

    pub(super) async fn delete_sandbox(&self, id: &str) -> Result<()> {
        let Ok(directory) = self.mirror.directory(id) else { return Ok(()) };
        self.end_sandbox(id).await?;
        let cgroup = self.mirror.tables.lock().sandboxes.get(id).map(|entry| entry.cgroup.clone()).unwrap_or_default();
        let cgroups = self.cgroups.clone();
        let gone = blocking(move || {
            clear_away(&directory, &cgroup, &cgroups);
            Ok(!directory.exists())
        });
        if !gone.await? {
            return Err(Error::Internal(format!("sandbox {id} could not be removed from disk; trying again may help")));
        }
        let mut tables = self.mirror.tables.lock();
        tables.sandboxes.remove(id);
        tables.containers.retain(|_, container| container.sandbox != id);
        Ok(())
    }
}

fn spawn_shim(directory: &Path, file: &SandboxFile, cgroups: &Cgroups, exe: &Path) -> Result<()> {
    let tried = |what: &str| {
        let what = format!("{what} {}", directory.display());
        move |e: io::Error| io_error(&what, e)
    };
    fs::create_dir_all(directory.join("c")).map_err(tried("creating"))?;
    fs::create_dir_all(&file.spec.log_dir).map_err(tried("creating the log directory of"))?;
    write_json(&directory.join("sandbox.json"), file)?;
    cgroups.create(&file.cgroup, &file.spec.resources).map_err(tried("making the cgroup of"))?;
    let socket = listener(directory).map_err(tried("making the socket in"))?;
    let errors = fs::File::create(directory.join("shim.log")).map_err(tried("making shim.log in"))?;
    let mut child = Command::new(exe)
        .arg(SHIM)
        .arg(directory)
        .env_clear()
        // One arena is enough for one thread.
        .env("MALLOC_ARENA_MAX", "1")
        .current_dir("/")
        .stdin(socket)
        .stdout(Stdio::null())
        .stderr(errors)
        .spawn()
        .map_err(tried("starting the shim of"))?;
    let status = child.wait().map_err(tried("starting the shim of"))?;
    if status.success() { Ok(()) } else { Err(Error::Internal(format!("{} {SHIM} failed: {status}", exe.display()))) }
}

async fn hello(directory: &Path) -> Result<Processes> {
    let connection = Connection::open(directory).map_err(lost)?;
    let asked = connection.ask(&Request::Hello, &[]);
    match tokio::time::timeout(STOP_LIMIT, asked).await {
        Ok(Ok((Reply::Hello(processes), _))) => Ok(processes),
        Ok(Ok((other, _))) => Err(Error::Internal(format!("the shim answered {other:?}"))),
        Ok(Err(error)) => {
            let said = fs::read_to_string(directory.join("shim.log")).unwrap_or_default();
            Err(Error::Internal(format!("{error} {said}").trim().to_owned()))
        }
        Err(_) => Err(Error::Timeout("starting the shim".to_owned())),
    }
}

async fn subscribe(directory: &Path, mirror: &Mirror) -> Result<Connection> {
    let connection = Connection::open(directory).map_err(lost)?;
    connection.send(&Request::Subscribe, &[]).await.map_err(lost)?;
    loop {
        match connection.receive().await.map_err(lost)?.0 {
            Reply::Record(record) => mirror.apply(&record),
            _ => return Ok(connection),
        }
    }
}

fn recover_containers(sandbox: &str, directory: &Path) -> Vec<(String, Container)> {
    let entries = fs::read_dir(directory.join("c")).into_iter().flatten().flatten();
    let read = |path: PathBuf| match read_json::<Container>(&path.join("container.json")) {
        Ok(mut container) => {
            // Only an end is final: whether the rest still runs, the shim will say.
            if let Ok(record) = read_json::<Record>(&path.join("state.json"))
                && record.state == ContainerState::Exited
            {
                super::update(&mut container, &record);
            }
            Some((container.id.clone(), container))
        }
        Err(_) => {
            let _ = fs::remove_dir_all(path);
            None
        }
    };
    entries.filter_map(|entry| read(entry.path())).filter(|(_, c)| c.sandbox == sandbox).collect()
}

/// The shim is gone: whatever it kept has ended, on purpose or not.
async fn sandbox_ended(mirror: &Arc<Mirror>, cgroups: &Cgroups, id: &str) {
    let (lost, cgroup, directory, running) = {
        let mut tables = mirror.tables.lock();
        let Some(entry) = tables.sandboxes.get_mut(id) else { return };
        let lost = entry.sandbox.ready && !entry.stopping;
        entry.sandbox.ready = false;
        entry.sandbox.netns = None;
        let (cgroup, directory) = (entry.cgroup.clone(), entry.directory.clone());
        let running: Vec<(String, ContainerState)> = tables
            .containers
            .values()
            .filter(|c| c.sandbox == id && c.state != ContainerState::Exited)
            .map(|c| (c.id.clone(), c.state))
            .collect();
        (lost, cgroup, directory, running)
    };
    let cgroups = cgroups.clone();
    let _ = blocking(move || {
        empty_cgroup(&cgroups, &cgroup);
        Ok(())
    })
    .await;
    for (container, state) in running {
        let saved = read_json::<Record>(&container_directory(&directory, &container).join("state.json")).ok();
        match (saved, state) {
            (Some(record), _) if record.state == ContainerState::Exited => mirror.apply(&record),
            // Never started, and never will be.
            (None, ContainerState::Created) => {}
            (saved, _) => mirror.apply(&ended_unseen(container, saved)),
        }
    }
    if lost {
        let _ = mirror.events.send(Event::SandboxLost { sandbox: id.to_owned() });
    }
    mirror.changes.send_modify(|count| *count += 1);
}

fn ended_unseen(id: String, saved: Option<Record>) -> Record {
    Record {
        id,
        state: ContainerState::Exited,
        pid: None,
        started: saved.and_then(|record| record.started),
        finished: Some(jiff::Timestamp::now()),
        exit_code: Some(137),
        signal: Some(libc::SIGKILL),
        reason: "Error".to_owned(),
        message: "the pod's shim ended, and the container with it".to_owned(),
    }
}

/// Kills what is left in the cgroup and waits for the kernel to be done with it.
fn empty_cgroup(cgroups: &Cgroups, cgroup: &str) {
    for _ in 0..500 {
        if !cgroups.kill(cgroup) {
            return;
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

fn lives(shim: &Processes) -> bool {
    start_time(shim.shim) == Some(shim.shim_started)
}

fn kill_shim(shim: &Processes) {
    if lives(shim) {
        let pid = nix::unistd::Pid::from_raw(shim.shim.cast_signed());
        let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL);
    }
}

/// The shim ends by itself a moment after its last answer.
fn await_shim(shim: &Processes) {
    for _ in 0..1000 {
        if !lives(shim) {
            return;
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    kill_shim(shim);
}

/// Unmounts and removes everything of a sandbox whose processes are gone.
fn clear_away(directory: &Path, cgroup: &str, cgroups: &Cgroups) {
    if !cgroup.is_empty() {
        empty_cgroup(cgroups, cgroup);
        // The kernel lets go of a group a moment after its last process.
        for _ in 0..200 {
            cgroups.remove(cgroup);
            if !cgroups.exists(cgroup) {
                break;
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    }
    for mount in mounts_below(directory) {
        let _ = nix::mount::umount2(&mount, nix::mount::MntFlags::MNT_DETACH);
    }
    let _ = fs::remove_dir_all(directory);
}

/// Mount points below a directory, the deepest last mounted first.
fn mounts_below(directory: &Path) -> Vec<PathBuf> {
    let text = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let points =
        text.lines().filter_map(|line| line.split(' ').nth(4)).map(|point| PathBuf::from(point.replace("\\040", " ")));
    let mut found: Vec<PathBuf> = points.filter(|point| point.starts_with(directory)).collect();
    found.reverse();
    found
}

impl EmbeddedRuntime {
    /// Takes down what a container had when its shim cannot do it.
    pub(super) async fn dismantle_container(&self, directory: PathBuf, id: String) -> Result<()> {
        blocking(move || {
            dismantle(&directory, &id);
            Ok(())
        })
        .await
    }
}
