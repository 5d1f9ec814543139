//! Inter-pod affinity: which pods a pod wants in its neighbourhood (a domain of a topology key), and which it does not.

use super::{Filter, Rejection, Score, World};
use crate::cache::NodeInfo;
use coracle_api::LabelSelector;
use coracle_client::ViewExt;
use k8s_openapi::api::core::v1::{Namespace, Pod, PodAffinityTerm, WeightedPodAffinityTerm};
use std::collections::BTreeMap;

/// `spec.affinity.podAffinity` and `podAntiAffinity`, of the pod and of those that are there already.
pub struct InterPodAffinity;

type Labels = BTreeMap<String, String>;
static NO_LABELS: Labels = Labels::new();

/// A required affinity of a pod that is there counts this much for a pod it wants beside it.
const HARD_WEIGHT: i64 = 1;

fn labels(pod: &Pod) -> &Labels {
    pod.metadata.labels.as_ref().unwrap_or(&NO_LABELS)
}

fn domain<'a>(node: &'a NodeInfo, key: &str) -> Option<&'a String> {
    node.node.metadata.labels.as_ref()?.get(key)
}

fn together(a: &NodeInfo, b: &NodeInfo, key: &str) -> bool {
    domain(a, key).is_some_and(|here| domain(b, key) == Some(here))
}

/// A term of a pod, read once.
struct Term<'a> {
    of: &'a Pod,
    term: &'a PodAffinityTerm,
    selector: LabelSelector,
    namespaces: Option<LabelSelector>,
}

impl<'a> Term<'a> {
    fn new(of: &'a Pod, term: &'a PodAffinityTerm) -> Self {
        let chosen = term.label_selector.as_ref().and_then(|s| LabelSelector::from_spec(s).ok());
        let selector = chosen.unwrap_or_else(LabelSelector::nothing);
        let namespaces = term.namespace_selector.as_ref();
        let namespaces = namespaces.map(|s| LabelSelector::from_spec(s).unwrap_or_else(|_| LabelSelector::nothing()));
        Self { of, term, selector, namespaces }
    }

    fn key(&self) -> &str {
        &self.term.topology_key
    }

    /// Whether the term speaks of `other`.
    fn means(&self, world: &World<'_>, other: &Pod) -> bool {
        let theirs = labels(other);
        let alike = |key: &String, wanted: bool| {
            labels(self.of).get(key).is_none_or(|own| (theirs.get(key) == Some(own)) == wanted)
        };
        self.selector.matches(theirs)
            && self.term.match_label_keys.iter().flatten().all(|key| alike(key, true))
            && self.term.mismatch_label_keys.iter().flatten().all(|key| alike(key, false))
            && self.reaches(world, other)
    }

    /// Whether the term looks into the namespace of `other`: those it lists or selects; its own if it does neither.
    fn reaches(&self, world: &World<'_>, other: &Pod) -> bool {
        let name = other.metadata.namespace.as_deref().unwrap_or_default();
        let listed = self.term.namespaces.as_deref().unwrap_or_default();
        if listed.is_empty() && self.namespaces.is_none() {
            return other.metadata.namespace == self.of.metadata.namespace;
        }
        let selected = |selector: &LabelSelector| {
            let namespace = world.view.typed::<Namespace>("", name);
            selector.matches(namespace.as_ref().and_then(|n| n.metadata.labels.as_ref()).unwrap_or(&NO_LABELS))
        };
        listed.iter().any(|n| n == name) || self.namespaces.as_ref().is_some_and(selected)
    }
}

/// Pods in one domain with `node`.
fn neighbours<'a>(world: &World<'a>, node: &'a NodeInfo, key: &'a str) -> impl Iterator<Item = &'a Pod> {
    world.nodes().filter(move |other| together(node, other, key)).flat_map(|other| other.pods.values()).map(|p| &**p)
}

fn required(pod: &Pod, kind: Kind) -> Vec<Term<'_>> {
    let affinity = pod.spec.as_ref().and_then(|s| s.affinity.as_ref());
    let terms = match kind {
        Kind::Affinity => affinity
            .and_then(|a| a.pod_affinity.as_ref())
            .and_then(|a| a.required_during_scheduling_ignored_during_execution.as_deref()),
        Kind::AntiAffinity => affinity
            .and_then(|a| a.pod_anti_affinity.as_ref())
            .and_then(|a| a.required_during_scheduling_ignored_during_execution.as_deref()),
    };
    terms.unwrap_or_default().iter().map(|term| Term::new(pod, term)).collect()
}

fn preferred(pod: &Pod) -> Vec<(Term<'_>, i64)> {
    let affinity = pod.spec.as_ref().and_then(|s| s.affinity.as_ref());
    let liked = affinity
        .and_then(|a| a.pod_affinity.as_ref())
        .and_then(|a| a.preferred_during_scheduling_ignored_during_execution.as_deref());
    let disliked = affinity
        .and_then(|a| a.pod_anti_affinity.as_ref())
        .and_then(|a| a.preferred_during_scheduling_ignored_during_execution.as_deref());
    let all = [weighed(liked, 1), weighed(disliked, -1)].concat();
    all.into_iter().map(|(term, weight)| (Term::new(pod, term), weight)).collect()
}

#[derive(Clone, Copy)]
enum Kind {
    Affinity,
    AntiAffinity,
}

fn weighed(terms: Option<&[WeightedPodAffinityTerm]>, sign: i64) -> Vec<(&PodAffinityTerm, i64)> {
    let terms = terms.unwrap_or_default().iter();
    terms.map(|t| (&t.pod_affinity_term, sign * i64::from(t.weight))).collect()
}

/// Whether other pods could let this one fit.
pub fn wants_company(pod: &Pod) -> bool {
    !required(pod, Kind::Affinity).is_empty()
}

/// Every required term finds, in the node's domain, a pod that all terms mean. The first pod of a group that wants its own kind about it
/// may go anywhere, since otherwise none could.
fn wanted_are_near(world: &World<'_>, pod: &Pod, node: &NodeInfo) -> bool {
    let terms = required(pod, Kind::Affinity);
    let meant = |other: &Pod| terms.iter().all(|term| term.means(world, other));
    if terms.iter().any(|term| domain(node, term.key()).is_none()) {
        return false;
    }
    if terms.iter().all(|term| neighbours(world, node, term.key()).any(meant)) {
        return true;
    }
    let known = |other: &NodeInfo| terms.iter().any(|term| domain(other, term.key()).is_some());
    meant(pod) && !world.nodes().filter(|n| known(n)).any(|n| n.pods.values().any(|p| meant(p)))
}

fn unwanted_are_near(world: &World<'_>, pod: &Pod, node: &NodeInfo) -> bool {
    let terms = required(pod, Kind::AntiAffinity);
    terms.iter().any(|term| neighbours(world, node, term.key()).any(|other| term.means(world, other)))
}

fn unwanted_itself(world: &World<'_>, pod: &Pod, node: &NodeInfo) -> bool {
    world.particular().any(|(there, other)| {
        let terms = required(other, Kind::AntiAffinity);
        terms.iter().any(|term| together(node, there, term.key()) && term.means(world, pod))
    })
}

impl Filter for InterPodAffinity {
    fn reject(&self, world: &World<'_>, pod: &Pod, node: &NodeInfo) -> Option<Rejection> {
        if !wanted_are_near(world, pod, node) {
            Some(Rejection::by_node("node(s) didn't match pod affinity rules"))
        } else if unwanted_are_near(world, pod, node) {
            Some(Rejection::by_pods("node(s) didn't match pod anti-affinity rules"))
        } else if unwanted_itself(world, pod, node) {
            Some(Rejection::by_pods("node(s) didn't satisfy existing pods anti-affinity rules"))
        } else {
            None
        }
    }
}

impl Score for InterPodAffinity {
    fn score(&self, world: &World<'_>, pod: &Pod, node: &NodeInfo) -> i64 {
        let mut total = 0;
        for (term, weight) in preferred(pod) {
            let near = neighbours(world, node, term.key()).filter(|other| term.means(world, other)).count();
            total += weight * i64::try_from(near).unwrap_or(i64::MAX);
        }
        for (there, other) in world.particular() {
            let hard = required(other, Kind::Affinity).into_iter().map(|term| (term, HARD_WEIGHT));
            let theirs = preferred(other).into_iter().chain(hard);
            let near = theirs.filter(|(term, _)| together(node, there, term.key()) && term.means(world, pod));
            total += near.map(|(_, weight)| weight).sum::<i64>();
        }
        total
    }

    fn weight(&self) -> i64 {
        2
    }
}
