//! Taking volumes of a pod away: unmount what is mounted below its directory, then remove the directory.

use nix::mount::{MntFlags, umount2};
use std::{
    fs, io,
    path::{Path, PathBuf},
};

/// Whether something is mounted at `path`.
pub fn is_mount(path: &Path) -> bool {
    mounts_below(path).iter().any(|m| m == path)
}

fn mounts_below(path: &Path) -> Vec<PathBuf> {
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let mut found: Vec<PathBuf> = parse(&table).filter(|m| m.starts_with(path)).collect();
    // the last mounted is the first to go
    found.reverse();
    found
}

/// Mount points of a mountinfo table; blanks in them are escaped as octal.
fn parse(table: &str) -> impl Iterator<Item = PathBuf> + '_ {
    table.lines().filter_map(|line| {
        let point = line.split(' ').nth(4)?;
        Some(PathBuf::from(point.replace("\\040", " ").replace("\\011", "\t").replace("\\134", "\\")))
    })
}

/// Removes a pod's directory. Not an error if it is gone. What could not be unmounted is never removed through.
///
/// # Errors
/// When a mount cannot be taken away or a file cannot be removed.
pub fn remove(pod_dir: &Path) -> io::Result<()> {
    for mount in mounts_below(pod_dir) {
        umount2(&mount, MntFlags::MNT_DETACH)
            .map_err(|e| io::Error::other(format!("unmounting {}: {e}", mount.display())))?;
    }
    match fs::remove_dir_all(pod_dir) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mount_tables_are_read() {
        let table = "22 1 0:1 / /proc rw - proc proc rw\n23 1 0:2 / /data/pods/u/a\\040b rw - tmpfs tmpfs rw\n";
        let points: Vec<PathBuf> = parse(table).collect();
        assert_eq!(points, [PathBuf::from("/proc"), PathBuf::from("/data/pods/u/a b")]);
    }
}
