//! DaemonSet: one pod on every node where one belongs.

mod placement;
mod plan;
#[cfg(test)]
mod tests;

use crate::{
    framework::{Context, Controller, Key, Requeue, controller_keys},
    owners::{self, Orphans},
    pods,
    revisions::{self, History, Naming, REVISION_LABEL},
};
use async_trait::async_trait;
use coracle_api::{LabelSelector, Object, Resource, Result};
use coracle_base::Backoff;
use coracle_client::{Change, ClientExt, EventType, Kind, Typed, View, ViewExt};
use jiff::Timestamp;
use k8s_openapi::api::{
    apps::v1::{ControllerRevision, DaemonSet},
    core::v1::{Node, Pod},
};
use parking_lot::Mutex;
use plan::World;
use std::{
    collections::{BTreeSet, HashMap},
    time::Duration,
};

/// A daemon pod that ended is replaced at once the first time, then after pauses that grow from and to this.
const PAUSES: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(15 * 60));

/// The DaemonSet controller.
#[derive(Default)]
pub struct DaemonSets {
    orphan_pods: Orphans,
    orphan_revisions: Orphans,
    pauses: Mutex<HashMap<(String, String), Pause>>,
}

struct Pause {
    backoff: Backoff,
    until: Timestamp,
    length: Duration,
}

#[async_trait]
impl Controller for DaemonSets {
    fn name(&self) -> &'static str {
        "daemon-set-controller"
    }

    fn component(&self) -> &'static str {
        "daemonset-controller"
    }

    fn watches(&self) -> Vec<Resource> {
        vec![DaemonSet::resource(), Pod::resource(), Node::resource(), ControllerRevision::resource()]
    }

    fn keys(&self, view: &dyn View, change: &Change) -> Vec<Key> {
        let resource = &*change.resource;
        if *resource == DaemonSet::resource() {
            return vec![Key::from_change(change)];
        }
        if *resource == Node::resource() {
            return node_keys(view, change);
        }
        if *resource == ControllerRevision::resource() {
            self.orphan_revisions.note(change);
            return Vec::new();
        }
        self.orphan_pods.note(change);
        let mut keys = controller_keys::<DaemonSet>(change);
        if let Some(pod) = &change.new
            && pod.meta().controller().is_none()
            && !pod.meta().labels.is_empty()
        {
            let all = view.typed_list::<DaemonSet>(&pod.meta().namespace).into_iter();
            let selecting = all.filter(|set| {
                LabelSelector::from_spec(&set.spec.selector).is_ok_and(|s| s.matches(&pod.meta().labels))
            });
            keys.extend(selecting.map(|set| Key::new(&set.meta().namespace, set.name())));
        }
        keys
    }

    async fn reconcile(&self, ctx: &Context, key: &Key) -> Result<Requeue> {
        let Some(set) = ctx.view.typed::<DaemonSet>(&key.namespace, &key.name) else {
            return Ok(Requeue::No);
        };
        if set.meta().is_deleting() {
            self.pauses.lock().retain(|(uid, _), _| uid != set.uid());
            return Ok(Requeue::No);
        }
        let selector = LabelSelector::from_spec(&set.spec.selector)?;
        if selector.is_everything() {
            let message = "This daemon set is selecting all pods. A non-empty selector is required.";
            ctx.events.event(&DaemonSet::resource(), &set.object, EventType::Warning, "SelectingAll", message);
            return Ok(Requeue::No);
        }
        let naming =
            Naming { hash_label: REVISION_LABEL, collisions: set.status.as_ref().and_then(|s| s.collision_count) };
        let history = revisions::sync(ctx, &set, &selector, &set.spec.template, naming, &self.orphan_revisions).await?;
        let claim = owners::claim::<Pod, _>(ctx.view.as_ref(), &set, &selector, &self.orphan_pods);
        let pods = owners::settle(ctx, &set, claim).await?;
        let nodes = ctx.view.typed_list::<Node>("");
        let hash = hash_of(&history.newest);
        let plan = plan::plan(&world(&set, &nodes, &pods, &hash, &history, ctx.clock.now()));
        let (applied, pause) = self.apply(ctx, &set, &hash, plan).await;
        // What was just written is in the view already: one status instead of two.
        let mut after = ctx.view.typed_owned::<Pod>(set.uid());
        after.retain(|pod| selector.matches(&pod.meta().labels));
        let world = world(&set, &nodes, &after, &hash, &history, ctx.clock.now());
        let (status, again) = (plan::status(&world), plan::again(&world));
        if set.status.as_ref() != Some(&status) {
            ctx.client.update_status(&set, &status).await?;
        }
        applied?;
        truncate(ctx, &set, &history, &after).await?;
        Ok(Requeue::soonest([again.map(|wait| wait + Duration::from_millis(10)), pause]))
    }
}

fn world<'a>(
    set: &'a Typed<DaemonSet>,
    nodes: &'a [Typed<Node>],
    pods: &'a [Typed<Pod>],
    hash: &'a str,
    history: &History,
    now: Timestamp,
) -> World<'a> {
    World { set, generation: set.meta().generation, nodes, pods, hash, collisions: history.collisions, now }
}

fn hash_of(revision: &Typed<ControllerRevision>) -> String {
    revision.meta().labels.get(REVISION_LABEL).cloned().unwrap_or_default()
}

/// The daemon sets to which a node's change means something: not each heartbeat.
fn node_keys(view: &dyn View, change: &Change) -> Vec<Key> {
    let node = |object: &std::sync::Arc<Object>| Typed::<Node>::new(object.clone()).ok();
    let (old, new) = (change.old.as_ref().and_then(node), change.new.as_ref().and_then(node));
    if let (Some(old), Some(new)) = (&old, &new)
        && old.meta().labels == new.meta().labels
        && old.spec == new.spec
    {
        return Vec::new();
    }
    let sets = view.typed_list::<DaemonSet>("").into_iter();
    let concerned = sets.filter(|set| {
        let spec = plan::daemon_spec(set);
        let place = |node: &Option<Typed<Node>>| {
            node.as_ref().map(|node| placement::placement(&spec, node.meta(), &placement::taints(node)))
        };
        place(&old) != place(&new)
    });
    concerned.map(|set| Key::new(&set.meta().namespace, set.name())).collect()
}

async fn truncate(ctx: &Context, set: &Typed<DaemonSet>, history: &History, pods: &[Typed<Pod>]) -> Result<()> {
    let mut live: BTreeSet<String> = pods.iter().filter_map(|p| p.meta().labels.get(REVISION_LABEL).cloned()).collect();
    live.insert(hash_of(&history.newest));
    let limit = set.spec.revision_history_limit.unwrap_or(10);
    revisions::truncate(ctx, &history.all, &live, limit, hash_of).await
}

impl DaemonSets {
    async fn apply(
        &self,
        ctx: &Context,
        set: &Typed<DaemonSet>,
        hash: &str,
        plan: plan::Plan,
    ) -> (Result<()>, Option<Duration>) {
        let (mut delete, mut pause) = (plan.delete, None);
        for (node, pod) in plan.ended {
            match self.pause(set.uid(), &node, ctx.clock.now()) {
                Some(left) => pause = Some(pause.map_or(left, |p: Duration| p.min(left))),
                None => {
                    say_ended(ctx, set, &node, &pod);
                    delete.push(pod);
                }
            }
        }
        let template = plan::daemon_spec(set);
        let create = plan.create.iter().map(|node| {
            let mut pod = pods::from_template(&set.spec.template, set);
            let mut spec = template.clone();
            placement::pin(&mut spec, node);
            pod.spec = Some(spec);
            pod.metadata.labels.get_or_insert_default().insert(REVISION_LABEL.into(), hash.into());
            pod
        });
        let create: Vec<Pod> = create.collect();
        let (created, deleted) =
            futures::join!(pods::create_all(ctx, set, create, false), pods::delete_all(ctx, set, &delete));
        (created.and(deleted), pause)
    }

    /// How long to wait until an ended pod on this node may be replaced; `None`: now, and the next time longer.
    fn pause(&self, set: &str, node: &str, now: Timestamp) -> Option<Duration> {
        let mut pauses = self.pauses.lock();
        let fresh = || Pause { backoff: Backoff::new(PAUSES.0, PAUSES.1), until: now, length: Duration::ZERO };
        let pause = pauses.entry((set.to_string(), node.to_string())).or_insert_with(fresh);
        if now < pause.until {
            return now.duration_until(pause.until).try_into().ok();
        }
        if now.duration_since(pause.until).unsigned_abs() > PAUSES.1 * 2 {
            pause.backoff.reset();
        }
        pause.length = pause.backoff.next_delay();
        pause.until = now + pause.length;
        None
    }
}

fn say_ended(ctx: &Context, set: &Typed<DaemonSet>, node: &str, pod: &Typed<Pod>) {
    let name = format!("{}/{}", pod.meta().namespace, pod.name());
    let (kind, reason, message) = if pods::phase(pod) == "Failed" {
        let message = format!("Found failed daemon pod {name} on node {node}, will try to kill it");
        (EventType::Warning, "FailedDaemonPod", message)
    } else {
        let message = format!("Found succeeded daemon pod {name} on node {node}, will try to delete it");
        (EventType::Normal, "SucceededDaemonPod", message)
    };
    ctx.events.event(&DaemonSet::resource(), &set.object, kind, reason, message);
}
