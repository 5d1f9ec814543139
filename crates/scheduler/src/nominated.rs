//! Pods for which room was made on a node and that are not there yet. For pods that matter no more than they do, they count as if they were.
//!
//! Source: `pkg/scheduler/backend/queue/nominator.go`.

use k8s_openapi::api::core::v1::Pod;
use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

/// How much a pod matters.
pub fn priority(pod: &Pod) -> i32 {
    pod.spec.as_ref().and_then(|s| s.priority).unwrap_or(0)
}

/// The node that a pod's status names.
pub fn node_in_status(pod: &Pod) -> Option<&str> {
    pod.status.as_ref()?.nominated_node_name.as_deref().filter(|name| !name.is_empty())
}

/// Who is nominated where.
#[derive(Clone, Default)]
pub struct Nominated {
    /// Per node, by uid.
    pods: HashMap<String, BTreeMap<String, Arc<Pod>>>,
    /// By uid.
    nodes: HashMap<String, String>,
}

impl Nominated {
    /// The node on which a pod is nominated.
    pub fn node_of(&self, uid: &str) -> Option<&str> {
        self.nodes.get(uid).map(String::as_str)
    }

    /// A pod is nominated on a node; no longer on another.
    pub fn put(&mut self, uid: &str, node: &str, pod: Arc<Pod>) {
        self.remove(uid);
        self.nodes.insert(uid.to_string(), node.to_string());
        self.pods.entry(node.to_string()).or_default().insert(uid.to_string(), pod);
    }

    /// A pod is nominated no longer. Says where it was.
    pub fn remove(&mut self, uid: &str) -> Option<String> {
        let node = self.nodes.remove(uid)?;
        if let Some(here) = self.pods.get_mut(&node) {
            here.remove(uid);
            if here.is_empty() {
                self.pods.remove(&node);
            }
        }
        Some(node)
    }

    /// A pod without a node appeared or changed, from `before`. What its status says holds; but a nomination that has not been written yet
    /// is not undone by a change of something else. Says whether a nomination ended.
    pub fn follow(&mut self, before: Option<&Pod>, uid: &str, pod: &Arc<Pod>) -> bool {
        let known = self.node_of(uid).map(str::to_string);
        match (node_in_status(pod), before.and_then(node_in_status)) {
            (Some(node), _) => self.put(uid, node, pod.clone()),
            (None, Some(_)) => return self.remove(uid).is_some(),
            (None, None) => {
                if let Some(node) = &known {
                    self.put(uid, node, pod.clone());
                }
            }
        }
        known.is_some_and(|old| self.node_of(uid) != Some(&*old))
    }

    /// The pods nominated on `node` that `pod` has to reckon with: those that matter as much or more.
    pub fn ahead_of<'a>(&'a self, pod: &Pod, node: &str) -> impl Iterator<Item = (&'a str, &'a Arc<Pod>)> + use<'a> {
        let (own, least) = (pod.metadata.uid.clone(), priority(pod));
        let all = self.pods.get(node).into_iter().flatten();
        all.filter(move |(uid, other)| own.as_ref() != Some(uid) && priority(other) >= least)
            .map(|(uid, other)| (uid.as_str(), other))
    }

    /// The pods nominated on `node` that matter less than `pod`.
    pub fn behind(&self, pod: &Pod, node: &str) -> Vec<Arc<Pod>> {
        let all = self.pods.get(node).into_iter().flatten();
        all.map(|(_, other)| other).filter(|other| priority(other) < priority(pod)).cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{from_value, json};

    fn pod(nominated: Option<&str>) -> Arc<Pod> {
        Arc::new(from_value(json!({"metadata": {"uid": "u"}, "status": {"nominatedNodeName": nominated}})).unwrap())
    }

    /// `known`: where the pod counts as nominated; then its status changes.
    fn check(known: Option<&str>, before: Option<&str>, after: Option<&str>, expected: (Option<&str>, bool)) {
        let mut nominated = Nominated::default();
        if let Some(node) = known {
            nominated.put("u", node, pod(None));
        }
        let ended = nominated.follow(Some(&*pod(before)), "u", &pod(after));
        assert_eq!((nominated.node_of("u"), ended), expected, "{known:?}: {before:?} -> {after:?}");
        assert_eq!(nominated.pods.values().map(BTreeMap::len).sum::<usize>(), nominated.nodes.len());
    }

    #[test]
    fn the_status_holds_but_what_is_not_written_yet_is_kept() {
        check(None, None, None, (None, false));
        check(None, None, Some("a"), (Some("a"), false));
        check(Some("a"), None, None, (Some("a"), false));
        check(Some("a"), None, Some("a"), (Some("a"), false));
        check(Some("a"), Some("a"), Some("b"), (Some("b"), true));
        check(Some("a"), Some("a"), None, (None, true));
    }
}
