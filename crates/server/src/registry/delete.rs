//! Delete and deletecollection: at once, gracefully, or when finalizers let go.
//!
//! Source: apiserver `registry/rest/delete.go`, `registry/generic/registry/store.go`.

use super::{Caller, RETRIES, Registry, Target, charge::Charge, expect, rejected, update};
use crate::{admission::Operation, watch::Selection};
use coracle_api::{DeleteOptions, Draft, FieldError, Object, Propagation, Result, Status};
use coracle_kinds::Deletion;
use coracle_store::{Op, Rejected};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use std::sync::Arc;

/// The finalizer with which the garbage collector orphans dependents.
const ORPHAN: &str = "orphan";
/// The finalizer with which it deletes dependents first.
const FOREGROUND: &str = "foregroundDeletion";

/// What a delete did.
#[derive(Clone, Debug)]
pub enum Deleted {
    /// The object is gone; its last state.
    Gone(Arc<Object>),
    /// Deletion has begun.
    Going(Arc<Object>),
}

impl Deleted {
    /// The object, gone or going.
    pub fn object(&self) -> &Arc<Object> {
        match self {
            Self::Gone(object) | Self::Going(object) => object,
        }
    }
}

/// What to do with an object that is to be deleted.
#[derive(Debug, PartialEq)]
enum Plan {
    /// Take it away.
    Remove,
    /// Nothing: deletion is under way already and this request adds nothing.
    Nothing,
    /// Write this version.
    Mark(Value),
}

impl Registry {
    /// Deletes one object.
    ///
    /// # Errors
    /// 404, 409 (preconditions), 403 (admission), 422 (options).
    pub async fn delete(&self, caller: &Caller, target: Target<'_>, options: &DeleteOptions) -> Result<Deleted> {
        check_options(options)?;
        if let Some(why) = refuses(target, target.name) {
            return Err(Status::forbidden(&target.served.resource, target.name, why));
        }
        let dry_run = !options.dry_run.is_empty();
        for _ in 0..RETRIES {
            let current = self.current(&self.store.snapshot(), target)?;
            preconditions(target, &current, options)?;
            let request = self.admission(caller, target, Operation::Delete, Some(&current), dry_run);
            self.chain.mutate(&request, &mut Value::Null).await?;
            self.chain.validate(&request, &Value::Null).await?;
            let kind = target.served.kind.storage();
            let mut value = current.value();
            if value["metadata"]["deletionTimestamp"].is_null() {
                kind.rules.begin_deletion(&mut value, self.now());
            }
            let grace = kind.grace_period(&value, options.grace_period_seconds);
            let mut ops = Vec::new();
            let mut charge = Charge::default();
            let plan = plan(kind.deletion, value, options, grace, self.now());
            let removes = plan == Plan::Remove;
            match plan {
                Plan::Nothing => return Ok(Deleted::Going(current)),
                Plan::Mark(value) if dry_run => {
                    return Ok(Deleted::Going(Arc::new(Draft::new(&value)?.seal(current.revision()))));
                }
                _ if dry_run => return Ok(Deleted::Gone(current)),
                Plan::Remove => {
                    ops.push(Op::Delete { key: target.key(), expect: expect(&current) });
                    let gone = current.value();
                    ops.extend(self.allocator.release(target, &gone));
                    charge = self.charge(target, Some(&gone), None).await?;
                    ops.append(&mut charge.ops);
                }
                Plan::Mark(value) => {
                    ops.push(Op::Put { key: target.key(), expect: expect(&current), draft: Draft::new(&value)? });
                }
            }
            let done = self.store.commit(ops).await;
            drop(charge);
            match done {
                Ok(_) if removes => return Ok(Deleted::Gone(current)),
                Ok(committed) => {
                    let written = committed.values.into_iter().next().flatten();
                    return written
                        .map(|kept| Deleted::Going(kept.object().clone()))
                        .ok_or_else(|| Status::internal("the store acknowledged an update without an object"));
                }
                Err(Rejected::Conflict { .. }) => {}
                Err(other) => return Err(rejected(other)),
            }
        }
        Err(target.changed())
    }

    /// Deletes what matches; the objects, gone or going.
    ///
    /// # Errors
    /// Those of [`Registry::delete`]; objects that vanish in between are passed over.
    pub async fn delete_collection(
        &self,
        caller: &Caller,
        target: Target<'_>,
        selection: &Selection,
        options: &DeleteOptions,
    ) -> Result<Vec<Arc<Object>>> {
        let snapshot = self.store.snapshot();
        let prefix = target.served.prefix(target.namespace);
        let found: Vec<Arc<Object>> = snapshot
            .range(&prefix, "")
            .filter(|(_, kept)| selection.matches(kept) && refuses(target, &kept.object().meta().name).is_none())
            .map(|(_, kept)| kept.object().clone())
            .collect();
        let mut deleted = Vec::with_capacity(found.len());
        for object in found {
            let one = Target { namespace: &object.meta().namespace, name: &object.meta().name, ..target };
            match self.delete(caller, one, options).await {
                Ok(done) => deleted.push(done.object().clone()),
                Err(status) if status.is_not_found() => {}
                Err(other) => return Err(other),
            }
        }
        Ok(deleted)
    }
}

/// Why the object of this name stays, whoever wants it gone.
fn refuses(target: Target<'_>, name: &str) -> Option<&'static str> {
    target.served.kind.storage().rules.refuses_deletion(name)
}

/// Options that contradict each other.
fn check_options(options: &DeleteOptions) -> Result<()> {
    if options.propagation_policy.is_some() && options.orphan_dependents.is_some() {
        let resource = coracle_api::Resource::fixed("meta.k8s.io", "v1", "deleteoptions", "DeleteOptions", false);
        let error = FieldError::invalid(
            "propagationPolicy",
            json!(options.propagation_policy),
            "orphanDependents and deletionPropagation cannot be both set",
        );
        return Err(Status::invalid(&resource, "", &[error]));
    }
    Ok(())
}

fn preconditions(target: Target<'_>, current: &Object, options: &DeleteOptions) -> Result<()> {
    let Some(conditions) = &options.preconditions else { return Ok(()) };
    let failed = |what: &str, asked: &str, found: &str| {
        let why = format!("Precondition failed: {what} in precondition: {asked}, {what} in object meta: {found}");
        Err(Status::conflict(&target.served.resource, target.name, why))
    };
    match (&conditions.uid, &conditions.resource_version) {
        (Some(uid), _) if *uid != current.meta().uid => failed("UID", uid, &current.meta().uid),
        (_, Some(version)) if *version != current.revision().to_string() => {
            failed("ResourceVersion", version, &current.revision().to_string())
        }
        _ => Ok(()),
    }
}

/// Decides; `grace` is the kind's answer to the requested grace period.
fn plan(deletion: Deletion, mut object: Value, options: &DeleteOptions, grace: i64, now: Timestamp) -> Plan {
    let before = object.clone();
    finalizers(&mut object, options);
    let deleting = !object["metadata"]["deletionTimestamp"].is_null();
    let began = object["metadata"]["deletionGracePeriodSeconds"].as_i64();
    match deletion {
        // a second delete may only shorten the grace period
        Deletion::Graceful
            if deleting && options.grace_period_seconds.is_some_and(|g| began.is_some_and(|b| g < b)) =>
        {
            mark(&mut object, now, grace);
        }
        _ if deleting => {}
        Deletion::Namespace => {
            mark(&mut object, now, 0);
            object["metadata"].as_object_mut().map(|m| m.remove("deletionGracePeriodSeconds"));
            object["status"]["phase"] = json!("Terminating");
        }
        Deletion::Graceful | Deletion::Plain => mark(&mut object, now, grace),
    }
    if update::leaves(deletion, &object) {
        Plan::Remove
    } else if object == before {
        Plan::Nothing
    } else {
        if let Some(generation) = object["metadata"]["generation"].as_i64()
            && !deleting
        {
            object["metadata"]["generation"] = json!(generation + 1);
        }
        Plan::Mark(object)
    }
}

fn mark(object: &mut Value, now: Timestamp, grace: i64) {
    let at = now.checked_add(SignedDuration::from_secs(grace)).unwrap_or(now);
    object["metadata"]["deletionTimestamp"] = json!(at.to_string());
    object["metadata"]["deletionGracePeriodSeconds"] = json!(grace);
}

/// The garbage collector's finalizers, as the propagation policy wants them.
fn finalizers(object: &mut Value, options: &DeleteOptions) {
    let (orphan, foreground) = match (options.propagation_policy, options.orphan_dependents) {
        (Some(Propagation::Orphan), _) | (None, Some(true)) => (true, false),
        (Some(Propagation::Foreground), _) => (false, true),
        (Some(Propagation::Background), _) | (None, Some(false)) => (false, false),
        (None, None) => return,
    };
    let mut list: Vec<Value> = object["metadata"]["finalizers"].as_array().cloned().unwrap_or_default();
    for (name, wanted) in [(ORPHAN, orphan), (FOREGROUND, foreground)] {
        let has = list.iter().any(|f| f == name);
        if wanted && !has {
            list.push(json!(name));
        } else if !wanted && has {
            list.retain(|f| f != name);
        }
    }
    if let Some(metadata) = object["metadata"].as_object_mut() {
        if list.is_empty() {
            metadata.remove("finalizers");
        } else {
            metadata.insert("finalizers".into(), Value::Array(list));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plans_of_deletion() {
        let now: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        let policy = |p| DeleteOptions { propagation_policy: Some(p), ..DeleteOptions::default() };
        let grace = |g| DeleteOptions { grace_period_seconds: Some(g), ..DeleteOptions::default() };
        let going = |g: i64| json!({"metadata": {"deletionTimestamp": "2026-01-01T00:00:30Z", "deletionGracePeriodSeconds": g}});
        for (name, deletion, object, options, seconds, expected) in [
            ("plain", Deletion::Plain, json!({"metadata": {}}), DeleteOptions::default(), 0, "remove"),
            (
                "held",
                Deletion::Plain,
                json!({"metadata": {"finalizers": ["x"]}}),
                DeleteOptions::default(),
                0,
                "mark 0",
            ),
            ("orphan", Deletion::Plain, json!({"metadata": {}}), policy(Propagation::Orphan), 0, "mark 0 orphan"),
            (
                "foreground",
                Deletion::Plain,
                json!({"metadata": {}}),
                policy(Propagation::Foreground),
                0,
                "mark 0 foregroundDeletion",
            ),
            (
                "background",
                Deletion::Plain,
                json!({"metadata": {"finalizers": ["orphan"]}}),
                policy(Propagation::Background),
                0,
                "remove",
            ),
            ("graceful", Deletion::Graceful, json!({"metadata": {}}), DeleteOptions::default(), 30, "mark 30"),
            ("graceful at once", Deletion::Graceful, json!({"metadata": {}}), grace(0), 0, "remove"),
            ("again", Deletion::Graceful, going(30), DeleteOptions::default(), 30, "nothing"),
            ("shorter", Deletion::Graceful, going(30), grace(5), 5, "mark 5"),
            ("the node's last word", Deletion::Graceful, going(30), grace(0), 0, "remove"),
        ] {
            let got = match plan(deletion, object, &options, seconds, now) {
                Plan::Remove => "remove".to_string(),
                Plan::Nothing => "nothing".to_string(),
                Plan::Mark(object) => {
                    let metadata = &object["metadata"];
                    let first = metadata["finalizers"][0].as_str().filter(|f| *f != "x").unwrap_or_default();
                    format!("mark {} {first}", metadata["deletionGracePeriodSeconds"]).trim().to_string()
                }
            };
            assert_eq!(got, expected, "{name}");
        }
    }
}
