//! The Node object: made when the agent first comes, and kept true.

use super::status::{Facts, build, differs};
use crate::{context::Node, machine, volumes::local_path};
use coracle_api::{Object, Patch, Resource, Result, WriteOptions};
use k8s_openapi::api::core::v1;
use serde_json::{Value, json};
use std::{sync::Arc, time::Duration};

/// How often conditions are looked at.
const LOOK: Duration = Duration::from_secs(10);
/// How often an unchanged status is reported.
const REPORT_SECONDS: i64 = 300;

fn labels(node: &Node) -> Value {
    let mut labels = json!({
        "kubernetes.io/hostname": node.config.node_name, "kubernetes.io/os": "linux", "kubernetes.io/arch": machine::arch(),
        "beta.kubernetes.io/os": "linux", "beta.kubernetes.io/arch": machine::arch(),
    });
    for (key, value) in &node.config.labels {
        labels[key] = json!(value);
    }
    labels
}

/// Makes the Node object, or brings labels of an existing one up to date.
///
/// # Errors
/// What the server says.
pub async fn register(node: &Node) -> Result<Arc<Object>> {
    let nodes = Resource::of::<v1::Node>();
    let name = &node.config.node_name;
    let options = WriteOptions::default();
    let metadata = json!({"labels": labels(node), "annotations": {
        "volumes.kubernetes.io/controller-managed-attach-detach": "true",
        local_path::ROOT: local_path::root(&node.config.data_dir),
    }});
    match node.client.get(&nodes, "", name).await {
        Ok(_) => {
            let patch = Patch::merge(json!({"metadata": metadata}));
            return node.client.patch(&nodes, "", name, "", patch, &options).await;
        }
        Err(error) if error.is_not_found() => {}
        Err(error) => return Err(error),
    }
    let mut body = json!({"apiVersion": "v1", "kind": "Node", "metadata": metadata, "spec": {}});
    body["metadata"]["name"] = json!(name);
    if !node.config.taints.is_empty() {
        let taints = node.config.taints.iter();
        let taints = taints.map(|(key, value, effect)| json!({"key": key, "value": value, "effect": effect}));
        body["spec"]["taints"] = taints.collect();
    }
    body["status"] = status(node, &Value::Null).await;
    match node.client.create(&nodes, "", body, &options).await {
        Err(error) if error.is_already_exists() => node.client.get(&nodes, "", name).await,
        other => other,
    }
}

async fn status(node: &Node, old: &Value) -> Value {
    let images = node.runtime.images().await.unwrap_or_default();
    let facts = Facts {
        machine: &node.machine,
        name: &node.config.node_name,
        address: node.config.node_ip,
        runtime: &node.runtime.version(),
        images: &images,
        network_missing: node.state.network_missing(),
        pressure: node.machine.pressure(),
        port: node.config.listen.port(),
    };
    build(&facts, old, node.clock.now())
}

/// Reports the status whenever it changes, and now and then. A Node that was deleted is made again. Never returns.
pub async fn report(node: Arc<Node>) {
    let nodes = Resource::of::<v1::Node>();
    let name = node.config.node_name.clone();
    let mut reported = None;
    loop {
        let result: Result<()> = async {
            let current = match node.client.get(&nodes, "", &name).await {
                Err(error) if error.is_not_found() => register(&node).await?,
                other => other?,
            };
            let old = current.value()["status"].take();
            let new = status(&node, &old).await;
            let now = node.clock.now();
            let due = reported.is_none_or(|at: jiff::Timestamp| now.duration_since(at).as_secs() >= REPORT_SECONDS);
            if due || differs(&old, &new) {
                let patch = Patch::merge(json!({"status": new}));
                node.client.patch(&nodes, "", &name, "status", patch, &WriteOptions::default()).await?;
                reported = Some(now);
            }
            Ok(())
        }
        .await;
        let wait = match result {
            Ok(()) => LOOK,
            Err(error) => {
                tracing::debug!(%error, "the node's status could not be reported");
                Duration::from_secs(1)
            }
        };
        tokio::select! {
            () = node.clock.sleep(wait) => {}
            () = node.state.changed.notified() => {}
        }
    }
}
