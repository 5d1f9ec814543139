//! A claim that names no storage class gets the default one.

use super::{Plugin, Request};
use async_trait::async_trait;
use coracle_api::{Object, Resource, Result};
use serde_json::{Value, json};
use std::{cmp::Reverse, sync::Arc};

const CLASSES: Resource = Resource::fixed("storage.k8s.io", "v1", "storageclasses", "StorageClass", false);
const MARKS: [&str; 2] =
    ["storageclass.kubernetes.io/is-default-class", "storageclass.beta.kubernetes.io/is-default-class"];

/// The plugin.
pub struct DefaultStorageClass;

#[async_trait]
impl Plugin for DefaultStorageClass {
    fn name(&self) -> &'static str {
        "DefaultStorageClass"
    }

    async fn mutate(&self, request: &Request<'_>, claim: &mut Value) -> Result<()> {
        let beta = "volume.beta.kubernetes.io/storage-class";
        let named = !claim["spec"]["storageClassName"].is_null() || !claim["metadata"]["annotations"][beta].is_null();
        if !request.creates("", "persistentvolumeclaims") || named || !claim["spec"].is_object() {
            return Ok(());
        }
        if let Some(class) = newest_marked(request.view.list(&CLASSES, ""), &MARKS) {
            claim["spec"]["storageClassName"] = json!(class.meta().name);
        }
        Ok(())
    }
}

/// Of the objects marked `"true"` the newest one, then the first by name: upstream's way out of several defaults.
pub fn newest_marked(mut objects: Vec<Arc<Object>>, marks: &[&str]) -> Option<Arc<Object>> {
    let marked = |object: &Object| marks.iter().any(|m| object.meta().annotations.get(*m).is_some_and(|v| v == "true"));
    objects.retain(|object| marked(object));
    objects.into_iter().min_by_key(|object| (Reverse(object.meta().creation_timestamp), object.meta().name.clone()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admission::testing::Case;

    #[test]
    fn the_newest_default_is_taken_where_none_is_named() {
        let case = Case::create(Resource::fixed("", "v1", "persistentvolumeclaims", "PersistentVolumeClaim", true));
        let class = |name: &str, made: &str, mark: &str| json!({"metadata": {"name": name, "creationTimestamp": made, "annotations": {MARKS[0]: mark}}});
        case.world.put(&CLASSES, class("old", "2026-01-01T00:00:00Z", "true"));
        case.world.put(&CLASSES, class("b", "2026-02-01T00:00:00Z", "true"));
        case.world.put(&CLASSES, class("a", "2026-02-01T00:00:00Z", "true"));
        case.world.put(&CLASSES, class("other", "2026-03-01T00:00:00Z", "false"));
        for (spec, expected) in [
            (json!({}), json!("a")),
            (json!({"storageClassName": "x"}), json!("x")),
            (json!({"storageClassName": ""}), json!("")),
        ] {
            let out = case.run(&DefaultStorageClass, &json!({"metadata": {"name": "c"}, "spec": spec})).unwrap();
            assert_eq!(out["spec"]["storageClassName"], expected);
        }
    }
}
