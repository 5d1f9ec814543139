//! The nodes and what they have left, kept current change by change.

use coracle_client::Typed;
use coracle_kinds::placement::{self, Amounts};
use k8s_openapi::api::core::v1::{Node, Pod};
use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

/// A node as a filter sees it.
#[derive(Clone)]
pub struct NodeInfo {
    /// The node.
    pub node: Arc<Node>,
    /// What it can give.
    pub allocatable: Amounts,
    /// What its pods ask for.
    pub requested: Amounts,
    /// Its pods, by uid.
    pub pods: HashMap<String, Arc<Pod>>,
}

impl NodeInfo {
    fn new(node: Arc<Node>) -> Self {
        let allocatable = allocatable(&node);
        Self { node, allocatable, requested: Amounts::default(), pods: HashMap::new() }
    }

    /// The node's name.
    pub fn name(&self) -> &str {
        self.node.metadata.name.as_deref().unwrap_or_default()
    }

    /// As if a pod were there.
    pub(crate) fn add(&mut self, uid: &str, pod: Arc<Pod>) {
        self.remove(uid);
        if let Some(spec) = &pod.spec {
            self.requested.add(&placement::requests(spec));
        }
        self.pods.insert(uid.to_string(), pod);
    }

    /// As if a pod were not there.
    pub(crate) fn remove(&mut self, uid: &str) {
        if let Some(pod) = self.pods.remove(uid)
            && let Some(spec) = &pod.spec
        {
            self.requested.subtract(&placement::requests(spec));
        }
    }
}

fn allocatable(node: &Node) -> Amounts {
    Amounts::of(node.status.as_ref().and_then(|s| s.allocatable.as_ref()))
}

/// Whether a pod has wishes about its neighbours.
pub(crate) fn has_wishes(pod: &Pod) -> bool {
    let affinity = pod.spec.as_ref().and_then(|s| s.affinity.as_ref());
    affinity.is_some_and(|a| a.pod_affinity.is_some() || a.pod_anti_affinity.is_some())
}

/// All nodes.
#[derive(Clone, Default)]
pub struct Cache {
    nodes: BTreeMap<String, Arc<NodeInfo>>,
    /// Pod uid to node name; also for pods that were given a node a moment ago.
    places: HashMap<String, String>,
    /// Pods on nodes that are not known (yet).
    homeless: HashMap<String, Arc<Pod>>,
    /// Pods with wishes about their neighbours, so that only these are asked when another pod wants to come.
    particular: HashMap<String, Arc<Pod>>,
}

impl Cache {
    /// The nodes, by name.
    pub fn nodes(&self) -> impl Iterator<Item = &Arc<NodeInfo>> {
        self.nodes.values()
    }

    /// One node.
    pub fn node(&self, name: &str) -> Option<&NodeInfo> {
        self.nodes.get(name).map(|node| &**node)
    }

    /// The pods with wishes about their neighbours, and the nodes they are on.
    pub fn particular(&self) -> impl Iterator<Item = (&NodeInfo, &Pod)> {
        self.particular.iter().filter_map(|(uid, pod)| Some((&**self.nodes.get(self.places.get(uid)?)?, &**pod)))
    }

    /// How many nodes there are.
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// A node appeared or changed.
    pub fn put_node(&mut self, node: &Typed<Node>) {
        let name = node.name().to_string();
        if let Some(known) = self.nodes.get_mut(&name) {
            let known = Arc::make_mut(known);
            known.allocatable = allocatable(&node.view);
            known.node = node.view.clone();
            return;
        }
        let mut info = NodeInfo::new(node.view.clone());
        let places = &self.places;
        self.homeless.retain(|uid, pod| {
            let here = places.get(uid) == Some(&name);
            if here {
                info.add(uid, pod.clone());
            }
            !here
        });
        self.nodes.insert(name, Arc::new(info));
    }

    /// A node is gone.
    pub fn remove_node(&mut self, name: &str) {
        if let Some(info) = self.nodes.remove(name) {
            self.homeless.extend(info.pods.iter().map(|(uid, pod)| (uid.clone(), pod.clone())));
        }
    }

    /// A pod has a node: it appeared there, changed, or was given it just now.
    pub fn put_pod(&mut self, uid: &str, node: &str, pod: Arc<Pod>) {
        if self.places.get(uid).is_some_and(|known| known != node) {
            self.remove_pod(uid);
        }
        self.places.insert(uid.to_string(), node.to_string());
        if has_wishes(&pod) {
            self.particular.insert(uid.to_string(), pod.clone());
        }
        match self.nodes.get_mut(node) {
            Some(info) => Arc::make_mut(info).add(uid, pod),
            None => {
                self.homeless.insert(uid.to_string(), pod);
            }
        }
    }

    /// A pod takes no room any more.
    pub fn remove_pod(&mut self, uid: &str) {
        let Some(node) = self.places.remove(uid) else { return };
        self.homeless.remove(uid);
        self.particular.remove(uid);
        if let Some(info) = self.nodes.get_mut(&node) {
            Arc::make_mut(info).remove(uid);
        }
    }
}
