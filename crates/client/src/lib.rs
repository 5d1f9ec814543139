//! The door to the API that controllers, scheduler and agent use: the same traits in process and over HTTP.
//!
//! - [`Client`]: requests, each authorized and admitted like any other.
//! - [`View`]: the world to read from. In process it is the server's own snapshot (no copy, no cache, own writes visible at once);
//!   over HTTP it is kept up to date by watches.

pub mod events;
pub mod http;
pub mod kubeconfig;
#[cfg(any(test, feature = "testing"))]
pub mod memory;
pub mod queue;
pub mod reflector;
pub mod typed;

pub use events::{EventType, Recorder, Reference};
pub use http::HttpClient;
pub use queue::{Outcome, Queue};
pub use reflector::{Kept, Reflector, Selection};
pub use typed::{ClientExt, Kind, Typed, ViewExt};

use async_trait::async_trait;
use coracle_api::{DeleteOptions, ListOptions, Object, Patch, Resource, Result, WriteOptions};
use futures::stream::BoxStream;
use serde_json::Value;
use std::sync::Arc;

/// A page (or all) of a collection.
#[derive(Clone, Debug, Default)]
pub struct ObjectList {
    /// The objects, in key order.
    pub items: Vec<Arc<Object>>,
    /// The revision of the snapshot that they come from.
    pub revision: u64,
    /// Where the next page begins; empty on the last one.
    pub continue_token: String,
}

/// One event of a watch.
#[derive(Clone, Debug)]
pub enum WatchEvent {
    /// Created, or entered the selection.
    Added(Arc<Object>),
    /// Changed.
    Modified(Arc<Object>),
    /// Deleted, or left the selection; the last state.
    Deleted(Arc<Object>),
    /// Nothing older than this revision will follow.
    Bookmark(u64),
}

/// Requests to an API server, with the identity that the implementation was made with. An empty `namespace` means cluster scope, or all
/// namespaces for list and watch.
#[async_trait]
pub trait Client: Send + Sync + 'static {
    /// One object.
    async fn get(&self, resource: &Resource, namespace: &str, name: &str) -> Result<Arc<Object>>;
    /// What a GET of a path finds that names an object, a subresource, or something of a group that another server serves
    /// (`/apis/custom.metrics.k8s.io/…?metricLabelSelector=…`).
    async fn read(&self, path: &str) -> Result<Value>;
    /// A collection.
    async fn list(&self, resource: &Resource, namespace: &str, options: &ListOptions) -> Result<ObjectList>;
    /// Changes to a collection. An `Err` item ends the stream; 410 means: list again.
    async fn watch(
        &self,
        resource: &Resource,
        namespace: &str,
        options: &ListOptions,
    ) -> Result<BoxStream<'static, Result<WatchEvent>>>;
    /// Creates an object.
    async fn create(
        &self,
        resource: &Resource,
        namespace: &str,
        body: Value,
        options: &WriteOptions,
    ) -> Result<Arc<Object>>;
    /// Posts to a subresource (`binding`, `eviction`, `token`, …); the answer as it comes.
    async fn post(
        &self,
        resource: &Resource,
        namespace: &str,
        name: &str,
        subresource: &str,
        body: Value,
    ) -> Result<Value>;
    /// Replaces an object or, if `subresource` is not empty, that part of it. With `metadata.resourceVersion` set only if it is current.
    async fn update(
        &self,
        resource: &Resource,
        namespace: &str,
        name: &str,
        subresource: &str,
        body: Value,
        options: &WriteOptions,
    ) -> Result<Arc<Object>>;
    /// Patches an object or, if `subresource` is not empty, that part of it.
    async fn patch(
        &self,
        resource: &Resource,
        namespace: &str,
        name: &str,
        subresource: &str,
        patch: Patch,
        options: &WriteOptions,
    ) -> Result<Arc<Object>>;
    /// Deletes an object; what is left of it if it goes gracefully.
    async fn delete(
        &self,
        resource: &Resource,
        namespace: &str,
        name: &str,
        options: &DeleteOptions,
    ) -> Result<Option<Arc<Object>>>;
}

/// A client handed around.
pub type SharedClient = Arc<dyn Client>;

/// One change to the world.
#[derive(Clone, Debug)]
pub struct Change {
    /// What kind of object.
    pub resource: Arc<Resource>,
    /// Before; `None` if it was created.
    pub old: Option<Arc<Object>>,
    /// After; `None` if it was deleted.
    pub new: Option<Arc<Object>>,
}

impl Change {
    /// The newest version that there is.
    pub fn object(&self) -> &Arc<Object> {
        self.new.as_ref().or(self.old.as_ref()).expect("a change has a before or an after")
    }
}

/// The world as the reader's program sees it. All calls are cheap: they share objects and never parse.
pub trait View: Send + Sync + 'static {
    /// One object.
    fn get(&self, resource: &Resource, namespace: &str, name: &str) -> Option<Arc<Object>>;
    /// All objects of a namespace (empty: of all namespaces), in key order.
    fn list(&self, resource: &Resource, namespace: &str) -> Vec<Arc<Object>>;
    /// Objects of `resource` with an owner reference to `uid` (index).
    fn owned_by(&self, resource: &Resource, uid: &str) -> Vec<Arc<Object>>;
    /// Pods bound to a node (index).
    fn pods_on_node(&self, node: &str) -> Vec<Arc<Object>>;
    /// What happens to `resources` from now on, beginning with one creation per object that exists. No change is lost;
    /// several changes to one object may arrive as one.
    fn changes(&self, resources: &[Resource]) -> BoxStream<'static, Change>;
}

/// A view handed around.
pub type SharedView = Arc<dyn View>;
