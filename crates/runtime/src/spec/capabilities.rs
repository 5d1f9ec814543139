//! Capabilities: the usual set, plus what is added, minus what is dropped.

use crate::{Error, Result, Security};

/// What a container gets if nothing else is said; the set that Docker and containerd give.
const DEFAULT: &[&str] = &[
    "CHOWN",
    "DAC_OVERRIDE",
    "FSETID",
    "FOWNER",
    "MKNOD",
    "NET_RAW",
    "SETGID",
    "SETUID",
    "SETFCAP",
    "SETPCAP",
    "NET_BIND_SERVICE",
    "SYS_CHROOT",
    "KILL",
    "AUDIT_WRITE",
];

/// All that Linux has, in its order.
const ALL: &[&str] = &[
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "LINUX_IMMUTABLE",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_ADMIN",
    "NET_RAW",
    "IPC_LOCK",
    "IPC_OWNER",
    "SYS_MODULE",
    "SYS_RAWIO",
    "SYS_CHROOT",
    "SYS_PTRACE",
    "SYS_PACCT",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_NICE",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "MKNOD",
    "LEASE",
    "AUDIT_WRITE",
    "AUDIT_CONTROL",
    "SETFCAP",
    "MAC_OVERRIDE",
    "MAC_ADMIN",
    "SYSLOG",
    "WAKE_ALARM",
    "BLOCK_SUSPEND",
    "AUDIT_READ",
    "PERFMON",
    "BPF",
    "CHECKPOINT_RESTORE",
];

/// The set as `CAP_…` names. `ALL` acts first, single names after it, as in CRI.
///
/// Only what this process itself may have (`available`, a bit mask) is passed on: the kernel refuses the rest.
pub fn set(security: &Security, unified: bool, available: u64) -> Result<Vec<String>> {
    let names = |wanted: &dyn Fn(&&str) -> bool| {
        let had = |(bit, name): (usize, &'static &'static str)| {
            (available & (1 << bit) != 0 && wanted(name)).then(|| format!("CAP_{name}"))
        };
        Ok(ALL.iter().enumerate().filter_map(had).collect())
    };
    if security.privileged {
        return names(&|_| true);
    }
    let add: Vec<String> = security.add_capabilities.iter().map(|c| short(c)).collect();
    let drop: Vec<String> = security.drop_capabilities.iter().map(|c| short(c)).collect();
    for name in add.iter().chain(&drop) {
        if name != "ALL" && !ALL.contains(&name.as_str()) {
            return Err(Error::Container(format!(
                "failed to generate container spec: unknown capability \"CAP_{name}\""
            )));
        }
    }
    let has = |list: &[String], name: &str| list.iter().any(|c| c == name);
    let keep = |name: &&str| {
        let default = DEFAULT.contains(name) && !has(&drop, "ALL") && !without_device_filter(name, unified);
        (default || has(&add, "ALL") || has(&add, name)) && !has(&drop, name)
    };
    names(&keep)
}

/// With cgroup version 2 nothing stands between a device node and the device, so making nodes is not for everyone.
fn without_device_filter(name: &str, unified: bool) -> bool {
    unified && name == "MKNOD"
}

fn short(name: &str) -> String {
    let upper = name.to_ascii_uppercase();
    upper.strip_prefix("CAP_").map(str::to_owned).unwrap_or(upper)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_are_added_to_and_taken_from() {
        let check = |add: &[&str], drop: &[&str]| {
            let own = |list: &[&str]| list.iter().map(|s| (*s).to_owned()).collect();
            let security = Security { add_capabilities: own(add), drop_capabilities: own(drop), ..Security::default() };
            set(&security, false, u64::MAX)
        };
        assert_eq!(check(&[], &[]).unwrap().len(), DEFAULT.len());
        assert_eq!(check(&["ALL"], &[]).unwrap().len(), ALL.len());
        assert_eq!(check(&["NET_ADMIN"], &["ALL"]).unwrap(), ["CAP_NET_ADMIN"]);
        assert_eq!(check(&["ALL"], &["CAP_SYS_ADMIN"]).unwrap().len(), ALL.len() - 1);
        assert!(!check(&[], &["net_raw"]).unwrap().contains(&"CAP_NET_RAW".to_owned()));
        assert_eq!(
            set(&Security { privileged: true, ..Security::default() }, false, 0b101).unwrap(),
            ["CAP_CHOWN", "CAP_DAC_READ_SEARCH"]
        );
        assert!(check(&["NO_SUCH"], &[]).is_err());
        assert!(!set(&Security::default(), true, u64::MAX).unwrap().contains(&"CAP_MKNOD".to_owned()));
    }
}
