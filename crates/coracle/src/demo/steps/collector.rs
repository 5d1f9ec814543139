//! Step 4: a DaemonSet, a node that joins, a node that is cordoned.

use super::{ip_of, node_of, restarts, staying, uids};
use crate::{
    cluster::{
        control::{Request, ask},
        wait::ready,
    },
    demo::Demo,
};
use anyhow::{Context, Result};
use coracle_api::Object;
use k8s_openapi::api::core::v1::{Node, Pod};
use serde_json::json;
use std::{collections::BTreeSet, sync::Arc, time::Instant};

const LABELS: &str = "app=collector";

pub async fn run(demo: &Demo) -> Result<()> {
    demo.apply(include_str!("../../../../../examples/demo/collector.yaml")).await?;
    let before = one_per_node(demo, 2).await?;
    demo.promise("one pod on each of the two nodes", true, nodes(&before).join(", "));
    reads_logs(demo, &before).await?;
    join(demo, &before).await?;
    cordon(demo).await
}

fn nodes(pods: &[Arc<Object>]) -> Vec<String> {
    pods.iter().map(|p| node_of(p)).collect()
}

async fn one_per_node(demo: &Demo, count: usize) -> Result<Vec<Arc<Object>>> {
    let what = format!("a collector on each of {count} nodes");
    demo.until::<Pod, _>(LABELS, &what, |pods| {
        let pods = staying(pods);
        let distinct: BTreeSet<String> = nodes(&pods).into_iter().collect();
        (pods.len() == count && distinct.len() == count && pods.iter().all(|p| ready(p))).then_some(pods)
    })
    .await
}

async fn reads_logs(demo: &Demo, pods: &[Arc<Object>]) -> Result<()> {
    let all = demo.list::<Pod>("app=web").await?;
    for pod in pods {
        let view = demo.fetch("node-1", &format!("{}:9100", ip_of(pod)), "/status").await?;
        let here = all.iter().filter(|p| node_of(p) == node_of(pod));
        let read = |p: &Arc<Object>| {
            let dir = format!("{}_{}_{}", p.meta().namespace, p.meta().name, p.meta().uid);
            view["lines"][&dir].as_u64() > Some(0)
        };
        let (seen, expected) = (here.clone().filter(|p| read(p)).count(), here.count());
        demo.promise(
            &format!("it reads the logs on {}", node_of(pod)),
            seen == expected,
            format!("of {seen} of {expected} web pods there"),
        );
    }
    Ok(())
}

async fn join(demo: &Demo, before: &[Arc<Object>]) -> Result<()> {
    let begun = Instant::now();
    let request = Request::AddNode { name: String::new(), labels: Vec::new() };
    ask(&demo.state_socket(), &request, |_| {}).await?;
    demo.observe("third node Ready (ms)", u64::try_from(begun.elapsed().as_millis())?);
    let after = one_per_node(demo, 3).await?;
    let (old, new) = (uids(before), uids(&after));
    let untouched = old.iter().all(|uid| new.contains(uid)) && after.iter().all(|p| restarts(&p.value()) == 0);
    let seen = format!("{} after {} ms", nodes(&after).join(", "), begun.elapsed().as_millis());
    demo.promise("a third node joins and gets exactly one; the others are untouched", untouched, seen);
    Ok(())
}

async fn cordon(demo: &Demo) -> Result<()> {
    let node = "node-1";
    demo.merge::<Node>("", node, "", json!({"spec": {"unschedulable": true}})).await?;
    let pods = one_per_node(demo, 3).await?;
    let there = pods.iter().find(|p| node_of(p) == node).context("the cordoned node lost its pod")?.clone();
    demo.delete::<Pod>(&there.meta().name).await?;
    let back = demo
        .until::<Pod, _>(LABELS, "a collector on the cordoned node", |pods| {
            staying(pods).into_iter().find(|p| node_of(p) == node && p.meta().uid != there.meta().uid && ready(p))
        })
        .await?;
    demo.promise("a cordoned node keeps its pod, and gets it again", true, format!("{} on {node}", back.meta().name));
    demo.merge::<Node>("", node, "", json!({"spec": {"unschedulable": false}})).await.map(drop)
}
