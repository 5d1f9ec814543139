//! Step 2: a Deployment behind a Service: scaled, healed, rolled out and rolled back under load.

use super::{containers, node_of, restarts, staying, uids};
use crate::{
    cluster::wait::ready,
    demo::{
        Demo,
        cluster::{LIMIT, Load},
    },
};
use anyhow::{Context, Result, bail};
use k8s_openapi::api::{
    apps::v1::{Deployment, ReplicaSet},
    core::v1::{Pod, Service},
};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::{Value, json};
use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

const LABELS: &str = "app=web";
const REVISION: &str = "deployment.kubernetes.io/revision";

pub async fn run(demo: &Demo) -> Result<()> {
    demo.apply(include_str!("../../../../../examples/demo/web.yaml")).await?;
    available(demo, 1, "coracle.dev/demo:v1").await?;
    scale(demo).await?;
    let addresses = addresses(demo).await?;
    reach_all(demo, &addresses).await?;
    configured(demo, &addresses).await?;
    heal(demo).await?;
    roll(demo, &addresses).await
}

/// Where the Service answers: its own address, and its port on every node.
pub async fn addresses(demo: &Demo) -> Result<Vec<String>> {
    let service = demo.get::<Service>("web").await?;
    let ip = service["spec"]["clusterIP"].as_str().context("the Service has no address")?.to_string();
    let node_port = service["spec"]["ports"][0]["nodePort"].as_u64().context("the Service has no node port")?;
    let nodes = demo.state()?.nodes;
    Ok([format!("{ip}:80")].into_iter().chain(nodes.iter().map(|n| format!("{}:{node_port}", n.ip))).collect())
}

/// Waits until the Deployment has rolled out completely.
pub async fn available(demo: &Demo, replicas: u64, image: &str) -> Result<()> {
    let what = format!("{replicas} available replicas of {image}");
    demo.until::<Deployment, _>("", &what, |all| {
        let web = all.values().find(|d| d.meta().name == "web")?.value();
        let (status, template) = (&web["status"], &web["spec"]["template"]["spec"]["containers"][0]["image"]);
        let counts = ["replicas", "updatedReplicas", "availableReplicas"].map(|f| status[f].as_u64().unwrap_or(0));
        let seen = status["observedGeneration"] == web["metadata"]["generation"];
        (seen && template == image && counts == [replicas; 3]).then_some(())
    })
    .await
}

async fn scale(demo: &Demo) -> Result<()> {
    let begun = Instant::now();
    demo.scale::<Deployment>("web", 5).await?;
    // the pods are there, all four, before the first of them is ready: nothing waited for anything
    let at_once = demo
        .until::<Pod, _>(LABELS, "four more pods", |pods| {
            let pods = staying(pods);
            let ready = pods.iter().filter(|p| ready(p)).count();
            (pods.len() == 5 || ready > 1).then(|| (pods.len(), ready, begun.elapsed().as_millis()))
        })
        .await?;
    let seen = format!("{} pods there after {} ms, {} ready", at_once.0, at_once.2, at_once.1);
    demo.promise("1 → 5 replicas: the four missing start at once", at_once.0 == 5 && at_once.1 == 1, seen);
    available(demo, 5, "coracle.dev/demo:v1").await?;
    let milliseconds = u64::try_from(begun.elapsed().as_millis())?;
    demo.observe("1 to 5 replicas available (ms)", milliseconds);
    Ok(())
}

/// Asks until all five have answered at `address`, from inside `node`.
async fn reaches_five(demo: &Demo, node: &str, address: &str) -> Result<Value> {
    let mut load = demo.load(node, &[address.to_string()])?;
    let begun = Instant::now();
    while begun.elapsed() < LIMIT / 4 {
        tokio::time::sleep(Duration::from_millis(100)).await;
        let figures = load.figures().await?;
        demo.show_shares(&figures);
        if figures["pods"].as_object().is_some_and(|p| p.len() == 5) {
            break;
        }
    }
    load.stop().await
}

async fn reach_all(demo: &Demo, addresses: &[String]) -> Result<()> {
    for node in demo.state()?.nodes {
        for address in addresses {
            let figures = reaches_five(demo, &node.name, address).await?;
            let pods = figures["pods"].as_object().map_or(0, serde_json::Map::len);
            let seen = format!("{} requests to {pods} pods, {} failed", figures["requests"], figures["failures"]);
            let holds = pods == 5 && figures["failures"] == 0;
            demo.promise(&format!("{address} from {} reaches all five", node.name), holds, seen);
        }
    }
    Ok(())
}

async fn configured(demo: &Demo, addresses: &[String]) -> Result<()> {
    let answer = demo.fetch("node-1", &addresses[0], "/").await?;
    let hello = "hello from a ConfigMap";
    let holds = answer["greeting"] == json!({"env": hello, "file": hello}) && answer["secret"] == true;
    demo.promise("ConfigMap and Secret are mounted and in the environment", holds, &answer["greeting"]);
    Ok(())
}

async fn heal(demo: &Demo) -> Result<()> {
    let pods = demo.list::<Pod>(LABELS).await?;
    let victim = pods.first().context("no pod")?.clone();
    let processes = demo.processes(&victim.meta().uid)?;
    let (pid, _) = processes.iter().find(|(_, c)| c.contains("app web")).context("the pod's process is not found")?;
    let begun = Instant::now();
    kill(Pid::from_raw(pid.cast_signed()), Signal::SIGKILL)?;
    let healed = demo
        .until::<Pod, _>(LABELS, "the killed container to run again", |pods| {
            let pod = pods.values().find(|p| p.meta().uid == victim.meta().uid)?;
            (restarts(&pod.value()) == 1 && ready(pod)).then(|| pod.clone())
        })
        .await?;
    let same = node_of(&healed) == node_of(&victim) && containers(&healed.value()) != containers(&victim.value());
    let seen =
        format!("{} on {}, restart 1, after {} ms", healed.meta().name, node_of(&healed), begun.elapsed().as_millis());
    demo.promise("a killed process is restarted in place", same, seen);

    let victim = pods.last().context("no pod")?.clone();
    let before = uids(&pods);
    let begun = Instant::now();
    demo.delete::<Pod>(&victim.meta().name).await?;
    let replacement = demo
        .until::<Pod, _>(LABELS, "a replacement for the deleted pod", |pods| {
            let ready: Vec<_> = staying(pods).into_iter().filter(|p| ready(p)).collect();
            (ready.len() == 5).then(|| ready.iter().find(|p| !before.contains(&p.meta().uid)).cloned())?
        })
        .await?;
    let seen =
        format!("{} for {} after {} ms", replacement.meta().name, victim.meta().name, begun.elapsed().as_millis());
    demo.promise("a deleted pod is replaced", true, seen);
    // its endpoint has left every node before the load begins
    demo.until::<Pod, _>(LABELS, "the deleted pod to be gone", |pods| (pods.len() == 5).then_some(())).await
}

/// Has a change under load on every address; the figures of the load.
async fn under_load(demo: &Demo, addresses: &[String], change: impl Future<Output = Result<()>>) -> Result<Value> {
    let mut load = demo.load("node-1", addresses)?;
    tokio::pin!(change);
    loop {
        tokio::select! {
            result = &mut change => {
                result?;
                break;
            }
            () = tokio::time::sleep(Duration::from_millis(250)) => show(demo, &mut load).await?,
        }
    }
    load.stop().await
}

async fn show(demo: &Demo, load: &mut Load) -> Result<()> {
    demo.show_shares(&load.figures().await?);
    Ok(())
}

async fn roll(demo: &Demo, addresses: &[String]) -> Result<()> {
    let figures = under_load(demo, addresses, async {
        let image =
            json!({"spec": {"template": {"spec": {"containers": [{"name": "web", "image": "coracle.dev/demo:v2"}]}}}});
        demo.strategic::<Deployment>("web", image).await?;
        available(demo, 5, "coracle.dev/demo:v2").await?;
        gone(demo).await
    })
    .await?;
    let both = ["v1", "v2"].iter().all(|v| figures["versions"][v].as_u64() > Some(0));
    let seen = format!(
        "{} requests, {} failed {}, by version {}",
        figures["requests"], figures["failures"], figures["failed"], figures["versions"]
    );
    demo.observe("rollout", figures.clone());
    demo.promise("a new image rolls out and not one request fails", both && figures["failures"] == 0, seen);

    let figures = under_load(demo, addresses, async {
        undo(demo).await?;
        available(demo, 5, "coracle.dev/demo:v1").await?;
        gone(demo).await
    })
    .await?;
    let seen = format!("{} requests, {} failed {}", figures["requests"], figures["failures"], figures["failed"]);
    demo.promise("`rollout undo` returns, and not one request fails", figures["failures"] == 0, seen);
    Ok(())
}

/// Waits until the pods of the old version have left.
async fn gone(demo: &Demo) -> Result<()> {
    demo.until::<Pod, _>(LABELS, "the old pods to be gone", |pods| (pods.len() == 5).then_some(())).await
}

/// What `kubectl rollout undo` does: the template of the ReplicaSet before the current one.
async fn undo(demo: &Demo) -> Result<()> {
    let revision = |v: &Value| v["metadata"]["annotations"][REVISION].as_str().and_then(|r| r.parse::<u64>().ok());
    let mut sets: Vec<Value> = demo.list::<ReplicaSet>(LABELS).await?.iter().map(|s| s.value()).collect();
    sets.sort_by_key(|s| revision(s));
    let known: BTreeSet<_> = sets.iter().filter_map(revision).collect();
    if known.len() < 2 {
        bail!("there is no earlier revision: {known:?}");
    }
    let mut template = sets[sets.len() - 2]["spec"]["template"].clone();
    if let Some(labels) = template["metadata"]["labels"].as_object_mut() {
        labels.remove("pod-template-hash");
    }
    demo.replace_field::<Deployment>("web", "/spec/template", template).await
}
