//! Volumes of pods: one file a kind, one list.
//!
//! A volume's data live below `<data>/pods/<uid>/volumes/<kind>/<name>`, or where a hostPath or a PersistentVolume says.

mod atomic;
mod claim;
mod config_map;
mod content;
mod downward;
mod empty_dir;
mod host_path;
pub mod local_path;
mod projected;
mod secret;
mod sub_path;
pub mod teardown;

pub use sub_path::sub_path;

use crate::{context::Node, spec, spec::fieldref::Addresses};
use async_trait::async_trait;
use k8s_openapi::api::core::v1::{Pod, Volume};
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

/// A volume to be made ready.
pub struct Request<'a> {
    /// The node.
    pub node: &'a Node,
    /// The pod.
    pub pod: &'a Pod,
    /// What the downward API shows.
    pub addresses: &'a Addresses,
    /// The volume.
    pub volume: &'a Volume,
    /// A directory for its data.
    pub dir: PathBuf,
}

/// A volume that is ready.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ready {
    /// Where it is on the node.
    pub path: PathBuf,
    /// Whether the volume itself refuses writes.
    pub read_only: bool,
}

impl Ready {
    fn writable(path: PathBuf) -> Self {
        Self { path, read_only: false }
    }
}

/// What the pod's `fsGroup` may do with a volume.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Group {
    /// Nothing: the volume is not the pod's own.
    None,
    /// Read it: its content is the node's to write.
    Reads,
    /// Read and write it.
    Writes,
}

/// A kind of volume.
#[async_trait]
pub trait Kind: Send + Sync {
    /// Its directory name, as upstream's plugin is called.
    fn plugin(&self) -> &'static str;
    /// Whether a volume is of this kind.
    fn is(&self, volume: &Volume) -> bool;
    /// Makes it ready; repeated, brings its content up to date.
    async fn set_up(&self, request: &Request<'_>) -> Result<Ready, String>;
    /// Whether its content follows the API while the pod runs.
    fn follows(&self) -> bool {
        false
    }
    /// What `fsGroup` may do with it.
    fn group(&self) -> Group {
        Group::None
    }
}

/// All kinds.
static KINDS: &[&dyn Kind] = &[
    &empty_dir::EmptyDir,
    &host_path::HostPath,
    &config_map::ConfigMapVolume,
    &secret::SecretVolume,
    &downward::Downward,
    &projected::Projected,
    &claim::Claim,
];

/// Volumes of a pod by name.
pub type Volumes = BTreeMap<String, Ready>;

/// The directory of everything about one pod.
pub fn pod_dir(data: &Path, uid: &str) -> PathBuf {
    data.join("pods").join(uid)
}

/// Makes all volumes of a pod ready, or says why one is not.
///
/// # Errors
/// In upstream's words, for a `FailedMount` event.
pub async fn set_up(node: &Node, pod: &Pod, addresses: &Addresses) -> Result<Volumes, String> {
    let mut ready = Volumes::new();
    for volume in spec::of(pod).volumes.iter().flatten() {
        let done = one(node, pod, addresses, volume).await;
        let done = done.map_err(|e| format!("MountVolume.SetUp failed for volume \"{}\" : {e}", volume.name))?;
        ready.insert(volume.name.clone(), done);
    }
    Ok(ready)
}

/// Brings the volumes that follow the API up to date.
pub async fn refresh(node: &Node, pod: &Pod, addresses: &Addresses) {
    for volume in spec::of(pod).volumes.iter().flatten() {
        if !KINDS.iter().any(|k| k.is(volume) && k.follows()) {
            continue;
        }
        if let Err(error) = one(node, pod, addresses, volume).await {
            tracing::debug!(pod = spec::name(pod), volume = volume.name, error, "volume not refreshed");
        }
    }
}

async fn one(node: &Node, pod: &Pod, addresses: &Addresses, volume: &Volume) -> Result<Ready, String> {
    let kind = KINDS.iter().find(|k| k.is(volume)).ok_or("no volume plugin matched")?;
    let dir = pod_dir(&node.config.data_dir, spec::uid(pod)).join("volumes").join(kind.plugin()).join(&volume.name);
    let ready = kind.set_up(&Request { node, pod, addresses, volume, dir }).await?;
    let number = spec::of(pod).security_context.as_ref().and_then(|s| s.fs_group);
    if let (Group::Reads | Group::Writes, Some(number)) = (kind.group(), number) {
        let (path, group) = (ready.path.clone(), kind.group());
        let owned = tokio::task::spawn_blocking(move || content::give_to_group(&path, number, group)).await;
        owned.map_err(|e| e.to_string())?.map_err(|e| format!("applying fsGroup: {e}"))?;
    }
    Ok(ready)
}
