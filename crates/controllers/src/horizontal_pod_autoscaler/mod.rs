//! HorizontalPodAutoscaler: as many replicas as their load needs.
//!
//! Every autoscaler is looked at when it comes or is changed, and every 15 s from then on; without autoscalers nothing happens. One look is:
//! the scale of the target ([`target`]), what its metrics say ([`measure`], through the API, as any client), what follows ([`plan`], with
//! [`metric`], [`replicas`] and [`behavior`], all pure), and then the new count and status are written.

mod behavior;
mod measure;
mod metric;
mod plan;
mod replicas;
mod target;
#[cfg(test)]
mod tests;

use crate::{
    framework::{Context, Controller, Key, Requeue},
    members::{Members, Selector},
};
use async_trait::async_trait;
use behavior::History;
use coracle_api::{LabelSelector, Resource, Result};
use coracle_client::{Change, ClientExt, Kind, Typed, View, ViewExt};
use k8s_openapi::api::{autoscaling::v2::HorizontalPodAutoscaler, core::v1::Pod};
use measure::Meter;
use parking_lot::Mutex;
use plan::{Aim, Plan, World};
use std::{
    collections::{BTreeSet, HashMap},
    time::Duration,
};
use target::Target;

/// How often an autoscaler is looked at (`--horizontal-pod-autoscaler-sync-period`).
const PERIOD: Duration = Duration::from_secs(15);

/// The autoscaler of pods' numbers.
#[derive(Default)]
pub struct HorizontalPodAutoscalers {
    /// Which autoscalers which pods have, to find those that have several.
    members: Members,
    histories: Mutex<HashMap<Key, History>>,
}

#[async_trait]
impl Controller for HorizontalPodAutoscalers {
    fn name(&self) -> &'static str {
        "horizontal-pod-autoscaler"
    }

    fn watches(&self) -> Vec<Resource> {
        vec![HorizontalPodAutoscaler::resource(), Pod::resource()]
    }

    fn keys(&self, view: &dyn View, change: &Change) -> Vec<Key> {
        if *change.resource == Pod::resource() {
            // pods make nobody look: the next look is never far
            self.members.pod(change);
            return Vec::new();
        }
        let key = Key::from_change(change);
        if change.new.is_none() {
            self.forget_if_gone(view, &key);
            return Vec::new();
        }
        let same =
            |old: &coracle_api::Meta, new: &coracle_api::Meta| old.uid == new.uid && old.generation == new.generation;
        match (&change.old, &change.new) {
            (Some(old), Some(new)) if same(old.meta(), new.meta()) => Vec::new(),
            _ => vec![key],
        }
    }

    async fn reconcile(&self, ctx: &Context, key: &Key) -> Result<Requeue> {
        let Some(scaler) = ctx.view.typed::<HorizontalPodAutoscaler>(&key.namespace, &key.name) else {
            return Ok(Requeue::No);
        };
        self.look(ctx, key, &scaler).await?;
        Ok(Requeue::After(PERIOD))
    }
}

impl HorizontalPodAutoscalers {
    async fn look(&self, ctx: &Context, key: &Key, scaler: &Typed<HorizontalPodAutoscaler>) -> Result<()> {
        let spec = &scaler.spec;
        let view = ctx.view.as_ref();
        let found = Target::find(ctx.client.as_ref(), view, &key.namespace, &spec.scale_target_ref).await;
        let scale = found.as_ref().map(Target::scale).map_err(Clone::clone);
        let selector = scale.as_ref().ok().filter(|s| !s.selector.is_empty());
        let selector = selector.and_then(|s| LabelSelector::parse(&s.selector).ok());
        if scale.is_ok() {
            // a target that cannot be read may be the same as before
            self.members.owner(view, &key.namespace, &key.name, selector.clone().map(Selector::of));
            self.forget_if_gone(view, key);
        }
        let pods = self.members.pods(view, &key.namespace, &key.name);
        let owners: BTreeSet<String> =
            pods.iter().flat_map(|pod| self.members.owners(&key.namespace, pod.name())).collect();
        let owners: Vec<String> = owners.into_iter().collect();
        let measured = scale.as_ref().is_ok_and(|scale| plan::aim(spec, scale) == Aim::Measure) && owners.len() <= 1;
        let readings = match (&selector, measured) {
            (Some(selector), true) => {
                let meter = Meter { client: ctx.client.as_ref(), view, namespace: &key.namespace, selector };
                meter.read(spec.metrics.as_deref().unwrap_or_default()).await
            }
            _ => Vec::new(),
        };
        let history = self.histories.lock().get(key).cloned().unwrap_or_default();
        let (pods, owners) = (pods.as_slice(), owners.as_slice());
        let now = ctx.clock.now();
        let world = World { scaler, scale, pods, owners, readings: &readings, history: &history, now };
        let plan = plan::plan(&world);
        self.apply(ctx, key, &world, found.ok(), plan).await
    }

    /// An autoscaler that went while it was looked at must not be remembered: whoever notes something of it asks this afterwards.
    fn forget_if_gone(&self, view: &dyn View, key: &Key) {
        if view.get(&HorizontalPodAutoscaler::resource(), &key.namespace, &key.name).is_none() {
            self.members.owner(view, &key.namespace, &key.name, None);
            self.histories.lock().remove(key);
        }
    }

    async fn apply(
        &self,
        ctx: &Context,
        key: &Key,
        world: &World<'_>,
        target: Option<Target>,
        mut plan: Plan,
    ) -> Result<()> {
        if let (Some(rescale), Some(mut target)) = (plan.rescale.clone(), target) {
            match target.write(ctx.client.as_ref(), rescale.to).await {
                Ok(()) => plan.scaled(world),
                Err(error) => plan.refused(world, &error.to_string()),
            }
        }
        self.histories.lock().insert(key.clone(), plan.history);
        self.forget_if_gone(ctx.view.as_ref(), key);
        for (kind, reason, message) in plan.events {
            ctx.events.event(&HorizontalPodAutoscaler::resource(), &world.scaler.object, kind, reason, message);
        }
        if let Some(why) = plan.failed {
            tracing::debug!(%key, why, "an autoscaler cannot do all that it should");
        }
        if world.scaler.status.as_ref() != Some(&plan.status) {
            ctx.client.update_status(world.scaler, &plan.status).await?;
        }
        Ok(())
    }
}
