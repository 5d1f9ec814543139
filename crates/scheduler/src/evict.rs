//! Carrying preemption out: those that have to go are told so, marked and deleted, with the time that they ask for.

use crate::preempt::DISRUPTION;
use coracle_api::{Patch, Result, WriteOptions};
use coracle_client::{ClientExt, EventType, SharedClient, SharedView, Typed, ViewExt, events::Recorder, typed::Kind};
use futures::future::join_all;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use serde_json::json;
use std::sync::Arc;

/// What an eviction needs of the world.
pub struct Evictor {
    pub client: SharedClient,
    pub view: SharedView,
    pub events: Recorder,
    /// When it happens.
    pub now: Timestamp,
}

impl Evictor {
    /// Makes room for `pod` on `node`: those of `lesser` lose their nomination there, `victims` are deleted.
    ///
    /// # Errors
    /// The first thing that the API refused; that a pod is gone already is no error.
    pub async fn make_room(
        &self,
        pod: &Typed<Pod>,
        node: &str,
        victims: &[Arc<Pod>],
        lesser: &[Arc<Pod>],
    ) -> Result<()> {
        let denied = join_all(lesser.iter().map(|other| self.withdraw(other))).await;
        let evicted = join_all(victims.iter().map(|victim| self.evict(pod, node, victim))).await;
        denied.into_iter().chain(evicted).collect()
    }

    /// The pod as it is now; `None` if it is gone.
    fn current(&self, pod: &Pod) -> Option<Typed<Pod>> {
        let meta = &pod.metadata;
        let found = self.view.typed::<Pod>(meta.namespace.as_deref()?, meta.name.as_deref()?)?;
        (Some(found.uid()) == meta.uid.as_deref()).then_some(found)
    }

    async fn patch(&self, pod: &Typed<Pod>, status: serde_json::Value) -> Result<()> {
        let patch = Patch::strategic(json!({"metadata": {"uid": pod.uid()}, "status": status}));
        let (resource, namespace) = (Pod::resource(), &pod.meta().namespace);
        match self.client.patch(&resource, namespace, pod.name(), "status", patch, &WriteOptions::default()).await {
            Err(status) if status.is_not_found() => Ok(()),
            other => other.map(drop),
        }
    }

    async fn withdraw(&self, pod: &Pod) -> Result<()> {
        match self.current(pod) {
            Some(pod) => self.patch(&pod, json!({"nominatedNodeName": null})).await,
            None => Ok(()),
        }
    }

    async fn evict(&self, pod: &Typed<Pod>, node: &str, victim: &Pod) -> Result<()> {
        let Some(victim) = self.current(victim).filter(|victim| !victim.meta().is_deleting()) else { return Ok(()) };
        let scheduler = pod.spec.as_ref().and_then(|s| s.scheduler_name.as_deref()).unwrap_or_default();
        let condition = json!({
            "type": DISRUPTION.0, "status": "True", "reason": DISRUPTION.1,
            "message": format!("{scheduler}: preempting to accommodate a higher priority pod"),
            "lastTransitionTime": format!("{:.0}", self.now),
            "observedGeneration": victim.metadata.generation,
        });
        self.patch(&victim, json!({"conditions": [condition]})).await?;
        self.client.delete_typed(&victim, None).await?;
        let message = format!("Preempted by pod {} on node {node}", pod.uid());
        self.events.event(&Pod::resource(), &victim.object, EventType::Normal, "Preempted", message);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use coracle_base::{Tasks, TestClock};
    use coracle_client::memory::Memory;
    use serde_json::Value;
    use std::slice::from_ref;

    /// The pods after room was made by evicting `victim` and taking the nomination of `lesser`; `then` happens between the decision and that.
    async fn check(then: impl FnOnce(&Memory), expected: Value) {
        let memory = Memory::new();
        let put = |name: &str, status: Value| {
            let body = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": "default",
                "finalizers": ["keep/it"]}, "spec": {"schedulerName": "default-scheduler", "containers": []}, "status": status});
            Typed::<Pod>::new(memory.put(&Pod::resource(), body)).unwrap()
        };
        let (pod, victim) = (put("pod", json!({})), put("victim", json!({})));
        let lesser = put("lesser", json!({"nominatedNodeName": "n"}));
        then(&memory);
        let clock = TestClock::new(Timestamp::UNIX_EPOCH);
        let (client, view): (SharedClient, SharedView) = (memory.clone(), memory.clone());
        let events = Recorder::new(client.clone(), "default-scheduler", "", clock, &Tasks::new());
        let evictor = Evictor { client, view: view.clone(), events, now: Timestamp::UNIX_EPOCH };
        evictor.make_room(&pod, "n", from_ref(&victim.view), from_ref(&lesser.view)).await.unwrap();
        let seen = |name: &str| {
            view.typed::<Pod>("default", name).map(|p| {
                let status = p.object.value()["status"].clone();
                json!({"going": p.meta().is_deleting(), "nominated": status["nominatedNodeName"],
                    "because": status["conditions"][0]["reason"], "says": status["conditions"][0]["message"]})
            })
        };
        assert_eq!(json!([seen("victim"), seen("lesser")]), expected);
    }

    #[tokio::test]
    async fn victims_are_marked_and_deleted_and_lesser_nominations_end() {
        let message = "default-scheduler: preempting to accommodate a higher priority pod";
        let lesser = json!({"going": false, "nominated": null, "because": null, "says": null});
        let victim = json!({"going": true, "nominated": null, "because": "PreemptionByScheduler", "says": message});
        check(|_| (), json!([victim, lesser])).await;
        let again = |memory: &Memory| {
            let body = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "victim", "namespace": "default",
                "uid": "another"}, "spec": {"containers": []}});
            memory.put(&Pod::resource(), body);
        };
        let untouched = json!({"going": false, "nominated": null, "because": null, "says": null});
        check(again, json!([untouched, lesser])).await;
    }
}
