//! One big list.

use super::{
    Bench,
    create::CLIENTS,
    load, objects,
    report::{ms, per_second, quantile},
};
use anyhow::{Context, Result};
use coracle_api::WriteOptions;
use coracle_client::{Client, Kind};
use k8s_openapi::api::core::v1::Pod;
use std::time::Instant;

/// Times that the list is read.
const ROUNDS: usize = 20;

pub async fn run(bench: &mut Bench) -> Result<()> {
    let count = bench.sizes.list;
    let server = bench.server().await?;
    server.wait_for_service_account().await?;
    let created = load::run(&server.clients(CLIENTS)?, count, |client, number| async move {
        let body = objects::unscheduled_pod(&format!("list-{number}"));
        client.create(&Pod::resource(), "default", body, &WriteOptions::default()).await.map(drop)
    })
    .await?;
    let clients = server.clients(1)?;
    let client = clients.first().context("one client")?;
    let (mut times, mut size) = (Vec::new(), 0);
    for _ in 0..ROUNDS {
        let begun = Instant::now();
        size = client.raw("/api/v1/namespaces/default/pods").await?.len();
        times.push(ms(begun.elapsed()));
    }
    let how = format!("{count} pods, defaulted and admitted, each on disk before it is answered");
    bench.report(format!("pod creates, {CLIENTS} clients"), per_second(count, created), "/s", how);
    let how = format!("GET of all over one connection, to the last byte; median of {ROUNDS}");
    bench.report(format!("LIST of {count} pods"), quantile(&mut times, 0.5), "ms", how);
    #[allow(clippy::cast_precision_loss)]
    bench.report(format!("LIST of {count} pods, size"), size as f64 / 1e6, "MB", "the answer's body, not compressed");
    Ok(())
}
