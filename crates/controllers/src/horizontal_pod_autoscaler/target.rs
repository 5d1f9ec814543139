//! What an autoscaler scales: any kind with a `scale`, built in or custom.

use super::plan::Scale;
use crate::custom_resources::CustomResources;
use coracle_api::{Resource, Result, Status, WriteOptions};
use coracle_client::{Client, View};
use coracle_kinds::custom;
use k8s_openapi::api::autoscaling::v2::CrossVersionObjectReference;
use serde_json::{Value, json};

/// How often a count is written again because somebody else changed the object.
const TRIES: u32 = 5;

/// A scale, and where it is.
pub struct Target {
    resource: Resource,
    namespace: String,
    name: String,
    value: Value,
}

impl Target {
    /// The scale that a reference means.
    ///
    /// # Errors
    /// Why there is none, in words.
    pub async fn find(
        client: &dyn Client,
        view: &dyn View,
        namespace: &str,
        to: &CrossVersionObjectReference,
    ) -> std::result::Result<Self, String> {
        let group = group_of(to.api_version.as_deref().unwrap_or_default())?;
        let candidates = resources(view, group, &to.kind);
        let mut first = None;
        for resource in candidates {
            let path = format!("{}/scale", resource.path(namespace, Some(&to.name)));
            match client.read(&path).await {
                Ok(value) => return Ok(Self { resource, namespace: namespace.into(), name: to.name.clone(), value }),
                Err(error) => drop(first.get_or_insert(error.to_string())),
            }
        }
        Err(first.unwrap_or_else(|| format!("no matches for kind {:?} in group {group:?}", to.kind)))
    }

    /// What it says.
    pub fn scale(&self) -> Scale {
        let number = |value: &Value| value.as_i64().and_then(|n| i32::try_from(n).ok()).unwrap_or(0);
        Scale {
            wanted: number(&self.value["spec"]["replicas"]),
            there: number(&self.value["status"]["replicas"]),
            selector: self.value["status"]["selector"].as_str().unwrap_or_default().to_string(),
        }
    }

    /// Writes another count; again if somebody else has changed the object meanwhile.
    ///
    /// # Errors
    /// As an update.
    pub async fn write(&mut self, client: &dyn Client, replicas: i32) -> Result<()> {
        let mut last = Status::internal("the scale was not written");
        for _ in 0..TRIES {
            let mut body = self.value.clone();
            body["spec"]["replicas"] = json!(replicas);
            let options = WriteOptions::default();
            match client.update(&self.resource, &self.namespace, &self.name, "scale", body, &options).await {
                Ok(_) => return Ok(()),
                Err(error) if error.is_conflict() => last = error,
                Err(error) => return Err(error),
            }
            let path = format!("{}/scale", self.resource.path(&self.namespace, Some(&self.name)));
            self.value = client.read(&path).await?;
        }
        Err(last)
    }
}

/// The group of an `apiVersion`.
///
/// # Errors
/// When it is none.
fn group_of(version: &str) -> std::result::Result<&str, String> {
    match version.matches('/').count() {
        0 => Ok(""),
        1 => Ok(version.split_once('/').map_or("", |(group, _)| group)),
        _ => Err(format!("unexpected GroupVersion string: {version}")),
    }
}

/// The resources with objects of a kind.
pub fn resources(view: &dyn View, group: &str, kind: &str) -> Vec<Resource> {
    let known = coracle_kinds::all().iter().map(|k| &k.resource);
    let mut found: Vec<Resource> = known.filter(|r| r.group == group && r.kind == kind).cloned().collect();
    if found.is_empty() {
        let suffix = format!(".{group}");
        let definitions = view.list(&CustomResources::DEFINITIONS, "");
        let of_group = definitions.iter().filter(|d| d.meta().name.ends_with(&suffix));
        let resources = of_group.filter_map(|definition| custom::resource(&definition.value()));
        found.extend(resources.filter(|r| r.group == group && r.kind == kind));
    }
    found
}
