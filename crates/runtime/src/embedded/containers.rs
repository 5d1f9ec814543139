//! Making, starting, stopping and removing containers.

use super::{EmbeddedRuntime, blocking, connection::Connection, connection::lost, io_error, new_id, write_json};
use crate::{
    Container, ContainerSpec, ContainerState, Error, Namespace, Result,
    shim::{Launch, Reply, Request, container_directory, short, start_error},
    spec::{Accounts, Device, Input, generate},
};
use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

/// How long the kernel may take to end a killed process.
const KILL_LIMIT: Duration = Duration::from_secs(30);

impl EmbeddedRuntime {
    pub(super) async fn make_container(&self, sandbox: &str, spec: ContainerSpec) -> Result<String> {
        let container = Container {
            id: new_id()?,
            sandbox: sandbox.to_owned(),
            spec,
            state: ContainerState::Created,
            pid: None,
            created: jiff::Timestamp::now(),
            started: None,
            finished: None,
            exit_code: None,
            signal: None,
            reason: String::new(),
            message: String::new(),
        };
        let plan = self.plan(sandbox, &container)?;
        let id = container.id.clone();
        let written = container.clone();
        blocking(move || plan.write(&written)).await?;
        let mut tables = self.mirror.tables.lock();
        if !tables.sandboxes.contains_key(sandbox) {
            return Err(Error::NotFound(format!("sandbox {sandbox}")));
        }
        tables.containers.insert(id.clone(), container);
        Ok(id)
    }

    /// What has to be on disk before a container can start.
    fn plan(&self, sandbox: &str, container: &Container) -> Result<Plan> {
        let (sandbox, sandbox_directory, pod_cgroup, pause) = {
            let tables = self.mirror.tables.lock();
            let entry = tables.sandboxes.get(sandbox).ok_or_else(|| Error::NotFound(format!("sandbox {sandbox}")))?;
            if !entry.sandbox.ready {
                return Err(Error::Container(format!("sandbox {sandbox} is not running")));
            }
            (entry.sandbox.clone(), entry.directory.clone(), entry.cgroup.clone(), entry.processes.pause)
        };
        let spec = &container.spec;
        let target = spec.pid_target.as_deref().map(|id| self.mirror.container(id)).transpose()?;
        let pid_of = match target {
            Some(Container { pid: Some(pid), .. }) => Some(pid),
            Some(gone) => {
                return Err(Error::Container(format!("target container {:?} is not running", gone.spec.name)));
            }
            None => pause,
        };
        let image = self.images.find(&spec.image)?.ok_or_else(|| Error::NotFound(format!("image {}", spec.image)))?;
        let directory = container_directory(&sandbox_directory, &container.id);
        let cgroup = format!("{pod_cgroup}/{}", container.id);
        let text = |path: &str| self.images.read_text(&image, path).unwrap_or_default();
        let (passwd, group) = (text("etc/passwd"), text("etc/group"));
        let shm = (sandbox.spec.ipc != Namespace::Node).then(|| sandbox_directory.join("shm"));
        let config = generate(&Input {
            sandbox: &sandbox.spec,
            container: spec,
            image: &image.config,
            accounts: Accounts { passwd: &passwd, group: &group },
            root: &directory.join("rootfs"),
            shm: shm.as_deref(),
            cgroup: &cgroup,
            pause: pid_of,
            unified: self.cgroups.unified,
            capabilities: capabilities(),
            devices: if spec.security.privileged { devices(Path::new("/dev")) } else { Vec::new() },
        })?;
        let log = (!spec.log_path.as_os_str().is_empty()).then(|| sandbox.spec.log_dir.join(&spec.log_path));
        let launch = Launch {
            layers_directory: self.images.layers(),
            layers: image.layer_directories(),
            log,
            cgroup,
            tty: spec.tty,
            stdin: spec.stdin,
            stdin_once: spec.stdin_once,
            own_pid_namespace: sandbox.spec.pid == Namespace::Container && spec.pid_target.is_none(),
        };
        Ok(Plan { directory, config, launch })
    }

    pub(super) async fn launch_container(&self, id: &str) -> Result<()> {
        let container = self.mirror.container(id)?;
        if container.state == ContainerState::Running {
            return Ok(());
        }
        let directory = self.mirror.directory(&container.sandbox)?;
        let connection = Connection::open(&directory).map_err(lost)?;
        let asked = connection.ask(&Request::Start { container: id.to_owned() }, &[]).await;
        match asked {
            Ok((Reply::Record(record), _)) => {
                self.mirror.apply(&record);
                let started = record.started.is_some();
                if started { Ok(()) } else { Err(Error::Container(record.message)) }
            }
            Ok((other, _)) => Err(Error::Internal(format!("the shim answered {other:?}"))),
            Err(Error::Container(why)) => Err(Error::Container(start_error(&why))),
            Err(error) => Err(error),
        }
    }

    /// Asks the container's shim for something about it.
    pub(super) async fn tell(&self, id: &str, request: impl FnOnce(String) -> Request) -> Result<()> {
        let container = self.mirror.container(id)?;
        let directory = self.mirror.directory(&container.sandbox)?;
        let connection = Connection::open(&directory).map_err(lost)?;
        connection.ask(&request(id.to_owned()), &[]).await.map(drop)
    }

    pub(super) async fn end_container(&self, id: &str, grace: Duration) -> Result<()> {
        let container = self.mirror.container(id)?;
        if container.state != ContainerState::Running {
            return Ok(());
        }
        let image = self.images.find(&container.spec.image).ok().flatten().map(|i| i.config.stop_signal);
        let signal = [container.spec.stop_signal, image.unwrap_or_default()]
            .iter()
            .find_map(|name| signal_number(name))
            .unwrap_or(libc::SIGTERM);
        let ended = |tables: &super::Tables| {
            tables.containers.get(id).is_none_or(|c| c.state == ContainerState::Exited).then_some(())
        };
        if !grace.is_zero() {
            self.signal(id, signal).await?;
            if self.mirror.wait_until(grace, ended).await.is_some() {
                return Ok(());
            }
        }
        self.signal(id, libc::SIGKILL).await?;
        match self.mirror.wait_until(KILL_LIMIT, ended).await {
            Some(()) => Ok(()),
            None => Err(Error::Timeout(format!("killing container {id}"))),
        }
    }

    async fn signal(&self, id: &str, signal: i32) -> Result<()> {
        match self.tell(id, |container| Request::Signal { container, signal }).await {
            // Without its shim it is ending anyway; who waits will see it.
            Err(Error::Io { .. }) => Ok(()),
            other => other,
        }
    }

    pub(super) async fn delete_container(&self, id: &str) -> Result<()> {
        let Ok(container) = self.mirror.container(id) else { return Ok(()) };
        self.end_container(id, Duration::ZERO).await?;
        let sandbox = self.mirror.directory(&container.sandbox)?;
        if let Err(error) = self.tell(id, |container| Request::Remove { container }).await {
            match error {
                Error::Io { .. } => self.dismantle_container(sandbox.clone(), id.to_owned()).await?,
                other => return Err(other),
            }
        }
        let cgroup = self.container_cgroup(&container)?;
        let (cgroups, directory) = (self.cgroups.clone(), container_directory(&sandbox, id));
        blocking(move || {
            cgroups.remove(&cgroup);
            match fs::remove_dir_all(&directory) {
                Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                    Err(io_error(&format!("removing {}", directory.display()), e))
                }
                _ => Ok(()),
            }
        })
        .await?;
        self.mirror.tables.lock().containers.remove(id);
        Ok(())
    }

    pub(super) fn container_cgroup(&self, container: &Container) -> Result<String> {
        let tables = self.mirror.tables.lock();
        let entry = tables.sandboxes.get(&container.sandbox);
        let entry = entry.ok_or_else(|| Error::NotFound(format!("sandbox {}", container.sandbox)))?;
        Ok(format!("{}/{}", entry.cgroup, container.id))
    }
}

struct Plan {
    directory: PathBuf,
    config: serde_json::Value,
    launch: Launch,
}

impl Plan {
    /// `container.json` comes last: a directory without it is not yet a container.
    fn write(&self, container: &Container) -> Result<()> {
        fs::create_dir_all(&self.directory)
            .map_err(|e| io_error(&format!("creating {} ({})", self.directory.display(), short(&container.id)), e))?;
        write_json(&self.directory.join("config.json"), &self.config)?;
        write_json(&self.directory.join("launch.json"), &self.launch)?;
        write_json(&self.directory.join("container.json"), container)
    }
}

/// `SIGTERM`, `term`, `15`, `SIGRTMIN+3`.
fn signal_number(name: &str) -> Option<i32> {
    if let Ok(number) = name.parse::<i32>() {
        return (1..=64).contains(&number).then_some(number);
    }
    let name = name.to_ascii_uppercase();
    let name = if name.starts_with("SIG") { name } else { format!("SIG{name}") };
    if let Some(offset) = name.strip_prefix("SIGRTMIN") {
        return Some(34 + offset.trim_start_matches('+').parse::<i32>().unwrap_or(0)).filter(|n| *n <= 64);
    }
    if let Some(offset) = name.strip_prefix("SIGRTMAX") {
        return Some(64 - offset.trim_start_matches('-').parse::<i32>().unwrap_or(0)).filter(|n| *n >= 34);
    }
    name.parse::<nix::sys::signal::Signal>().ok().map(|signal| signal as i32)
}

/// What this process may pass on. Should it be unreadable, everything is tried.
fn capabilities() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("CapPrm:"));
    mask.and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok()).unwrap_or(u64::MAX)
}

/// The machine's device nodes, as a privileged container gets them; terminals and what containers have of their own left out.
fn devices(directory: &Path) -> Vec<Device> {
    use std::os::unix::fs::{FileTypeExt, MetadataExt};
    const OWN: &[&str] =
        &["pts", "shm", "fd", "mqueue", "console", "null", "zero", "full", "random", "urandom", "tty", "ptmx"];
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let top = directory == Path::new("/dev");
        if top && entry.file_name().to_str().is_none_or(|name| OWN.contains(&name)) {
            continue;
        }
        let Ok(kind) = entry.file_type() else { continue };
        if kind.is_dir() {
            found.extend(devices(&entry.path()));
        } else if (kind.is_char_device() || kind.is_block_device())
            && let Ok(metadata) = entry.metadata()
        {
            let number = (nix::sys::stat::major(metadata.rdev()), nix::sys::stat::minor(metadata.rdev()));
            let kind = if kind.is_char_device() { 'c' } else { 'b' };
            found.push(Device { path: entry.path(), kind, number, mode: metadata.mode() });
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_have_many_spellings() {
        for (name, number) in [
            ("SIGTERM", Some(15)),
            ("term", Some(15)),
            ("9", Some(9)),
            ("SIGRTMIN+3", Some(37)),
            ("SIGRTMAX-1", Some(63)),
            ("SIGNOTHING", None),
            ("", None),
            ("0", None),
        ] {
            assert_eq!(signal_number(name), number, "{name}");
        }
    }
}
