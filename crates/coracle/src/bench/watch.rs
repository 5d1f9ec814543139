//! Many watchers of the same objects: how late they hear of a change, and how many events a second reach them.

use super::{
    Bench,
    create::CLIENTS,
    load, objects,
    report::{ms, per_second, quantile},
    spent,
    subject::Server,
};
use anyhow::{Result, bail};
use coracle_api::{ListOptions, WriteOptions};
use coracle_client::{Client, Kind, WatchEvent};
use futures::StreamExt;
use k8s_openapi::api::core::v1::ConfigMap;
use parking_lot::Mutex;
use std::{
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::task::JoinHandle;

/// Longer than any event may take.
const LIMIT: Duration = Duration::from_secs(60);
/// Time between two changes while latency is measured.
const PACE: Duration = Duration::from_millis(10);

pub async fn run(bench: &mut Bench) -> Result<()> {
    for (watchers, events) in [bench.sizes.watch, bench.sizes.crowd] {
        let server = bench.server().await?;
        let (mut paced, _) = spent::during(server, pace(server, watchers, events)).await?;
        let (burst, spent) = spent::during(server, burst(server, watchers, events)).await?;
        let how = format!(
            "{watchers} watchers, each on its own connection; {events} creates, one every {PACE:?}; from sending the write"
        );
        let name = |what: &str| format!("{what}, {watchers} watchers");
        bench.report(name("watch latency p50"), quantile(&mut paced, 0.5), "ms", how.as_str());
        bench.report(name("watch latency p99"), quantile(&mut paced, 0.99), "ms", how);
        let how = format!(
            "{watchers} watchers, {events} creates by {CLIENTS} clients at once, until the last event has arrived"
        );
        bench.report(name("watch events"), per_second(watchers * events, burst), "/s", how);
        let how =
            "processor time of the server's process for each event that arrives, connections and creates included";
        bench.report(name("watch events, server CPU"), spent.micros_each(watchers * events), "µs", how);
        let how = "objects that the server parsed or encoded for each event that arrives, creates included";
        bench.report(name("watch events, codec work"), spent.codecs_each(watchers * events), "", how);
    }
    Ok(())
}

/// When each change was sent.
type Sent = Arc<Mutex<Vec<Instant>>>;

/// Creates one object after the other; how long it took each event to arrive at each watcher, in ms.
async fn pace(server: &Server, watchers: usize, events: usize) -> Result<Vec<f64>> {
    let sent: Sent = Arc::default();
    let watching = watch(server, watchers, events, "paced", &sent).await?;
    let clients = server.clients(1)?;
    let mut ticks = tokio::time::interval(PACE);
    for (number, client) in (0..events).zip(clients.iter().cycle()) {
        ticks.tick().await;
        let body = objects::config_map(&format!("paced-{watchers}-{number}"));
        sent.lock().push(Instant::now());
        client.create(&ConfigMap::resource(), "default", body, &WriteOptions::default()).await?;
    }
    finish(watching).await
}

/// Creates the objects at once; how long until the last watcher has the last event.
async fn burst(server: &Server, watchers: usize, events: usize) -> Result<Duration> {
    let clients = server.clients(CLIENTS)?;
    let begun: Sent = Arc::new(Mutex::new(vec![Instant::now(); events]));
    let watching = watch(server, watchers, events, "burst", &begun).await?;
    let writing = Instant::now();
    load::run(&clients, events, move |client, number| async move {
        let body = objects::config_map(&format!("burst-{watchers}-{number}"));
        client.create(&ConfigMap::resource(), "default", body, &WriteOptions::default()).await.map(drop)
    })
    .await?;
    finish(watching).await?;
    Ok(writing.elapsed())
}

/// Opens the watches; each ends when it has seen `events` objects whose names begin with `prefix` and its number.
async fn watch(
    server: &Server,
    watchers: usize,
    events: usize,
    prefix: &'static str,
    sent: &Sent,
) -> Result<Vec<JoinHandle<Result<Vec<f64>>>>> {
    let mut watching = Vec::new();
    for client in server.clients(watchers)? {
        // from the newest revision on: what exists is not sent
        let newest = ListOptions { limit: 1, ..ListOptions::default() };
        let newest = client.list(&ConfigMap::resource(), "default", &newest).await?.revision;
        let options = ListOptions { revision: Some(newest), ..ListOptions::default() };
        let mut stream = client.watch(&ConfigMap::resource(), "default", &options).await?;
        let (sent, prefix) = (sent.clone(), format!("{prefix}-{watchers}-"));
        watching.push(tokio::spawn(async move {
            // the connection lives as long as its client
            let _client = client;
            let mut latencies = Vec::with_capacity(events);
            while latencies.len() < events {
                let Some(event) = stream.next().await else { bail!("the server ended the watch") };
                let now = Instant::now();
                let WatchEvent::Added(object) = event? else { continue };
                let number = object.meta().name.strip_prefix(&prefix).and_then(|n| n.parse::<usize>().ok());
                if let Some(begun) = number.and_then(|n| sent.lock().get(n).copied()) {
                    latencies.push(ms(now - begun));
                }
            }
            Ok(latencies)
        }));
    }
    Ok(watching)
}

async fn finish(watching: Vec<JoinHandle<Result<Vec<f64>>>>) -> Result<Vec<f64>> {
    let mut all = Vec::new();
    for watcher in watching {
        match tokio::time::timeout(LIMIT, watcher).await {
            Ok(latencies) => all.extend(latencies??),
            Err(_) => bail!("events were missing after {} s", LIMIT.as_secs()),
        }
    }
    Ok(all)
}
