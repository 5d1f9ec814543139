//! Admission: what may change or refuse a write after authorization, as a list of plugins in a fixed order.

mod certificate_approval;
mod certificate_requester;
mod certificate_signing;
mod certificate_subject_restriction;
mod default_ingress_class;
mod default_storage_class;
mod default_toleration_seconds;
mod limit_ranger;
mod namespace_lifecycle;
mod node_restriction;
mod persistent_volume_claim_resize;
mod priority;
mod runtime_class;
mod service_account;
mod storage_object_in_use_protection;
mod taint_nodes_by_condition;
#[cfg(test)]
mod testing;

use crate::auth::{Authorizer, User};
use async_trait::async_trait;
use coracle_api::{Object, Resource, Result, Status};
use coracle_client::View;
use parking_lot::Mutex;
use serde_json::Value;
use std::sync::Arc;

/// What the write does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// A new object.
    Create,
    /// A new version.
    Update,
    /// Removal.
    Delete,
    /// A connection to a subresource (`exec`, `proxy`, …).
    Connect,
}

/// One write, as plugins see it. The object itself is passed beside it.
pub struct Request<'a> {
    /// What it does.
    pub operation: Operation,
    /// Of what kind.
    pub resource: &'a Resource,
    /// Subresource or empty.
    pub subresource: &'a str,
    /// Namespace or empty.
    pub namespace: &'a str,
    /// Name; empty for a create with generateName that has none yet.
    pub name: &'a str,
    /// The version before; `None` for a create.
    pub old: Option<&'a Arc<Object>>,
    /// Who writes.
    pub user: &'a User,
    /// Nothing will be committed: no side effects.
    pub dry_run: bool,
    /// The world, at this moment.
    pub view: &'a dyn View,
    /// Warnings for the client.
    pub warnings: &'a Mutex<Vec<String>>,
}

impl Request<'_> {
    /// Whether it is about this resource (and subresource, empty for the object itself).
    pub fn is(&self, group: &str, plural: &str, subresource: &str) -> bool {
        self.resource.group == group && self.resource.plural == plural && self.subresource == subresource
    }

    /// Whether it creates an object of this resource.
    pub fn creates(&self, group: &str, plural: &str) -> bool {
        self.operation == Operation::Create && self.is(group, plural, "")
    }

    /// 403 in upstream's words; an object that has no name yet goes by its generateName.
    pub fn forbid(&self, object: &Value, why: impl std::fmt::Display) -> Status {
        let field = |name: &str| object["metadata"][name].as_str().filter(|text| !text.is_empty());
        let named = Some(self.name).filter(|name| !name.is_empty());
        let name = named.or_else(|| field("name")).or_else(|| field("generateName")).unwrap_or("Unknown");
        Status::forbidden(self.resource, name, why)
    }
}

/// One admission plugin: one file in this directory, one line in [`Chain::standard`].
#[async_trait]
pub trait Plugin: Send + Sync + 'static {
    /// Upstream's name, `NamespaceLifecycle`.
    fn name(&self) -> &'static str;

    /// Changes the object (`Null` for a delete).
    async fn mutate(&self, _request: &Request<'_>, _object: &mut Value) -> Result<()> {
        Ok(())
    }

    /// Refuses the object as it will be stored (`Null` for a delete).
    async fn validate(&self, _request: &Request<'_>, _object: &Value) -> Result<()> {
        Ok(())
    }
}

/// The plugins in their order.
#[derive(Clone, Default)]
pub struct Chain {
    plugins: Arc<Vec<Box<dyn Plugin>>>,
}

impl Chain {
    /// These plugins, in this order.
    pub fn new(plugins: Vec<Box<dyn Plugin>>) -> Self {
        Self { plugins: Arc::new(plugins) }
    }

    /// Upstream's default plugins that Coracle has, in upstream's order. Some ask the authorizer.
    pub fn standard(authorizer: &Arc<dyn Authorizer>) -> Self {
        Self::new(vec![
            Box::new(namespace_lifecycle::NamespaceLifecycle),
            Box::new(limit_ranger::LimitRanger),
            Box::new(service_account::ServiceAccount),
            Box::new(node_restriction::NodeRestriction),
            Box::new(taint_nodes_by_condition::TaintNodesByCondition),
            Box::new(priority::Priority),
            Box::new(default_toleration_seconds::DefaultTolerationSeconds),
            Box::new(default_storage_class::DefaultStorageClass),
            Box::new(storage_object_in_use_protection::StorageObjectInUseProtection),
            Box::new(persistent_volume_claim_resize::PersistentVolumeClaimResize),
            Box::new(runtime_class::RuntimeClass),
            Box::new(certificate_requester::CertificateRequester),
            Box::new(certificate_approval::CertificateApproval(authorizer.clone())),
            Box::new(certificate_signing::CertificateSigning(authorizer.clone())),
            Box::new(certificate_subject_restriction::CertificateSubjectRestriction),
            Box::new(default_ingress_class::DefaultIngressClass),
        ])
    }

    /// The plugins' names, in order.
    pub fn names(&self) -> impl Iterator<Item = &'static str> {
        self.plugins.iter().map(|plugin| plugin.name())
    }

    /// Runs every `mutate`.
    ///
    /// # Errors
    /// The first refusal.
    pub async fn mutate(&self, request: &Request<'_>, object: &mut Value) -> Result<()> {
        for plugin in self.plugins.iter() {
            plugin.mutate(request, object).await?;
        }
        Ok(())
    }

    /// Runs every `validate`.
    ///
    /// # Errors
    /// The first refusal.
    pub async fn validate(&self, request: &Request<'_>, object: &Value) -> Result<()> {
        for plugin in self.plugins.iter() {
            plugin.validate(request, object).await?;
        }
        Ok(())
    }
}

/// A text field, empty if it is not there.
fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

/// The list at `value[field]`, made if it is not there. `None` if something else is in its place (validation will say so).
fn list_mut<'a>(value: &'a mut Value, field: &str) -> Option<&'a mut Vec<Value>> {
    let slot = value.as_object_mut()?.entry(field).or_insert(Value::Null);
    if slot.is_null() {
        *slot = Value::Array(Vec::new());
    }
    slot.as_array_mut()
}
