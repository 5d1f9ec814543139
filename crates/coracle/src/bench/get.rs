//! Reads of single objects.

use super::{Bench, create::CLIENTS, load, objects, report::per_second, spent};
use anyhow::Result;
use coracle_api::WriteOptions;
use coracle_client::{Client, Kind};
use k8s_openapi::api::core::v1::ConfigMap;

/// Different objects that are read.
const OBJECTS: usize = 100;

pub async fn run(bench: &mut Bench) -> Result<()> {
    let (by_one, by_many) = bench.sizes.gets;
    let server = bench.server().await?;
    load::run(&server.clients(CLIENTS)?, OBJECTS, |client, number| async move {
        let body = objects::config_map(&format!("get-{number}"));
        client.create(&ConfigMap::resource(), "default", body, &WriteOptions::default()).await.map(drop)
    })
    .await?;
    let mut rates = Vec::new();
    for (clients, count) in [(1, by_one), (CLIENTS, by_many)] {
        let workers = server.clients(clients)?;
        let work = load::run(&workers, count, |client, number| async move {
            let path = format!("/api/v1/namespaces/default/configmaps/get-{}", number % OBJECTS);
            client.raw(&path).await.map(drop)
        });
        let (took, spent) = spent::during(server, work).await?;
        rates.push((clients, count, per_second(count, took), spent));
    }
    for (clients, count, rate, spent) in rates {
        let name = format!("gets, {clients} client{}", if clients == 1 { "" } else { "s" });
        bench.report(
            format!("{name}, server CPU"),
            spent.micros_each(count),
            "µs",
            "processor time of the server's process for each",
        );
        bench.report(
            format!("{name}, codec work"),
            spent.codecs_each(count),
            "",
            "objects that the server parsed or encoded for each",
        );
        bench.report(name, rate, "/s", format!("{count} GETs of ConfigMaps, one connection per client"));
    }
    Ok(())
}
