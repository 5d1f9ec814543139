//! `secret`: keys of a Secret as files, in memory.

use super::{
    Group, Kind, Ready, Request, atomic,
    content::{self, Files},
    teardown,
};
use crate::{context::Node, spec};
use async_trait::async_trait;
use k8s_openapi::api::core::v1::{KeyToPath, Pod, Volume};
use nix::mount::{MsFlags, mount};
use std::{collections::BTreeMap, path::Path};

pub(super) struct SecretVolume;

#[async_trait]
impl Kind for SecretVolume {
    fn plugin(&self) -> &'static str {
        "kubernetes.io~secret"
    }

    fn is(&self, volume: &Volume) -> bool {
        volume.secret.is_some()
    }

    fn follows(&self) -> bool {
        true
    }

    fn group(&self) -> Group {
        Group::Reads
    }

    async fn set_up(&self, request: &Request<'_>) -> Result<Ready, String> {
        let source = request.volume.secret.as_ref().ok_or("no Secret")?;
        let mode = content::mode(source.default_mode);
        let optional = source.optional == Some(true);
        let name = source.secret_name.as_deref().unwrap_or_default();
        let files = files(request.node, request.pod, name, source.items.as_ref(), mode, optional).await?;
        in_memory(&request.dir)?;
        atomic::write(&request.dir, &files).map_err(|e| e.to_string())?;
        Ok(Ready { path: request.dir.clone(), read_only: true })
    }
}

/// Secrets never touch a disk.
pub(super) fn in_memory(dir: &Path) -> Result<(), String> {
    std::fs::create_dir_all(dir).map_err(|e| e.to_string())?;
    if teardown::is_mount(dir) {
        return Ok(());
    }
    mount(Some("tmpfs"), dir, Some("tmpfs"), MsFlags::empty(), Some("mode=0755,size=16m"))
        .map_err(|e| format!("mounting tmpfs: {e}"))
}

/// The files that a Secret gives.
pub(super) async fn files(
    node: &Node,
    pod: &Pod,
    name: &str,
    items: Option<&Vec<KeyToPath>>,
    mode: u32,
    optional: bool,
) -> Result<Files, String> {
    let Some(secret) = node.references.secret(spec::namespace(pod), name).await? else {
        return if optional { Ok(Files::new()) } else { Err(format!("secret \"{name}\" not found")) };
    };
    let data: BTreeMap<String, Vec<u8>> = secret.data.iter().flatten().map(|(k, v)| (k.clone(), v.0.clone())).collect();
    content::select("secret", &data, items, mode, optional)
}
