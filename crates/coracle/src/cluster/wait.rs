//! Waiting on conditions of the cluster by watching, never by asking again and again.

use anyhow::{Context, Result, bail};
use coracle_api::{ListOptions, Object, Resource};
use coracle_client::{SharedClient, WatchEvent};
use futures::StreamExt;
use std::{collections::BTreeMap, sync::Arc, time::Duration};

/// Follows the objects that `options` selects until `done` holds for all of them together, at most for `limit`; what `done` gave.
///
/// # Errors
/// When the time is up: `what` says what was waited for.
pub async fn until<T>(
    client: &SharedClient,
    resource: &Resource,
    namespace: &str,
    options: ListOptions,
    limit: Duration,
    what: &str,
    mut done: impl FnMut(&BTreeMap<String, Arc<Object>>) -> Option<T>,
) -> Result<T> {
    let following = async {
        loop {
            // a server that restarts ends the watch; then everything is read again
            match follow(client, resource, namespace, &options, &mut done).await {
                Ok(Some(found)) => return found,
                Ok(None) => {}
                Err(error) => {
                    tracing::debug!(%error, "watching again");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
    };
    match tokio::time::timeout(limit, following).await {
        Ok(found) => Ok(found),
        Err(_) => bail!("waited {} s in vain for {what}", limit.as_secs()),
    }
}

async fn follow<T>(
    client: &SharedClient,
    resource: &Resource,
    namespace: &str,
    options: &ListOptions,
    done: &mut impl FnMut(&BTreeMap<String, Arc<Object>>) -> Option<T>,
) -> coracle_api::Result<Option<T>> {
    let listed = client.list(resource, namespace, options).await?;
    let key = |o: &Object| format!("{}/{}", o.meta().namespace, o.meta().name);
    let mut objects: BTreeMap<String, Arc<Object>> = listed.items.into_iter().map(|o| (key(&o), o)).collect();
    if let Some(found) = done(&objects) {
        return Ok(Some(found));
    }
    let options = ListOptions { revision: Some(listed.revision), ..options.clone() };
    let mut events = client.watch(resource, namespace, &options).await?;
    while let Some(event) = events.next().await {
        match event? {
            WatchEvent::Added(object) | WatchEvent::Modified(object) => {
                objects.insert(key(&object), object);
            }
            WatchEvent::Deleted(object) => {
                objects.remove(&key(&object));
            }
            WatchEvent::Bookmark(_) => continue,
        }
        if let Some(found) = done(&objects) {
            return Ok(Some(found));
        }
    }
    Ok(None)
}

/// Waits until a node reports itself ready.
///
/// # Errors
/// When it does not within `limit`.
pub async fn node_ready(client: &SharedClient, name: &str, limit: Duration) -> Result<()> {
    let resource = Resource::of::<k8s_openapi::api::core::v1::Node>();
    let options =
        ListOptions { fields: coracle_api::FieldSelector::equals("metadata.name", name), ..ListOptions::default() };
    let what = format!("node {name} to be Ready; its log says more");
    until(client, &resource, "", options, limit, &what, |nodes| nodes.values().any(|n| ready(n)).then_some(()))
        .await
        .context("the node did not come up")
}

/// Whether an object has the condition `Ready` with status `True`.
pub fn ready(object: &Object) -> bool {
    let value = object.value();
    let conditions = value.pointer("/status/conditions").and_then(|c| c.as_array());
    conditions.is_some_and(|all| all.iter().any(|c| c["type"] == "Ready" && c["status"] == "True"))
}
