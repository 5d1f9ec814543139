//! ResourceQuotas: what is in use when a quota is made or changed, and now and then again.
//!
//! The server charges every write to the quotas that it concerns in one commit (`server/src/registry/charge.rs`), so counts are never behind and
//! nothing has to be counted when an object comes or goes. What is left to do here: the first count, another one when `hard` changes, one for pods
//! that stop counting by the clock alone, and a look at everything every five minutes, as upstream.

use crate::framework::{Context, Controller, Key, Requeue};
use async_trait::async_trait;
use coracle_api::{Object, Quantity, Resource, Result};
use coracle_client::{Change, ClientExt, Kind, View, ViewExt};
use coracle_kinds::quota::{self, Measure, Usage, bounded, measured_by};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Pod, ResourceQuota};
use serde_json::{Value, json};
use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

/// How often everything is counted again.
const RESYNC: Duration = Duration::from_secs(300);

/// The controller.
#[derive(Default)]
pub struct ResourceQuotas {
    ends: Ends,
}

/// For each namespace when the first of its deleting pods stops to count. Kept here, as that pod may be gone when the controller gets to it.
#[derive(Default)]
struct Ends(Mutex<HashMap<String, Timestamp>>);

impl Ends {
    /// One more is to be looked at.
    fn add(&self, namespace: &str, end: Timestamp) {
        let mut ends = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        ends.entry(namespace.to_string()).and_modify(|first| *first = end.min(*first)).or_insert(end);
    }

    /// The first; who takes it must look.
    fn take(&self, namespace: &str) -> Option<Timestamp> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(namespace)
    }
}

/// What a namespace's turn is for.
#[derive(Debug, PartialEq, Eq)]
struct Turn {
    /// A pod has stopped to count: everything is counted.
    count: bool,
    /// When the next one will.
    next: Option<Timestamp>,
}

impl Turn {
    /// `first`: the end that was waited for; `ends`: those of the pods that are being deleted.
    fn new(first: Option<Timestamp>, ends: impl IntoIterator<Item = Timestamp>, now: Timestamp) -> Self {
        let next = ends.into_iter().filter(|end| *end >= now).min();
        Self { count: first.is_some_and(|end| end < now), next }
    }
}

/// The objects of a resource (group, plural) in a quota's namespace.
type Objects<'a> = dyn Fn(&str, &str) -> Vec<Arc<Object>> + 'a;

/// The status that a quota should have.
fn plan(quota: &Value, objects: &Objects<'_>, now: Timestamp) -> Value {
    let mut sources: BTreeMap<(String, String), BTreeSet<&String>> = BTreeMap::new();
    for name in bounded(quota) {
        sources.entry(measured_by(name)).or_default().insert(name);
    }
    let mut used = Usage::new();
    for ((group, plural), names) in &sources {
        let measure = Measure::of(group, plural);
        let mut sums = Usage::new();
        for object in objects(group, plural) {
            let object = object.value();
            if quota::covers(quota, measure, &object) {
                for (name, amount) in measure.usage(&object, now) {
                    *sums.entry(name).or_insert(Quantity::ZERO) += amount;
                }
            }
        }
        for name in names {
            used.insert((*name).clone(), sums.get(*name).copied().unwrap_or(Quantity::ZERO));
        }
    }
    let used: BTreeMap<String, String> = used.into_iter().map(|(name, amount)| (name, amount.to_string())).collect();
    json!({"hard": quota["spec"]["hard"], "used": used})
}

/// Whether a quota was counted for what it bounds now.
fn is_counted(quota: &Value) -> bool {
    let (hard, status) = (&quota["spec"]["hard"], &quota["status"]);
    *hard == status["hard"] && bounded(quota).all(|name| !status["used"][name.as_str()].is_null())
}

#[async_trait]
impl Controller for ResourceQuotas {
    fn name(&self) -> &'static str {
        "resourcequota-controller"
    }

    fn watches(&self) -> Vec<Resource> {
        vec![ResourceQuota::resource(), Pod::resource()]
    }

    fn keys(&self, view: &dyn View, change: &Change) -> Vec<Key> {
        let Some(new) = &change.new else { return Vec::new() };
        if *change.resource == Pod::resource() {
            // pods stop to count when they should be gone, which no write tells
            let meta = new.meta();
            if !meta.is_deleting() || view.list(&ResourceQuota::resource(), &meta.namespace).is_empty() {
                return Vec::new();
            }
            let end = quota::overdue(&new.value());
            let known = change.old.as_ref().and_then(|old| quota::overdue(&old.value()));
            let Some(end) = end.filter(|end| known != Some(*end)) else { return Vec::new() };
            self.ends.add(&meta.namespace, end);
            // one for all pods of the namespace: they are counted together
            return vec![Key::of(&change.resource, &meta.namespace, "")];
        }
        let new = new.value();
        // a first count is looked at once more: what was written meanwhile was not charged
        let recounted = change.old.as_ref().is_none_or(|old| old.value()["status"]["hard"] != new["status"]["hard"]);
        if recounted || !is_counted(&new) { vec![Key::from_change(change)] } else { Vec::new() }
    }

    async fn reconcile(&self, ctx: &Context, key: &Key) -> Result<Requeue> {
        if key.resource.is_some() {
            return self.overdue(ctx, &key.namespace).await;
        }
        count(ctx, &key.namespace, &key.name).await?;
        Ok(Requeue::After(RESYNC))
    }
}

/// Counts a quota, and writes what is found if it is something else. A charge in the meantime makes the write fail with a conflict.
async fn count(ctx: &Context, namespace: &str, name: &str) -> Result<()> {
    let Some(quota) = ctx.view.typed::<ResourceQuota>(namespace, name) else { return Ok(()) };
    let value = quota.object.value();
    // the world is kept by group and plural name; nothing else of a resource is needed to find its objects
    let objects = |group: &str, plural: &str| {
        let (group, plural) = (group.to_string().into(), plural.to_string().into());
        ctx.view.list(&Resource { group, plural, ..ResourceQuota::resource() }, namespace)
    };
    let status = plan(&value, &objects, ctx.clock.now());
    if value["status"] != status {
        ctx.client.update_status(&quota, &status).await?;
    }
    Ok(())
}

impl ResourceQuotas {
    /// Pods that should be gone by now no longer count. One that went before its end was taken off by its removal, one that went after it was not.
    async fn overdue(&self, ctx: &Context, namespace: &str) -> Result<Requeue> {
        let now = ctx.clock.now();
        let first = self.ends.take(namespace);
        let pods = ctx.view.list(&Pod::resource(), namespace);
        let deleting = pods.iter().filter(|pod| pod.meta().is_deleting());
        let turn = Turn::new(first, deleting.filter_map(|pod| quota::overdue(&pod.value())), now);
        if let Some(next) = turn.next {
            self.ends.add(namespace, next);
        }
        if turn.count
            && let Err(error) = count_all(ctx, namespace).await
        {
            first.into_iter().for_each(|end| self.ends.add(namespace, end));
            return Err(error);
        }
        let left = turn.next.and_then(|next| Duration::try_from(next.duration_since(now)).ok());
        Ok(Requeue::soonest([left.map(|left| left + Duration::from_millis(1))]))
    }
}

async fn count_all(ctx: &Context, namespace: &str) -> Result<()> {
    for quota in ctx.view.list(&ResourceQuota::resource(), namespace) {
        count(ctx, namespace, &quota.meta().name).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{ago, now};

    fn check(spec: Value, world: &[(&str, Value)], expected: &Value) {
        let quota = json!({"spec": spec});
        let objects = |group: &str, plural: &str| {
            let of = |(resource, _): &&(&str, Value)| *resource == format!("{plural}.{group}").trim_end_matches('.');
            world.iter().filter(of).map(|(_, value)| Arc::new(Object::from_value(value).unwrap())).collect()
        };
        let found = plan(&quota, &objects, now());
        assert_eq!(found, json!({"hard": spec["hard"], "used": expected}));
        assert!(is_counted(&json!({"spec": spec, "status": found})) && !is_counted(&quota));
    }

    #[test]
    fn pods_that_are_overdue_are_counted_together() {
        // seconds ago: what was waited for, ends of pods that are there; whether it counts, when it looks again
        for (first, ends, count, next) in [
            (None, &[][..], false, None),
            (Some(-10), &[-10][..], false, Some(-10)),
            (Some(1), &[1, 3, -20, -5], true, Some(-5)),
            // the pod went after its end
            (Some(1), &[], true, None),
            (Some(1), &[-5], true, Some(-5)),
            // counted before, and still there
            (None, &[7, -5], false, Some(-5)),
            // not yet past
            (Some(0), &[0], false, Some(0)),
        ] {
            let turn = Turn::new(first.map(ago), ends.iter().copied().map(ago), now());
            assert_eq!(turn, Turn { count, next: next.map(ago) }, "{first:?} {ends:?}");
        }
        let waited = Ends::default();
        for end in [5, 9, 7] {
            waited.add("n", ago(end));
        }
        assert_eq!((waited.take("m"), waited.take("n"), waited.take("n")), (None, Some(ago(9)), None));
    }

    #[test]
    fn what_is_there_is_counted() {
        let pod = |phase: &str, cpu: &str| {
            json!({"metadata": {"name": "p"}, "status": {"phase": phase}, "spec": {"containers": [
                {"name": "a", "resources": {"requests": {"cpu": cpu}}}]}})
        };
        let world = [
            ("pods", pod("Running", "300m")),
            ("pods", pod("Running", "1")),
            ("pods", pod("Failed", "1")),
            ("secrets", json!({"metadata": {"name": "s"}})),
            ("foos.example.com", json!({"metadata": {"name": "f"}})),
        ];
        check(
            json!({"hard": {"pods": "9", "cpu": "9", "count/pods": "9", "secrets": "9", "count/foos.example.com": "9", "configmaps": "9"}}),
            &world,
            &json!({"pods": "2", "cpu": "1300m", "count/pods": "3", "secrets": "1", "count/foos.example.com": "1", "configmaps": "0"}),
        );
        check(json!({"hard": {"pods": "9"}, "scopes": ["BestEffort"]}), &world, &json!({"pods": "0"}));
    }
}
