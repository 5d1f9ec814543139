//! Reads and writes of objects, the same for every kind and for every door (HTTP or in process).
//!
//! A write is a closure over the current version, run again when another writer was faster:
//! patch ─ mutating admission ─ defaults ─ validate ─ validating admission ─ commit.

pub mod allocate;
mod beyond;
mod charge;
mod create;
mod delete;
mod evict;
pub mod list;
pub(crate) mod meta;
mod pods;
mod scale;
pub mod turns;
mod update;

pub use delete::Deleted;
pub use update::Change;

use crate::{
    admission::{self, Chain, Operation},
    auth::{Authorizer, User},
    books::Books,
    catalog::{Catalog, Served},
    storage::{self, Kept, Snapshot, Store},
    view::StoreView,
};
use allocate::Allocator;
use coracle_api::{Object, Result, Status, WriteOptions};
use coracle_base::SharedClock;
use coracle_store::Rejected;
use jiff::Timestamp;
use parking_lot::Mutex;
use std::sync::Arc;

/// How often a write is run again before the conflict is the caller's.
const RETRIES: usize = 8;

/// What reads and writes need.
pub struct Registry {
    /// The store.
    pub store: Store,
    /// What is served.
    pub catalog: Catalog,
    /// Admission.
    pub chain: Chain,
    /// For the rule that nobody grants more than they have.
    pub authorizer: Arc<dyn Authorizer>,
    /// The world for admission plugins.
    pub view: StoreView,
    /// Time.
    pub clock: SharedClock,
    /// Service addresses and node ports.
    pub allocator: Allocator,
    /// Who may charge a namespace's quotas next.
    pub turns: turns::Turns,
    /// Snapshots that clients page through.
    pub paging: list::Paging,
}

/// On whose behalf, and where warnings go.
pub struct Caller {
    /// Who.
    pub user: User,
    /// Warnings for the response.
    pub warnings: Mutex<Vec<String>>,
}

impl Caller {
    /// A caller.
    pub fn new(user: User) -> Self {
        Self { user, warnings: Mutex::default() }
    }

    /// Adds warnings, each once, and not more than an answer has room for.
    pub fn warn(&self, warnings: impl IntoIterator<Item = String>) {
        const MOST: usize = 256;
        let mut all = self.warnings.lock();
        for warning in warnings {
            if all.len() < MOST && !all.contains(&warning) {
                all.push(warning);
            }
        }
    }
}

/// One object or part of it: what a request is about.
#[derive(Clone, Copy)]
pub struct Target<'a> {
    /// The kind.
    pub served: &'a Arc<Served>,
    /// Namespace or empty.
    pub namespace: &'a str,
    /// Name; empty for a create with generateName.
    pub name: &'a str,
    /// Subresource or empty.
    pub subresource: &'a str,
}

impl Target<'_> {
    /// The key in the store.
    pub fn key(&self) -> coracle_store::Key {
        format!("{}{}/{}", self.served.bucket, self.namespace, self.name).into()
    }

    fn not_found(&self) -> Status {
        Status::not_found(&self.served.resource, self.name)
    }

    fn changed(&self) -> Status {
        Status::conflict(
            &self.served.resource,
            self.name,
            "the object has been modified; please apply your changes to the latest version and try again",
        )
    }
}

impl Registry {
    /// Now, to the second, as objects carry it.
    pub fn now(&self) -> Timestamp {
        let now = self.clock.now();
        Timestamp::from_second(now.as_second()).unwrap_or(now)
    }

    /// One object, as it lies in the store.
    ///
    /// # Errors
    /// 404.
    pub fn get(&self, target: Target<'_>) -> Result<Arc<Object>> {
        self.current(&self.store.snapshot(), target)
    }

    fn current(&self, snapshot: &Snapshot, target: Target<'_>) -> Result<Arc<Object>> {
        snapshot.get(&target.key()).map(|kept| kept.object().clone()).ok_or_else(|| target.not_found())
    }

    /// Who set which field of `target`, for a write with these options.
    fn books<'a>(&self, target: Target<'a>, options: &'a WriteOptions) -> Books<'a> {
        Books::new(self.catalog.kinds(), target, options, self.now())
    }

    fn admission<'a>(
        &'a self,
        caller: &'a Caller,
        target: Target<'a>,
        operation: Operation,
        old: Option<&'a Arc<Object>>,
        dry_run: bool,
    ) -> admission::Request<'a> {
        admission::Request {
            operation,
            resource: &target.served.resource,
            subresource: target.subresource,
            namespace: target.namespace,
            name: target.name,
            old,
            user: &caller.user,
            dry_run,
            view: &self.view,
            warnings: &caller.warnings,
        }
    }

    /// Lets admission refuse a connection (`exec`, `attach`, `portforward`, `proxy`).
    ///
    /// # Errors
    /// The refusal.
    pub async fn admit_connect(&self, caller: &Caller, target: Target<'_>) -> Result<()> {
        let request = self.admission(caller, target, Operation::Connect, None, false);
        self.chain.mutate(&request, &mut serde_json::Value::Null).await?;
        self.chain.validate(&request, &serde_json::Value::Null).await
    }
}

/// What a failed commit means when it was no conflict.
fn rejected(error: Rejected<Kept>) -> Status {
    match error {
        Rejected::Conflict { .. } => Status::internal("a write without a precondition conflicted"),
        Rejected::Disk(why) => Status::internal(format!("the store cannot write: {why}")),
        Rejected::Closed => Status::unavailable("the server is shutting down"),
    }
}

/// `metadata.resourceVersion` of a stored object, as a precondition.
fn expect(object: &Object) -> coracle_store::Expect {
    coracle_store::Expect::Revision(object.revision())
}

/// The key of a namespaced core object.
fn core_key(plural: &str, namespace: &str, name: &str) -> coracle_store::Key {
    storage::key("", plural, namespace, name)
}
