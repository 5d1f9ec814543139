//! Which volume fits a claim best: the smallest that is large enough, unless one was made for it. The binder chooses by this, and the
//! scheduler, where nodes have volumes of their own.
//!
//! Source: `pkg/volume/util/finder.go` (`FindMatchingVolume`), `pkg/controller/volume/persistentvolume`.

use crate::placement::selector_matches;
use coracle_api::{LabelSelector, Quantity};
use k8s_openapi::{
    api::core::v1::{Node, PersistentVolume, PersistentVolumeClaim},
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use std::ops::Deref;

/// The older place of a storage class.
const CLASS_BETA: &str = "volume.beta.kubernetes.io/storage-class";

type Claim = PersistentVolumeClaim;
type Volume = PersistentVolume;

fn beta(metadata: &ObjectMeta) -> Option<&str> {
    metadata.annotations.as_ref()?.get(CLASS_BETA).map(String::as_str)
}

/// The storage class of a claim; empty if it has none.
pub fn class_of_claim(claim: &Claim) -> &str {
    let named = || claim.spec.as_ref()?.storage_class_name.as_deref();
    beta(&claim.metadata).or_else(named).unwrap_or_default()
}

/// The storage class of a volume; empty if it has none.
pub fn class_of_volume(volume: &Volume) -> &str {
    let named = || volume.spec.as_ref()?.storage_class_name.as_deref();
    beta(&volume.metadata).or_else(named).unwrap_or_default()
}

fn storage(text: Option<&k8s_openapi::apimachinery::pkg::api::resource::Quantity>) -> Quantity {
    text.and_then(|q| q.0.parse().ok()).unwrap_or(Quantity::ZERO)
}

fn wanted(claim: &PersistentVolumeClaim) -> Quantity {
    let resources = claim.spec.as_ref().and_then(|s| s.resources.as_ref());
    storage(resources.and_then(|r| r.requests.as_ref()?.get("storage")))
}

/// How large a volume is.
fn size(volume: &PersistentVolume) -> Quantity {
    storage(volume.spec.as_ref().and_then(|s| s.capacity.as_ref()?.get("storage")))
}

/// Whether the volume's reference names the claim, this very one or, if it was written by hand, any of its name.
pub fn refers_to(volume: &PersistentVolume, claim: &Claim) -> bool {
    let reference = volume.spec.as_ref().and_then(|s| s.claim_ref.as_ref());
    reference.is_some_and(|r| {
        r.name == claim.metadata.name
            && r.namespace == claim.metadata.namespace
            && r.uid.as_deref().is_none_or(|uid| uid.is_empty() || Some(uid) == claim.metadata.uid.as_deref())
    })
}

/// What keeps a volume from serving a claim that names it.
///
/// # Errors
/// In upstream's words.
pub fn satisfies(volume: &Volume, claim: &Claim) -> Result<(), &'static str> {
    if size(volume) < wanted(claim) {
        return Err("requested PV is too small");
    }
    if class_of_claim(claim) != class_of_volume(volume) {
        return Err("storageClassName does not match");
    }
    if !same_mode(volume, claim) {
        return Err("incompatible volumeMode");
    }
    if !has_modes(volume, claim) {
        return Err("incompatible accessMode");
    }
    Ok(())
}

fn same_mode(volume: &PersistentVolume, claim: &PersistentVolumeClaim) -> bool {
    let of_volume = volume.spec.as_ref().and_then(|s| s.volume_mode.as_deref()).unwrap_or("Filesystem");
    of_volume == claim.spec.as_ref().and_then(|s| s.volume_mode.as_deref()).unwrap_or("Filesystem")
}

fn has_modes(volume: &PersistentVolume, claim: &PersistentVolumeClaim) -> bool {
    let has = volume.spec.as_ref().and_then(|s| s.access_modes.as_deref()).unwrap_or_default();
    let wanted = claim.spec.as_ref().and_then(|s| s.access_modes.as_deref()).unwrap_or_default();
    wanted.iter().all(|mode| has.contains(mode))
}

/// The volume for a claim, if there is one. A claim that `waits` takes only what was made for it.
pub fn best<'a, V>(claim: &Claim, volumes: &'a [V], node: Option<&Node>, waits: bool) -> Option<&'a V>
where
    V: Deref<Target = Volume>,
{
    let selector = claim.spec.as_ref().and_then(|s| s.selector.as_ref());
    let selector = selector.map(|s| LabelSelector::from_spec(s).unwrap_or_else(|_| LabelSelector::nothing()));
    let fits = |volume: &&V| {
        volume.metadata.deletion_timestamp.is_none()
            && same_mode(volume, claim)
            && has_modes(volume, claim)
            && size(volume) >= wanted(claim)
    };
    if let Some(made_for_it) = volumes.iter().filter(fits).find(|volume| refers_to(volume, claim)) {
        return Some(made_for_it);
    }
    if waits {
        return None;
    }
    let none = std::collections::BTreeMap::new();
    let free = volumes.iter().filter(fits).filter(|volume| {
        let spec = volume.spec.as_ref();
        let required = spec.and_then(|s| s.node_affinity.as_ref()).and_then(|a| a.required.as_ref());
        spec.is_none_or(|s| s.claim_ref.is_none())
            && volume.status.as_ref().and_then(|s| s.phase.as_deref()) == Some("Available")
            && class_of_volume(volume) == class_of_claim(claim)
            && selector.as_ref().is_none_or(|s| s.matches(volume.metadata.labels.as_ref().unwrap_or(&none)))
            && node.is_none_or(|node| required.is_none_or(|r| selector_matches(r, node)))
    });
    free.min_by(|a, b| size(a).cmp(&size(b)).then_with(|| a.metadata.name.cmp(&b.metadata.name)))
}
