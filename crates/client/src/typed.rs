//! Typed reading and writing of built-in kinds over any [`Client`] and any [`View`].
//!
//! Reading never parses twice: the typed view is made once per version of an object and shared.

use crate::{Client, View};
use coracle_api::resource::Scoped;
use coracle_api::{DeleteOptions, Object, Patch, Preconditions, Propagation, Resource, Result, Status, WriteOptions};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};
use std::sync::Arc;

/// A built-in kind as a Rust type.
pub trait Kind:
    k8s_openapi::Resource<Scope: Scoped>
    + k8s_openapi::Metadata<Ty = ObjectMeta>
    + DeserializeOwned
    + Serialize
    + Send
    + Sync
    + 'static
{
    /// The resource it is served as.
    fn resource() -> Resource {
        Resource::of::<Self>()
    }
}

impl<K> Kind for K where
    K: k8s_openapi::Resource<Scope: Scoped>
        + k8s_openapi::Metadata<Ty = ObjectMeta>
        + DeserializeOwned
        + Serialize
        + Send
        + Sync
        + 'static
{
}

/// An object together with its typed view.
pub struct Typed<K> {
    /// The object as stored.
    pub object: Arc<Object>,
    /// Its fields.
    pub view: Arc<K>,
}

impl<K> Clone for Typed<K> {
    fn clone(&self) -> Self {
        Self { object: self.object.clone(), view: self.view.clone() }
    }
}

impl<K: Kind> Typed<K> {
    /// Decodes `object`, or takes the view it already has.
    ///
    /// # Errors
    /// When it does not decode as `K`.
    pub fn new(object: Arc<Object>) -> Result<Self> {
        let view = object.view::<K>()?;
        Ok(Self { object, view })
    }

    /// The parsed header.
    pub fn meta(&self) -> &coracle_api::Meta {
        self.object.meta()
    }

    /// `metadata.name`.
    pub fn name(&self) -> &str {
        &self.object.meta().name
    }

    /// `metadata.uid`.
    pub fn uid(&self) -> &str {
        &self.object.meta().uid
    }
}

impl<K> std::ops::Deref for Typed<K> {
    type Target = K;
    fn deref(&self) -> &K {
        &self.view
    }
}

impl<K> std::fmt::Debug for Typed<K> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.object.fmt(f)
    }
}

/// Typed reading.
pub trait ViewExt: View {
    /// One object, typed; `None` if there is none (or it does not decode, which is logged).
    fn typed<K: Kind>(&self, namespace: &str, name: &str) -> Option<Typed<K>> {
        self.get(&K::resource(), namespace, name).and_then(decoded)
    }

    /// All objects of a namespace (empty: of all), typed.
    fn typed_list<K: Kind>(&self, namespace: &str) -> Vec<Typed<K>> {
        self.list(&K::resource(), namespace).into_iter().filter_map(decoded).collect()
    }

    /// What `uid` owns, typed.
    fn typed_owned<K: Kind>(&self, uid: &str) -> Vec<Typed<K>> {
        self.owned_by(&K::resource(), uid).into_iter().filter_map(decoded).collect()
    }
}

impl<V: View + ?Sized> ViewExt for V {}

fn decoded<K: Kind>(object: Arc<Object>) -> Option<Typed<K>> {
    Typed::new(object).inspect_err(|error| tracing::warn!(%error, "an object is passed over")).ok()
}

/// Typed writing.
#[allow(async_fn_in_trait, reason = "only used with clients that are Send, and never as a trait object")]
pub trait ClientExt: Client {
    /// Creates an object in the namespace that its metadata names.
    fn create_typed<K: Kind>(&self, object: &K) -> impl Future<Output = Result<Typed<K>>> + Send {
        let namespace = object.metadata().namespace.clone().unwrap_or_default();
        let body = encoded(object);
        async move { Typed::new(self.create(&K::resource(), &namespace, body?, &WriteOptions::default()).await?) }
    }

    /// Replaces `status` of the very version `of`: fails with a conflict if it is no longer current.
    fn update_status<K: Kind>(
        &self,
        of: &Typed<K>,
        status: &(impl Serialize + Sync),
    ) -> impl Future<Output = Result<Typed<K>>> + Send {
        let mut body = of.object.value();
        let meta = of.object.meta().clone();
        let status = serde_json::to_value(status);
        async move {
            body["status"] = status.map_err(Status::internal)?;
            let options = WriteOptions::default();
            Typed::new(self.update(&K::resource(), &meta.namespace, &meta.name, "status", body, &options).await?)
        }
    }

    /// Changes an object by `change` and writes it back: fails with a conflict if `of` is no longer current.
    fn update_with<K: Kind>(
        &self,
        of: &Typed<K>,
        change: impl FnOnce(&mut Value) + Send,
    ) -> impl Future<Output = Result<Typed<K>>> + Send {
        let mut body = of.object.value();
        let meta = of.object.meta().clone();
        change(&mut body);
        async move {
            let options = WriteOptions::default();
            Typed::new(self.update(&K::resource(), &meta.namespace, &meta.name, "", body, &options).await?)
        }
    }

    /// A JSON merge patch of an object, or of one subresource.
    fn merge<K: Kind>(
        &self,
        namespace: &str,
        name: &str,
        subresource: &str,
        body: Value,
    ) -> impl Future<Output = Result<Typed<K>>> + Send {
        async move {
            let options = WriteOptions::default();
            Typed::new(self.patch(&K::resource(), namespace, name, subresource, Patch::merge(body), &options).await?)
        }
    }

    /// Deletes this very object (by uid). That it is gone already is no error.
    fn delete_typed<K: Kind>(
        &self,
        object: &Typed<K>,
        propagation: Option<Propagation>,
    ) -> impl Future<Output = Result<()>> + Send {
        let meta = object.object.meta().clone();
        async move {
            let options = DeleteOptions {
                preconditions: Some(Preconditions { uid: Some(meta.uid.clone()), resource_version: None }),
                propagation_policy: propagation,
                ..DeleteOptions::default()
            };
            match self.delete(&K::resource(), &meta.namespace, &meta.name, &options).await {
                Err(status) if status.is_not_found() => Ok(()),
                other => other.map(drop),
            }
        }
    }
}

impl<C: Client + ?Sized> ClientExt for C {}

fn encoded<K: Kind>(object: &K) -> Result<Value> {
    serde_json::to_value(object).map_err(Status::internal)
}

/// The reference with which `owner` manages others.
pub fn controller_reference<K: Kind>(owner: &Typed<K>) -> OwnerReference {
    OwnerReference {
        api_version: K::API_VERSION.to_string(),
        kind: K::KIND.to_string(),
        name: owner.name().to_string(),
        uid: owner.uid().to_string(),
        controller: Some(true),
        block_owner_deletion: Some(true),
    }
}

/// The merge patch that makes `owner` the controller of an object, among its other owners.
pub fn adoption<K: Kind>(owner: &Typed<K>, object: &Object) -> Value {
    let mut owners: Vec<Value> = object.meta().owner_references.iter().map(|o| json!(o)).collect();
    owners.retain(|o| o["uid"] != owner.uid());
    owners.push(json!(controller_reference(owner)));
    json!({"metadata": {"uid": object.meta().uid, "resourceVersion": object.revision().to_string(), "ownerReferences": owners}})
}

/// The merge patch that takes the owner with `uid` from an object.
pub fn release(uid: &str, object: &Object) -> Value {
    let owners: Vec<Value> = object.meta().owner_references.iter().filter(|o| o.uid != uid).map(|o| json!(o)).collect();
    let owners = if owners.is_empty() { Value::Null } else { Value::Array(owners) };
    json!({"metadata": {"uid": object.meta().uid, "resourceVersion": object.revision().to_string(), "ownerReferences": owners}})
}
