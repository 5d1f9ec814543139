//! Which pods a selector selects, kept up to date change by change.
//!
//! Services and disruption budgets find their pods by labels. Asking the view would mean to walk a namespace for every pod that becomes
//! ready; this index answers in the size of the answer. Names only: the view says what the pods are now, and it is never behind the index.

use coracle_api::LabelSelector;
use coracle_client::{Change, Typed, View, ViewExt};
use k8s_openapi::api::core::v1::Pod;
use parking_lot::Mutex;
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// What an owner selects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selector {
    labels: LabelSelector,
    /// A label that every selected pod has; pods without it need no look at the selector.
    pair: Option<(String, String)>,
}

impl Selector {
    /// `labels`, which are known to ask for exactly `pairs` (among other things).
    pub fn new(labels: LabelSelector, pairs: Option<&BTreeMap<String, String>>) -> Self {
        let pair = pairs.and_then(|p| p.iter().next()).map(|(k, v)| (k.clone(), v.clone()));
        Self { labels, pair }
    }

    /// `labels` alone.
    pub fn of(labels: LabelSelector) -> Self {
        let pair = labels.exact().next().map(|(k, v)| (k.to_string(), v.to_string()));
        Self { labels, pair }
    }
}

/// Namespace and name.
type Name = (String, String);
type Labels = BTreeMap<String, String>;

/// The index of one kind of owners.
#[derive(Default)]
pub struct Members {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    selectors: HashMap<Name, Selector>,
    /// Owners by namespace and the pair that they ask for, if they do.
    candidates: HashMap<(String, Option<(String, String)>), BTreeSet<String>>,
    pods: HashMap<Name, BTreeSet<String>>,
    owners: HashMap<Name, BTreeSet<String>>,
}

impl Members {
    /// An owner came, changed or (`None`) went, or selects nothing any more.
    pub fn owner(&self, view: &dyn View, namespace: &str, name: &str, selector: Option<Selector>) {
        let key = (namespace.to_string(), name.to_string());
        let mut state = self.state.lock();
        if state.selectors.get(&key) == selector.as_ref() {
            return;
        }
        state.forget(&key);
        let Some(selector) = selector else { return };
        let candidates = state.candidates.entry((key.0.clone(), selector.pair.clone())).or_default();
        candidates.insert(key.1.clone());
        for pod in view.list(&coracle_api::Resource::of::<Pod>(), namespace) {
            if selector.labels.matches(&pod.meta().labels) {
                state.pods.entry(key.clone()).or_default().insert(pod.meta().name.clone());
                let owners = state.owners.entry((key.0.clone(), pod.meta().name.clone())).or_default();
                owners.insert(key.1.clone());
            }
        }
        state.selectors.insert(key, selector);
    }

    /// A pod came, changed or went: the names of the owners that it had or has now.
    pub fn pod(&self, change: &Change) -> Vec<String> {
        let meta = change.object().meta();
        let key = (meta.namespace.clone(), meta.name.clone());
        let mut state = self.state.lock();
        if state.selectors.is_empty() {
            return Vec::new();
        }
        let now = match &change.new {
            Some(pod) => state.selecting(&key.0, &pod.meta().labels),
            None => BTreeSet::new(),
        };
        let before = state.owners.remove(&key).unwrap_or_default();
        for left in before.difference(&now) {
            if let Some(pods) = state.pods.get_mut(&(key.0.clone(), left.clone())) {
                pods.remove(&key.1);
            }
        }
        for joined in now.difference(&before) {
            state.pods.entry((key.0.clone(), joined.clone())).or_default().insert(key.1.clone());
        }
        let all = before.union(&now).cloned().collect();
        if !now.is_empty() {
            state.owners.insert(key, now);
        }
        all
    }

    /// The pods that an owner selects, in order of their names.
    pub fn pods(&self, view: &dyn View, namespace: &str, name: &str) -> Vec<Typed<Pod>> {
        let key = (namespace.to_string(), name.to_string());
        let (names, selector) = {
            let state = self.state.lock();
            let names: Vec<String> = state.pods.get(&key).into_iter().flatten().cloned().collect();
            (names, state.selectors.get(&key).cloned())
        };
        let Some(selector) = selector else { return Vec::new() };
        let found = names.iter().filter_map(|pod| view.typed::<Pod>(namespace, pod));
        // the view may be ahead of the index
        found.filter(|pod| selector.labels.matches(&pod.meta().labels)).collect()
    }

    /// Who selects a pod.
    pub fn owners(&self, namespace: &str, pod: &str) -> Vec<String> {
        let state = self.state.lock();
        state.owners.get(&(namespace.to_string(), pod.to_string())).into_iter().flatten().cloned().collect()
    }
}

impl State {
    fn forget(&mut self, key: &Name) {
        let Some(selector) = self.selectors.remove(key) else { return };
        let bucket = (key.0.clone(), selector.pair);
        if let Some(candidates) = self.candidates.get_mut(&bucket) {
            candidates.remove(&key.1);
            if candidates.is_empty() {
                self.candidates.remove(&bucket);
            }
        }
        for pod in self.pods.remove(key).unwrap_or_default() {
            let pod = (key.0.clone(), pod);
            if let Some(owners) = self.owners.get_mut(&pod) {
                owners.remove(&key.1);
                if owners.is_empty() {
                    self.owners.remove(&pod);
                }
            }
        }
    }

    fn selecting(&self, namespace: &str, labels: &Labels) -> BTreeSet<String> {
        let pairs = labels.iter().map(|(k, v)| Some((k.clone(), v.clone()))).chain([None]);
        let buckets = pairs.filter_map(|pair| self.candidates.get(&(namespace.to_string(), pair)));
        let matching = buckets.flatten().filter(|name| {
            let selector = self.selectors.get(&(namespace.to_string(), (*name).clone()));
            selector.is_some_and(|s| s.labels.matches(labels))
        });
        matching.cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use coracle_api::{Object, Resource};
    use coracle_client::memory::Memory;
    use serde_json::json;
    use std::sync::Arc;

    fn pod(name: &str, app: &str) -> Arc<Object> {
        let value = json!({"apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": name, "namespace": "ns", "uid": name, "labels": {"app": app}}});
        Arc::new(Object::from_value(&value).unwrap())
    }

    #[test]
    fn the_index_follows_owners_and_pods() {
        let (world, members) = (Memory::new(), Members::default());
        let resource = Resource::of::<Pod>();
        let change = |old: Option<&str>, new: Option<&str>| {
            if let Some(app) = new {
                world.put(&resource, pod("p", app).value());
            }
            let (old, new) = (old.map(|app| pod("p", app)), new.map(|app| pod("p", app)));
            members.pod(&Change { resource: Arc::new(resource.clone()), old, new }).join(" ")
        };
        let owner = |name: &str, text: Option<&str>| {
            let selector = text.map(|text| {
                let pair = text.split_once('=').map(|(k, v)| BTreeMap::from([(k.to_string(), v.to_string())]));
                Selector::new(LabelSelector::parse(text).unwrap(), pair.as_ref())
            });
            members.owner(world.as_ref(), "ns", name, selector);
        };
        let pods = |name: &str| members.pods(world.as_ref(), "ns", name).len();
        owner("a", Some("app=a"));
        owner("any", Some("app"));
        assert_eq!(change(None, Some("a")), "a any");
        assert_eq!((pods("a"), pods("any")), (1, 1));
        assert_eq!(change(Some("a"), Some("b")), "a any", "the one that it left is told too");
        assert_eq!((pods("a"), pods("any")), (0, 1));
        owner("b", Some("app=b"));
        assert_eq!(
            (pods("b"), members.owners("ns", "p").join(" ")),
            (1, "any b".into()),
            "an owner finds what is there"
        );
        owner("b", Some("app=c"));
        assert_eq!(pods("b"), 0);
        owner("any", None);
        assert_eq!(change(Some("b"), None), "");
    }
}
