//! The cgroups of a cluster as a whole: entering one, ending all that is in one, removing it. Works on v1, v2 and both at once.

use nix::{
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use std::{
    collections::BTreeSet,
    fs,
    os::fd::{AsFd, FromRawFd, OwnedFd},
    path::{Path, PathBuf},
};

/// The mount points of all cgroup hierarchies.
fn hierarchies() -> Vec<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    mounts
        .lines()
        .filter_map(|line| {
            let (before, after) = line.split_once(" - ")?;
            after.starts_with("cgroup").then(|| PathBuf::from(before.split(' ').nth(4).unwrap_or_default()))
        })
        .collect()
}

/// Puts the calling process into `cgroup` (made if need be) in every hierarchy that takes it.
pub fn enter(cgroup: &str) {
    for root in hierarchies() {
        let dir = root.join(cgroup);
        // a hierarchy that takes no process (an empty cpuset, say) limits none either
        if fs::create_dir_all(&dir).is_ok() {
            let _ = fs::write(dir.join("cgroup.procs"), "0");
        }
    }
}

/// All processes in `cgroup` and below.
pub fn processes(cgroup: &str) -> BTreeSet<u32> {
    let mut found = BTreeSet::new();
    for root in hierarchies() {
        walk(&root.join(cgroup), &mut |dir| {
            let procs = fs::read_to_string(dir.join("cgroup.procs")).unwrap_or_default();
            // 0 stands for a process that this PID namespace does not see
            found.extend(procs.lines().filter_map(|l| l.parse::<u32>().ok()).filter(|pid| *pid != 0));
        });
    }
    found
}

/// Kills every process in `cgroup` and below and waits until they are gone.
pub fn kill_all(cgroup: &str) {
    let own = std::process::id();
    // processes that fork while they are being killed are met in the next round
    for _ in 0..100 {
        let left: Vec<u32> = processes(cgroup).into_iter().filter(|pid| *pid != own).collect();
        if left.is_empty() {
            return;
        }
        let handles: Vec<OwnedFd> = left.iter().filter_map(|pid| pidfd(*pid)).collect();
        for pid in left {
            let _ = kill(Pid::from_raw(pid.cast_signed()), Signal::SIGKILL);
        }
        for handle in handles {
            let mut wait = [PollFd::new(handle.as_fd(), PollFlags::POLLIN)];
            let _ = poll(&mut wait, PollTimeout::from(1000u16));
        }
    }
}

/// Removes `cgroup` and everything below it.
pub fn remove(cgroup: &str) {
    for root in hierarchies() {
        let mut dirs = Vec::new();
        walk(&root.join(cgroup), &mut |dir| dirs.push(dir.to_owned()));
        for dir in dirs.iter().rev() {
            let _ = fs::remove_dir(dir);
        }
        // the directory of all clusters goes with the last of them
        let _ = fs::remove_dir(root.join("coracle"));
    }
}

fn walk(dir: &Path, each: &mut dyn FnMut(&Path)) {
    let Ok(entries) = fs::read_dir(dir) else { return };
    each(dir);
    for entry in entries.flatten().filter(|e| e.file_type().is_ok_and(|t| t.is_dir())) {
        walk(&entry.path(), each);
    }
}

#[allow(unsafe_code)]
fn pidfd(pid: u32) -> Option<OwnedFd> {
    // SAFETY: the call has no memory arguments; a descriptor that it returns is ours alone.
    unsafe {
        let fd = nix::libc::syscall(nix::libc::SYS_pidfd_open, pid, 0);
        i32::try_from(fd).ok().filter(|fd| *fd >= 0).map(|fd| OwnedFd::from_raw_fd(fd))
    }
}
