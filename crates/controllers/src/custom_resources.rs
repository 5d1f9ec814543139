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

#[cfg(test)]
mod tests {
    use super::*;
    use coracle_api::Object;
    use serde_json::{Value, json};

    fn change(established: bool, versions: Value) -> Change {
        let definition = json!({
            "metadata": {"name": "foos.example.com"},
            "spec": {"group": "example.com", "scope": "Namespaced", "versions": versions},
            "status": {
                "acceptedNames": {"plural": "foos", "kind": "Foo"},
                "conditions": [{"type": "Established", "status": if established { "True" } else { "False" }}],
            },
        });
        let new = Some(Arc::new(Object::from_value(&definition).unwrap()));
        Change { resource: Arc::new(CustomResources::DEFINITIONS), old: None, new }
    }

    #[test]
    fn resources_are_learned_from_definitions() {
        let (one, two) =
            (json!({"name": "v1", "served": true, "storage": true}), json!({"name": "v2", "served": true}));
        let mut known = CustomResources::default();
        let mut learn = |change: Change| known.learn(&change).map(|r| r.api_version().to_string());
        assert_eq!(learn(change(false, json!([one]))), None, "not before it is established");
        assert_eq!(learn(change(true, json!([one]))).as_deref(), Some("example.com/v1"));
        assert_eq!(learn(change(true, json!([one, two]))), None, "the same resource is followed once");
        assert_eq!(learn(change(true, json!([two]))).as_deref(), Some("example.com/v2"));
        let gone = Change { new: None, old: change(true, json!([two])).new, ..change(true, json!([])) };
        assert_eq!(learn(gone), None);
        assert_eq!(
            known.iter().count(),
            1,
            "what refers to a resource that is gone refers to nothing, which has to be known"
        );
    }
}
