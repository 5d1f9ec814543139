//! What the machine is and has, as a node reports it.

use crate::{
    AgentConfig,
    eviction::{self, Pressure, Signal, Thresholds},
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use serde_json::{Value, json};
use std::{collections::BTreeMap, fs, path::PathBuf};

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
    images_dir: PathBuf,
    thresholds: Thresholds,
}

impl Machine {
    /// Measures.
    pub fn measure(config: &AgentConfig) -> Self {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default().trim().to_string();
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
        Self {
            cpus,
            memory: eviction::memory().total,
            storage: eviction::bytes(&config.data_dir).total,
            pods: config.max_pods,
            info,
            data_dir: config.data_dir.clone(),
            images_dir: config.images_dir.clone(),
            thresholds: config.eviction_hard.clone(),
        }
    }

    /// What the node has.
    pub fn capacity(&self) -> Value {
        json!({
            "cpu": self.cpus.to_string(), "memory": format!("{}Ki", self.memory >> 10),
            "ephemeral-storage": format!("{}Ki", self.storage >> 10), "pods": self.pods.to_string(),
            "hugepages-1Gi": "0", "hugepages-2Mi": "0",
        })
    }

    /// What pods may have of it: all but what the eviction thresholds keep free.
    pub fn allocatable(&self) -> BTreeMap<String, Quantity> {
        let quantity = |text: String| Quantity(text);
        let rest = |signal, total: u64| total.saturating_sub(self.thresholds.kept(signal, total));
        let (memory, storage) = (rest(Signal::Memory, self.memory), rest(Signal::NodeBytes, self.storage));
        BTreeMap::from([
            ("cpu".into(), quantity(self.cpus.to_string())),
            ("memory".into(), quantity(format!("{}Ki", memory >> 10))),
            ("ephemeral-storage".into(), quantity(storage.to_string())),
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

    /// What the node is short of now.
    pub fn pressure(&self) -> Pressure {
        let (data, images) = (self.data_dir.clone(), self.images_dir.clone());
        self.thresholds.pressure(&move |signal| eviction::measure(signal, &data, &images))
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
