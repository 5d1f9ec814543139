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
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

/// How often everything is counted again.
const RESYNC: Duration = Duration::from_secs(300);

/// The controller.
#[derive(Default)]
pub struct ResourceQuotas;

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
            let bounded = || !view.list(&ResourceQuota::resource(), &meta.namespace).is_empty();
            let watched = meta.is_deleting() && bounded();
            return watched.then(|| Key::of(&change.resource, &meta.namespace, &meta.name)).into_iter().collect();
        }
        let new = new.value();
        // a first count is looked at once more: what was written meanwhile was not charged
        let recounted = change.old.as_ref().is_none_or(|old| old.value()["status"]["hard"] != new["status"]["hard"]);
        if recounted || !is_counted(&new) { vec![Key::from_change(change)] } else { Vec::new() }
    }

    async fn reconcile(&self, ctx: &Context, key: &Key) -> Result<Requeue> {
        if key.resource.is_some() {
            return overdue(ctx, key).await;
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

/// A pod that should be gone by now no longer counts. One that went before was taken off by its removal.
async fn overdue(ctx: &Context, key: &Key) -> Result<Requeue> {
    let Some(pod) = ctx.view.get(&Pod::resource(), &key.namespace, &key.name) else { return Ok(Requeue::No) };
    let Some(end) = quota::overdue(&pod.value()) else { return Ok(Requeue::No) };
    if let Ok(left) = Duration::try_from(end.duration_since(ctx.clock.now()))
        && !left.is_zero()
    {
        return Ok(Requeue::After(left + Duration::from_millis(1)));
    }
    for quota in ctx.view.list(&ResourceQuota::resource(), &key.namespace) {
        count(ctx, &key.namespace, &quota.meta().name).await?;
    }
    Ok(Requeue::No)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::now;

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
