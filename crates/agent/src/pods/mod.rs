//! The pods of the node: a task for each, that plans and applies until the pod is gone.

mod admission;
pub mod backoff;
mod deadline;
mod image;
pub mod observed;
mod orphans;
pub mod plan;
mod setup;
mod start;
pub mod status;
mod stop;
pub(crate) mod worker;

use crate::{context::Node, references::Source, spec};
use coracle_api::{Object, Resource};
use coracle_client::{Change, View};
use coracle_runtime::Event;
use futures::StreamExt;
use k8s_openapi::api::core::v1::{ConfigMap, Pod, Secret};
use parking_lot::Mutex;
use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};
use tokio::sync::{Notify, broadcast::error::RecvError, watch};

/// What the manager tells a pod's task.
#[derive(Default)]
pub struct Nudge {
    wake: Notify,
    /// ConfigMaps or Secrets changed.
    refresh: AtomicBool,
}

impl Nudge {
    /// Look again.
    pub fn now(&self) {
        self.wake.notify_one();
    }

    /// Look again, volumes too.
    pub fn refresh(&self) {
        self.refresh.store(true, Ordering::Relaxed);
        self.wake.notify_one();
    }

    fn take_refresh(&self) -> bool {
        self.refresh.swap(false, Ordering::Relaxed)
    }
}

/// What the API says of a pod.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// The newest version.
    pub object: Arc<Object>,
    /// It is no longer in the API.
    pub gone: bool,
}

struct Entry {
    wanted: watch::Sender<Wanted>,
    nudge: Arc<Nudge>,
    /// Address that the pod has, for host ports and logs.
    ip: Option<String>,
}

/// The pods of the node, by uid.
#[derive(Default)]
pub struct Pods {
    entries: Mutex<HashMap<String, Entry>>,
    sandboxes: Mutex<HashMap<String, String>>,
    /// Signalled when an address or a host port changes.
    pub addresses_changed: Notify,
}

impl Pods {
    /// Wakes a pod's task.
    pub fn nudge(&self, uid: &str) {
        if let Some(entry) = self.entries.lock().get(uid) {
            entry.nudge.now();
        }
    }

    /// All pods as the API has them, with their addresses.
    pub fn all(&self) -> Vec<(Arc<Object>, Option<String>)> {
        self.entries.lock().values().map(|e| (e.wanted.borrow().object.clone(), e.ip.clone())).collect()
    }

    /// A pod by namespace and name.
    pub fn find(&self, namespace: &str, name: &str) -> Option<Arc<Object>> {
        let all = self.entries.lock();
        let mut found = all.values().map(|e| e.wanted.borrow().clone()).filter(|w| {
            let meta = w.object.meta();
            meta.namespace == namespace && meta.name == name
        });
        let first = found.next()?;
        // a deleted one and its successor may be there at once
        Some(found.fold(first, |a, b| if a.gone { b } else { a }).object)
    }

    fn set_ip(&self, uid: &str, ip: Option<String>) {
        if let Some(entry) = self.entries.lock().get_mut(uid)
            && entry.ip != ip
        {
            entry.ip = ip;
            self.addresses_changed.notify_one();
        }
    }

    fn belongs(&self, sandbox: &str, uid: &str) {
        self.sandboxes.lock().insert(sandbox.to_string(), uid.to_string());
    }

    fn remove(&self, uid: &str) {
        self.entries.lock().remove(uid);
        self.sandboxes.lock().retain(|_, owner| owner != uid);
        self.addresses_changed.notify_one();
    }
}

/// Follows the node's pods. Never returns.
pub async fn run(node: Arc<Node>) {
    orphans::remove(&node).await;
    let pods = Resource::of::<Pod>();
    let mut changes = node.view.changes(std::slice::from_ref(&pods));
    while let Some(change) = changes.next().await {
        apply(&node, &change);
    }
}

fn apply(node: &Arc<Node>, change: &Change) {
    if let Some(old) = &change.old
        && change.new.as_ref().is_none_or(|new| new.meta().uid != old.meta().uid)
        && let Some(entry) = node.pods.entries.lock().get(&old.meta().uid)
    {
        entry.wanted.send_replace(Wanted { object: old.clone(), gone: true });
        entry.nudge.now();
    }
    let Some(new) = &change.new else { return };
    let uid = new.meta().uid.clone();
    let wanted = Wanted { object: new.clone(), gone: false };
    let mut entries = node.pods.entries.lock();
    if let Some(entry) = entries.get(&uid) {
        entry.wanted.send_replace(wanted);
        entry.nudge.now();
        return;
    }
    let (sender, receiver) = watch::channel(wanted);
    let nudge = Arc::new(Nudge::default());
    entries.insert(uid, Entry { wanted: sender, nudge: nudge.clone(), ip: None });
    drop(entries);
    node.tasks.spawn("pod", worker::run(node.clone(), receiver, nudge));
}

/// Wakes the tasks of pods whose containers did something. Never returns.
pub async fn follow_runtime(node: Arc<Node>) {
    let mut events = node.runtime.events();
    loop {
        match events.recv().await {
            Ok(Event::Started { sandbox, .. } | Event::Exited { sandbox, .. } | Event::SandboxLost { sandbox }) => {
                let uid = node.pods.sandboxes.lock().get(&sandbox).cloned();
                if let Some(uid) = uid {
                    node.pods.nudge(&uid);
                }
            }
            Err(RecvError::Lagged(_)) => {
                for entry in node.pods.entries.lock().values() {
                    entry.nudge.now();
                }
            }
            Err(RecvError::Closed) => return,
        }
    }
}

/// Brings volumes up to date when ConfigMaps and Secrets change. Never returns.
pub async fn follow_references(node: Arc<Node>) {
    let mut changes = node.view.changes(&[Resource::of::<ConfigMap>(), Resource::of::<Secret>()]);
    while let Some(change) = changes.next().await {
        let source = if change.resource.kind == "Secret" { Source::Secret } else { Source::ConfigMap };
        let meta = change.object().meta();
        for uid in node.references.users(source, &meta.namespace, &meta.name) {
            if let Some(entry) = node.pods.entries.lock().get(&uid) {
                entry.nudge.refresh();
            }
        }
    }
}

/// The directory of a pod's logs.
pub fn log_dir(node: &Node, pod: &Pod) -> std::path::PathBuf {
    let name = format!("{}_{}_{}", spec::namespace(pod), spec::name(pod), spec::uid(pod));
    node.config.log_dir.join("pods").join(name)
}

/// Sandboxes and containers of a pod, as the runtime has them now.
pub async fn containers(node: &Node, pod: &Pod) -> observed::Observed {
    let uid = spec::uid(pod);
    let all = node.runtime.sandboxes().await.unwrap_or_default();
    let mine: Vec<_> = all.into_iter().filter(|s| s.spec.uid == uid).collect();
    let mut containers = Vec::new();
    for sandbox in &mine {
        containers.extend(node.runtime.containers(Some(&sandbox.id)).await.unwrap_or_default());
    }
    observed::Observed::new(mine, containers)
}
