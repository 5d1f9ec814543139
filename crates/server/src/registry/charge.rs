//! Quotas are charged in the commit that writes an object, and relieved in the one that removes it: what they say is in use always is.
//!
//! Writers that count against a quota take turns, by namespace; else each but one of those at a time would run again.

use super::{Registry, Target, core_key, turns::Turn};
use crate::storage::{self, Kept, Snapshot};
use coracle_api::{Draft, Object, Result, Status};
use coracle_kinds::quota::{Measure, Write};
use coracle_store::{Expect, Op};
use serde_json::Value;
use std::sync::Arc;

const QUOTAS: &str = "resourcequotas";

/// What has to be committed with a write.
#[derive(Default)]
pub(super) struct Charge<'a> {
    /// New states of quotas, each on condition that it is still the one that was judged.
    pub(super) ops: Vec<Op<Kept>>,
    /// Held until the commit is done.
    _turn: Option<Turn<'a>>,
}

impl Registry {
    /// What a write from `old` to `new` does to the quotas of its namespace.
    ///
    /// # Errors
    /// 403 when a quota has no room.
    pub(super) async fn charge(
        &self,
        target: Target<'_>,
        old: Option<&Value>,
        new: Option<&Value>,
    ) -> Result<Charge<'_>> {
        let snapshot = self.store.snapshot();
        if target.namespace.is_empty() || quotas(&snapshot, target.namespace).is_empty() {
            return Ok(Charge::default());
        }
        let resource = &target.served.kind.storage().resource;
        // events tell what happened, and must not be lost for want of room
        if resource.plural == "events" {
            return Ok(Charge::default());
        }
        let measure = Measure::of(&resource.group, &resource.plural);
        let refusable = new.is_some() && measure.judges(old.is_none(), target.subresource);
        let write = Write { measure, old, new, refusable, now: self.clock.now() };
        if charges(&snapshot, target, &write)?.is_empty() {
            return Ok(Charge::default());
        }
        let turn = self.turns.take(target.namespace).await;
        let ops = charges(&self.store.snapshot(), target, &write)?;
        Ok(Charge { ops, _turn: Some(turn) })
    }
}

fn quotas(snapshot: &Snapshot, namespace: &str) -> Vec<Arc<Object>> {
    snapshot.range(&storage::prefix("", QUOTAS, namespace), "").map(|(_, kept)| kept.object().clone()).collect()
}

fn charges(snapshot: &Snapshot, target: Target<'_>, write: &Write<'_>) -> Result<Vec<Op<Kept>>> {
    let mut ops = Vec::new();
    for quota in quotas(snapshot, target.namespace) {
        let key = core_key(QUOTAS, target.namespace, &quota.meta().name);
        // a quota does not count its own making or end
        if key == target.key() {
            continue;
        }
        let mut value = quota.value();
        let object = write.new.or(write.old).unwrap_or(&Value::Null);
        let used = write.charge(&value).map_err(|refusal| {
            let name = object["metadata"]["name"].as_str().unwrap_or(target.name);
            Status::forbidden(&target.served.resource, name, refusal)
        })?;
        if let Some(used) = used {
            if !used.is_null() {
                value["status"]["used"] = used;
            }
            ops.push(Op::Put { key, expect: Expect::Revision(quota.revision()), draft: Draft::new(&value)? });
        }
    }
    Ok(ops)
}
