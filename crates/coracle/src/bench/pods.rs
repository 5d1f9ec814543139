//! Pods: how fast they start on one node, and what each costs.

use super::{
    Bench,
    memory::{self, Role},
    objects,
    report::{ms, per_second, quantile},
    subject::Cluster,
};
use anyhow::{Context, Result, bail};
use coracle_api::{DeleteOptions, ListOptions, Object, WriteOptions};
use coracle_client::{Kind, WatchEvent};
use futures::{StreamExt, future::try_join_all};
use k8s_openapi::api::core::v1::Pod;
use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

/// Time that a cluster is given to let go of what its pods needed.
const REST: Duration = Duration::from_secs(12);
/// Longer than all pods together may take.
const LIMIT: Duration = Duration::from_secs(120);

pub async fn run(bench: &mut Bench) -> Result<()> {
    let (single, many) = bench.sizes.pods;
    let cluster = bench.cluster().await?;
    let mut times = Vec::new();
    for number in 0..single {
        times.push(ms(start(cluster, vec![format!("single-{number}")]).await?));
    }
    delete_all(cluster).await?;
    let state = cluster.state()?;
    let before = memory::pss(&memory::processes(&state));
    let took = start(cluster, (0..many).map(|n| format!("many-{n}")).collect()).await?;
    let after = memory::pss(&memory::processes(&state));
    delete_all(cluster).await?;
    tokio::time::sleep(REST).await;
    let kept: f64 = memory::pss(&memory::processes(&state)).values().sum();

    let how = format!("POST of the pod until a watch shows it Running, image loaded, {single} one after another");
    bench.report("pod create to Running, p50", quantile(&mut times, 0.5), "ms", how);
    let how = format!("{many} pods created at once, until a watch shows the last one Running");
    bench.report("pods started", per_second(many, took), "/s", how);
    let grown = |roles: &[Role]| -> f64 {
        let of = |all: &std::collections::BTreeMap<Role, f64>| roles.iter().filter_map(|r| all.get(r)).sum::<f64>();
        #[allow(clippy::cast_precision_loss)]
        let pods = many as f64;
        (of(&after) - of(&before)) / pods
    };
    bench.report("memory per pod, shim", grown(&[Role::Shim]), "MB", format!("PSS of the shims, {many} pods"));
    let ours = [Role::Shim, Role::Agent, Role::Server, Role::Supervisor];
    bench.report(
        "memory per pod, all of Coracle",
        grown(&ours),
        "MB",
        "shims, and what agent and server grew by (PSS)",
    );
    let how = format!("PSS of all processes {} s after {} pods came and went", REST.as_secs(), single + many);
    bench.report("memory after pods", kept, "MB", how);
    bench.report("memory per pod, its program", grown(&[Role::Container]), "MB", "PSS of `coracle app web`");
    Ok(())
}

/// Creates the pods at once; how long until the last one runs.
async fn start(cluster: &Cluster, names: Vec<String>) -> Result<Duration> {
    let client = &cluster.client;
    let newest = client.list(&Pod::resource(), "default", &ListOptions::default()).await?.revision;
    let options = ListOptions { revision: Some(newest), ..ListOptions::default() };
    let mut events = client.watch(&Pod::resource(), "default", &options).await?;
    let begun = Instant::now();
    let creating = names.iter().map(|name| async move {
        client.create(&Pod::resource(), "default", objects::running_pod(name), &WriteOptions::default()).await
    });
    let mut waiting: BTreeSet<&str> = names.iter().map(String::as_str).collect();
    let running = async {
        while !waiting.is_empty() {
            match events.next().await.context("the server ended the watch")?? {
                WatchEvent::Added(pod) | WatchEvent::Modified(pod) if runs(&pod) => {
                    waiting.remove(pod.meta().name.as_str());
                }
                _ => {}
            }
        }
        Ok::<_, anyhow::Error>(begun.elapsed())
    };
    let both = futures::future::try_join(async { Ok(try_join_all(creating).await?) }, running);
    match tokio::time::timeout(LIMIT, both).await {
        Ok(done) => Ok(done?.1),
        Err(_) => bail!("{} of {} pods did not run after {} s", waiting.len(), names.len(), LIMIT.as_secs()),
    }
}

fn runs(pod: &Object) -> bool {
    pod.value()["status"]["phase"] == "Running"
}

async fn delete_all(cluster: &Cluster) -> Result<()> {
    let client = &cluster.client;
    let listed = client.list(&Pod::resource(), "default", &ListOptions::default()).await?;
    let mut left: BTreeSet<String> = listed.items.iter().map(|p| p.meta().name.clone()).collect();
    let options = ListOptions { revision: Some(listed.revision), ..ListOptions::default() };
    let mut events = client.watch(&Pod::resource(), "default", &options).await?;
    try_join_all(listed.items.iter().map(|pod| async move {
        client.delete(&Pod::resource(), "default", &pod.meta().name, &DeleteOptions::default()).await
    }))
    .await?;
    let gone = async {
        while !left.is_empty() {
            if let WatchEvent::Deleted(pod) = events.next().await.context("the server ended the watch")?? {
                left.remove(&pod.meta().name);
            }
        }
        Ok::<_, anyhow::Error>(())
    };
    match tokio::time::timeout(LIMIT, gone).await {
        Ok(done) => done,
        Err(_) => bail!("{} deleted pods were still there after {} s", left.len(), LIMIT.as_secs()),
    }
}
