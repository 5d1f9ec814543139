//! Create.

use super::{Caller, RETRIES, Registry, Target, allocate::Allocator, meta, rejected};
use crate::admission::Operation;
use coracle_api::{Draft, FieldError, Object, Result, Status, WriteOptions};
use coracle_store::{Expect, Op, Rejected};
use serde_json::{Value, json};
use std::sync::Arc;

/// Whether the fields' owners still have to be noted.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Tracking {
    /// As those of a create or update.
    Update,
    /// They are in the object: it was applied.
    Done,
}

/// How the refusal begins of a name whose object is being deleted.
const GOING: &str = "object is being deleted: ";

/// Whoever names a base is told that names are made from it, even where they named the object, too.
fn taken(target: Target<'_>, base: &str, status: Status) -> Status {
    if !status.is_already_exists() || base.is_empty() {
        return status;
    }
    let mut told = Status::generated_name_exists(&target.served.resource, target.name);
    if status.message.starts_with(GOING) {
        told.message.insert_str(0, GOING);
    }
    told
}

impl Registry {
    /// Creates an object from a decoded body. `target.name` is empty; the body names it, or `generateName` does.
    ///
    /// # Errors
    /// As upstream: 400, 403, 409, 422.
    pub async fn create(
        &self,
        caller: &Caller,
        target: Target<'_>,
        body: Value,
        options: &WriteOptions,
    ) -> Result<Arc<Object>> {
        self.create_tracked(caller, target, body, options, Tracking::Update).await
    }

    pub(super) async fn create_tracked(
        &self,
        caller: &Caller,
        target: Target<'_>,
        mut body: Value,
        options: &WriteOptions,
        tracking: Tracking,
    ) -> Result<Arc<Object>> {
        let served = target.served;
        if served.custom.as_ref().is_some_and(|custom| custom.terminating()) {
            let name = body["metadata"]["name"].as_str().unwrap_or_default();
            let why = "create not allowed while custom resource definition is terminating";
            return Err(Status::forbidden(&served.resource, name, why));
        }
        meta::place(target, &mut body)?;
        served.to_storage(&mut body);
        let given = body["metadata"]["name"].as_str().unwrap_or_default().to_string();
        let base = body["metadata"]["generateName"].as_str().unwrap_or_default().to_string();
        if !given.is_empty() || base.is_empty() {
            let named = Target { name: &given, ..target };
            let created = self.create_named(caller, named, body, options, tracking).await;
            return created.map_err(|status| taken(named, &base, status));
        }
        let mut tries = meta::NAMES_TRIED;
        loop {
            let name = meta::generate(&base);
            let named = Target { name: &name, ..target };
            tries -= 1;
            match self.create_named(caller, named, body.clone(), options, tracking).await {
                // another name will not be taken
                Err(status) if status.is_already_exists() && tries > 0 => {}
                done => return done.map_err(|status| taken(named, &base, status)),
            }
        }
    }

    /// What stands at `target` already, as who wants to create it is told.
    fn exists(&self, target: Target<'_>) -> Status {
        let mut status = Status::already_exists(&target.served.resource, target.name);
        if self.store.snapshot().get(&target.key()).is_some_and(|kept| kept.object().meta().is_deleting()) {
            status.message.insert_str(0, GOING);
        }
        status
    }

    async fn create_named(
        &self,
        caller: &Caller,
        target: Target<'_>,
        mut object: Value,
        options: &WriteOptions,
        tracking: Tracking,
    ) -> Result<Arc<Object>> {
        let served = target.served;
        if tracking == Tracking::Update {
            caller.warn(meta::dedup_owners(&mut object, ""));
        }
        let metadata = meta::of(&mut object);
        let is_version = |v: &Value| v.as_str().and_then(|v| v.parse::<u64>().ok()).is_some_and(|v| v != 0);
        let has_version = metadata.get("resourceVersion").is_some_and(is_version);
        metadata.insert("name".into(), json!(target.name));
        meta::begin(metadata, self.now());
        let kind = served.kind.storage();
        kind.default(&mut object)?;
        if tracking == Tracking::Update {
            self.books(target, options).track(None, &mut object).await;
        }
        kind.prepare_create(&mut object);
        kind.rules.stamp(&mut object, None, &self.now().to_string());
        let request = self.admission(caller, target, Operation::Create, None, options.dry_run);
        self.chain.mutate(&request, &mut object).await?;
        kind.default(&mut object)?;
        caller.warn(meta::dedup_owners(&mut object, meta::AFTER_ADMISSION));
        self.may_grant(caller, target, &object)?;
        for _ in 0..RETRIES {
            // what is stored starts the next turn, unless it got addresses in this one or is another form of the object
            let given = (Allocator::serves(target) || !served.is_native()).then(|| object.clone());
            // addresses come from the snapshot that the commit is checked against
            let extra = self.allocator.create(&self.store.snapshot(), target, &mut object)?;
            let mut errors: Vec<FieldError> = self.errors_of_new(target, &object).into_iter().collect();
            errors.extend(kind.validate(&object));
            if served.kind.stored_as.is_some() {
                // what this version asks for beyond what its objects are stored as
                errors.extend(served.kind.rules.validate(&object));
            }
            if target.name.is_empty() && errors.is_empty() {
                errors.push(FieldError::required("metadata.name", "name or generateName is required"));
            }
            if !errors.is_empty() {
                return Err(Status::invalid(&served.resource, target.name, &errors));
            }
            caller.warn(kind.rules.warnings(&object));
            self.chain.validate(&request, &object).await?;
            // a conversion may ask a webhook, which nobody else's turn should wait for
            let stored = served.stored(object).await?;
            let charge = self.charge(target, None, Some(&stored)).await?;
            let draft = Draft::new(&stored)?;
            if options.dry_run {
                if self.store.snapshot().get(&target.key()).is_some() {
                    return Err(self.exists(target));
                }
                return Ok(Arc::new(draft.unwritten()));
            }
            if has_version {
                return Err(Status::new(500, "", "resourceVersion should not be set on objects to be created"));
            }
            let mut ops = vec![Op::Put { key: target.key(), expect: Expect::Absent, draft }];
            ops.extend(extra);
            ops.extend(charge.ops);
            match self.store.commit(ops).await {
                Ok(committed) => {
                    let created = committed.values.into_iter().next().flatten();
                    return created
                        .map(|kept| {
                            served.written(kept.object());
                            kept.object().clone()
                        })
                        .ok_or_else(|| Status::internal("the store acknowledged a create without an object"));
                }
                Err(Rejected::Conflict { op: 0, .. }) => {
                    return Err(self.exists(target));
                }
                // another Service took an address, another object room in a quota
                Err(Rejected::Conflict { .. }) => object = given.unwrap_or(stored),
                Err(other) => return Err(rejected(other)),
            }
        }
        Err(Status::conflict(&served.resource, target.name, "too many writers at once; try again"))
    }

    /// The rule against escalation, for the kinds of RBAC.
    pub(super) fn may_grant(&self, caller: &Caller, target: Target<'_>, object: &Value) -> Result<()> {
        if target.served.resource.group != "rbac.authorization.k8s.io" {
            return Ok(());
        }
        self.authorizer.may_grant(&caller.user, &target.served.resource, object)
    }
}
