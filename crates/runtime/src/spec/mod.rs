//! From what Kubernetes wants and what the image says to an OCI runtime spec. Pure: files that matter are passed in as text.

mod capabilities;
mod user;

use crate::{ContainerSpec, Error, Mount, Namespace, Result, SandboxSpec, image::config::ImageConfig};
use serde_json::{Value, json};
use std::{
    collections::BTreeSet,
    path::{Component, Path, PathBuf},
};
pub use user::Accounts;

const DEFAULT_PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Hidden from containers: they tell of, or change, the whole machine.
const MASKED: &[&str] = &[
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/sys/firmware",
    "/sys/devices/virtual/powercap",
];
const READ_ONLY: &[&str] = &["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

/// Everything a spec is made of.
pub struct Input<'a> {
    /// The pod.
    pub sandbox: &'a SandboxSpec,
    /// The container.
    pub container: &'a ContainerSpec,
    /// Its image.
    pub image: &'a ImageConfig,
    /// The image's users and groups.
    pub accounts: Accounts<'a>,
    /// Where its root file system will be mounted.
    pub root: &'a Path,
    /// The pod's shared memory; `None`: the node's.
    pub shm: Option<&'a Path>,
    /// Its cgroup.
    pub cgroup: &'a str,
    /// A process of the pid namespace to live in: process 1 of the pod's shared one, or that of another container.
    pub pause: Option<u32>,
    /// Whether the machine has cgroup version 2.
    pub unified: bool,
    /// Capabilities that this process may pass on, as a bit mask.
    pub capabilities: u64,
    /// Devices of the machine, for privileged containers.
    pub devices: Vec<Device>,
}

/// A device node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    /// Where.
    pub path: PathBuf,
    /// `b` or `c`.
    pub kind: char,
    /// Major and minor number.
    pub number: (u64, u64),
    /// Mode.
    pub mode: u32,
}

/// Makes the spec. Namespaces that the whole pod shares are not named in it: the process that makes the container lives in them.
pub fn generate(input: &Input<'_>) -> Result<Value> {
    let container = input.container;
    let privileged = container.security.privileged;
    let mounts = mounts(input);
    let propagation = root_propagation(&container.mounts);
    let mut linux = json!({
        "cgroupsPath": input.cgroup,
        "namespaces": namespaces(input),
        "resources": resources(input),
        "devices": if privileged { devices(&input.devices) } else { json!([]) },
        "rootfsPropagation": propagation,
    });
    if !privileged {
        linux["maskedPaths"] = json!(MASKED);
        linux["readonlyPaths"] = json!(READ_ONLY);
    }
    Ok(json!({
        "ociVersion": "1.0.2",
        "process": process(input)?,
        "root": {"path": input.root, "readonly": container.security.read_only_root},
        "mounts": mounts,
        "annotations": {},
        "linux": linux,
    }))
}

fn process(input: &Input<'_>) -> Result<Value> {
    let (container, security) = (input.container, &input.container.security);
    let user = user::resolve(input)?;
    let capabilities = capabilities::set(security, input.unified, input.capabilities)?;
    let mut process = json!({
        "terminal": container.tty,
        "user": {"uid": user.uid, "gid": user.gid, "additionalGids": user.groups},
        "args": arguments(input)?,
        "env": environment(input, &user.home),
        "cwd": working_directory(input),
        "capabilities": {
            "bounding": capabilities, "effective": capabilities, "permitted": capabilities,
            "inheritable": [], "ambient": [],
        },
        "oomScoreAdj": container.resources.oom_score_adj,
    });
    // Left out rather than false: false still counts as "set" further down.
    if security.no_new_privileges {
        process["noNewPrivileges"] = json!(true);
    }
    Ok(process)
}

/// `command` replaces the image's entrypoint and drops its cmd; `args` replaces the cmd.
fn arguments(input: &Input<'_>) -> Result<Vec<String>> {
    let (container, image) = (input.container, input.image);
    let (entrypoint, cmd) = match (container.command.is_empty(), container.args.is_empty()) {
        (true, true) => (&image.entrypoint, &image.cmd),
        (true, false) => (&image.entrypoint, &container.args),
        (false, _) => (&container.command, &container.args),
    };
    let arguments: Vec<String> = entrypoint.iter().chain(cmd).cloned().collect();
    if arguments.first().is_none_or(String::is_empty) {
        return Err(Error::Container("failed to generate container spec: no command specified".to_owned()));
    }
    Ok(arguments)
}

fn environment(input: &Input<'_>, home: &str) -> Vec<String> {
    let mut list: Vec<String> = vec![DEFAULT_PATH.to_owned()];
    let mut set = |entry: String| {
        let name = entry.split('=').next().unwrap_or("").to_owned();
        match list.iter_mut().find(|old| old.split('=').next() == Some(name.as_str())) {
            Some(old) => *old = entry,
            None => list.push(entry),
        }
    };
    if !input.sandbox.hostname.is_empty() {
        set(format!("HOSTNAME={}", input.sandbox.hostname));
    }
    if input.container.tty {
        set("TERM=xterm".to_owned());
    }
    set(format!("HOME={home}"));
    input.image.env.iter().filter(|entry| entry.contains('=')).for_each(|entry| set(entry.clone()));
    input.container.env.iter().for_each(|(name, value)| set(format!("{name}={value}")));
    list
}

fn working_directory(input: &Input<'_>) -> PathBuf {
    let asked = [&input.container.working_dir, &input.image.working_dir].into_iter().find(|dir| !dir.is_empty());
    Path::new("/").join(asked.map_or("/", String::as_str))
}

fn namespaces(input: &Input<'_>) -> Value {
    let mut list = vec![json!({"type": "mount"})];
    match (&input.sandbox.pid, input.pause) {
        (Namespace::Node, _) => {}
        (Namespace::Pod | Namespace::Container, Some(pause)) => {
            list.push(json!({"type": "pid", "path": format!("/proc/{pause}/ns/pid")}))
        }
        (Namespace::Pod | Namespace::Container, _) => list.push(json!({"type": "pid"})),
    }
    // With version 1 the host's cgroup namespace is what containers expect.
    if input.unified && !input.container.security.privileged {
        list.push(json!({"type": "cgroup"}));
    }
    list.into()
}

fn resources(input: &Input<'_>) -> Value {
    let r = &input.container.resources;
    let mut out = serde_json::Map::new();
    let mut cpu = serde_json::Map::new();
    if r.cpu_shares > 0 {
        cpu.insert("shares".into(), json!(r.cpu_shares));
    }
    if r.cpu_quota > 0 {
        cpu.insert("quota".into(), json!(r.cpu_quota));
        cpu.insert("period".into(), json!(if r.cpu_period == 0 { 100_000 } else { r.cpu_period }));
    }
    if !cpu.is_empty() {
        out.insert("cpu".into(), cpu.into());
    }
    if r.memory > 0 {
        out.insert("memory".into(), json!({"limit": r.memory}));
    }
    if r.pids > 0 {
        out.insert("pids".into(), json!({"limit": r.pids}));
    }
    if input.unified {
        // As the kubelet does: when memory runs out the container goes as a whole.
        out.insert("unified".into(), json!({"memory.oom.group": "1"}));
    }
    let allow = if input.container.security.privileged {
        json!([{"allow": true, "access": "rwm"}])
    } else {
        json!([{"allow": false, "access": "rwm"}])
    };
    out.insert("devices".into(), allow);
    out.into()
}

fn devices(list: &[Device]) -> Value {
    let device = |d: &Device| {
        json!({"path": d.path, "type": d.kind.to_string(), "major": d.number.0, "minor": d.number.1,
            "fileMode": d.mode & 0o777, "uid": 0, "gid": 0})
    };
    list.iter().map(device).collect()
}

/// A container that shall see later mounts of the node, or show its own, needs a root that passes them on.
fn root_propagation(mounts: &[Mount]) -> &'static str {
    let any = |kind: &str| mounts.iter().any(|m| m.propagation == kind);
    if any("rshared") {
        "shared"
    } else if any("rslave") {
        "slave"
    } else {
        "private"
    }
}

/// The usual file systems, then what the pod asks for: parents before what lies in them.
fn mounts(input: &Input<'_>) -> Vec<Value> {
    let own: BTreeSet<PathBuf> = input.container.mounts.iter().map(|m| clean(&m.target)).collect();
    let mut list: Vec<Value> = standard_mounts(input)
        .into_iter()
        .filter(|mount| !mount["destination"].as_str().is_some_and(|target| own.contains(Path::new(target))))
        .collect();
    let mut wanted: Vec<&Mount> = input.container.mounts.iter().collect();
    wanted.sort_by_key(|mount| clean(&mount.target).components().count());
    list.extend(wanted.into_iter().map(|mount| {
        let propagation = if mount.propagation.is_empty() { "rprivate" } else { &mount.propagation };
        let access = if mount.read_only { "ro" } else { "rw" };
        json!({"destination": clean(&mount.target), "type": "bind", "source": mount.source,
            "options": ["rbind", propagation, access]})
    }));
    list
}

fn clean(path: &Path) -> PathBuf {
    let mut out = PathBuf::from("/");
    for part in path.components() {
        match part {
            Component::Normal(part) => out.push(part),
            Component::ParentDir => drop(out.pop()),
            _ => {}
        }
    }
    out
}

fn standard_mounts(input: &Input<'_>) -> Vec<Value> {
    let access = if input.container.security.privileged { "rw" } else { "ro" };
    let mount = |target: &str, kind: &str, options: &[&str]| json!({"destination": target, "type": kind, "source": kind, "options": options});
    let shm = input.shm.unwrap_or(Path::new("/dev/shm"));
    vec![
        mount("/proc", "proc", &["nosuid", "noexec", "nodev"]),
        mount("/dev", "tmpfs", &["nosuid", "strictatime", "mode=755", "size=65536k"]),
        mount("/dev/pts", "devpts", &["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"]),
        json!({"destination": "/dev/shm", "type": "bind", "source": shm, "options": ["rbind", "rprivate", "rw"]}),
        mount("/dev/mqueue", "mqueue", &["nosuid", "noexec", "nodev"]),
        mount("/sys", "sysfs", &["nosuid", "noexec", "nodev", access]),
        mount("/sys/fs/cgroup", "cgroup", &["nosuid", "noexec", "nodev", "relatime", access]),
    ]
}

#[cfg(test)]
mod tests;
