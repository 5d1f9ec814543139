//! Runs one plugin on one request in a small world.

use super::{Operation, Plugin, Request};
use crate::auth::{User, testing::World};
use coracle_api::{Object, Resource, Result};
use parking_lot::Mutex;
use serde_json::Value;
use std::sync::Arc;

/// A request to be put to a plugin.
pub struct Case {
    pub world: World,
    pub user: User,
    pub operation: Operation,
    pub resource: Resource,
    pub subresource: &'static str,
    pub old: Option<Value>,
}

impl Case {
    /// The creation of an object by some user.
    pub fn create(resource: Resource) -> Self {
        Self {
            world: World::default(),
            user: User::default(),
            operation: Operation::Create,
            resource,
            subresource: "",
            old: None,
        }
    }

    /// The object after the plugin, or its refusal.
    pub fn run(&self, plugin: &dyn Plugin, object: &Value) -> Result<Value> {
        let old = self.old.as_ref().map(|old| Arc::new(Object::from_value(old).unwrap()));
        let warnings = Mutex::new(Vec::new());
        let named = if object.is_null() { self.old.as_ref().unwrap_or(object) } else { object };
        let field = |name: &str| named["metadata"][name].as_str().unwrap_or_default();
        let request = Request {
            operation: self.operation,
            resource: &self.resource,
            subresource: self.subresource,
            namespace: field("namespace"),
            name: field("name"),
            old: old.as_ref(),
            user: &self.user,
            dry_run: false,
            view: &self.world,
            warnings: &warnings,
        };
        let mut object = object.clone();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            plugin.mutate(&request, &mut object).await?;
            plugin.validate(&request, &object).await
        })?;
        Ok(object)
    }

    /// The refusal's message, or nothing.
    pub fn refusal(&self, plugin: &dyn Plugin, object: &Value) -> String {
        self.run(plugin, object).err().map(|status| status.message).unwrap_or_default()
    }
}
