//! The loop: follows the world, tries one pod after the other, binds many at once.

use crate::{
    bind::bind,
    cache::Cache,
    decide::{Decision, decide},
    evict::Evictor,
    nominated::{Nominated, node_in_status},
    plugins::{World, wants_company},
    preempt::Preemption,
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
use std::{collections::HashMap, sync::Arc, time::Duration};
use tokio::sync::mpsc;

/// The name that pods ask for in `spec.schedulerName`.
const NAME: &str = "default-scheduler";

/// How a binding ended.
struct Bound {
    key: PodKey,
    uid: String,
    error: Option<String>,
}

/// What a task of the scheduler brought about.
enum Outcome {
    Bound(Bound),
    /// Evictions for the pod with this key and uid were asked for; whether the API took all of them.
    Evicted(PodKey, String, bool),
}

/// What a report does to the nomination in the pod's status.
#[derive(Clone, Copy)]
enum Nomination<'a> {
    Kept,
    Set(&'a str),
    Cleared,
}

struct Scheduler {
    client: SharedClient,
    view: SharedView,
    clock: SharedClock,
    events: Recorder,
    cache: Cache,
    nominated: Nominated,
    /// Pods for which evictions are being asked for, by uid; and whether there was hope for them meanwhile.
    evicting: HashMap<String, bool>,
    queue: Queue,
    outcomes: mpsc::UnboundedSender<Outcome>,
    turn: usize,
    tasks: Tasks,
}

/// Schedules pods until `tasks` end.
pub fn start(client: SharedClient, view: SharedView, clock: SharedClock, tasks: &Tasks) {
    let events = Recorder::new(client.clone(), NAME, "", clock.clone(), tasks);
    let (outcomes, results) = mpsc::unbounded_channel();
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
        nominated: Nominated::default(),
        evicting: HashMap::new(),
        outcomes,
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
    async fn run(mut self, mut changes: BoxStream<'static, Change>, mut results: mpsc::UnboundedReceiver<Outcome>) {
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
                self.denominate(pod.uid(), Some(node));
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
                    self.denominate(pod.uid(), None);
                } else {
                    let before = change.old.as_ref().and_then(|o| o.view::<Pod>().ok());
                    if self.nominated.follow(before.as_deref(), pod.uid(), &pod.view) {
                        self.queue.hope();
                    }
                    self.queue.add(key, spec.and_then(|s| s.priority).unwrap_or(0), meta.creation_timestamp);
                }
            }
        }
    }

    fn forget(&mut self, key: &PodKey, uid: &str) {
        self.queue.remove(key);
        self.cache.remove_pod(uid);
        self.nominated.remove(uid);
        self.queue.hope();
    }

    /// A pod needs no room kept for it. Unless it is `there` now, others may use the room.
    fn denominate(&mut self, uid: &str, there: Option<&str>) {
        if self.nominated.remove(uid).is_some_and(|node| there != Some(&*node)) {
            self.queue.hope();
        }
    }

    fn schedule(&mut self, key: PodKey) {
        let Some(pod) = self.view.typed::<Pod>(&key.0, &key.1) else { return self.queue.remove(&key) };
        if pod.spec.as_ref().is_some_and(|s| s.node_name.is_some()) || pod.meta().is_deleting() {
            return self.queue.remove(&key);
        }
        if let Some(hope) = self.evicting.get_mut(pod.uid()) {
            *hope = true;
            return self.queue.failed(&key, true);
        }
        self.turn = self.turn.wrapping_add(1);
        match decide(&World::new(&self.cache, &self.nominated, &self.view), &pod, self.turn) {
            Decision::Node(node) => {
                self.cache.put_pod(pod.uid(), &node, pod.view.clone());
                self.denominate(pod.uid(), Some(&node));
                self.start_binding(key, pod, node);
            }
            Decision::Unschedulable { why, preemption } => {
                self.queue.failed(&key, true);
                if wants_company(&pod) {
                    self.queue.wants_company(&key);
                }
                self.preempt(&key, pod, why, preemption);
            }
        }
    }

    /// Says that the pod fits nowhere, and makes room if that helps.
    fn preempt(&mut self, key: &PodKey, pod: Typed<Pod>, why: String, preemption: Preemption) {
        let message = why + &preemption.said();
        match preemption {
            Preemption::Refused(_) => self.report(&pod, message, Nomination::Kept),
            Preemption::Hopeless(_) => {
                self.report(&pod, message, Nomination::Cleared);
                self.denominate(pod.uid(), None);
            }
            Preemption::Evict { node, victims } => {
                self.report(&pod, message, Nomination::Set(&node));
                self.nominated.put(pod.uid(), &node, pod.view.clone());
                let lesser = self.nominated.behind(&pod, &node);
                for other in &lesser {
                    let meta = &other.metadata;
                    self.nominated.remove(meta.uid.as_deref().unwrap_or_default());
                    self.queue
                        .hope_for(&(meta.namespace.clone().unwrap_or_default(), meta.name.clone().unwrap_or_default()));
                }
                self.evicting.insert(pod.uid().to_string(), false);
                self.start_evicting(key.clone(), pod, node, victims, lesser);
            }
        }
    }

    fn start_evicting(
        &self,
        key: PodKey,
        pod: Typed<Pod>,
        node: String,
        victims: Vec<Arc<Pod>>,
        lesser: Vec<Arc<Pod>>,
    ) {
        let (client, view, events) = (self.client.clone(), self.view.clone(), self.events.clone());
        let evictor = Evictor { client, view, events, now: self.clock.now() };
        let outcomes = self.outcomes.clone();
        self.tasks.spawn("preemption", async move {
            let made = evictor.make_room(&pod, &node, &victims, &lesser).await;
            if let Err(error) = &made {
                tracing::warn!(namespace = key.0, pod = key.1, node, %error, "preemption failed");
            }
            // without a receiver the scheduler has ended
            let _ = outcomes.send(Outcome::Evicted(key, pod.uid().to_string(), made.is_ok()));
        });
    }

    fn start_binding(&self, key: PodKey, pod: Typed<Pod>, node: String) {
        let (client, view, outcomes, events) =
            (self.client.clone(), self.view.clone(), self.outcomes.clone(), self.events.clone());
        self.tasks.spawn("bind", async move {
            let error = bind(&client, &view, &pod, &node).await.err();
            if error.is_none() {
                let message = format!("Successfully assigned {}/{} to {node}", key.0, key.1);
                events.event(&Pod::resource(), &pod.object, EventType::Normal, "Scheduled", message);
            }
            // without a receiver the scheduler has ended
            let bound = Bound { key, uid: pod.uid().to_string(), error: error.map(|e| e.message) };
            let _ = outcomes.send(Outcome::Bound(bound));
        });
    }

    fn finish(&mut self, outcome: Outcome) {
        match outcome {
            Outcome::Bound(bound) => self.finish_binding(bound),
            Outcome::Evicted(key, uid, done) => self.finish_evicting(&key, &uid, done),
        }
    }

    /// Hope that came while evictions were asked for counts now; a failure is a reason to try again soon.
    fn finish_evicting(&mut self, key: &PodKey, uid: &str, done: bool) {
        let hope = self.evicting.remove(uid).unwrap_or_default();
        if !done {
            self.queue.failed(key, false);
        } else if hope {
            self.queue.hope_for(key);
        }
    }

    fn finish_binding(&mut self, result: Bound) {
        let Some(error) = result.error else { return };
        tracing::warn!(namespace = result.key.0, pod = result.key.1, %error, "binding failed");
        self.cache.remove_pod(&result.uid);
        if let Some(pod) = self.view.typed::<Pod>(&result.key.0, &result.key.1) {
            self.nominated.follow(None, pod.uid(), &pod.view);
        }
        self.queue.failed(&result.key, false);
    }

    /// Says in the pod's status and in an event why it has no node, and in the status where it may have one soon.
    fn report(&self, pod: &Typed<Pod>, why: String, nomination: Nomination<'_>) {
        self.events.event(&Pod::resource(), &pod.object, EventType::Warning, "FailedScheduling", &why);
        let conditions = pod.status.as_ref().and_then(|s| s.conditions.as_deref()).unwrap_or_default();
        let known = conditions.iter().find(|c| c.type_ == "PodScheduled");
        let nominated = match nomination {
            Nomination::Kept => node_in_status(pod),
            Nomination::Set(node) => Some(node),
            Nomination::Cleared => None,
        };
        let same_nomination = node_in_status(pod) == nominated;
        if same_nomination && known.is_some_and(|c| c.status == "False" && c.message.as_deref() == Some(&why)) {
            return;
        }
        let same_status = known.filter(|c| c.status == "False").and_then(|c| c.last_transition_time.as_ref());
        let since = same_status.map_or_else(|| self.clock.now(), |t| t.0);
        let mut status = json!({"conditions": [{
            "type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": why,
            "lastTransitionTime": format!("{since:.0}"),
        }]});
        if !same_nomination {
            status["nominatedNodeName"] = json!(nominated);
        }
        let patch = Patch::strategic(json!({"metadata": {"uid": pod.uid()}, "status": status}));
        let client = self.client.clone();
        let (namespace, name) = (pod.meta().namespace.clone(), pod.name().to_string());
        self.tasks.spawn("pod condition", async move {
            let written =
                client.patch(&Pod::resource(), &namespace, &name, "status", patch, &WriteOptions::default()).await;
            if let Err(error) = written {
                tracing::debug!(%error, pod = name, "the condition was not written");
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cases::{cpu, merged, node, pod};
    use coracle_base::TestClock;
    use coracle_client::memory::Memory;
    use jiff::Timestamp;
    use k8s_openapi::api::core::v1::Pod;

    #[tokio::test]
    async fn a_pod_that_matters_more_is_nominated_and_its_victim_leaves() {
        let memory = Memory::new();
        let tasks = Tasks::new();
        let (client, view): (SharedClient, SharedView) = (memory.clone(), memory.clone());
        let mut seen = view.changes(&[Pod::resource()]);
        start(client, view, TestClock::new(Timestamp::UNIX_EPOCH), &tasks);
        memory.put(&Node::resource(), node(0, &json!({})));
        let victim = json!({"priority": 1, "nodeName": "n0"});
        memory.put(&Pod::resource(), pod("victim", &merged(cpu("2"), &victim)));
        memory.put(&Pod::resource(), pod("wanting", &merged(cpu("1"), &json!({"priority": 2}))));
        let (mut marked, mut gone, mut nominated) = (false, false, false);
        while !(gone && nominated) {
            let change = seen.next().await.unwrap();
            let status = change.object().value()["status"].clone();
            match (&*change.object().meta().name, &change.new) {
                ("victim", None) => gone = true,
                ("victim", _) => marked |= status["conditions"][0]["reason"] == "PreemptionByScheduler",
                _ => nominated |= status["nominatedNodeName"] == "n0",
            }
        }
        assert!(marked, "it is told why before it goes");
        tasks.stop().await;
    }
}
