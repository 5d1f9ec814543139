//! Stops containers, ends sandboxes, takes away what a pod leaves.

use super::log_dir;
use crate::{context::Node, hooks, pods::worker::event, spec, volumes};
use coracle_client::EventType;
use k8s_openapi::api::core::v1::Pod;
use std::{fs, time::Duration};

/// preStop hook, stop signal, and SIGKILL when the time is over.
pub(super) async fn run(node: &Node, pod: &Pod, name: &str, id: &str, grace: i64, ip: Option<String>) {
    let grace = Duration::from_secs(u64::try_from(grace).unwrap_or(0));
    let begun = node.clock.now();
    if let Some(container) = spec::container(pod, name)
        && let Some(hook) = container.lifecycle.as_ref().and_then(|l| l.pre_stop.as_ref())
        && let Err(error) = hooks::run(node, &container, id, hook, ip.as_deref(), grace).await
    {
        event(node, pod, name, EventType::Warning, "FailedPreStopHook", &format!("PreStopHook failed: {error}"));
    }
    let used = Duration::try_from(node.clock.now().duration_since(begun)).unwrap_or_default();
    let left = grace.saturating_sub(used).max(Duration::from_secs(2));
    if let Err(error) = node.runtime.stop_container(id, left).await {
        tracing::warn!(%error, container = id, "the container could not be stopped");
        node.clock.sleep(Duration::from_secs(1)).await;
    }
}

/// Removes a dead container with its log.
pub(super) async fn remove(node: &Node, pod: &Pod, id: &str) {
    let Ok(container) = node.runtime.container(id).await else { return };
    if node.runtime.remove_container(id).await.is_ok() {
        let log = log_dir(node, pod).join(&container.spec.log_path);
        let _ = fs::remove_file(&log);
        crate::logs::remove_rotated(&log);
        remove_link(node, pod, &container.spec.name, id);
    }
}

fn remove_link(node: &Node, pod: &Pod, container: &str, id: &str) {
    let name = format!("{}_{}_{container}-{id}.log", spec::name(pod), spec::namespace(pod));
    let _ = fs::remove_file(node.config.log_dir.join("containers").join(name));
}

/// Frees address and processes of a pod that is over; its containers' records and logs stay.
pub(super) async fn stop_sandbox(node: &Node, pod: &Pod, sandbox: Option<&str>) {
    if let Some(network) = node.network()
        && let Err(error) = network.detach_pod(spec::uid(pod)).await
    {
        tracing::warn!(%error, pod = spec::label(pod), "the pod's network could not be taken away");
    }
    if let Some(sandbox) = sandbox
        && let Err(error) = node.runtime.stop_sandbox(sandbox).await
    {
        tracing::warn!(%error, pod = spec::label(pod), "the pod's sandbox could not be stopped");
    }
}

/// Takes everything of a pod away: network, sandboxes, volumes, logs.
pub(super) async fn tear_down(node: &Node, pod: &Pod, sandboxes: &[String]) -> Result<(), String> {
    let uid = spec::uid(pod);
    if let Some(network) = node.network() {
        network.detach_pod(uid).await.map_err(|e| e.to_string())?;
    }
    for sandbox in sandboxes {
        for container in node.runtime.containers(Some(sandbox)).await.unwrap_or_default() {
            remove_link(node, pod, &container.spec.name, &container.id);
        }
        node.runtime.stop_sandbox(sandbox).await.map_err(|e| e.to_string())?;
        node.runtime.remove_sandbox(sandbox).await.map_err(|e| e.to_string())?;
    }
    let (dir, logs) = (volumes::pod_dir(&node.config.data_dir, uid), log_dir(node, pod));
    let removed = tokio::task::spawn_blocking(move || {
        volumes::teardown::remove(&dir)?;
        match fs::remove_dir_all(&logs) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    });
    removed.await.map_err(|e| e.to_string())?.map_err(|e| e.to_string())
}
