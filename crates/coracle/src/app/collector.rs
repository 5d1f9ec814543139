//! `collector`: reads the logs of all pods of its node.

use super::{env, http};
use anyhow::Result;
use serde_json::json;
use std::{collections::BTreeMap, fs, path::Path};

/// Serves on port 9100: what it has read, per pod.
pub async fn run() -> Result<()> {
    println!("collector on {}", env("NODE_NAME"));
    http::serve("0.0.0.0:9100", |_, path, _| {
        (path == "/status")
            .then(|| json!({"pod": env("POD_NAME"), "node": env("NODE_NAME"), "lines": lines("/var/log/pods")}))
    })
    .await
}

/// How many lines each pod has logged: `<namespace>_<name>_<uid>/<container>/<n>.log`.
fn lines(root: &str) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    let children = |dir: &Path| fs::read_dir(dir).into_iter().flatten().flatten().map(|e| e.path()).collect::<Vec<_>>();
    for pod in children(Path::new(root)) {
        let name = pod.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
        for log in children(&pod).iter().flat_map(|container| children(container)) {
            let text = fs::read(log).unwrap_or_default();
            *counts.entry(name.clone()).or_default() += text.iter().filter(|b| **b == b'\n').count();
        }
    }
    counts
}
