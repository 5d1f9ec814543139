//! What is left of pods that went away while the agent was not there.

use crate::{context::Node, volumes};
use coracle_api::Resource;
use coracle_client::View;
use k8s_openapi::api::core::v1::Pod;
use std::{collections::HashSet, fs, sync::Arc, time::Duration};

/// Ends and removes what belongs to no pod of the node.
pub(super) async fn remove(node: &Arc<Node>) {
    let pods = node.view.list(&Resource::of::<Pod>(), "");
    let known: HashSet<String> = pods.iter().map(|o| o.meta().uid.clone()).collect();
    for sandbox in node.runtime.sandboxes().await.unwrap_or_default() {
        if known.contains(&sandbox.spec.uid) {
            continue;
        }
        tracing::info!(pod = sandbox.spec.name, namespace = sandbox.spec.namespace, "removing a pod that is gone");
        for container in node.runtime.containers(Some(&sandbox.id)).await.unwrap_or_default() {
            let _ = node.runtime.stop_container(&container.id, Duration::from_secs(2)).await;
        }
        let stopped = node.runtime.stop_sandbox(&sandbox.id).await;
        if let Err(error) = stopped.and(node.runtime.remove_sandbox(&sandbox.id).await) {
            tracing::warn!(%error, sandbox = sandbox.id, "the sandbox of a pod that is gone could not be removed");
        }
    }
    let uids: Vec<String> = known.iter().cloned().collect();
    let waiting = node.clone();
    node.tasks.spawn("retain-addresses", async move {
        let mut network = waiting.network.clone();
        if let Ok(ready) = network.wait_for(Option::is_some).await.map(|n| n.clone())
            && let Some(ready) = ready
        {
            // pods that came meanwhile have theirs
            let now = waiting.pods.all().into_iter().map(|(o, _)| o.meta().uid.clone());
            let keep: Vec<String> = uids.into_iter().chain(now).collect();
            if let Err(error) = ready.retain_pods(&keep).await {
                tracing::warn!(%error, "addresses of pods that are gone could not be freed");
            }
        }
    });
    for entry in fs::read_dir(node.config.data_dir.join("pods")).into_iter().flatten().flatten() {
        let uid = entry.file_name().to_string_lossy().into_owned();
        if !known.contains(&uid)
            && let Err(error) = volumes::teardown::remove(&entry.path())
        {
            tracing::warn!(%error, uid, "volumes of a pod that is gone could not be removed");
        }
    }
    for entry in fs::read_dir(node.config.log_dir.join("pods")).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.rsplit('_').next().is_some_and(|uid| !known.contains(uid)) {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}
