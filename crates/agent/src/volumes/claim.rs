//! `persistentVolumeClaim` and generic `ephemeral` volumes: the directory of the bound PersistentVolume.

use super::{Group, Kind, Ready, Request, host_path, local_path};
use crate::spec;
use async_trait::async_trait;
use coracle_api::Resource;
use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim, Volume};
use std::path::Path;

pub(super) struct Claim;

#[async_trait]
impl Kind for Claim {
    fn plugin(&self) -> &'static str {
        "kubernetes.io~local-volume"
    }

    fn is(&self, volume: &Volume) -> bool {
        volume.persistent_volume_claim.is_some() || volume.ephemeral.is_some()
    }

    fn group(&self) -> Group {
        Group::Writes
    }

    async fn set_up(&self, request: &Request<'_>) -> Result<Ready, String> {
        let namespace = spec::namespace(request.pod);
        let (name, read_only) = match &request.volume.persistent_volume_claim {
            Some(source) => (source.claim_name.clone(), source.read_only == Some(true)),
            None => (format!("{}-{}", spec::name(request.pod), request.volume.name), false),
        };
        let client = &request.node.client;
        let claim = client
            .get(&Resource::of::<PersistentVolumeClaim>(), namespace, &name)
            .await
            .map_err(|e| format!("error processing PVC {namespace}/{name}: {e}"))?;
        let bound = claim.view::<PersistentVolumeClaim>().map_err(|e| e.to_string())?;
        let volume_name = bound.spec.as_ref().and_then(|s| s.volume_name.as_deref()).filter(|n| !n.is_empty());
        let is_bound = bound.status.as_ref().and_then(|s| s.phase.as_deref()) == Some("Bound");
        let Some(volume_name) = volume_name.filter(|_| is_bound) else {
            return Err(format!("error processing PVC {namespace}/{name}: PVC is not bound"));
        };
        let volume = client
            .get(&Resource::of::<PersistentVolume>(), "", volume_name)
            .await
            .map_err(|e| format!("failed to fetch PV {volume_name:?} from API server: {e}"))?;
        let volume = volume.view::<PersistentVolume>().map_err(|e| e.to_string())?;
        let path = locate(&volume, &claim.meta().uid, &local_path::root(&request.node.config.data_dir))?;
        Ok(Ready { path: path.into(), read_only })
    }
}

/// The directory of a volume, made if it is the first time.
fn locate(volume: &PersistentVolume, claim_uid: &str, root: &Path) -> Result<String, String> {
    let name = volume.metadata.name.as_deref().unwrap_or_default();
    let spec = volume.spec.as_ref().ok_or("the PersistentVolume has no spec")?;
    if spec.claim_ref.as_ref().and_then(|r| r.uid.as_deref()).is_some_and(|uid| uid != claim_uid) {
        return Err(format!("failed to get PVC: volume {name:?} is bound to another claim"));
    }
    let path = match (&spec.host_path, &spec.local) {
        (Some(host), _) => {
            let path = Path::new(&host.path);
            match host.type_.as_deref().unwrap_or_default() {
                "" | "DirectoryOrCreate" if !path.exists() => host_path::make_dir(path, 0o777)?,
                kind => host_path::check(path, kind)?,
            }
            host.path.clone()
        }
        (None, Some(local)) => {
            let path = Path::new(&local.path);
            if !path.exists() {
                // the provisioner only names a place below the root; any other place is somebody else's to make
                if path.parent() != Some(root) {
                    return Err(format!("path \"{}\" does not exist", local.path));
                }
                host_path::make_dir(path, 0o777)?;
            }
            local.path.clone()
        }
        (None, None) => return Err(format!("no volume plugin matched for PersistentVolume {name:?}")),
    };
    Ok(path)
}
