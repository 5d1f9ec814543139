//! What every controller stands on: one shared dispatch of changes, a queue of keys each, and a way to say "again later".
//!
//! A controller reads from the [`View`] only and writes through its own client. In process the view is the server's snapshot, in which a
//! controller's own writes are visible as soon as they are acknowledged. So there are neither caches that lag behind nor upstream's
//! "expectations" that make up for them: whoever reconciles sees what it did before.
//!
//! Invariant: the work for one change is never proportional to the number of all objects. [`Controller::keys`] follows owner references or
//! an index; it does not walk the world.

use crate::custom_resources::CustomResources;
use async_trait::async_trait;
use coracle_api::{Resource, Result};
use coracle_base::{SharedClock, Tasks};
use coracle_client::{Change, Kind, Outcome, Queue, Recorder, SharedClient, SharedView, View};
use futures::{StreamExt, stream::SelectAll};
use std::{collections::HashMap, sync::Arc, time::Duration};

/// What a controller works on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key {
    /// The resource; only for controllers that reconcile several (`None` otherwise).
    pub resource: Option<Arc<Resource>>,
    /// The namespace; empty for cluster-scoped objects.
    pub namespace: String,
    /// The name.
    pub name: String,
}

impl Key {
    /// A key for the one resource that a controller reconciles.
    pub fn new(namespace: &str, name: &str) -> Self {
        Self { resource: None, namespace: namespace.into(), name: name.into() }
    }

    /// A key that also says which resource.
    pub fn of(resource: &Arc<Resource>, namespace: &str, name: &str) -> Self {
        Self { resource: Some(resource.clone()), namespace: namespace.into(), name: name.into() }
    }

    /// The changed object itself.
    pub fn from_change(change: &Change) -> Self {
        let meta = change.object().meta();
        Self::new(&meta.namespace, &meta.name)
    }
}

impl std::fmt::Display for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if let Some(resource) = &self.resource {
            write!(f, "{resource} ")?;
        }
        if self.namespace.is_empty() { f.write_str(&self.name) } else { write!(f, "{}/{}", self.namespace, self.name) }
    }
}

/// When to look at a key again although nothing changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Requeue {
    /// Only when something changes.
    No,
    /// Also after this long.
    After(Duration),
}

impl Requeue {
    /// After the shortest of some delays, if there is one.
    pub fn soonest(delays: impl IntoIterator<Item = Option<Duration>>) -> Self {
        delays.into_iter().flatten().min().map_or(Self::No, Self::After)
    }
}

/// The queue of one controller.
pub type Keys = Queue<Key>;

/// What a controller works with.
#[derive(Clone)]
pub struct Context {
    /// Requests with this controller's identity.
    pub client: SharedClient,
    /// The world.
    pub view: SharedView,
    /// Time.
    pub clock: SharedClock,
    /// Events, written as this controller.
    pub events: Recorder,
}

/// One control loop.
#[async_trait]
pub trait Controller: Send + Sync + 'static {
    /// Upstream's name: of its identity (`system:serviceaccount:kube-system:<name>`) and of the source of its events.
    fn name(&self) -> &'static str;

    /// Whose changes it wants to see.
    fn watches(&self) -> Vec<Resource>;

    /// Whether it also wants to see the changes of all custom resources that there are from time to time. It then hears of their definitions,
    /// too, and of those before it hears of the first object of one.
    fn watches_custom(&self) -> bool {
        false
    }

    /// Which keys a change concerns. Called in the order of changes, by one task for all controllers, so it has to be quick.
    fn keys(&self, view: &dyn View, change: &Change) -> Vec<Key>;

    /// Makes the world as the object named by `key` wants it. A conflict is retried silently, other errors with a warning, after a backoff.
    async fn reconcile(&self, ctx: &Context, key: &Key) -> Result<Requeue>;

    /// How many keys it works on at a time.
    fn workers(&self) -> usize {
        5
    }

    /// Source of its events if that is not its name.
    fn component(&self) -> &'static str {
        self.name()
    }

    /// What it does beside its keys for as long as it runs: periodic sweeps, first objects. Most do nothing.
    async fn background(&self, _ctx: &Context, _keys: &Keys) {}
}

/// The controllers of one process.
pub struct Controllers;

impl Controllers {
    /// Starts every controller; each gets the client that `client_for` makes for its name. They end with `tasks`.
    pub fn start(
        client_for: impl Fn(&str) -> SharedClient,
        view: SharedView,
        clock: SharedClock,
        settings: &crate::ClusterSettings,
        tasks: &Tasks,
    ) {
        Self::start_some(crate::all(settings), client_for, view, clock, tasks);
    }

    /// Starts only `list`.
    pub fn start_some(
        list: Vec<Box<dyn Controller>>,
        client_for: impl Fn(&str) -> SharedClient,
        view: SharedView,
        clock: SharedClock,
        tasks: &Tasks,
    ) {
        let mut running = Vec::new();
        for controller in list {
            let controller: Arc<dyn Controller> = controller.into();
            let client = client_for(controller.name());
            let events = Recorder::new(client.clone(), controller.component(), "", clock.clone(), tasks);
            let ctx = Arc::new(Context { client, view: view.clone(), clock: clock.clone(), events });
            let queue = Arc::new(Queue::named(controller.name(), clock.clone()));
            tasks.spawn(controller.name(), work(controller.clone(), ctx.clone(), queue.clone()));
            let (c, q) = (controller.clone(), queue.clone());
            tasks.spawn(controller.name(), async move { c.background(&ctx, &q).await });
            running.push((controller, queue));
        }
        tasks.spawn("controllers", dispatch(running, view));
    }
}

/// One stream of changes for all, in order, each shown to those who asked for its resource.
async fn dispatch(running: Vec<(Arc<dyn Controller>, Arc<Keys>)>, view: SharedView) {
    let mut interested: HashMap<Resource, Vec<usize>> = HashMap::new();
    let custom: Vec<usize> = (0..running.len()).filter(|i| running[*i].0.watches_custom()).collect();
    for (index, (controller, _)) in running.iter().enumerate() {
        for resource in controller.watches() {
            interested.entry(resource).or_default().push(index);
        }
    }
    if !custom.is_empty() {
        interested.entry(CustomResources::DEFINITIONS).or_default().extend(&custom);
    }
    let mut resources: Vec<Resource> = interested.keys().cloned().collect();
    resources.sort();
    let mut changes = SelectAll::new();
    changes.push(view.changes(&resources));
    let mut followed = CustomResources::default();
    while let Some(change) = changes.next().await {
        let known = interested.get(&*change.resource).map_or(&custom, |indexes| indexes);
        for index in known {
            let (controller, queue) = &running[*index];
            for key in controller.keys(view.as_ref(), &change) {
                queue.add(key);
            }
        }
        if !custom.is_empty()
            && let Some(resource) = followed.learn(&change)
        {
            changes.push(view.changes(&[(*resource).clone()]));
        }
    }
    tracing::error!("the stream of changes ended: controllers see nothing any more");
}

async fn work(controller: Arc<dyn Controller>, ctx: Arc<Context>, queue: Arc<Keys>) {
    let workers = controller.workers();
    let one = |key: Key| {
        let (controller, ctx) = (controller.clone(), ctx.clone());
        async move {
            match controller.reconcile(&ctx, &key).await {
                Ok(Requeue::No) => Outcome::Done,
                Ok(Requeue::After(delay)) => Outcome::After(delay),
                Err(status) => {
                    if status.is_conflict() || status.is_not_found() {
                        tracing::debug!(controller = controller.name(), %key, error = %status, "retried");
                    } else {
                        tracing::warn!(controller = controller.name(), %key, error = %status, "reconciliation failed");
                    }
                    Outcome::Retry
                }
            }
        }
    };
    queue.run(workers, one).await;
}

/// The key of the controlling owner of what changed, if that is a `K` (before or after the change).
pub fn controller_keys<K: Kind>(change: &Change) -> Vec<Key> {
    let mut keys: Vec<Key> = Vec::new();
    for object in [&change.old, &change.new].into_iter().flatten() {
        if let Some(owner) = object.meta().controller()
            && owner.kind == K::KIND
            && owner.api_version == K::API_VERSION
        {
            let key = Key::new(&object.meta().namespace, &owner.name);
            if !keys.contains(&key) {
                keys.push(key);
            }
        }
    }
    keys
}
