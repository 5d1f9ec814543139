//! Namespaces: one that is deleted leaves when everything in it has left; pods first, so that nothing they need goes before them.
//!
//! Source: `pkg/controller/namespace/deletion/namespaced_resources_deleter.go`.

mod plan;

use crate::custom_resources::CustomResources;
use crate::framework::{Context, Controller, Key, Requeue};
use async_trait::async_trait;
use coracle_api::{DeleteOptions, Object, Preconditions, Propagation, Resource, Result, WriteOptions};
use coracle_client::{Change, ClientExt, Kind, Typed, View, ViewExt};
use futures::{StreamExt, stream};
use k8s_openapi::api::core::v1::{Namespace, Pod};
use parking_lot::RwLock;
use plan::Remains;
use serde_json::json;
use std::sync::Arc;

/// The finalizer of this controller, in `spec`.
const FINALIZER: &str = "kubernetes";

/// The namespace controller.
pub struct Namespaces {
    built_in: Vec<Arc<Resource>>,
    custom: RwLock<CustomResources>,
}

impl Default for Namespaces {
    fn default() -> Self {
        let kept = coracle_kinds::stored().filter(|k| k.resource.namespaced);
        Self { built_in: kept.map(|k| Arc::new(k.resource.clone())).collect(), custom: RwLock::default() }
    }
}

#[async_trait]
impl Controller for Namespaces {
    fn name(&self) -> &'static str {
        "namespace-controller"
    }

    fn workers(&self) -> usize {
        10
    }

    fn watches(&self) -> Vec<Resource> {
        let all = self.built_in.iter().map(|r| (**r).clone());
        all.chain([Namespace::resource()]).collect()
    }

    fn watches_custom(&self) -> bool {
        true
    }

    fn keys(&self, view: &dyn View, change: &Change) -> Vec<Key> {
        self.custom.write().learn(change);
        let meta = change.object().meta();
        let name = if *change.resource == Namespace::resource() {
            &meta.name
        } else if change.new.is_none() {
            &meta.namespace
        } else {
            return Vec::new();
        };
        let going = view.get(&Namespace::resource(), "", name).is_some_and(|namespace| namespace.meta().is_deleting());
        if going { vec![Key::new("", name)] } else { Vec::new() }
    }

    async fn reconcile(&self, ctx: &Context, key: &Key) -> Result<Requeue> {
        let Some(namespace) = ctx.view.typed::<Namespace>("", &key.name).filter(|n| n.meta().is_deleting()) else {
            return Ok(Requeue::No);
        };
        let finalizers = namespace.spec.as_ref().and_then(|s| s.finalizers.clone()).unwrap_or_default();
        if !finalizers.iter().any(|f| f == FINALIZER) {
            return Ok(Requeue::No);
        }
        let failures = self.empty(ctx, &key.name).await;
        let remains = self.remains(ctx.view.as_ref(), &key.name, &failures);
        let namespace = report(ctx, namespace, &remains).await?;
        if !remains.is_empty() {
            // the end of each thing in it is a reason to look again; failures are tried again
            return match failures.into_iter().next() {
                Some(failure) => Err(failure),
                None => Ok(Requeue::No),
            };
        }
        let mut body = namespace.object.value();
        body["spec"]["finalizers"] = json!(finalizers.iter().filter(|f| *f != FINALIZER).collect::<Vec<_>>());
        let options = WriteOptions::default();
        ctx.client.update(&Namespace::resource(), "", &key.name, "finalize", body, &options).await?;
        Ok(Requeue::No)
    }
}

impl Namespaces {
    /// Everything that lives in namespaces.
    fn resources(&self) -> Vec<Arc<Resource>> {
        let custom = self.custom.read();
        self.built_in.iter().chain(custom.iter().filter(|r| r.namespaced)).cloned().collect()
    }

    /// Deletes what is there: pods, and once none is left, everything else.
    async fn empty(&self, ctx: &Context, namespace: &str) -> Vec<coracle_api::Status> {
        let pods = Pod::resource();
        let any_pod = !ctx.view.list(&pods, namespace).is_empty();
        let mut failures = Vec::new();
        for resource in self.resources().iter().filter(|r| (***r == pods) == any_pod) {
            let there = ctx.view.list(resource, namespace).into_iter().filter(|object| !object.meta().is_deleting());
            let deletions = stream::iter(there).map(|object| delete(ctx, resource, object));
            let results: Vec<Result<()>> = deletions.buffer_unordered(32).collect().await;
            failures.extend(results.into_iter().filter_map(Result::err));
        }
        failures
    }

    fn remains(&self, view: &dyn View, namespace: &str, failures: &[coracle_api::Status]) -> Remains {
        let mut remains = Remains::new(failures.iter().map(ToString::to_string).collect());
        for resource in &self.resources() {
            for object in view.list(resource, namespace) {
                remains.add(resource, object.meta());
            }
        }
        remains
    }
}

async fn delete(ctx: &Context, resource: &Resource, object: Arc<Object>) -> Result<()> {
    let meta = object.meta();
    let options = DeleteOptions {
        preconditions: Some(Preconditions { uid: Some(meta.uid.clone()), resource_version: None }),
        propagation_policy: Some(Propagation::Background),
        ..DeleteOptions::default()
    };
    match ctx.client.delete(resource, &meta.namespace, &meta.name, &options).await {
        Err(status) if status.is_not_found() => Ok(()),
        other => other.map(drop),
    }
}

/// Says in the namespace's conditions what it waits for.
async fn report(ctx: &Context, namespace: Typed<Namespace>, remains: &Remains) -> Result<Typed<Namespace>> {
    let mut status = namespace.status.clone().unwrap_or_default();
    let before = status.conditions.clone().unwrap_or_default();
    let after = plan::conditions(&before, remains, ctx.clock.now());
    if after == before && status.phase.as_deref() == Some("Terminating") {
        return Ok(namespace);
    }
    status.phase = Some("Terminating".into());
    status.conditions = Some(after);
    ctx.client.update_status(&namespace, &status).await
}
