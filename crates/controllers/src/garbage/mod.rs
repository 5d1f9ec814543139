//! The garbage collector: what is left without its owners goes, in the order that the deletion of an owner asked for.
//!
//! - Background: the owner is gone; its dependents follow.
//! - Foreground: the owner stays, with a finalizer, until the dependents that block it have gone.
//! - Orphan: the owner stays, with a finalizer, until its dependents no longer name it.
//!
//! Upstream keeps a graph of all objects; here the world's index of objects by owner is that graph, and it is never behind.
//!
//! Source: `pkg/controller/garbagecollector`.

mod plan;
#[cfg(test)]
mod tests;

use crate::custom_resources::CustomResources;
use crate::framework::{Context, Controller, Key, Requeue};
use async_trait::async_trait;
use coracle_api::{
    DeleteOptions, Meta, Object, OwnerReference, Patch, Preconditions, Propagation, Resource, Result, WriteOptions,
};
use coracle_client::{Change, View};
use futures::{FutureExt, StreamExt, future::BoxFuture, stream};
use parking_lot::{Mutex, RwLock};
use plan::{Begun, Below, FOREGROUND, ORPHAN, Owner, Plan};
use serde_json::{Value, json};
use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

/// The garbage collector.
pub struct Garbage {
    resources: Vec<Arc<Resource>>,
    by_kind: HashMap<(String, String), Arc<Resource>>,
    custom: RwLock<CustomResources>,
    /// Uids of objects that are gone and whose dependents have to be looked at.
    gone: Mutex<HashMap<Key, BTreeSet<String>>>,
}

/// A dependent and what it is.
type Dependent = (Arc<Resource>, Arc<Object>);

impl Default for Garbage {
    fn default() -> Self {
        // Events own nothing and are owned by nobody; they are too many to ask
        let kept = coracle_kinds::stored().filter(|k| k.resource.plural != "events");
        let resources: Vec<Arc<Resource>> = kept.map(|k| Arc::new(k.resource.clone())).collect();
        let by_kind = resources.iter().map(|r| ((r.group.to_string(), r.kind.to_string()), r.clone())).collect();
        Self { resources, by_kind, custom: RwLock::default(), gone: Mutex::default() }
    }
}

#[async_trait]
impl Controller for Garbage {
    fn name(&self) -> &'static str {
        "generic-garbage-collector"
    }

    fn component(&self) -> &'static str {
        "garbage-collector-controller"
    }

    fn workers(&self) -> usize {
        20
    }

    fn watches(&self) -> Vec<Resource> {
        self.resources.iter().map(|r| (**r).clone()).collect()
    }

    fn watches_custom(&self) -> bool {
        true
    }

    fn keys(&self, _: &dyn View, change: &Change) -> Vec<Key> {
        self.custom.write().learn(change);
        let meta = change.object().meta();
        let key = || Key::of(&change.resource, &meta.namespace, &meta.name);
        let (old, new) = (change.old.as_ref().map(|o| o.meta()), change.new.as_ref().map(|o| o.meta()));
        let mut keys = Vec::new();
        // several changes may have come as one: a name may be somebody else's by now
        if let Some(old) = old.filter(|old| new.is_none_or(|new| new.uid != old.uid)) {
            self.gone.lock().entry(key()).or_default().insert(old.uid.clone());
            keys.push(key());
        }
        let refs = |meta: Option<&Meta>| meta.map(|m| m.owner_references.clone()).unwrap_or_default();
        let (before, after) = (refs(old), refs(new));
        // owners that are to go after this one
        let lost = before.iter().filter(|r| new.is_none_or(|new| !blocks(&new.owner_references, &r.uid)));
        keys.extend(lost.filter_map(|r| self.key_of(r, meta)));
        let begun = |meta: Option<&Meta>| meta.is_some_and(|m| m.is_deleting() && holds(m));
        let appeared = !after.is_empty() && (before != after || old.map(|o| &o.uid) != new.map(|n| &n.uid));
        if appeared || (begun(new) && !begun(old)) {
            keys.push(key());
        }
        keys
    }

    async fn reconcile(&self, ctx: &Context, key: &Key) -> Result<Requeue> {
        let gone = self.gone.lock().remove(key).unwrap_or_default();
        for uid in &gone {
            let done = self.follow(ctx, uid).await;
            if done.is_err() {
                self.gone.lock().entry(key.clone()).or_default().extend(gone);
                return done.map(|()| Requeue::No);
            }
        }
        let Some(resource) = &key.resource else { return Ok(Requeue::No) };
        if let Some(object) = ctx.view.get(resource, &key.namespace, &key.name) {
            self.process(ctx, resource, &object).await?;
        }
        Ok(Requeue::No)
    }
}

fn holds(meta: &Meta) -> bool {
    meta.finalizers.iter().any(|f| f == FOREGROUND || f == ORPHAN)
}

/// Whether it waits for its dependents to go.
fn leaves(meta: &Meta) -> bool {
    meta.is_deleting() && meta.finalizers.iter().any(|f| f == FOREGROUND)
}

fn blocks(references: &[OwnerReference], uid: &str) -> bool {
    references.iter().any(|r| r.uid == uid && r.block_owner_deletion)
}

impl Garbage {
    /// The resource that a reference means; `None` if no such kind is served.
    fn resource_of(&self, reference: &OwnerReference) -> Option<Arc<Resource>> {
        let group = reference.api_version.split_once('/').map_or("", |(group, _)| group);
        let built_in = self.by_kind.get(&(group.to_string(), reference.kind.clone())).cloned();
        built_in.or_else(|| {
            let custom = self.custom.read();
            custom.iter().find(|r| r.group == group && r.kind == reference.kind.as_str()).cloned()
        })
    }

    fn key_of(&self, reference: &OwnerReference, dependent: &Meta) -> Option<Key> {
        let resource = self.resource_of(reference)?;
        let namespace = if resource.namespaced { dependent.namespace.as_str() } else { "" };
        Some(Key::of(&resource, namespace, &reference.name))
    }

    fn dependents(&self, view: &dyn View, uid: &str) -> Vec<Dependent> {
        let of = |r: &Arc<Resource>| view.owned_by(r, uid).into_iter().map(|o| (r.clone(), o)).collect::<Vec<_>>();
        let custom: Vec<Arc<Resource>> = self.custom.read().iter().cloned().collect();
        self.resources.iter().chain(&custom).flat_map(of).collect()
    }

    /// Looks at the dependents of an owner that is gone.
    async fn follow(&self, ctx: &Context, uid: &str) -> Result<()> {
        let dependents = self.dependents(ctx.view.as_ref(), uid);
        each(dependents.iter().map(|(resource, object)| self.process(ctx, resource, object).boxed()).collect()).await
    }

    async fn process(&self, ctx: &Context, resource: &Resource, object: &Arc<Object>) -> Result<()> {
        match object.meta() {
            meta if !meta.is_deleting() => self.judge(ctx, resource, object).await,
            meta if holds(meta) => self.finish(ctx, resource, object).await,
            _ => Ok(()),
        }
    }

    /// Whether an object may stay, by its owners.
    async fn judge(&self, ctx: &Context, resource: &Resource, object: &Arc<Object>) -> Result<()> {
        let meta = object.meta();
        if meta.owner_references.is_empty() {
            return Ok(());
        }
        let mut owners = Vec::with_capacity(meta.owner_references.len());
        for reference in &meta.owner_references {
            owners.push((reference.uid.as_str(), self.look_up(ctx, reference, meta).await?));
        }
        let below = || {
            let dependents = self.dependents(ctx.view.as_ref(), &meta.uid);
            match dependents.iter().any(|(_, object)| leaves(object.meta())) {
                true => Below::Leaving,
                false if dependents.is_empty() => Below::Nothing,
                false => Below::Some,
            }
        };
        let blocks = meta.owner_references.iter().any(|r| r.block_owner_deletion);
        match plan::plan(&owners, &meta.finalizers, blocks, below) {
            Plan::Keep => Ok(()),
            // it is looked at again when that is seen
            Plan::Unblock => unblock(ctx, resource, object, |_| true).await,
            Plan::Drop(uids) => drop_owners(ctx, resource, object, &uids).await,
            Plan::Delete(policy) => delete(ctx, resource, object, policy).await,
        }
    }

    /// What has become of an owner.
    async fn look_up(&self, ctx: &Context, reference: &OwnerReference, dependent: &Meta) -> Result<Owner> {
        let Some(resource) = self.resource_of(reference) else { return Ok(Owner::Unknown) };
        if resource.namespaced && dependent.namespace.is_empty() {
            // such a reference means nothing; upstream too leaves it alone
            return Ok(Owner::Unknown);
        }
        let namespace = if resource.namespaced { dependent.namespace.as_str() } else { "" };
        let state = |owner: &Object| match owner.meta() {
            meta if meta.uid != reference.uid => Owner::Absent,
            meta if leaves(meta) => Owner::Leaving,
            _ => Owner::Present,
        };
        let resource = &*resource;
        let known = ctx.view.get(resource, namespace, &reference.name).map_or(Owner::Absent, |owner| state(&owner));
        if known != Owner::Absent {
            return Ok(known);
        }
        // nothing is deleted for want of an owner that the view does not know yet
        match ctx.client.get(resource, namespace, &reference.name).await {
            Ok(owner) => Ok(state(&owner)),
            Err(status) if status.is_not_found() => Ok(Owner::Absent),
            Err(status) => Err(status),
        }
    }

    /// An owner that waits for its dependents.
    async fn finish(&self, ctx: &Context, resource: &Resource, owner: &Arc<Object>) -> Result<()> {
        let meta = owner.meta();
        let dependents = self.dependents(ctx.view.as_ref(), &meta.uid);
        match plan::begun(meta, dependents.iter().map(|(_, object)| object.meta())) {
            Begun::Orphan => {
                let uid = [meta.uid.clone()];
                each(dependents.iter().map(|(r, object)| drop_owners(ctx, r, object, &uid).boxed()).collect()).await?;
                remove_finalizer(ctx, resource, owner, ORPHAN).await
            }
            Begun::Finish => {
                each(dependents.iter().map(|(r, object)| self.dismiss(ctx, r, object, meta).boxed()).collect()).await?;
                remove_finalizer(ctx, resource, owner, FOREGROUND).await
            }
            Begun::Wait => {
                each(dependents.iter().map(|(r, object)| self.dismiss(ctx, r, object, meta).boxed()).collect()).await
            }
        }
    }

    /// Sees to a dependent of an owner that leaves. If it waits for that owner in turn (a circle), it must not be waited for.
    async fn dismiss(&self, ctx: &Context, resource: &Resource, object: &Arc<Object>, owner: &Meta) -> Result<()> {
        if leaves(object.meta())
            && blocks(&owner.owner_references, &object.meta().uid)
            && blocks(&object.meta().owner_references, &owner.uid)
        {
            return unblock(ctx, resource, object, |r| r.uid == owner.uid).await;
        }
        if object.meta().is_deleting() { Ok(()) } else { self.judge(ctx, resource, object).await }
    }
}

/// Does all of it, some at a time; an error, after all was tried.
async fn each(work: Vec<BoxFuture<'_, Result<()>>>) -> Result<()> {
    let results: Vec<Result<()>> = stream::iter(work).buffer_unordered(32).collect().await;
    results.into_iter().collect()
}

async fn delete(ctx: &Context, resource: &Resource, object: &Object, policy: Propagation) -> Result<()> {
    let meta = object.meta();
    let options = DeleteOptions {
        // if its owners have changed since it was looked at, it has to be looked at again
        preconditions: Some(Preconditions {
            uid: Some(meta.uid.clone()),
            resource_version: Some(object.revision().to_string()),
        }),
        propagation_policy: Some(policy),
        ..DeleteOptions::default()
    };
    ignore_gone(ctx.client.delete(resource, &meta.namespace, &meta.name, &options).await.map(drop))
}

fn ignore_gone(result: Result<()>) -> Result<()> {
    match result {
        Err(status) if status.is_not_found() => Ok(()),
        other => other,
    }
}

async fn change_metadata(ctx: &Context, resource: &Resource, object: &Object, mut change: Value) -> Result<()> {
    let meta = object.meta();
    change["uid"] = json!(meta.uid);
    change["resourceVersion"] = json!(object.revision().to_string());
    let patch = Patch::merge(json!({"metadata": change}));
    let options = WriteOptions::default();
    ignore_gone(ctx.client.patch(resource, &meta.namespace, &meta.name, "", patch, &options).await.map(drop))
}

fn list_or_null<T: serde::Serialize>(list: &[T]) -> Value {
    if list.is_empty() { Value::Null } else { json!(list) }
}

async fn drop_owners(ctx: &Context, resource: &Resource, object: &Object, uids: &[String]) -> Result<()> {
    let kept: Vec<&OwnerReference> = object.meta().owner_references.iter().filter(|r| !uids.contains(&r.uid)).collect();
    change_metadata(ctx, resource, object, json!({"ownerReferences": list_or_null(&kept)})).await
}

async fn unblock(
    ctx: &Context,
    resource: &Resource,
    object: &Object,
    of: impl Fn(&OwnerReference) -> bool,
) -> Result<()> {
    let mut references = object.meta().owner_references.clone();
    for reference in references.iter_mut().filter(|r| of(r)) {
        reference.block_owner_deletion = false;
    }
    change_metadata(ctx, resource, object, json!({"ownerReferences": references})).await
}

async fn remove_finalizer(ctx: &Context, resource: &Resource, object: &Object, finalizer: &str) -> Result<()> {
    let kept: Vec<&String> = object.meta().finalizers.iter().filter(|f| *f != finalizer).collect();
    change_metadata(ctx, resource, object, json!({"finalizers": list_or_null(&kept)})).await
}
