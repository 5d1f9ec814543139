//! Who owns what: adoption of matching orphans, release of what no longer matches.

use crate::framework::Context;
use coracle_api::{LabelSelector, Object, Patch, Resource, Result, WriteOptions};
use coracle_client::{Change, Kind, Typed, View, ViewExt, typed};
use parking_lot::Mutex;
use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

/// The objects of one resource that no controller manages, by namespace: candidates for adoption. There are few of them, so nobody has to
/// walk a namespace to find one. Names only; the view says what they are now.
#[derive(Default)]
pub struct Orphans {
    names: Mutex<HashMap<String, BTreeSet<String>>>,
}

impl Orphans {
    /// Takes note of a change; to be called for every change of the resource.
    pub fn note(&self, change: &Change) {
        let meta = change.object().meta();
        let orphaned = change.new.as_ref().is_some_and(|o| o.meta().controller().is_none());
        let mut names = self.names.lock();
        if orphaned {
            names.entry(meta.namespace.clone()).or_default().insert(meta.name.clone());
        } else if let Some(of_namespace) = names.get_mut(&meta.namespace) {
            of_namespace.remove(&meta.name);
            if of_namespace.is_empty() {
                names.remove(&meta.namespace);
            }
        }
    }

    fn list<K: Kind>(&self, view: &dyn View, namespace: &str) -> Vec<Typed<K>> {
        let names: Vec<String> = self.names.lock().get(namespace).into_iter().flatten().cloned().collect();
        let found = names.iter().filter_map(|name| view.typed::<K>(namespace, name));
        found.filter(|o| o.meta().controller().is_none()).collect()
    }
}

/// What an owner has, and what has to change about that.
pub struct Claim<K> {
    /// Managed by the owner and matching its selector.
    pub owned: Vec<Typed<K>>,
    /// Matching, managed by nobody: to be adopted.
    pub adopt: Vec<Typed<K>>,
    /// Managed by the owner, no longer matching: to be released.
    pub release: Vec<Typed<K>>,
}

/// Sorts the dependents of `owner` and the orphans of its namespace. An owner that is being deleted adopts nothing.
pub fn claim<K: Kind, O: Kind>(
    view: &dyn View,
    owner: &Typed<O>,
    selector: &LabelSelector,
    orphans: &Orphans,
) -> Claim<K> {
    let deleting = owner.meta().is_deleting();
    let mut claim = Claim { owned: Vec::new(), adopt: Vec::new(), release: Vec::new() };
    for object in view.typed_owned::<K>(owner.uid()) {
        let managed = object.meta().controller().is_some_and(|o| o.uid == owner.uid());
        if !managed || object.meta().namespace != owner.meta().namespace {
            continue;
        }
        if selector.matches(&object.meta().labels) {
            claim.owned.push(object);
        } else if !deleting && !object.meta().is_deleting() {
            claim.release.push(object);
        }
    }
    if !deleting {
        let mut matching = orphans.list::<K>(view, &owner.meta().namespace);
        matching.retain(|o| !o.meta().is_deleting() && selector.matches(&o.meta().labels));
        claim.adopt = matching;
    }
    claim
}

/// Carries a claim out; what the owner has afterwards.
///
/// # Errors
/// When the owner has gone or a write failed.
pub async fn settle<K: Kind, O: Kind>(ctx: &Context, owner: &Typed<O>, claim: Claim<K>) -> Result<Vec<Typed<K>>> {
    let resource = K::resource();
    let mut owned = claim.owned;
    if !claim.adopt.is_empty() {
        still_there(ctx, owner).await?;
    }
    for orphan in claim.adopt {
        let patch = typed::adoption(owner, &orphan.object);
        match write(ctx, &resource, &orphan.object, patch).await {
            Ok(object) => owned.push(Typed::new(object)?),
            Err(status) if status.is_not_found() => {}
            Err(status) => return Err(status),
        }
    }
    for strange in claim.release {
        match write(ctx, &resource, &strange.object, typed::release(owner.uid(), &strange.object)).await {
            Err(status) if !status.is_not_found() => return Err(status),
            _ => {}
        }
    }
    Ok(owned)
}

/// Nothing is adopted in the name of an owner that was deleted, or replaced by another of its name.
async fn still_there<O: Kind>(ctx: &Context, owner: &Typed<O>) -> Result<()> {
    let resource = O::resource();
    let meta = owner.meta();
    let fresh = ctx.client.get(&resource, &meta.namespace, &meta.name).await?;
    if fresh.meta().uid != meta.uid || fresh.meta().is_deleting() {
        return Err(coracle_api::Status::conflict(&resource, &meta.name, "it is being deleted or was replaced"));
    }
    Ok(())
}

async fn write(ctx: &Context, resource: &Resource, object: &Object, patch: serde_json::Value) -> Result<Arc<Object>> {
    let meta = object.meta();
    let options = WriteOptions::default();
    ctx.client.patch(resource, &meta.namespace, &meta.name, "", Patch::merge(patch), &options).await
}
