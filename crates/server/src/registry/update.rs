//! Update and patch, of whole objects and of their parts.

use super::{Caller, RETRIES, Registry, Target, charge::Charge, create::Tracking, expect, meta, rejected};
use crate::{admission::Operation, books::Books, decode};
use coracle_api::{Draft, Object, Patch, PatchKind, Result, Status, WriteOptions};
use coracle_kinds::{Deletion, Part, Verdict};
use coracle_store::{Op, Rejected};
use serde_json::Value;
use std::sync::Arc;

/// The new version of an object, as a function of the current one.
pub enum Change<'a> {
    /// PUT, of a decoded body.
    Replace(Value),
    /// PATCH.
    Patch(Patch),
    /// A change made by the server itself (scale, binding).
    With(&'a (dyn Fn(&mut Value) -> Result<()> + Sync)),
}

impl Change<'_> {
    /// Whether it is noted who wrote: apply does that itself, and what the server does on its own is nobody's.
    fn is_tracked(&self) -> bool {
        !matches!(self, Self::Patch(Patch { kind: PatchKind::Apply, .. }) | Self::With(_))
    }
}

/// Which part of the object a write may change.
#[derive(Clone, Copy)]
enum PartChange {
    /// This one, as a client's request.
    Only(Part),
    /// The desired state and the status at once.
    Whole,
}

fn part_of(target: Target<'_>) -> Result<Part> {
    match target.subresource {
        "" => Ok(Part::Main),
        name => {
            let subresource = target.served.kind.subresource(name);
            subresource.and_then(|s| s.action.part()).ok_or_else(Status::method_not_allowed)
        }
    }
}

/// What a run of the closure ended in.
enum Outcome {
    Done(Arc<Object>),
    /// Another writer was faster.
    Again,
}

impl Registry {
    /// Changes an object or, with a subresource in `target`, that part of it.
    ///
    /// # Errors
    /// As upstream: 400, 404, 409, 422.
    pub async fn update(
        &self,
        caller: &Caller,
        target: Target<'_>,
        change: Change<'_>,
        options: &WriteOptions,
    ) -> Result<Arc<Object>> {
        self.run(caller, target, PartChange::Only(part_of(target)?), change, options).await
    }

    /// A change that the server makes itself on behalf of a subresource (`binding`, `scale`, `eviction`): any part may change.
    pub(super) async fn update_unchecked(
        &self,
        caller: &Caller,
        target: Target<'_>,
        change: Change<'_>,
        options: &WriteOptions,
    ) -> Result<Arc<Object>> {
        let part = if target.subresource.is_empty() { PartChange::Whole } else { PartChange::Only(part_of(target)?) };
        self.run(caller, target, part, change, options).await
    }

    async fn run(
        &self,
        caller: &Caller,
        target: Target<'_>,
        part: PartChange,
        change: Change<'_>,
        options: &WriteOptions,
    ) -> Result<Arc<Object>> {
        for _ in 0..RETRIES {
            let current = self.store.snapshot().get(&target.key()).map(|k| k.object().clone());
            let Some(current) = current else {
                return self.create_by_update(caller, target, change, options).await;
            };
            match self.attempt(caller, target, part, &current, &change, options).await? {
                Outcome::Done(object) => return Ok(object),
                Outcome::Again => {}
            }
        }
        Err(target.changed())
    }

    /// PUT or apply to a name that is not there.
    async fn create_by_update(
        &self,
        caller: &Caller,
        target: Target<'_>,
        change: Change<'_>,
        options: &WriteOptions,
    ) -> Result<Arc<Object>> {
        let mut tracking = Tracking::Update;
        let body = match change {
            _ if !target.subresource.is_empty() => return Err(target.not_found()),
            Change::Replace(body) if target.served.kind.create_on_update => body,
            Change::Patch(patch) if patch.kind == PatchKind::Apply => {
                let applied = self.books(target, options).apply(None, &patch.body)?;
                tracking = Tracking::Done;
                let kind = &target.served.kind;
                let (applied, warnings) = decode::patched_object(kind, &applied, &patch, options.field_validation)?;
                caller.warn(warnings);
                applied
            }
            _ => return Err(target.not_found()),
        };
        let text = |name: &str| body["metadata"][name].as_str().unwrap_or_default().to_string();
        let (uid, name) = (text("uid"), text("name"));
        if !uid.is_empty() {
            let why =
                format!("uid mismatch: the provided object specified uid {uid}, and no existing object was found");
            return Err(Status::conflict(&target.served.resource, target.name, why));
        }
        if !text("resourceVersion").is_empty() {
            return Err(target.not_found());
        }
        if name.is_empty() {
            return Err(meta::nameless(target));
        }
        if name != target.name {
            let why = format!("the name of the object ({name}) does not match the name on the URL ({})", target.name);
            return Err(Status::bad_request(why));
        }
        let mut body = body;
        meta::place(target, &mut body)?;
        self.create_tracked(caller, Target { name: "", ..target }, body, options, tracking).await
    }

    async fn attempt(
        &self,
        caller: &Caller,
        target: Target<'_>,
        part: PartChange,
        current: &Arc<Object>,
        change: &Change<'_>,
        options: &WriteOptions,
    ) -> Result<Outcome> {
        let served = target.served;
        let kind = served.kind.storage();
        let loaded = served.load(current).await?;
        let old = loaded.value();
        let books = self.books(target, options);
        let change_it = || self.changed_value(caller, target, current, &old, change, options, &books);
        let mut object = books.settled(change_it).await?;
        let conditional = object["metadata"]["resourceVersion"].as_str().is_some_and(|v| !matches!(v, "" | "0"));
        let (part, whole) = match part {
            PartChange::Only(part) => (part, None),
            PartChange::Whole => (Part::Main, Some(object.get("status").cloned())),
        };
        meta::carry_over(meta::of(&mut object), &old, part);
        kind.default(&mut object)?;
        narrow(&mut object, &old, part);
        kind.prepare_update(&mut object, &old, part);
        kind.rules.stamp(&mut object, Some(&old), &self.now().to_string());
        let by_server = whole.is_some();
        if let Some(Some(status)) = whole {
            object["status"] = status;
        }
        if change.is_tracked() {
            books.track(Some(&old), &mut object).await;
        }
        let request = self.admission(caller, target, Operation::Update, Some(&loaded), options.dry_run);
        self.chain.mutate(&request, &mut object).await?;
        kind.default(&mut object)?;
        caller.warn(meta::dedup_owners(&mut object, meta::AFTER_ADMISSION));
        self.may_grant(caller, target, &object)?;
        let extra = self.allocator.update(&self.store.snapshot(), target, &old, &mut object)?;
        // what clients must not change in place is exactly what some subresources are for
        let Verdict { mut errors, tolerated } = if by_server {
            Verdict { errors: kind.validate(&object), tolerated: Vec::new() }
        } else {
            kind.judge_update(&object, &old, part)
        };
        caller.warn(tolerated.iter().map(ToString::to_string));
        errors.extend(self.errors_of_change(target, &object, &old, part));
        if served.kind.stored_as.is_some() && part == Part::Main {
            errors.extend(served.kind.rules.validate_update(&object, &old, part));
        }
        if !errors.is_empty() {
            return Err(Status::invalid(&served.resource, target.name, &errors));
        }
        if part == Part::Main {
            caller.warn(kind.rules.update_warnings(&object, &old));
        }
        self.chain.validate(&request, &object).await?;
        let leave = leaves(kind.deletion, &object);
        let object = served.stored(object).await?;
        let charge = self.charge(target, Some(&old), (!leave).then_some(&object)).await?;
        // what lies in the store may be older than what was read from it: then it is worth writing
        let before = if Arc::ptr_eq(&loaded, current) { old } else { current.value() };
        if !leave && extra.is_empty() && same(&object, &before) {
            return Ok(Outcome::Done(current.clone()));
        }
        let draft = Draft::new(&object)?;
        if options.dry_run {
            return Ok(Outcome::Done(Arc::new(draft.seal(current.revision()))));
        }
        if leave {
            let gone = Arc::new(draft.seal(current.revision()));
            return self.remove(target, current, gone, charge).await;
        }
        let mut ops = vec![Op::Put { key: target.key(), expect: expect(current), draft }];
        ops.extend(extra);
        ops.extend(charge.ops);
        match self.store.commit(ops).await {
            Ok(committed) => {
                let written = committed.values.into_iter().next().flatten();
                let written =
                    written.ok_or_else(|| Status::internal("the store acknowledged an update without an object"))?;
                served.written(written.object());
                Ok(Outcome::Done(written.object().clone()))
            }
            Err(Rejected::Conflict { op: 0, .. }) if conditional && matches!(change, Change::Replace(_)) => {
                Err(target.changed())
            }
            Err(Rejected::Conflict { .. }) => Ok(Outcome::Again),
            Err(other) => Err(rejected(other)),
        }
    }

    /// The last update of an object that only waited for its finalizers (or its grace period).
    async fn remove(
        &self,
        target: Target<'_>,
        current: &Object,
        gone: Arc<Object>,
        charge: Charge<'_>,
    ) -> Result<Outcome> {
        let mut ops = vec![Op::Delete { key: target.key(), expect: expect(current) }];
        ops.extend(self.allocator.release(target, &gone.value()));
        ops.extend(charge.ops);
        match self.store.commit(ops).await {
            Ok(_) => Ok(Outcome::Done(gone)),
            Err(Rejected::Conflict { .. }) => Ok(Outcome::Again),
            Err(other) => Err(rejected(other)),
        }
    }

    /// The stored form of what the caller wants, decoded and checked against the preconditions in it.
    fn changed_value(
        &self,
        caller: &Caller,
        target: Target<'_>,
        current: &Arc<Object>,
        old: &Value,
        change: &Change<'_>,
        options: &WriteOptions,
        books: &Books<'_>,
    ) -> Result<Value> {
        let served = target.served;
        let mut object = match change {
            Change::Replace(body) => {
                let mut body = body.clone();
                caller.warn(meta::dedup_owners(&mut body, ""));
                body
            }
            Change::Patch(patch) => {
                let mut base = old.clone();
                served.from_storage(&mut base);
                decode::patch(&served.kind, books, base, patch)?
            }
            Change::With(change) => {
                let mut object = old.clone();
                change(&mut object)?;
                return Ok(object);
            }
        };
        meta::place(target, &mut object)?;
        meta::preconditions(target, &object, current)?;
        if let Change::Patch(patch) = change {
            // a body was decoded at the door; a patch's result only now has a shape
            let (decoded, warnings) = decode::patched_object(&served.kind, &object, patch, options.field_validation)?;
            caller.warn(warnings);
            object = decoded;
        }
        served.to_storage(&mut object);
        Ok(object)
    }
}

/// Keeps of `new` only what the subresource may write, for the parts that the descriptor leaves to us.
fn narrow(new: &mut Value, old: &Value, part: Part) {
    let field = match part {
        Part::Main | Part::Status | Part::Approval => return,
        Part::EphemeralContainers => "/spec/ephemeralContainers",
        Part::Finalize => "/spec/finalizers",
        Part::Resize => return narrow_resize(new, old),
    };
    let written = new.pointer(field).cloned();
    let managed = new["metadata"].get("managedFields").cloned();
    *new = old.clone();
    if let Some(managed) = managed {
        new["metadata"]["managedFields"] = managed;
    }
    let Some((parent, leaf)) = field[1..].split_once('/') else { return };
    match written {
        Some(value) => new[parent][leaf] = value,
        None => {
            if let Some(parent) = new.get_mut(parent).and_then(Value::as_object_mut) {
                parent.remove(leaf);
            }
        }
    }
}

/// `pods/resize` writes the resources and resize policies of containers, nothing else.
fn narrow_resize(new: &mut Value, old: &Value) {
    let mut kept = old.clone();
    for list in ["containers", "initContainers"] {
        for container in kept["spec"][list].as_array_mut().into_iter().flatten() {
            let wanted = new["spec"][list].as_array().into_iter().flatten().find(|c| c["name"] == container["name"]);
            for field in ["resources", "resizePolicy"] {
                if let Some(value) = wanted.and_then(|w| w.get(field)) {
                    container[field] = value.clone();
                }
            }
        }
    }
    *new = kept;
}

/// Whether nothing holds an object any more whose deletion has begun.
pub(super) fn leaves(deletion: Deletion, object: &Value) -> bool {
    let metadata = &object["metadata"];
    let empty = |list: &Value| list.as_array().is_none_or(Vec::is_empty);
    !metadata["deletionTimestamp"].is_null()
        && empty(&metadata["finalizers"])
        && match deletion {
            Deletion::Plain => true,
            Deletion::Graceful => metadata["deletionGracePeriodSeconds"].as_i64().unwrap_or(0) == 0,
            Deletion::Namespace => empty(&object["spec"]["finalizers"]),
        }
}

/// Whether a write would change nothing; resourceVersion and timestamps of managed fields apart.
fn same(new: &Value, old: &Value) -> bool {
    let (Some(new), Some(old)) = (new.as_object(), old.as_object()) else { return false };
    let others = |m: &serde_json::Map<String, Value>| m.len() - usize::from(m.contains_key("metadata"));
    others(new) == others(old)
        && new.iter().all(|(key, value)| key == "metadata" || old.get(key) == Some(value))
        && bare(&new["metadata"]) == bare(&old["metadata"])
}

fn bare(metadata: &Value) -> Value {
    let mut metadata = metadata.clone();
    if let Some(map) = metadata.as_object_mut() {
        map.remove("resourceVersion");
        for entry in map.get_mut("managedFields").and_then(Value::as_array_mut).into_iter().flatten() {
            if let Some(entry) = entry.as_object_mut() {
                entry.remove("time");
            }
        }
    }
    metadata
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_keeps_a_deleted_object() {
        let deleted = |rest: Value| {
            let mut object = json!({"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}});
            if let (Some(metadata), Some(more)) = (object["metadata"].as_object_mut(), rest.as_object()) {
                metadata.extend(more.clone());
            }
            object
        };
        for (deletion, object, expected) in [
            (Deletion::Plain, json!({"metadata": {}}), false),
            (Deletion::Plain, deleted(json!({})), true),
            (Deletion::Plain, deleted(json!({"finalizers": ["a"]})), false),
            (Deletion::Graceful, deleted(json!({"deletionGracePeriodSeconds": 30})), false),
            (Deletion::Graceful, deleted(json!({"deletionGracePeriodSeconds": 0})), true),
            (Deletion::Namespace, deleted(json!({})), true),
        ] {
            assert_eq!(leaves(deletion, &object), expected, "{deletion:?} {object}");
        }
    }
}
