//! Step 3: a StatefulSet: order, identity, volumes, an election.

use super::{ip_of, node_of};
use crate::{cluster::wait::ready, demo::Demo};
use anyhow::{Context, Result};
use coracle_api::{ListOptions, Object};
use coracle_client::{Kind, WatchEvent};
use futures::StreamExt;
use k8s_openapi::api::{
    apps::v1::StatefulSet,
    core::v1::{PersistentVolume, PersistentVolumeClaim, Pod},
};
use parking_lot::Mutex;
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

const LABELS: &str = "app=db";
const PORT: u16 = 5432;

/// What happened to the members, in order: `+db-0` made, `ready db-0`, `-db-0` asked to go, `gone db-0`.
type History = Arc<Mutex<Vec<String>>>;

pub async fn run(demo: &Demo) -> Result<()> {
    let history = follow(demo).await?;
    let begun = Instant::now();
    demo.apply(include_str!("../../../../../examples/demo/db.yaml")).await?;
    ready_members(demo, 3).await?;
    demo.observe("three members ready (ms)", u64::try_from(begun.elapsed().as_millis())?);
    let so_far = settled(&history, |events| in_order(events, 0, 3)).await;
    demo.promise("each member starts only when the one before is ready", in_order(&so_far, 0, 3), so_far.join(", "));

    let leader = agreed(demo, 3, "db-0").await?;
    demo.promise("they find each other by DNS name and elect db-0", true, &leader["members"]);
    for name in ["db-0", "db-1", "db-2"] {
        demo.put("node-1", &address(demo, name).await?, "/owner", name).await?;
    }
    distinct_volumes(demo).await?;
    lose_leader(demo).await?;
    grow_and_shrink(demo, &history).await
}

fn last_first(events: &[String]) -> bool {
    let goings = events.iter().map(String::as_str).filter(|e| e.starts_with('-') || e.starts_with("gone"));
    goings.eq(["-db-4", "gone db-4", "-db-3", "gone db-3"])
}

/// The history once it `holds`, or as it is after a while: it is followed beside what is waited for.
async fn settled(history: &History, holds: impl Fn(&[String]) -> bool) -> Vec<String> {
    let begun = Instant::now();
    loop {
        let events = history.lock().clone();
        if holds(&events) || begun.elapsed() > Duration::from_secs(5) {
            return events;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Notes what happens to the members from now on.
async fn follow(demo: &Demo) -> Result<History> {
    let history = History::default();
    let options = ListOptions { labels: coracle_api::LabelSelector::parse(LABELS)?, ..ListOptions::default() };
    let mut events = demo.client.watch(&Pod::resource(), crate::demo::cluster::NAMESPACE, &options).await?;
    let noting = history.clone();
    tokio::spawn(async move {
        let mut known: BTreeMap<String, (bool, bool)> = BTreeMap::new();
        while let Some(Ok(event)) = events.next().await {
            let (object, gone) = match event {
                WatchEvent::Added(o) | WatchEvent::Modified(o) => (o, false),
                WatchEvent::Deleted(o) => (o, true),
                WatchEvent::Bookmark(_) => continue,
            };
            let name = object.meta().name.clone();
            let note = |what: &str| noting.lock().push(format!("{what}{name}"));
            if gone {
                known.remove(&name);
                note("gone ");
                continue;
            }
            let (was_ready, was_leaving) = known.get(&name).copied().unwrap_or_else(|| {
                note("+");
                (false, false)
            });
            if ready(&object) && !was_ready {
                note("ready ");
            }
            if object.meta().is_deleting() && !was_leaving {
                note("-");
            }
            known.insert(name, (ready(&object), object.meta().is_deleting()));
        }
    });
    Ok(history)
}

/// Whether members `from`..`to` were made one after another, each once the one before was ready.
fn in_order(history: &[String], from: usize, to: usize) -> bool {
    let at = |entry: String| history.iter().rposition(|h| *h == entry);
    (from..to).all(|n| {
        let made = at(format!("+db-{n}"));
        made.is_some() && (n == from || at(format!("ready db-{}", n - 1)) < made)
    })
}

async fn ready_members(demo: &Demo, count: usize) -> Result<Vec<Arc<Object>>> {
    let what = format!("{count} ready members");
    demo.until::<Pod, _>(LABELS, &what, |pods| {
        let all: Vec<_> = pods.values().cloned().collect();
        (all.len() == count && all.iter().all(|p| ready(p) && !p.meta().is_deleting())).then_some(all)
    })
    .await
}

async fn address(demo: &Demo, name: &str) -> Result<String> {
    let pods = demo.list::<Pod>(LABELS).await?;
    let pod = pods.iter().find(|p| p.meta().name == name).with_context(|| format!("{name} is not there"))?;
    Ok(format!("{}:{PORT}", ip_of(pod)))
}

/// Asks every member until `count` of them know each other and agree on a leader.
async fn agreed(demo: &Demo, count: usize, leader: &str) -> Result<Value> {
    let begun = Instant::now();
    loop {
        let mut views = Vec::new();
        for pod in demo.list::<Pod>(LABELS).await?.iter().filter(|p| !p.meta().is_deleting() && !ip_of(p).is_empty()) {
            if let Ok(view) = demo.fetch("node-1", &format!("{}:{PORT}", ip_of(pod)), "/status").await {
                views.push(view);
            }
        }
        let complete = |v: &Value| v["leader"] == leader && v["members"].as_array().is_some_and(|m| m.len() == count);
        let agree = views.iter().filter(|v| complete(v)).count();
        if let Some(view) = views.iter().find(|v| v["leader"] == leader).filter(|_| agree >= count) {
            return Ok(view.clone());
        }
        if begun.elapsed() > Duration::from_secs(30) {
            anyhow::bail!("the members did not agree on {leader}: {}", json!(views));
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

async fn distinct_volumes(demo: &Demo) -> Result<()> {
    let claims = demo.list::<PersistentVolumeClaim>(LABELS).await?;
    let volumes: BTreeMap<String, Value> =
        claims.iter().map(|c| (c.meta().name.clone(), c.value()["spec"]["volumeName"].clone())).collect();
    let distinct: std::collections::BTreeSet<String> = volumes.values().map(Value::to_string).collect();
    demo.promise("each has a volume of its own", volumes.len() == 3 && distinct.len() == 3, json!(volumes));
    Ok(())
}

async fn lose_leader(demo: &Demo) -> Result<()> {
    let pods = demo.list::<Pod>(LABELS).await?;
    let old = pods.iter().find(|p| p.meta().name == "db-0").context("db-0 is not there")?.clone();
    let begun = Instant::now();
    demo.delete::<Pod>("db-0").await?;
    // what the others say while it is away, or at the latest what a fast return leaves of it
    let elected = interregnum(demo).await?;
    demo.promise(
        "the leader is deleted: the others elect db-1",
        elected,
        format!("within {} ms", begun.elapsed().as_millis()),
    );

    ready_members(demo, 3).await?;
    agreed(demo, 3, "db-0").await?;
    let pods = demo.list::<Pod>(LABELS).await?;
    let new = pods.iter().find(|p| p.meta().name == "db-0").context("db-0 did not come back")?;
    let view = demo.fetch("node-1", &format!("{}:{PORT}", ip_of(new)), "/status").await?;
    let kept = view["boots"] == 2 && view["owner"] == "db-0" && view["values"]["owner"] == "db-0";
    let another = new.meta().uid != old.meta().uid;
    demo.promise("it comes back with its name, its volume and its data", kept && another, &view);
    let claim = demo.get::<PersistentVolumeClaim>("data-db-0").await?;
    let volume = demo.get::<PersistentVolume>(claim["spec"]["volumeName"].as_str().unwrap_or_default()).await?;
    let there = volume["spec"]["nodeAffinity"].to_string().contains(&format!("\"{}\"", node_of(new)));
    demo.promise("on the node that has the volume", there && node_of(new) == node_of(&old), node_of(new));
    Ok(())
}

/// Whether a member has said that db-1 leads before db-0 was back.
async fn interregnum(demo: &Demo) -> Result<bool> {
    let others: Vec<String> = demo
        .list::<Pod>(LABELS)
        .await?
        .iter()
        .filter(|p| p.meta().name != "db-0")
        .map(|p| format!("{}:{PORT}", ip_of(p)))
        .collect();
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(30) {
        for other in &others {
            if let Ok(view) = demo.fetch("node-1", other, "/status").await
                && view["elected"]
                    .as_array()
                    .is_some_and(|all| all.iter().skip_while(|l| *l != "db-0").any(|l| l == "db-1"))
            {
                return Ok(true);
            }
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(false)
}

async fn grow_and_shrink(demo: &Demo, history: &History) -> Result<()> {
    demo.scale::<StatefulSet>("db", 5).await?;
    ready_members(demo, 5).await?;
    let seen = settled(history, |events| in_order(events, 3, 5)).await;
    let last: Vec<&str> = seen.iter().rev().take(4).rev().map(String::as_str).collect();
    demo.promise("3 → 5 goes in order", in_order(&seen, 3, 5), last.join(", "));
    history.lock().clear();
    demo.scale::<StatefulSet>("db", 3).await?;
    ready_members(demo, 3).await?;
    let seen = settled(history, last_first).await;
    demo.promise("5 → 3 goes last first", last_first(&seen), seen.join(", "));
    Ok(())
}
