//! Claims and volumes are not removed under the pods that use them: a finalizer from birth holds them.

use super::{Plugin, Request, list_mut};
use async_trait::async_trait;
use coracle_api::Result;
use serde_json::{Value, json};

/// The plugin.
pub struct StorageObjectInUseProtection;

#[async_trait]
impl Plugin for StorageObjectInUseProtection {
    fn name(&self) -> &'static str {
        "StorageObjectInUseProtection"
    }

    async fn mutate(&self, request: &Request<'_>, object: &mut Value) -> Result<()> {
        let finalizer = if request.creates("", "persistentvolumeclaims") {
            "kubernetes.io/pvc-protection"
        } else if request.creates("", "persistentvolumes") {
            "kubernetes.io/pv-protection"
        } else {
            return Ok(());
        };
        let Some(finalizers) = list_mut(&mut object["metadata"], "finalizers") else { return Ok(()) };
        if !finalizers.iter().any(|held| held == finalizer) {
            finalizers.push(json!(finalizer));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admission::testing::Case;
    use coracle_api::Resource;

    #[test]
    fn the_finalizer_is_there_once() {
        let case = Case::create(Resource::fixed("", "v1", "persistentvolumes", "PersistentVolume", false));
        for given in [json!(null), json!(["kubernetes.io/pv-protection"])] {
            let volume = json!({"metadata": {"name": "v", "finalizers": given}});
            let out = case.run(&StorageObjectInUseProtection, &volume).unwrap();
            assert_eq!(out["metadata"]["finalizers"], json!(["kubernetes.io/pv-protection"]));
        }
    }
}
