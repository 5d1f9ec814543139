//! Step 6: the server is killed with SIGKILL and comes back; nothing else notices.

use super::{containers, restarts, web};
use crate::{
    cluster::wait::ready,
    demo::{Demo, cluster::LIMIT},
};
use anyhow::{Context, Result, bail};
use coracle_api::ListOptions;
use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::{Node, Pod},
};
use nix::sys::signal::Signal;
use serde_json::json;
use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

pub async fn run(demo: &Demo) -> Result<()> {
    let addresses = web::addresses(demo).await?;
    let pods = demo.list::<Pod>("").await?;
    let before_containers: BTreeMap<String, Vec<String>> =
        pods.iter().map(|p| (p.meta().name.clone(), containers(&p.value()))).collect();
    let load = demo.load("node-1", &addresses)?;
    let server = demo.state()?.server.context("the server is not recorded")?;
    let before = everything(demo).await?;
    let begun = Instant::now();
    server.signal(Signal::SIGKILL);
    let after = loop {
        match everything(demo).await {
            Ok(all) if !server.lives() => break all,
            _ if begun.elapsed() > LIMIT => bail!("the server did not come back"),
            _ => tokio::time::sleep(Duration::from_millis(5)).await,
        }
    };
    demo.observe("API answers again (ms)", u64::try_from(begun.elapsed().as_millis())?);
    demo.promise("the server comes back", true, format!("after {} ms", begun.elapsed().as_millis()));
    let lost: Vec<&String> = before.difference(&after).collect();
    demo.promise("no object is lost", lost.is_empty(), format!("{} objects before, lost {lost:?}", before.len()));
    demo.scale::<Deployment>("web", 6).await?;
    web::available(demo, 6, "coracle.dev/demo:v1").await?;
    demo.promise(
        "everything goes on: web scales to 6",
        true,
        format!("{} ms after the kill", begun.elapsed().as_millis()),
    );
    demo.until::<Node, _>("", "all nodes Ready", |nodes| nodes.values().all(|n| ready(n)).then_some(())).await?;
    let pods = demo.list::<Pod>("").await?;
    let restarted: Vec<String> = pods
        .iter()
        .filter(|p| before_containers.get(&p.meta().name).is_some_and(|ids| *ids != containers(&p.value())))
        .map(|p| format!("{} ({} restarts)", p.meta().name, restarts(&p.value())))
        .collect();
    let still = before_containers.keys().filter(|name| pods.iter().any(|p| p.meta().name == **name)).count();
    let holds = restarted.is_empty() && still == before_containers.len();
    demo.promise(
        "no container restarted",
        holds,
        format!("{still} of {} pods as before {restarted:?}", before_containers.len()),
    );
    let figures = load.stop().await?;
    let seen = format!("{} requests, {} failed {}", figures["requests"], figures["failures"], figures["failed"]);
    demo.observe("requests meanwhile", json!({"requests": figures["requests"], "failures": figures["failures"]}));
    demo.promise("the Service answered all the while", figures["failures"] == 0, seen);
    Ok(())
}

/// Every object of every kind that is not made and forgotten all the time, by kind, name and uid.
async fn everything(demo: &Demo) -> Result<BTreeSet<String>> {
    let mut all = BTreeSet::new();
    for kind in coracle_kinds::all().iter().filter(|k| k.is_stored() && k.resource.kind != "Event") {
        let listed = demo.client.list(&kind.resource, "", &ListOptions::default()).await?;
        all.extend(
            listed
                .items
                .iter()
                .map(|o| format!("{} {}/{} {}", kind.resource, o.meta().namespace, o.meta().name, o.meta().uid)),
        );
    }
    Ok(all)
}
