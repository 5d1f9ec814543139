//! Which claims wait and which volumes may be for them, by class and by name: so nobody walks all of them.

use crate::volumes::{class_of_claim, class_of_volume, volume_name};
use coracle_client::{Change, Typed};
use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim};
use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

/// Namespace and name.
pub type Name = (String, String);

/// Names only; the view says what they are now.
#[derive(Default)]
pub struct Index {
    /// Claims without a volume, by class.
    waiting: HashMap<String, BTreeSet<Name>>,
    /// Volumes without a claim, by class.
    free: HashMap<String, BTreeSet<String>>,
    /// Volumes that name a claim, by it.
    claimed: HashMap<Name, BTreeSet<String>>,
}

fn put<K: std::hash::Hash + Eq, V: Ord>(map: &mut HashMap<K, BTreeSet<V>>, key: K, value: V) {
    map.entry(key).or_default().insert(value);
}

fn take<K: std::hash::Hash + Eq, V: Ord>(map: &mut HashMap<K, BTreeSet<V>>, key: &K, value: &V) {
    if let Some(values) = map.get_mut(key) {
        values.remove(value);
        if values.is_empty() {
            map.remove(key);
        }
    }
}

/// The claim that a volume names.
pub fn claim_of(volume: &PersistentVolume) -> Option<Name> {
    let reference = volume.spec.as_ref()?.claim_ref.as_ref()?;
    Some((reference.namespace.clone().unwrap_or_default(), reference.name.clone().unwrap_or_default()))
}

impl Index {
    /// Takes note of a changed claim.
    pub fn note_claim(&mut self, change: &Change) {
        let meta = change.object().meta();
        let name = (meta.namespace.clone(), meta.name.clone());
        let read = |object: &Arc<coracle_api::Object>| Typed::<PersistentVolumeClaim>::new(object.clone()).ok();
        if let Some(old) = change.old.as_ref().and_then(read) {
            take(&mut self.waiting, &class_of_claim(&old).to_string(), &name);
        }
        if let Some(new) = change.new.as_ref().and_then(read).filter(|claim| volume_name(claim).is_empty()) {
            put(&mut self.waiting, class_of_claim(&new).to_string(), name);
        }
    }

    /// Takes note of a changed volume.
    pub fn note_volume(&mut self, change: &Change) {
        let name = change.object().meta().name.clone();
        let read = |object: &Arc<coracle_api::Object>| Typed::<PersistentVolume>::new(object.clone()).ok();
        if let Some(old) = change.old.as_ref().and_then(read) {
            take(&mut self.free, &class_of_volume(&old).to_string(), &name);
            if let Some(claim) = claim_of(&old) {
                take(&mut self.claimed, &claim, &name);
            }
        }
        if let Some(new) = change.new.as_ref().and_then(read) {
            match claim_of(&new) {
                Some(claim) => put(&mut self.claimed, claim, name),
                None => put(&mut self.free, class_of_volume(&new).to_string(), name),
            }
        }
    }

    /// The claims of a class that wait.
    pub fn waiting(&self, class: &str) -> Vec<Name> {
        self.waiting.get(class).into_iter().flatten().cloned().collect()
    }

    /// The volumes that name a claim.
    pub fn claimed(&self, claim: &Name) -> Vec<String> {
        self.claimed.get(claim).into_iter().flatten().cloned().collect()
    }

    /// The volumes that a claim may get.
    pub fn candidates(&self, claim: &Name, class: &str) -> Vec<String> {
        let free = self.free.get(class).into_iter().flatten();
        self.claimed.get(claim).into_iter().flatten().chain(free).cloned().collect()
    }
}
