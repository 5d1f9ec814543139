//! Step 5: two containers of one pod talk over 127.0.0.1, and one signals the other.

use crate::{
    cluster::wait::ready,
    demo::{
        Demo,
        cluster::{LIMIT, NAMESPACE},
    },
};
use anyhow::{Result, bail};
use k8s_openapi::api::core::v1::Pod;
use std::time::{Duration, Instant};

pub async fn run(demo: &Demo) -> Result<()> {
    demo.apply(include_str!("../../../../../examples/demo/pair.yaml")).await?;
    demo.until::<Pod, _>("app=pair", "the pair", |pods| pods.values().any(|p| ready(p)).then_some(())).await?;
    let client = said(demo, "client", "got the signal").await?;
    demo.promise("they talk over 127.0.0.1 and one signals the other", true, client);
    let server = said(demo, "server", "SIGUSR1").await?;
    demo.promise("the other says so too", true, server);
    Ok(())
}

/// The line of a container's log that has `text`.
async fn said(demo: &Demo, container: &str, text: &str) -> Result<String> {
    let path = format!("/api/v1/namespaces/{NAMESPACE}/pods/pair/log?container={container}");
    let begun = Instant::now();
    while begun.elapsed() < LIMIT / 4 {
        let log = demo.raw(&path).await?;
        if let Some(line) = log.lines().find(|l| l.contains(text)) {
            return Ok(line.to_string());
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    bail!("the log of {container} does not say {text:?}")
}
