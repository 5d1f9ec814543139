//! What a world must not leave behind: processes, mounts, links, rules, cgroups.

use coracle_network::{
    links::Links,
    netlink::{Socket, attribute},
    nft,
};
use nix::{
    mount::{MntFlags, umount2},
    sys::{
        signal::{Signal, kill},
        socket::SockProtocol,
    },
    unistd::Pid,
};
use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

/// The variable by which a world's processes are known, as long as they pass it on.
pub const MARK: &str = "CORACLE_TEST_WORLD";
/// `NFT_MSG_GETTABLE` of the nftables subsystem.
const GET_TABLE: u16 = (10 << 8) | 1;

/// Everything that is there and should not be.
pub fn find(name: &str, dir: &Path) -> Vec<String> {
    let processes = processes(name, dir).into_iter().map(|pid| format!("process {pid}: {}", shown(pid)));
    let mounts = mounts(dir).into_iter().map(|mount| format!("mount {}", mount.display()));
    let links = links().into_iter().map(|link| format!("link {link}"));
    let tables = tables().into_iter().map(|table| format!("nftables table {table}"));
    let cgroups = cgroups(name).into_iter().map(|cgroup| format!("cgroup {}", cgroup.display()));
    processes.chain(mounts).chain(links).chain(tables).chain(cgroups).collect()
}

/// Removes what can disturb other tests; the namespaces take the rest with them.
pub fn clean(name: &str, dir: &Path) {
    // what is killed may be started again by what is not yet
    for _ in 0..20 {
        let left = processes(name, dir);
        if left.is_empty() {
            break;
        }
        for pid in left {
            let _ = kill(Pid::from_raw(pid.cast_signed()), Signal::SIGKILL);
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    for mount in mounts(dir).iter().rev() {
        let _ = umount2(mount, MntFlags::MNT_DETACH);
    }
    for cgroup in cgroups(name).iter().rev() {
        let _ = fs::remove_dir(cgroup);
    }
}

/// Keeps `coracle`, the directory of all clusters' cgroups, from coming and going under tests that run side by side.
pub fn hold_cgroups() {
    for root in hierarchies() {
        let _ = fs::create_dir_all(root.join("coracle/tests"));
    }
}

/// Processes that carry the mark, are in the world's network, in its cgroups, or use its directory.
fn processes(name: &str, dir: &Path) -> Vec<u32> {
    let own = std::process::id();
    let network = fs::read_link("/proc/thread-self/ns/net").unwrap_or_default();
    let mark = format!("{MARK}={name}");
    let cgroup = format!("/coracle/{name}/");
    let dir = dir.to_string_lossy();
    let belongs = |pid: u32| {
        let read = |file: &str| {
            String::from_utf8_lossy(&fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default()).into_owned()
        };
        // a dead process that nobody has waited for holds nothing
        let dead = read("stat").rsplit_once(')').is_none_or(|(_, rest)| rest.trim_start().starts_with(['Z', 'X']));
        !dead
            && (fs::read_link(format!("/proc/{pid}/ns/net")).is_ok_and(|n| n == network)
                || read("environ").split('\0').any(|v| v == mark)
                || read("cgroup").contains(&cgroup)
                || read("cmdline").contains(&*dir)
                || read("mountinfo").contains(&*dir))
    };
    let numbers = fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|e| e.file_name().to_str()?.parse::<u32>().ok());
    numbers.filter(|pid| *pid != own && belongs(*pid)).collect()
}

fn shown(pid: u32) -> String {
    let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    String::from_utf8_lossy(&line).replace('\0', " ")
}

/// Mounts of this thread's namespace below `dir`.
fn mounts(dir: &Path) -> Vec<PathBuf> {
    let all = fs::read_to_string("/proc/thread-self/mountinfo").unwrap_or_default();
    all.lines().filter_map(|l| l.split(' ').nth(4)).map(PathBuf::from).filter(|at| at.starts_with(dir)).collect()
}

fn links() -> Vec<String> {
    let all = Links::open().and_then(|mut links| links.list()).unwrap_or_default();
    // besides `lo` only what the kernel itself puts into every namespace
    let kernels = ["lo", "tunl0", "sit0", "ip6tnl0", "gre0", "gretap0", "erspan0", "ip_vti0", "ip6_vti0", "ip6gre0"];
    all.into_iter().map(|link| link.name).filter(|name| !kernels.contains(&name.as_str())).collect()
}

fn tables() -> Vec<String> {
    let Ok(mut socket) = Socket::open(SockProtocol::NetlinkNetFilter) else { return Vec::new() };
    let all = socket.dump(GET_TABLE, |body| body.put(&[0; 4])).unwrap_or_default();
    let name = |message: &Vec<u8>| {
        let bytes = attribute(message.get(nft::header().len()..)?, 1)?;
        Some(String::from_utf8_lossy(bytes).trim_end_matches('\0').to_string())
    };
    all.iter().filter_map(name).collect()
}

fn hierarchies() -> Vec<PathBuf> {
    let mounts = fs::read_to_string("/proc/thread-self/mountinfo").unwrap_or_default();
    let point = |line: &str| {
        let (before, after) = line.split_once(" - ")?;
        after.starts_with("cgroup").then(|| PathBuf::from(before.split(' ').nth(4).unwrap_or_default()))
    };
    mounts.lines().filter_map(point).collect()
}

/// The cgroups of a cluster, the outer ones first.
fn cgroups(name: &str) -> Vec<PathBuf> {
    fn walk(dir: PathBuf, found: &mut Vec<PathBuf>) {
        let Ok(entries) = fs::read_dir(&dir) else { return };
        found.push(dir);
        for entry in entries.flatten().filter(|e| e.file_type().is_ok_and(|t| t.is_dir())) {
            walk(entry.path(), found);
        }
    }
    let mut found = Vec::new();
    for root in hierarchies() {
        walk(root.join("coracle").join(name), &mut found);
    }
    found
}
