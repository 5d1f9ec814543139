//! Directories of PersistentVolumes that the local-path provisioner places on this node: below one root, which the Node object tells.
//!
//! The provisioner asks for a directory to be removed by its name in an annotation of the Node. Only the node removes anything, only what
//! lies directly below its root and is called as the provisioner calls its directories, and without following symbolic links.

use crate::context::Node;
use coracle_api::{Object, Patch, Resource, WriteOptions};
use coracle_client::View;
use futures::StreamExt;
use k8s_openapi::api::core::v1;
use serde_json::json;
use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

/// On the Node: where its volumes are.
pub const ROOT: &str = "coracle.dev/local-path-root";
/// On the Node: names of directories to be removed, with commas between them.
const DISCARD: &str = "coracle.dev/local-path-discard";
/// What all names begin with.
const PREFIX: &str = "pvc-";
/// After a failure.
const RETRY: Duration = Duration::from_secs(5);

/// The directory of this node's volumes.
pub fn root(data: &Path) -> PathBuf {
    let root = data.join("volumes");
    std::path::absolute(&root).unwrap_or(root)
}

/// Removes what the provisioner asks for. Never returns.
pub async fn follow(node: Arc<Node>) {
    let nodes = Resource::of::<v1::Node>();
    let mut changes = node.view.changes(std::slice::from_ref(&nodes));
    let mut failed = false;
    loop {
        if failed {
            node.clock.sleep(RETRY).await;
        } else {
            match changes.next().await {
                Some(change) if change.object().meta().name == node.config.node_name => {}
                Some(_) => continue,
                None => return,
            }
        }
        failed = match node.view.get(&nodes, "", &node.config.node_name) {
            Some(own) => !discard(&node, &own).await,
            None => false,
        };
    }
}

/// Whether all that was asked for is done.
async fn discard(node: &Node, own: &Object) -> bool {
    let Some(asked) = own.meta().annotations.get(DISCARD) else { return true };
    let root = root(&node.config.data_dir);
    let mut left: Vec<&str> = Vec::new();
    for name in asked.split(',').filter(|name| !name.is_empty()) {
        let (root, directory) = (root.clone(), name.to_string());
        // a volume may hold many files
        let removed = tokio::task::spawn_blocking(move || remove(&root, &directory)).await;
        match removed.unwrap_or_else(|error| Err(io::Error::other(error))) {
            Ok(()) => tracing::info!(directory = name, "a volume's directory is removed"),
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => {
                tracing::warn!(directory = name, %error, "not removed");
            }
            Err(error) => {
                tracing::warn!(directory = name, %error, "a volume's directory cannot be removed, trying again");
                left.push(name);
            }
        }
    }
    let list = if left.is_empty() { serde_json::Value::Null } else { json!(left.join(",")) };
    // only this very list: what was added meanwhile is seen with the next change
    let patch = Patch::merge(json!({"metadata": {
        "uid": own.meta().uid, "resourceVersion": own.revision().to_string(), "annotations": {DISCARD: list},
    }}));
    let name = &node.config.node_name;
    match node.client.patch(&Resource::of::<v1::Node>(), "", name, "", patch, &WriteOptions::default()).await {
        Ok(_) => left.is_empty(),
        Err(error) if error.is_conflict() || error.is_not_found() => true,
        Err(error) => {
            tracing::debug!(%error, "the Node could not be told which volumes are removed");
            false
        }
    }
}

/// Removes one directory below `root`. That it is gone already is no error.
fn remove(root: &Path, name: &str) -> io::Result<()> {
    let plain = name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b));
    if !plain || !name.starts_with(PREFIX) {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "this is no name of a volume's directory"));
    }
    // `remove_dir_all` opens each directory without following links, and takes a link itself for a file
    match fs::remove_dir_all(root.join(name)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_directories_of_volumes_are_removed() {
        let base = std::env::temp_dir().join(format!("coracle-agent-local-path-{}", std::process::id()));
        let _ = fs::remove_dir_all(&base);
        let root = base.join("volumes");
        fs::create_dir_all(root.join("pvc-1_ns_a/deep")).unwrap();
        fs::create_dir_all(root.join("other")).unwrap();
        fs::create_dir_all(base.join("outside")).unwrap();
        fs::write(base.join("outside/file"), "x").unwrap();
        std::os::unix::fs::symlink(base.join("outside"), root.join("pvc-1_ns_a/link")).unwrap();
        std::os::unix::fs::symlink(base.join("outside"), root.join("pvc-2_ns_b")).unwrap();
        for (name, expected) in [
            ("pvc-1_ns_a", true),
            ("pvc-1_ns_a", true),
            ("pvc-2_ns_b", true),
            ("pvc-3_never_there", true),
            ("other", false),
            ("pvc-/../../outside", false),
            ("..", false),
            ("", false),
        ] {
            assert_eq!(remove(&root, name).is_ok(), expected, "{name}");
        }
        assert!(!root.join("pvc-1_ns_a").exists() && root.join("other").exists());
        assert!(base.join("outside/file").exists());
        fs::remove_dir_all(&base).unwrap();
    }
}
