//! Admission: what may change or refuse a write after authorization, as a list of plugins in a fixed order.

use crate::auth::User;
use async_trait::async_trait;
use coracle_api::{Object, Resource, Result};
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

    /// Upstream's default plugins that Coracle has, in upstream's order.
    pub fn standard() -> Self {
        Self::new(Vec::new())
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
