//! One big list.

use super::{
    Bench,
    create::CLIENTS,
    load,
    memory::{self, Role},
    objects,
    report::{ms, per_second, quantile},
    spent,
};
use anyhow::{Context, Result};
use coracle_api::WriteOptions;
use coracle_client::{Client, Kind};
use k8s_openapi::api::core::v1::Pod;
use std::{collections::BTreeMap, time::Instant};

/// Times that the list is read.
const ROUNDS: usize = 20;

pub async fn run(bench: &mut Bench) -> Result<()> {
    let count = bench.sizes.list;
    let server = bench.server().await?;
    server.wait_for_service_account().await?;
    let process = BTreeMap::from([(server.pid()?, Role::Server)]);
    let empty: f64 = memory::pss(&process).values().sum();
    let workers = server.clients(CLIENTS)?;
    let work = load::run(&workers, count, |client, number| async move {
        let body = objects::unscheduled_pod(&format!("list-{number}"));
        client.create(&Pod::resource(), "default", body, &WriteOptions::default()).await.map(drop)
    });
    let (created, creating) = spent::during(server, work).await?;
    let full: f64 = memory::pss(&process).values().sum();
    let clients = server.clients(1)?;
    let client = clients.first().context("one client")?;
    let reading = async {
        let (mut times, mut size) = (Vec::new(), 0);
        for _ in 0..ROUNDS {
            let begun = Instant::now();
            size = client.raw("/api/v1/namespaces/default/pods").await?.len();
            times.push(ms(begun.elapsed()));
        }
        Ok((times, size))
    };
    let ((mut times, size), reading) = spent::during(server, reading).await?;
    let how = format!("{count} pods, defaulted and admitted, each on disk before it is answered");
    bench.report(format!("pod creates, {CLIENTS} clients"), per_second(count, created), "/s", how);
    bench.report(
        "pod creates, server CPU",
        creating.micros_each(count),
        "µs",
        "processor time of the server's process for each",
    );
    #[allow(clippy::cast_precision_loss)]
    bench.report(
        "memory of 10 000 pods",
        (full - empty) * 10_000.0 / count as f64,
        "MB",
        format!("growth of the server's PSS over {count} pods, history for watchers included"),
    );
    let how = format!("GET of all over one connection, to the last byte; median of {ROUNDS}");
    bench.report(format!("LIST of {count} pods"), quantile(&mut times, 0.5), "ms", how);
    bench.report(
        format!("LIST of {count} pods, server CPU"),
        reading.micros_each(ROUNDS) / 1e3,
        "ms",
        "processor time of the server's process for each",
    );
    bench.report(
        format!("LIST of {count} pods, codec work"),
        reading.codecs_each(ROUNDS),
        "",
        "objects that the server parsed or encoded for each",
    );
    #[allow(clippy::cast_precision_loss)]
    bench.report(format!("LIST of {count} pods, size"), size as f64 / 1e6, "MB", "the answer's body, not compressed");
    Ok(())
}
