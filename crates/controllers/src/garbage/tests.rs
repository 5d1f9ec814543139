//! `cases/garbage.txt`: worlds of ConfigMaps and one Node, and everything that is written until nothing is left to do.

use super::Garbage;
use crate::{
    framework::{Context, Controller},
    testing::{self, Line, now},
};
use coracle_api::Resource;
use coracle_base::{Tasks, clock::TestClock};
use coracle_client::{Change, Kind, Recorder, View, memory::Memory};
use futures::{FutureExt, StreamExt};
use k8s_openapi::api::core::v1::{ConfigMap, Node};
use serde_json::json;
use std::{collections::VecDeque, sync::Arc};

/// `map NAME [owners=a,!b,node:c,other:d,name~uid] [deleting] [finalizers=f,…]`; `!`: it does not block.
fn put(world: &Memory, line: &Line<'_>) {
    let references = line.text("owners").unwrap_or_default().split(',').filter(|o| !o.is_empty()).map(|owner| {
        let (blocks, owner) = owner.strip_prefix('!').map_or((true, owner), |owner| (false, owner));
        let (api, kind, name) = match owner.split_once(':') {
            Some(("node", name)) => ("v1", "Node", name),
            Some((_, name)) => ("example.com/v1", "Strange", name),
            None => ("v1", "ConfigMap", owner),
        };
        let (name, uid) = name.split_once('~').unwrap_or((name, name));
        json!({"apiVersion": api, "kind": kind, "name": name, "uid": format!("uid-{uid}"), "blockOwnerDeletion": blocks})
    });
    let mut body = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {
        "name": line.name(), "ownerReferences": references.collect::<Vec<_>>(),
        "finalizers": line.text("finalizers").map(|f| f.split(',').collect::<Vec<_>>()).unwrap_or_default(),
    }});
    if line.is("deleting") {
        body["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
    }
    let resource = if line.what == "node" { Node::resource() } else { ConfigMap::resource() };
    if resource.namespaced {
        body["metadata"]["namespace"] = json!("ns");
    }
    world.put(&resource, body);
}

async fn settle(world: &Arc<Memory>, tasks: &Tasks) {
    let clock = TestClock::new(now());
    let events = Recorder::new(world.clone(), "test", "", clock.clone(), tasks);
    let ctx = Context { client: world.clone(), view: world.clone(), clock, events };
    let garbage = Garbage::default();
    let watched: Vec<Resource> = garbage.watches();
    let mut changes = world.changes(&watched);
    let mut queue = VecDeque::new();
    loop {
        while let Some(Some(change)) = changes.next().now_or_never() {
            let change: Change = change;
            queue.extend(garbage.keys(&**world, &change));
        }
        let Some(key) = queue.pop_front() else { return };
        if garbage.reconcile(&ctx, &key).await.is_err() {
            queue.push_back(key);
        }
    }
}

fn found(text: &str) -> String {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let (world, tasks) = (Memory::new(), Tasks::new());
        Line::all(text).iter().for_each(|line| put(&world, line));
        settle(&world, &tasks).await;
        let log = world.take_log();
        tasks.stop().await;
        log.join("\n")
    })
}

#[test]
fn cases() {
    testing::check("garbage.txt", found);
}
