//! A claim grows only if its storage class lets it.

use super::{Operation, Plugin, Request, text};
use async_trait::async_trait;
use coracle_api::{Resource, Result};
use serde_json::Value;

const CLASSES: Resource = Resource::fixed("storage.k8s.io", "v1", "storageclasses", "StorageClass", false);

/// The plugin.
pub struct PersistentVolumeClaimResize;

#[async_trait]
impl Plugin for PersistentVolumeClaimResize {
    fn name(&self) -> &'static str {
        "PersistentVolumeClaimResize"
    }

    async fn validate(&self, request: &Request<'_>, claim: &Value) -> Result<()> {
        if request.operation != Operation::Update || !request.is("", "persistentvolumeclaims", "") {
            return Ok(());
        }
        let Some(old) = request.old.map(|old| old.value()) else { return Ok(()) };
        const SIZE: &str = "/spec/resources/requests/storage";
        // any change of a bound claim's size is growth: validation refuses shrinking
        if claim.pointer(SIZE) == old.pointer(SIZE) || text(&old, "/spec/volumeName").is_empty() {
            return Ok(());
        }
        let class = request.view.get(&CLASSES, "", text(claim, "/spec/storageClassName"));
        if class.is_some_and(|class| class.value()["allowVolumeExpansion"] == true) {
            return Ok(());
        }
        Err(request.forbid(claim, "only dynamically provisioned pvc can be resized and the storageclass that provisions the pvc must support resize"))
    }
}
