//! What the machine is and has, as a node reports it.

use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use serde_json::{Value, json};
use std::{collections::BTreeMap, fs, path::PathBuf};

/// Memory that is kept back from pods: upstream's hard eviction threshold.
const KEPT_MEMORY: u64 = 100 << 20;

/// What was measured at the start.
#[derive(Clone, Debug, Default)]
pub struct Machine {
    /// Processors.
    pub cpus: u64,
    /// Bytes of memory.
    pub memory: u64,
    /// Bytes of the file system that holds the data directory.
    pub storage: u64,
    /// Pods at most.
    pub pods: u32,
    /// `nodeInfo` without what the runtime says.
    info: BTreeMap<&'static str, String>,
    data_dir: PathBuf,
}

impl Machine {
    /// Measures.
    pub fn measure(data_dir: &std::path::Path, pods: u32) -> Self {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default().trim().to_string();
        let meminfo = read("/proc/meminfo");
        let os = read("/etc/os-release");
        let pretty = os.lines().find_map(|l| l.strip_prefix("PRETTY_NAME=")).unwrap_or("Linux").trim_matches('"');
        let info = BTreeMap::from([
            ("machineID", read("/etc/machine-id")),
            ("systemUUID", read("/sys/class/dmi/id/product_uuid")),
            ("bootID", read("/proc/sys/kernel/random/boot_id")),
            ("kernelVersion", read("/proc/sys/kernel/osrelease")),
            ("osImage", pretty.to_string()),
            ("operatingSystem", "linux".to_string()),
            ("architecture", arch().to_string()),
        ]);
        let cpus = std::thread::available_parallelism().map_or(1, |n| n.get() as u64);
        let (storage, _) = disk(data_dir);
        Self { cpus, memory: meminfo_bytes(&meminfo, "MemTotal"), storage, pods, info, data_dir: data_dir.into() }
    }

    /// What the node has.
    pub fn capacity(&self) -> Value {
        json!({
            "cpu": self.cpus.to_string(), "memory": format!("{}Ki", self.memory >> 10),
            "ephemeral-storage": format!("{}Ki", self.storage >> 10), "pods": self.pods.to_string(),
            "hugepages-1Gi": "0", "hugepages-2Mi": "0",
        })
    }

    /// What pods may have of it.
    pub fn allocatable(&self) -> BTreeMap<String, Quantity> {
        let quantity = |text: String| Quantity(text);
        BTreeMap::from([
            ("cpu".into(), quantity(self.cpus.to_string())),
            ("memory".into(), quantity(format!("{}Ki", self.memory.saturating_sub(KEPT_MEMORY) >> 10))),
            ("ephemeral-storage".into(), quantity((self.storage / 10 * 9).to_string())),
            ("pods".into(), quantity(self.pods.to_string())),
            ("hugepages-1Gi".into(), quantity("0".into())),
            ("hugepages-2Mi".into(), quantity("0".into())),
        ])
    }

    /// `status.nodeInfo`.
    pub fn info(&self, runtime: &str) -> Value {
        let mut info = json!(self.info);
        info["containerRuntimeVersion"] = json!(runtime);
        info["kubeletVersion"] = json!(version());
        info["kubeProxyVersion"] = json!("");
        info
    }

    /// Bytes of memory that are free or can be freed.
    pub fn memory_available(&self) -> u64 {
        meminfo_bytes(&fs::read_to_string("/proc/meminfo").unwrap_or_default(), "MemAvailable")
    }

    /// Whether the disk is nearly full: less than a tenth is left (upstream's `nodefs.available<10%`).
    pub fn disk_pressure(&self) -> bool {
        let (total, free) = disk(&self.data_dir);
        total > 0 && free < total / 10
    }

    /// Whether memory is nearly exhausted.
    pub fn memory_pressure(&self) -> bool {
        let free = self.memory_available();
        free > 0 && free < KEPT_MEMORY
    }
}

/// The version that the node reports.
pub fn version() -> String {
    format!("v1.37.0+coracle-{}", env!("CARGO_PKG_VERSION"))
}

/// Architecture as images name it.
pub fn arch() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

fn meminfo_bytes(text: &str, field: &str) -> u64 {
    let line = text.lines().find_map(|l| l.strip_prefix(field)?.strip_prefix(':'));
    line.and_then(|l| l.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or(0) << 10
}

/// Size and free bytes of the file system under `path`.
fn disk(path: &std::path::Path) -> (u64, u64) {
    let found = nix::sys::statvfs::statvfs(path);
    found.map_or((0, 0), |s| (s.blocks() * s.fragment_size(), s.blocks_available() * s.fragment_size()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn meminfo_is_read() {
        let text = "MemTotal:       24 kB\nMemAvailable:    1024 kB\n";
        for (field, expected) in [("MemTotal", 24 << 10), ("MemAvailable", 1 << 20), ("Nothing", 0)] {
            assert_eq!(meminfo_bytes(text, field), expected);
        }
    }
}
