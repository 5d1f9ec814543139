//! Memory and processor time of processes, as the kernel counts them.

use crate::cluster::{cgroup, layout::State};
use nix::{
    time::{clock_getcpuclockid, clock_gettime},
    unistd::Pid,
};
use std::{collections::BTreeMap, fs, time::Duration};

/// What a process of a cluster is there for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// `coracle up`.
    Supervisor,
    /// `coracle server`.
    Server,
    /// `coracle agent`.
    Agent,
    /// What keeps a pod.
    Shim,
    /// What runs in containers.
    Container,
}

impl Role {
    /// As figures name it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Supervisor => "supervisor",
            Self::Server => "server",
            Self::Agent => "agent",
            Self::Shim => "shims",
            Self::Container => "containers",
        }
    }
}

/// Every process of a cluster on this machine.
pub fn processes(state: &State) -> BTreeMap<u32, Role> {
    let mut found: BTreeMap<u32, Role> =
        cgroup::processes(&state.cgroup()).into_iter().map(|pid| (pid, role(pid))).collect();
    found.extend(state.nodes.iter().filter_map(|n| n.agent).map(|p| (p.pid, Role::Agent)));
    found.extend(state.server.map(|p| (p.pid, Role::Server)));
    found.insert(state.supervisor.pid, Role::Supervisor);
    found
}

fn role(pid: u32) -> Role {
    let command = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    // a shim is this program started by whatever name; the pods of the benchmark have no such argument
    if command.split(|b| *b == 0).nth(1) == Some(b"shim") { Role::Shim } else { Role::Container }
}

/// The sum of the processes' proportional set sizes by role, in MB (10^6 bytes): a page that several share counts once in all.
pub fn pss(processes: &BTreeMap<u32, Role>) -> BTreeMap<Role, f64> {
    let mut sums = BTreeMap::new();
    for (pid, role) in processes {
        // a process that has ended meanwhile needs none
        let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
        *sums.entry(*role).or_default() += pss_of(&text);
    }
    sums
}

fn pss_of(rollup: &str) -> f64 {
    let line = rollup.lines().find_map(|line| line.strip_prefix("Pss:"));
    let kilobytes = line.and_then(|l| l.trim().trim_end_matches("kB").trim().parse::<f64>().ok());
    kilobytes.unwrap_or(0.0) * 1024.0 / 1e6
}

/// Processor time that the processes have used.
pub fn cpu_time(processes: &BTreeMap<u32, Role>) -> Duration {
    // the process's own clock: what /proc tells is counted in ticks, too coarse for processes that sleep
    let clock = |pid: &u32| clock_getcpuclockid(Pid::from_raw(pid.cast_signed())).and_then(clock_gettime);
    processes.keys().filter_map(|pid| clock(pid).ok()).map(Duration::from).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proportional_memory_is_read() {
        let rollup = "00400000-7ffd0000 ---p 00000000 00:00 0 [rollup]\nRss:  9000 kB\nPss:                2000 kB\nPss_Anon: 7 kB\n";
        assert!((pss_of(rollup) - 2.048).abs() < 1e-9);
        assert_eq!(pss_of(""), 0.0);
    }

    #[test]
    fn time_passes() {
        let this = BTreeMap::from([(std::process::id(), Role::Server)]);
        assert!(cpu_time(&this) > Duration::ZERO);
        assert!(pss(&this)[&Role::Server] > 0.1);
    }
}
