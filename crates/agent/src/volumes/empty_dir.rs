//! `emptyDir`: a directory, or a tmpfs, that lives as long as the pod.

use super::{Group, Kind, Ready, Request};
use crate::spec::quantity;
use async_trait::async_trait;
use k8s_openapi::api::core::v1::Volume;
use nix::mount::{MsFlags, mount};
use std::os::unix::fs::PermissionsExt;

pub(super) struct EmptyDir;

#[async_trait]
impl Kind for EmptyDir {
    fn plugin(&self) -> &'static str {
        "kubernetes.io~empty-dir"
    }

    fn is(&self, volume: &Volume) -> bool {
        volume.empty_dir.is_some()
    }

    fn group(&self) -> Group {
        Group::Writes
    }

    async fn set_up(&self, request: &Request<'_>) -> Result<Ready, String> {
        let dir = &request.dir;
        let fresh = !dir.exists();
        std::fs::create_dir_all(dir).map_err(|e| e.to_string())?;
        let source = request.volume.empty_dir.as_ref();
        if source.and_then(|s| s.medium.as_deref()) == Some("Memory") && !super::teardown::is_mount(dir) {
            let mut options = "mode=0777".to_string();
            if let Some(limit) = source.and_then(|s| s.size_limit.as_ref()).map(quantity::value).filter(|l| *l > 0) {
                options.push_str(&format!(",size={limit}"));
            }
            mount(Some("tmpfs"), dir, Some("tmpfs"), MsFlags::empty(), Some(options.as_str()))
                .map_err(|e| format!("mounting tmpfs: {e}"))?;
        } else if fresh {
            let open = std::fs::Permissions::from_mode(0o777);
            std::fs::set_permissions(dir, open).map_err(|e| e.to_string())?;
        }
        Ok(Ready::writable(dir.clone()))
    }
}
