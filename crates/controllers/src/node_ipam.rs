//! Gives every node its range of pod addresses.

use crate::{ClusterSettings, Context, Controller, Key, Requeue, settings::PodRange};
use async_trait::async_trait;
use coracle_api::{Patch, Resource, Result, WriteOptions};
use coracle_client::{Change, EventType, Kind, View, ViewExt};
use k8s_openapi::api::core::v1::Node;
use parking_lot::Mutex;
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};

/// The controller.
pub struct NodeIpam {
    range: PodRange,
    taken: Mutex<Option<Taken>>,
}

impl NodeIpam {
    /// Gives out pieces of the cluster's range of pod addresses.
    pub fn new(settings: &ClusterSettings) -> Self {
        Self { range: settings.pods, taken: Mutex::new(None) }
    }
}

/// Which node has which pieces.
#[derive(Default)]
struct Taken {
    pieces: BTreeSet<u32>,
    by_node: BTreeMap<String, Vec<u32>>,
}

impl Taken {
    /// What the nodes that exist have.
    fn of(range: &PodRange, nodes: impl IntoIterator<Item = (String, String)>) -> Self {
        let mut taken = Self::default();
        for (node, cidr) in nodes {
            taken.note(range, &node, &cidr);
        }
        taken
    }

    fn note(&mut self, range: &PodRange, node: &str, cidr: &str) {
        self.release(node);
        let pieces: Vec<u32> = range.pieces_of(cidr).collect();
        self.pieces.extend(&pieces);
        self.by_node.insert(node.to_string(), pieces);
    }

    fn release(&mut self, node: &str) {
        for piece in self.by_node.remove(node).unwrap_or_default() {
            self.pieces.remove(&piece);
        }
    }

    /// The first free piece becomes the node's.
    fn give(&mut self, range: &PodRange, node: &str) -> Option<String> {
        // taken pieces are mostly consecutive from the first: the gap is found without looking at each number
        let free = self.pieces.iter().zip(0..).find(|(piece, n)| *piece != n).map(|(_, n)| n);
        let index = free.unwrap_or(self.pieces.len() as u32);
        if index >= range.count() {
            return None;
        }
        self.pieces.insert(index);
        self.by_node.insert(node.to_string(), vec![index]);
        Some(range.piece(index))
    }
}

fn cidr(node: &Node) -> Option<&str> {
    node.spec.as_ref()?.pod_cidr.as_deref().filter(|cidr| !cidr.is_empty())
}

#[async_trait]
impl Controller for NodeIpam {
    fn name(&self) -> &'static str {
        "node-controller"
    }

    fn component(&self) -> &'static str {
        "cidrAllocator"
    }

    fn watches(&self) -> Vec<Resource> {
        vec![Node::resource()]
    }

    fn keys(&self, _view: &dyn View, change: &Change) -> Vec<Key> {
        // heartbeats do not matter here: what counts is that a node comes or goes
        let comes_or_goes = change.old.is_none() || change.new.is_none();
        if comes_or_goes { vec![Key::from_change(change)] } else { Vec::new() }
    }

    async fn reconcile(&self, ctx: &Context, key: &Key) -> Result<Requeue> {
        let node = ctx.view.typed::<Node>("", &key.name);
        let given = {
            let mut taken = self.taken.lock();
            let taken = taken.get_or_insert_with(|| {
                let nodes = ctx.view.typed_list::<Node>("");
                let known = nodes.iter().filter_map(|n| Some((n.name().to_string(), cidr(n)?.to_string())));
                Taken::of(&self.range, known)
            });
            match &node {
                None => {
                    taken.release(&key.name);
                    return Ok(Requeue::No);
                }
                Some(node) => match cidr(node) {
                    Some(cidr) => {
                        taken.note(&self.range, &key.name, cidr);
                        return Ok(Requeue::No);
                    }
                    None => taken.give(&self.range, &key.name),
                },
            }
        };
        let Some(node) = node else { return Ok(Requeue::No) };
        let Some(given) = given else {
            let message = format!("Node {} status is now: CIDRNotAvailable", node.name());
            ctx.events.event(&Node::resource(), &node.object, EventType::Normal, "CIDRNotAvailable", message);
            return Ok(Requeue::After(std::time::Duration::from_secs(30)));
        };
        let patch = Patch::merge(json!({
            "metadata": {"uid": node.uid()},
            "spec": {"podCIDR": given, "podCIDRs": [given]},
        }));
        let written = ctx.client.patch(&Node::resource(), "", node.name(), "", patch, &WriteOptions::default()).await;
        if let Err(error) = written {
            self.taken.lock().get_or_insert_default().release(node.name());
            return if error.is_not_found() { Ok(Requeue::No) } else { Err(error) };
        }
        Ok(Requeue::No)
    }

    fn workers(&self) -> usize {
        1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_given_once_and_again_when_free() {
        let range = PodRange::parse("10.244.0.0/22").unwrap();
        let check = |nodes: &[(&str, &str)], gone: &[&str], wanted: Option<&str>| {
            let mut taken = Taken::of(&range, nodes.iter().map(|(n, c)| (n.to_string(), c.to_string())));
            gone.iter().for_each(|node| taken.release(node));
            assert_eq!(taken.give(&range, "new").as_deref(), wanted, "{nodes:?} {gone:?}");
        };
        check(&[], &[], Some("10.244.0.0/24"));
        check(&[("a", "10.244.0.0/24"), ("c", "10.244.2.0/24")], &[], Some("10.244.1.0/24"));
        check(&[("a", "10.244.0.0/24"), ("b", "10.244.1.0/24")], &["a"], Some("10.244.0.0/24"));
        check(&[("a", "10.244.0.0/23"), ("b", "192.0.2.0/24")], &[], Some("10.244.2.0/24"));
        check(&[("a", "10.244.0.0/22")], &[], None);
    }
}
