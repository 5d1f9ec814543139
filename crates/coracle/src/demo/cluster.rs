//! The demo's cluster: made anew, of two nodes, with the demo images on it; and what the steps do with it as a user would.

use super::{Demo, Output, images};
use crate::cluster::{
    cgroup,
    layout::{Layout, State},
    namespaces, wait,
};
use anyhow::{Context, Result, bail};
use coracle_api::{ListOptions, Object, Patch, PatchKind, Resource, WriteOptions};
use coracle_client::{SharedClient, http::HttpClient, typed::Kind};
use coracle_runtime::ImageStore;
use serde_json::{Map, Value, json};
use std::{
    collections::BTreeMap,
    process::{Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines},
    process::{Child, ChildStdin, ChildStdout},
};

/// The namespace of everything in the demo.
pub const NAMESPACE: &str = "default";
/// Longer than anything in the demo should take.
pub const LIMIT: Duration = Duration::from_secs(60);

/// The cluster as it came up.
pub struct Started {
    /// The administrator's client.
    pub client: SharedClient,
    /// Times.
    pub observed: Map<String, Value>,
}

/// Makes the images, then the cluster; a cluster that an earlier demo left is taken down before.
///
/// # Errors
/// When it does not come up.
pub async fn start(layout: &Layout, output: Output) -> Result<Started> {
    stop(layout).await?;
    let layout = &Layout::open(layout.root())?;
    let archive = layout.run().join("demo-images.tar");
    images::archive(&archive)?;
    ImageStore::open(&layout.images(), Vec::new())?.load(&archive, None)?;
    std::fs::remove_file(&archive)?;
    let port = std::net::TcpListener::bind("0.0.0.0:0")?.local_addr()?.port();
    let begun = Instant::now();
    let mut child = coracle(&["up", "--detach", "--nodes", "2", "--name", "demo", "--no-kubeconfig"])
        .args(["--bind", &format!("0.0.0.0:{port}"), "--data-dir"])
        .arg(layout.root())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut lines = BufReader::new(child.stdout.take().context("no output")?).lines();
    let mut observed = Map::new();
    while let Some(line) = lines.next_line().await? {
        let milliseconds = u64::try_from(begun.elapsed().as_millis())?;
        if let Some((what, _)) = line.split_once(" after ") {
            observed.insert(format!("{} (ms)", what.trim()), json!(milliseconds));
            if output != Output::Json {
                println!("{milliseconds:>6} ms  {what}");
            }
        }
    }
    if !child.wait().await?.success() {
        bail!("the cluster did not come up; {} says more", layout.logs().display());
    }
    let client = Arc::new(HttpClient::from_kubeconfig(&layout.kubeconfig(), None)?);
    Ok(Started { client, observed })
}

/// Takes the demo's cluster down and removes its data.
///
/// # Errors
/// When that fails.
pub async fn stop(layout: &Layout) -> Result<()> {
    if layout.state().is_some() {
        let done = coracle(&["down", "--data-dir"]).arg(layout.root()).stdout(Stdio::null()).status().await?;
        if !done.success() {
            bail!("the cluster in {} could not be taken down", layout.root().display());
        }
    }
    std::fs::remove_dir_all(layout.root()).with_context(|| format!("{} cannot be removed", layout.root().display()))
}

fn coracle(arguments: &[&str]) -> tokio::process::Command {
    let mut command = tokio::process::Command::new("/proc/self/exe");
    command.args(arguments).stdin(Stdio::null());
    command
}

impl Demo {
    /// What is recorded of the cluster.
    pub fn state(&self) -> Result<State> {
        self.layout.state().context("the cluster is gone")
    }

    /// Applies the documents of a manifest, as `kubectl apply --server-side` does.
    pub async fn apply(&self, manifest: &str) -> Result<()> {
        for document in manifest.split("\n---\n") {
            let object: Value = serde_saphyr::from_str(document)?;
            let text = |field: &str| object[field].as_str().unwrap_or_default().to_string();
            let (group, version) = match text("apiVersion").split_once('/') {
                Some((group, version)) => (group.to_string(), version.to_string()),
                None => (String::new(), text("apiVersion")),
            };
            let kind = coracle_kinds::all()
                .iter()
                .find(|k| k.resource.kind == text("kind") && k.resource.group == group && k.resource.version == version)
                .with_context(|| format!("no kind {} in {group}/{version}", text("kind")))?;
            let name = object["metadata"]["name"].as_str().context("a manifest without a name")?.to_string();
            let options = WriteOptions { field_manager: "coracle-demo".into(), ..WriteOptions::default() };
            let patch = Patch::new(PatchKind::Apply, object);
            self.client.patch(&kind.resource, NAMESPACE, &name, "", patch, &options).await?;
        }
        Ok(())
    }

    /// Changes an object by a merge patch.
    pub async fn merge<K: Kind>(
        &self,
        namespace: &str,
        name: &str,
        subresource: &str,
        patch: Value,
    ) -> Result<Arc<Object>> {
        let patch = Patch::merge(patch);
        Ok(self.client.patch(&K::resource(), namespace, name, subresource, patch, &WriteOptions::default()).await?)
    }

    /// Changes an object by a strategic merge patch, as `kubectl set` does.
    pub async fn strategic<K: Kind>(&self, name: &str, patch: Value) -> Result<()> {
        let patch = Patch::strategic(patch);
        self.client.patch(&K::resource(), NAMESPACE, name, "", patch, &WriteOptions::default()).await?;
        Ok(())
    }

    /// Replaces one field of an object.
    pub async fn replace_field<K: Kind>(&self, name: &str, path: &str, value: Value) -> Result<()> {
        let patch = Patch::new(PatchKind::Json, json!([{"op": "replace", "path": path, "value": value}]));
        self.client.patch(&K::resource(), NAMESPACE, name, "", patch, &WriteOptions::default()).await?;
        Ok(())
    }

    /// An answer of the API that is no object (a log).
    pub async fn raw(&self, path: &str) -> Result<String> {
        let client = HttpClient::from_kubeconfig(&self.layout.kubeconfig(), None)?;
        Ok(String::from_utf8_lossy(&client.raw(path).await?).into_owned())
    }

    /// The supervisor's socket.
    pub fn state_socket(&self) -> std::path::PathBuf {
        self.layout.socket()
    }

    /// Sets the number of replicas, as `kubectl scale` does.
    pub async fn scale<K: Kind>(&self, name: &str, replicas: u32) -> Result<()> {
        self.merge::<K>(NAMESPACE, name, "scale", json!({"spec": {"replicas": replicas}})).await.map(drop)
    }

    /// One object.
    pub async fn get<K: Kind>(&self, name: &str) -> Result<Value> {
        Ok(self.client.get(&K::resource(), if K::resource().namespaced { NAMESPACE } else { "" }, name).await?.value())
    }

    /// All objects of a kind that have these labels.
    pub async fn list<K: Kind>(&self, labels: &str) -> Result<Vec<Arc<Object>>> {
        let options = ListOptions { labels: coracle_api::LabelSelector::parse(labels)?, ..ListOptions::default() };
        let namespace = if K::resource().namespaced { NAMESPACE } else { "" };
        Ok(self.client.list(&K::resource(), namespace, &options).await?.items)
    }

    /// Deletes a pod, as `kubectl delete pod` does (without waiting).
    pub async fn delete<K: Kind>(&self, name: &str) -> Result<()> {
        self.client.delete(&K::resource(), NAMESPACE, name, &coracle_api::DeleteOptions::default()).await?;
        Ok(())
    }

    /// Follows the objects with these labels until `done`.
    pub async fn until<K: Kind, T>(
        &self,
        labels: &str,
        what: &str,
        done: impl FnMut(&BTreeMap<String, Arc<Object>>) -> Option<T>,
    ) -> Result<T> {
        let resource: Resource = K::resource();
        let options = ListOptions { labels: coracle_api::LabelSelector::parse(labels)?, ..ListOptions::default() };
        let namespace = if resource.namespaced { NAMESPACE } else { "" };
        wait::until(&self.client, &resource, namespace, options, LIMIT, what, done).await
    }

    /// A program of the demo image, run in the namespaces of a node.
    fn on_node(&self, node: &str, program: &[&str]) -> Result<Command> {
        let state = self.state()?;
        let program: Vec<&str> = ["app"].into_iter().chain(program.iter().copied()).collect();
        Ok(namespaces::command(&self.layout.pins(node), &format!("{}/{node}/visitor", state.cgroup()), &program))
    }

    /// GET from inside a node.
    pub async fn fetch(&self, node: &str, address: &str, path: &str) -> Result<Value> {
        let mut command: tokio::process::Command = self.on_node(node, &["get", address, path])?.into();
        let out = command.stdin(Stdio::null()).output().await?;
        if !out.status.success() {
            bail!("GET {address}{path} from {node}: {}", String::from_utf8_lossy(&out.stderr).trim());
        }
        Ok(serde_json::from_slice(&out.stdout)?)
    }

    /// PUT from inside a node.
    pub async fn put(&self, node: &str, address: &str, path: &str, body: &str) -> Result<()> {
        let mut command: tokio::process::Command = self.on_node(node, &["put", address, path, body])?.into();
        let out = command.stdin(Stdio::null()).output().await?;
        if !out.status.success() {
            bail!("PUT {address}{path} from {node}: {}", String::from_utf8_lossy(&out.stderr).trim());
        }
        Ok(())
    }

    /// Starts asking `addresses` from inside a node.
    pub fn load(&self, node: &str, addresses: &[String]) -> Result<Load> {
        let program: Vec<&str> = ["load"].into_iter().chain(addresses.iter().map(String::as_str)).collect();
        let mut command: tokio::process::Command = self.on_node(node, &program)?.into();
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true).spawn()?;
        let input = child.stdin.take().context("no input")?;
        let output = BufReader::new(child.stdout.take().context("no output")?).lines();
        Ok(Load { child, input: Some(input), output })
    }

    /// The processes of a pod on this machine, by program argument.
    pub fn processes(&self, pod_uid: &str) -> Result<Vec<(u32, String)>> {
        let all = cgroup::processes(&self.state()?.cgroup()).into_iter().filter_map(|pid| {
            let groups = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()?;
            let command = std::fs::read_to_string(format!("/proc/{pid}/cmdline")).ok()?.replace('\0', " ");
            groups.contains(pod_uid).then_some((pid, command))
        });
        Ok(all.collect())
    }

    /// Shows in the picture how the Service shares out its requests.
    pub fn show_shares(&self, figures: &Value) {
        if let Some(picture) = &self.picture {
            picture.shares(figures);
        }
    }
}

/// A load that runs.
pub struct Load {
    child: Child,
    input: Option<ChildStdin>,
    output: Lines<BufReader<ChildStdout>>,
}

impl Load {
    /// The figures so far.
    pub async fn figures(&mut self) -> Result<Value> {
        self.input.as_mut().context("the load has ended")?.write_all(b"\n").await?;
        self.last().await
    }

    async fn last(&mut self) -> Result<Value> {
        let line = self.output.next_line().await?.context("the load ended without figures")?;
        Ok(serde_json::from_str(&line)?)
    }

    /// Ends it; its figures.
    pub async fn stop(mut self) -> Result<Value> {
        self.input = None;
        let figures = self.last().await?;
        self.child.wait().await?;
        Ok(figures)
    }
}
