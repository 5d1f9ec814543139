//! `coracle check`: what this machine lacks, and how to get it.

use super::Command;
use crate::settings::Values;
use anyhow::Result;
use serde_json::json;
use std::{fs, path::Path, process::ExitCode};

/// The command.
pub static COMMAND: Command = Command {
    name: "check",
    about: "Say what this machine lacks to run nodes, and how to get it",
    settings: &["data-dir", "json"],
    arguments: &[],
    action: crate::run!(run),
};

struct Finding {
    what: &'static str,
    /// What was seen.
    found: String,
    /// How to get it; `None`: it is there.
    remedy: Option<&'static str>,
}

async fn run(values: Values) -> Result<ExitCode> {
    let findings: Vec<Finding> = vec![
        root(),
        kernel(),
        overlay(),
        cgroups(),
        nftables(),
        vxlan(),
        forwarding(),
        disk(&values.path("data-dir")),
        inotify(),
    ];
    if values.on("json") {
        let all: Vec<_> = findings
            .iter()
            .map(|f| json!({"check": f.what, "found": f.found, "ok": f.remedy.is_none(), "remedy": f.remedy}))
            .collect();
        println!("{}", serde_json::to_string_pretty(&all)?);
    } else {
        for finding in &findings {
            println!(
                "{} {}: {}",
                if finding.remedy.is_none() { "ok     " } else { "MISSING" },
                finding.what,
                finding.found
            );
            if let Some(remedy) = finding.remedy {
                println!("        {remedy}");
            }
        }
    }
    let well = findings.iter().all(|f| f.remedy.is_none());
    Ok(if well { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn finding(what: &'static str, found: impl Into<String>, ok: bool, remedy: &'static str) -> Finding {
    Finding { what, found: found.into(), remedy: (!ok).then_some(remedy) }
}

fn root() -> Finding {
    let uid = nix::unistd::geteuid();
    finding(
        "root",
        format!("uid {uid}"),
        uid.is_root(),
        "run coracle with sudo: nodes need namespaces, mounts and cgroups",
    )
}

fn kernel() -> Finding {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let mut numbers = release.trim().split(|c: char| !c.is_ascii_digit()).filter_map(|n| n.parse::<u32>().ok());
    let version = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    finding("kernel", release.trim(), version >= (5, 10), "Linux 5.10 or newer is needed: upgrade the system's kernel")
}

fn overlay() -> Finding {
    let there = listed("/proc/filesystems", "overlay") || module("overlay");
    finding("overlayfs", yes(there), there, "modprobe overlay (or a kernel with CONFIG_OVERLAY_FS)")
}

fn cgroups() -> Finding {
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let v2 = fs::read_to_string("/sys/fs/cgroup/cgroup.controllers").unwrap_or_default();
    let v1 = mounts.lines().any(|l| l.contains(" - cgroup ") && l.ends_with("memory"));
    let found = if v2.contains("memory") {
        "v2"
    } else if v1 {
        "v1"
    } else {
        "no memory controller"
    };
    finding(
        "cgroups",
        found,
        v2.contains("memory") || v1,
        "boot with cgroup_enable=memory, or mount cgroup2 on /sys/fs/cgroup",
    )
}

fn nftables() -> Finding {
    let there = module("nf_tables")
        || Path::new("/proc/net/netfilter/nf_log").exists() && listed("/proc/net/protocols", "NETLINK");
    finding("nftables", yes(there), there, "modprobe nf_tables (or a kernel with CONFIG_NF_TABLES and NF_NAT)")
}

fn vxlan() -> Finding {
    let there = module("vxlan") || fs::read_to_string("/proc/kallsyms").is_ok_and(|s| s.contains(" vxlan_xmit"));
    finding("VXLAN", yes(there), there, "modprobe vxlan; only needed between machines that share no link")
}

fn forwarding() -> Finding {
    let path = "/proc/sys/net/ipv4/ip_forward";
    finding("IP forwarding", "can be switched on", Path::new(path).exists(), "a kernel with IPv4 routing is needed")
}

fn disk(dir: &Path) -> Finding {
    let at = dir.ancestors().find(|d| d.exists()).unwrap_or(Path::new("/"));
    let free = nix::sys::statvfs::statvfs(at).map_or(0, |s| s.blocks_available() * s.fragment_size());
    let found = format!("{} MiB free at {}", free >> 20, at.display());
    finding("disk", found, free > 1 << 30, "free a gibibyte, or choose another place with --data-dir")
}

fn inotify() -> Finding {
    let limit: u64 = fs::read_to_string("/proc/sys/fs/inotify/max_user_instances")
        .ok()
        .and_then(|t| t.trim().parse().ok())
        .unwrap_or(0);
    finding("inotify instances", limit.to_string(), limit >= 64, "sysctl fs.inotify.max_user_instances=512")
}

fn listed(file: &str, word: &str) -> bool {
    fs::read_to_string(file).is_ok_and(|text| text.split_whitespace().any(|w| w == word))
}

/// Whether a kernel module is loaded, built in, or there to be loaded.
fn module(name: &str) -> bool {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let dir = Path::new("/lib/modules").join(release.trim());
    let named = |file: &str| {
        fs::read_to_string(dir.join(file)).is_ok_and(|t| t.lines().any(|l| l.contains(&format!("/{name}.ko"))))
    };
    Path::new("/sys/module").join(name).exists() || named("modules.builtin") || named("modules.dep")
}

fn yes(there: bool) -> &'static str {
    if there { "there" } else { "not found" }
}
