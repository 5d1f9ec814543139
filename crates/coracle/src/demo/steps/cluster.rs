//! Step 1: two nodes, and a first pod.

use crate::{
    cluster::wait::ready,
    demo::{Demo, cluster::NAMESPACE},
};
use anyhow::Result;
use coracle_api::WriteOptions;
use coracle_client::Kind;
use k8s_openapi::api::core::v1::{Node, Pod};
use serde_json::json;
use std::time::Instant;

pub async fn run(demo: &Demo) -> Result<()> {
    let nodes = demo.list::<Node>("").await?;
    demo.promise("two nodes are Ready", nodes.len() == 2 && nodes.iter().all(|n| ready(n)), format!("{nodes:?}"));
    let begun = Instant::now();
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "first", "labels": {"app": "first"}},
        "spec": {"containers": [{"name": "web", "image": "coracle.dev/demo:v1", "args": ["web"]}], "terminationGracePeriodSeconds": 1},
    });
    // the account that pods run as is made with the namespace, a moment after the server is ready
    let accounts = "the default service account";
    demo.until::<k8s_openapi::api::core::v1::ServiceAccount, _>("", accounts, |all| (!all.is_empty()).then_some(()))
        .await?;
    demo.client.create(&Pod::resource(), NAMESPACE, pod, &WriteOptions::default()).await?;
    let running = demo
        .until::<Pod, _>("app=first", "the first pod to run", |pods| {
            pods.values().any(|p| p.value()["status"]["phase"] == "Running").then(|| begun.elapsed())
        })
        .await?;
    let milliseconds = u64::try_from(running.as_millis())?;
    demo.observe("first pod Running (ms)", milliseconds);
    demo.promise("a first pod runs", true, format!("after {milliseconds} ms"));
    demo.delete::<Pod>("first").await
}
