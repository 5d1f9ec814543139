//! Control groups, version 1 and 2, as far as libcontainer does not do it: pods, removal, killing, usage.
//!
//! A path here is relative to the root of each hierarchy. On a machine where only some controllers exist, the rest works.

use crate::{Resources, Usage};
use nix::{sys::signal::Signal, unistd::Pid};
use std::{
    fs, io,
    path::{Path, PathBuf},
};

/// The hierarchies of this machine.
#[derive(Clone, Debug)]
pub struct Cgroups {
    hierarchies: Vec<Hierarchy>,
    /// Whether there is one hierarchy for everything (version 2).
    pub unified: bool,
}

#[derive(Clone, Debug)]
struct Hierarchy {
    mount: PathBuf,
    controllers: Vec<String>,
}

impl Cgroups {
    /// Looks at what is mounted.
    pub fn detect() -> Self {
        Self::parse(&fs::read_to_string("/proc/self/mountinfo").unwrap_or_default())
    }

    /// As libcontainer decides: version 2 if it is mounted on the well-known place itself, otherwise version 1 alone.
    fn parse(mountinfo: &str) -> Self {
        let mut hierarchies: Vec<Hierarchy> = Vec::new();
        for line in mountinfo.lines() {
            let Some((left, right)) = line.split_once(" - ") else { continue };
            let Some(mount) = left.split(' ').nth(4).map(PathBuf::from) else { continue };
            let mut right = right.split(' ');
            let (kind, options) = (right.next().unwrap_or(""), right.nth(1).unwrap_or(""));
            if kind == "cgroup2" && mount == Path::new("/sys/fs/cgroup") {
                return Self { hierarchies: vec![Hierarchy { mount, controllers: Vec::new() }], unified: true };
            }
            let known = [
                "cpu",
                "cpuacct",
                "cpuset",
                "memory",
                "pids",
                "devices",
                "freezer",
                "blkio",
                "hugetlb",
                "net_cls",
                "net_prio",
                "perf_event",
            ];
            let controllers: Vec<String> =
                options.split(',').filter(|o| known.contains(o)).map(str::to_owned).collect();
            let again = hierarchies.iter().any(|h| h.controllers == controllers);
            if kind == "cgroup" && !controllers.is_empty() && !again {
                hierarchies.push(Hierarchy { mount, controllers });
            }
        }
        Self { hierarchies, unified: false }
    }

    fn of(&self, controller: &str) -> Option<&Path> {
        let has = |h: &&Hierarchy| self.unified || h.controllers.iter().any(|c| c == controller);
        self.hierarchies.iter().find(has).map(|h| h.mount.as_path())
    }

    /// Makes the group with its limits. Only a limit that the kernel refuses is an error, not a controller that is missing.
    pub fn create(&self, path: &str, resources: &Resources) -> io::Result<()> {
        let relative = path.trim_start_matches('/');
        for hierarchy in &self.hierarchies {
            // The others are made by libcontainer when a container needs them.
            if self.unified || hierarchy.controllers.iter().any(|c| matches!(c.as_str(), "cpu" | "memory" | "pids")) {
                if self.unified {
                    enable_controllers(&hierarchy.mount, relative);
                }
                fs::create_dir_all(hierarchy.mount.join(relative))?;
            }
        }
        for (controller, file, value) in limits(resources, self.unified) {
            let Some(mount) = self.of(controller) else { continue };
            let target = mount.join(relative).join(file);
            match fs::write(&target, &value) {
                Err(e) if e.kind() == io::ErrorKind::NotFound || e.kind() == io::ErrorKind::PermissionDenied => {}
                Err(e) => {
                    return Err(io::Error::new(e.kind(), format!("writing {value:?} to {}: {e}", target.display())));
                }
                Ok(()) => {}
            }
        }
        Ok(())
    }

    /// Puts a process into the group, which is made if needed.
    pub fn join(&self, path: &str, pid: u32) {
        for hierarchy in &self.hierarchies {
            let group = hierarchy.mount.join(path.trim_start_matches('/'));
            let wanted = self.unified || hierarchy.controllers.iter().any(|c| matches!(c.as_str(), "memory" | "pids"));
            if wanted && fs::create_dir_all(&group).is_ok() {
                let _ = fs::write(group.join("cgroup.procs"), pid.to_string());
            }
        }
    }

    /// Removes the group and all below it, in every hierarchy. Not an error if it is gone.
    pub fn remove(&self, path: &str) {
        for hierarchy in &self.hierarchies {
            remove_below(&hierarchy.mount.join(path.trim_start_matches('/')));
        }
    }

    /// Whether the group is there in any hierarchy.
    pub fn exists(&self, path: &str) -> bool {
        self.hierarchies.iter().any(|h| h.mount.join(path.trim_start_matches('/')).exists())
    }

    /// Kills every process in the group and below; whether there was one.
    pub fn kill(&self, path: &str) -> bool {
        let relative = path.trim_start_matches('/');
        let mut found = false;
        for hierarchy in &self.hierarchies {
            let group = hierarchy.mount.join(relative);
            let mut pids = Vec::new();
            processes(&group, &mut pids);
            found |= !pids.is_empty();
            if self.unified && fs::write(group.join("cgroup.kill"), "1").is_ok() {
                continue;
            }
            for pid in pids {
                let _ = nix::sys::signal::kill(Pid::from_raw(pid), Signal::SIGKILL);
            }
        }
        found
    }

    /// Whether the kernel killed a process of the group for its memory.
    pub fn out_of_memory(&self, path: &str) -> bool {
        let Some(mount) = self.of("memory") else { return false };
        let file = if self.unified { "memory.events" } else { "memory.oom_control" };
        let text = fs::read_to_string(mount.join(path.trim_start_matches('/')).join(file)).unwrap_or_default();
        field(&text, "oom_kill").is_some_and(|count| count > 0)
    }

    /// Whether this process is in the group or below it.
    pub fn holds_this_process(&self, path: &str) -> bool {
        let group = format!("/{}/", path.trim_matches('/'));
        // `<id>:<controllers>:<path>`; all hierarchies agree where one of them counts processor time
        let own = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
        let mut lines = own.lines().filter_map(|line| line.split_once(':')?.1.split_once(':'));
        let counts = |controllers: &str| match self.unified {
            true => controllers.is_empty(),
            false => controllers.split(',').any(|c| c == "cpuacct"),
        };
        lines.any(|(controllers, path)| counts(controllers) && path.starts_with(&group))
    }

    /// What the group uses.
    pub fn usage(&self, path: &str) -> Usage {
        let relative = path.trim_start_matches('/');
        let read = |controller: &str, file: &str| {
            self.of(controller)
                .and_then(|mount| fs::read_to_string(mount.join(relative).join(file)).ok())
                .unwrap_or_default()
        };
        let number = |text: String| text.trim().parse::<u64>().unwrap_or(0);
        let stat = read("memory", "memory.stat");
        let (cpu_nanos, memory, inactive) = if self.unified {
            let micros = field(&read("cpu", "cpu.stat"), "usage_usec").unwrap_or(0);
            (micros * 1000, number(read("memory", "memory.current")), field(&stat, "inactive_file"))
        } else {
            let nanos = number(read("cpuacct", "cpuacct.usage"));
            (nanos, number(read("memory", "memory.usage_in_bytes")), field(&stat, "total_inactive_file"))
        };
        Usage {
            cpu_nanos,
            memory,
            memory_working_set: memory.saturating_sub(inactive.unwrap_or(0)),
            pids: number(read("pids", "pids.current")),
        }
    }
}

/// (controller, file, value) for each limit that is set.
fn limits(r: &Resources, unified: bool) -> Vec<(&'static str, &'static str, String)> {
    let period = if r.cpu_period == 0 { 100_000 } else { r.cpu_period };
    let mut list = Vec::new();
    match (r.cpu_shares, unified) {
        (0, _) => {}
        (shares, true) => list.push(("cpu", "cpu.weight", weight(shares).to_string())),
        (shares, false) => list.push(("cpu", "cpu.shares", shares.to_string())),
    }
    if r.cpu_quota > 0 {
        if unified {
            list.push(("cpu", "cpu.max", format!("{} {period}", r.cpu_quota)));
        } else {
            list.push(("cpu", "cpu.cfs_period_us", period.to_string()));
            list.push(("cpu", "cpu.cfs_quota_us", r.cpu_quota.to_string()));
        }
    }
    if r.memory > 0 {
        list.push(("memory", if unified { "memory.max" } else { "memory.limit_in_bytes" }, r.memory.to_string()));
    }
    if r.pids > 0 {
        list.push(("pids", "pids.max", r.pids.to_string()));
    }
    list
}

/// Shares of version 1 (2 to 262144) on the scale of version 2 (1 to 10000).
pub fn weight(shares: u64) -> u64 {
    1 + (shares.clamp(2, 262_144) - 2) * 9999 / 262_142
}

/// In version 2 a group has only the controllers that its parent hands down.
fn enable_controllers(mount: &Path, relative: &str) {
    let mut at = mount.to_owned();
    for part in Path::new(relative).components() {
        for controller in ["+cpu", "+memory", "+pids", "+cpuset", "+io"] {
            let _ = fs::write(at.join("cgroup.subtree_control"), controller);
        }
        at.push(part);
        let _ = fs::create_dir(&at);
    }
}

fn field(text: &str, name: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.trim().parse().ok())
}

fn processes(group: &Path, pids: &mut Vec<i32>) {
    let text = fs::read_to_string(group.join("cgroup.procs")).unwrap_or_default();
    pids.extend(text.lines().filter_map(|line| line.parse::<i32>().ok()));
    for entry in fs::read_dir(group).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|t| t.is_dir()) {
            processes(&entry.path(), pids);
        }
    }
}

fn remove_below(group: &Path) {
    for entry in fs::read_dir(group).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|t| t.is_dir()) {
            remove_below(&entry.path());
        }
    }
    let _ = fs::remove_dir(group);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kind_of_machine_is_told_from_its_mounts() {
        let v1 = "30 25 0:26 / /sys/fs/cgroup ro - tmpfs tmpfs rw\n\
                  31 30 0:27 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n\
                  32 30 0:28 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n\
                  33 30 0:29 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,name=systemd\n";
        let found = Cgroups::parse(v1);
        assert!(!found.unified);
        assert_eq!(found.of("cpuacct"), Some(Path::new("/sys/fs/cgroup/cpu,cpuacct")));
        assert_eq!((found.of("memory"), found.hierarchies.len()), (None, 1));
        let v2 = Cgroups::parse("30 25 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n");
        assert!(v2.unified && v2.of("memory").is_some());
    }

    #[test]
    fn limits_are_written_for_the_kind_of_machine() {
        let r = Resources { cpu_shares: 1024, cpu_quota: 50_000, memory: 1 << 20, pids: 9, ..Resources::default() };
        let show = |unified| {
            limits(&r, unified)
                .into_iter()
                .map(|(_, file, value)| format!("{file}={value}"))
                .collect::<Vec<_>>()
                .join(" ")
        };
        assert_eq!(
            show(false),
            "cpu.shares=1024 cpu.cfs_period_us=100000 cpu.cfs_quota_us=50000 memory.limit_in_bytes=1048576 pids.max=9"
        );
        assert_eq!(show(true), "cpu.weight=39 cpu.max=50000 100000 memory.max=1048576 pids.max=9");
        assert!(limits(&Resources::default(), true).is_empty());
        assert_eq!([weight(2), weight(262_144), weight(0)], [1, 10_000, 1]);
    }
}
