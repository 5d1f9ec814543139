//! The loop: follows the world, tries one pod after the other, binds many at once.

use crate::{
    bind::bind,
    cache::Cache,
    decide::{Decision, decide},
    plugins::{World, wants_company},
    queue::{PodKey, Queue},
};
use coracle_api::{Patch, WriteOptions};
use coracle_base::{SharedClock, Tasks};
use coracle_client::{Change, EventType, SharedClient, SharedView, Typed, ViewExt, events::Recorder, typed::Kind};
use futures::{FutureExt, StreamExt, stream::BoxStream};
use k8s_openapi::api::{
    core::v1::{Node, PersistentVolume, PersistentVolumeClaim, Pod},
    storage::v1::StorageClass,
};
use serde_json::json;
use std::time::Duration;
use tokio::sync::mpsc;

/// The name that pods ask for in `spec.schedulerName`.
const NAME: &str = "default-scheduler";

/// How a binding ended.
struct Bound {
    key: PodKey,
    uid: String,
    error: Option<String>,
}

struct Scheduler {
    client: SharedClient,
    view: SharedView,
    clock: SharedClock,
    events: Recorder,
    cache: Cache,
    queue: Queue,
    bound: mpsc::UnboundedSender<Bound>,
    turn: usize,
    tasks: Tasks,
}

/// Schedules pods until `tasks` end.
pub fn start(client: SharedClient, view: SharedView, clock: SharedClock, tasks: &Tasks) {
    let events = Recorder::new(client.clone(), NAME, "", clock.clone(), tasks);
    let (bound, results) = mpsc::unbounded_channel();
    let changes = view.changes(&[
        Pod::resource(),
        Node::resource(),
        PersistentVolumeClaim::resource(),
        PersistentVolume::resource(),
        StorageClass::resource(),
    ]);
    let scheduler = Scheduler {
        client,
        view,
        queue: Queue::new(clock.clone()),
        clock,
        events,
        cache: Cache::default(),
        bound,
        turn: 0,
        tasks: tasks.clone(),
    };
    tasks.spawn("scheduler", scheduler.run(changes, results));
}

/// Whether a pod on a node is new to the affinity of others: it had no node before, or other labels.
fn appeared(change: &Change, pod: &Pod) -> bool {
    let before = change.old.as_ref().and_then(|o| o.view::<Pod>().ok());
    let node = |p: &Pod| p.spec.as_ref().and_then(|s| s.node_name.clone());
    before.is_none_or(|old| node(&old) != node(pod) || old.metadata.labels != pod.metadata.labels)
}

impl Scheduler {
    async fn run(mut self, mut changes: BoxStream<'static, Change>, mut results: mpsc::UnboundedReceiver<Bound>) {
        loop {
            // what has happened comes first, so that a decision never rests on less than is known
            while let Some(Some(change)) = changes.next().now_or_never() {
                self.observe(&change);
            }
            while let Ok(result) = results.try_recv() {
                self.finish(result);
            }
            if let Some(key) = self.queue.pop() {
                self.schedule(key);
                continue;
            }
            let due = self.queue.next_due().unwrap_or(Duration::from_secs(3600));
            tokio::select! {
                change = changes.next() => match change {
                    Some(change) => self.observe(&change),
                    None => return,
                },
                Some(result) = results.recv() => self.finish(result),
                () = self.clock.sleep(due) => {}
            }
        }
    }

    fn observe(&mut self, change: &Change) {
        match &*change.resource.kind {
            "Pod" => self.observe_pod(change),
            "Node" => self.observe_node(change),
            // a claim or a volume that appeared or was bound may be what a pod waits for
            _ => self.queue.hope(),
        }
    }

    fn observe_node(&mut self, change: &Change) {
        match &change.new {
            Some(object) => {
                if let Ok(node) = Typed::<Node>::new(object.clone()) {
                    let before = change.old.as_ref().and_then(|o| o.view::<Node>().ok());
                    // a heartbeat is no reason to hope
                    let same = before.is_some_and(|old| {
                        old.spec == node.spec
                            && old.metadata.labels == node.metadata.labels
                            && old.status.as_ref().map(|s| &s.allocatable)
                                == node.status.as_ref().map(|s| &s.allocatable)
                    });
                    self.cache.put_node(&node);
                    if !same {
                        self.queue.hope();
                    }
                }
            }
            None => self.cache.remove_node(&change.object().meta().name),
        }
    }

    fn observe_pod(&mut self, change: &Change) {
        let meta = change.object().meta();
        let key = (meta.namespace.clone(), meta.name.clone());
        if let (Some(old), Some(new)) = (&change.old, &change.new)
            && old.meta().uid != new.meta().uid
        {
            self.forget(&key, &old.meta().uid);
        }
        let pod = change.new.clone().and_then(|o| Typed::<Pod>::new(o).ok());
        let Some(pod) = pod else { return self.forget(&key, &meta.uid) };
        let spec = pod.spec.as_ref();
        match spec.and_then(|s| s.node_name.as_deref()).filter(|n| !n.is_empty()) {
            Some(node) => {
                self.queue.remove(&key);
                if coracle_kinds::placement::takes_room(&pod) {
                    self.cache.put_pod(pod.uid(), node, pod.view.clone());
                    if appeared(change, &pod) {
                        self.queue.hope_for_company();
                    }
                } else {
                    self.forget(&key, pod.uid());
                }
            }
            None => {
                let ours = spec.and_then(|s| s.scheduler_name.as_deref()).is_none_or(|n| n == NAME || n.is_empty());
                let gated = spec.and_then(|s| s.scheduling_gates.as_ref()).is_some_and(|g| !g.is_empty());
                if !ours || gated || meta.is_deleting() {
                    self.queue.remove(&key);
                } else {
                    self.queue.add(key, spec.and_then(|s| s.priority).unwrap_or(0), meta.creation_timestamp);
                }
            }
        }
    }

    fn forget(&mut self, key: &PodKey, uid: &str) {
        self.queue.remove(key);
        self.cache.remove_pod(uid);
        self.queue.hope();
    }

    fn schedule(&mut self, key: PodKey) {
        let Some(pod) = self.view.typed::<Pod>(&key.0, &key.1) else { return self.queue.remove(&key) };
        if pod.spec.as_ref().is_some_and(|s| s.node_name.is_some()) || pod.meta().is_deleting() {
            return self.queue.remove(&key);
        }
        self.turn = self.turn.wrapping_add(1);
        match decide(&World { cache: &self.cache, view: &self.view }, &pod, self.turn) {
            Decision::Node(node) => {
                self.cache.put_pod(pod.uid(), &node, pod.view.clone());
                self.start_binding(key, pod, node);
            }
            Decision::Unschedulable(why) => {
                self.queue.failed(&key, true);
                if wants_company(&pod) {
                    self.queue.wants_company(&key);
                }
                self.report(pod, why);
            }
        }
    }

    fn start_binding(&self, key: PodKey, pod: Typed<Pod>, node: String) {
        let (client, view, bound, events) =
            (self.client.clone(), self.view.clone(), self.bound.clone(), self.events.clone());
        self.tasks.spawn("bind", async move {
            let error = bind(&client, &view, &pod, &node).await.err();
            if error.is_none() {
                let message = format!("Successfully assigned {}/{} to {node}", key.0, key.1);
                events.event(&Pod::resource(), &pod.object, EventType::Normal, "Scheduled", message);
            }
            // without a receiver the scheduler has ended
            let _ = bound.send(Bound { key, uid: pod.uid().to_string(), error: error.map(|e| e.message) });
        });
    }

    fn finish(&mut self, result: Bound) {
        let Some(error) = result.error else { return };
        tracing::warn!(namespace = result.key.0, pod = result.key.1, %error, "binding failed");
        self.cache.remove_pod(&result.uid);
        self.queue.failed(&result.key, false);
    }

    /// Says in the pod's status and in an event why it has no node.
    fn report(&self, pod: Typed<Pod>, why: String) {
        self.events.event(&Pod::resource(), &pod.object, EventType::Warning, "FailedScheduling", &why);
        let conditions = pod.status.as_ref().and_then(|s| s.conditions.as_deref()).unwrap_or_default();
        let known = conditions.iter().find(|c| c.type_ == "PodScheduled");
        if known.is_some_and(|c| c.status == "False" && c.message.as_deref() == Some(&why)) {
            return;
        }
        let same_status = known.filter(|c| c.status == "False").and_then(|c| c.last_transition_time.as_ref());
        let since = same_status.map_or_else(|| self.clock.now(), |t| t.0);
        let patch = Patch::strategic(json!({"metadata": {"uid": pod.uid()}, "status": {"conditions": [{
            "type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": why,
            "lastTransitionTime": format!("{since:.0}"),
        }]}}));
        let client = self.client.clone();
        self.tasks.spawn("pod condition", async move {
            let (namespace, name) = (pod.meta().namespace.clone(), pod.name().to_string());
            let written =
                client.patch(&Pod::resource(), &namespace, &name, "status", patch, &WriteOptions::default()).await;
            if let Err(error) = written {
                tracing::debug!(%error, pod = name, "the condition was not written");
            }
        });
    }
}
