//! The custom resources that there are, as their definitions say.

use coracle_api::Resource;
use coracle_client::Change;
use coracle_kinds::custom;
use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

/// Custom resources by group and plural. Those whose definition is gone stay: whoever refers to their objects refers to nothing.
#[derive(Debug, Default)]
pub struct CustomResources {
    known: HashMap<(String, String), Arc<Resource>>,
    /// Whatever was known once, in whatever version.
    seen: HashSet<Arc<Resource>>,
}

impl CustomResources {
    /// CustomResourceDefinitions.
    pub const DEFINITIONS: Resource =
        Resource::fixed("apiextensions.k8s.io", "v1", "customresourcedefinitions", "CustomResourceDefinition", false);

    /// Takes note of a changed definition; the resource if it is seen for the first time. Other changes mean nothing.
    pub fn learn(&mut self, change: &Change) -> Option<Arc<Resource>> {
        if *change.resource != Self::DEFINITIONS {
            return None;
        }
        let resource = Arc::new(custom::resource(&change.new.as_ref()?.value())?);
        self.known.insert((resource.group.to_string(), resource.plural.to_string()), resource.clone());
        self.seen.insert(resource.clone()).then_some(resource)
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Resource>> {
        self.known.values()
    }
}
