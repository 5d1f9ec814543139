//! Writes: how many creates a second, by one client and by many.

use super::{Bench, load, objects, report::per_second, spent};
use anyhow::Result;
use coracle_api::WriteOptions;
use coracle_client::{Client, Kind};
use k8s_openapi::api::core::v1::ConfigMap;

/// Clients that work at once.
pub const CLIENTS: usize = 32;

pub async fn run(bench: &mut Bench) -> Result<()> {
    let (by_one, by_many) = bench.sizes.creates;
    let server = bench.server().await?;
    let mut rates = Vec::new();
    for (clients, count) in [(1, by_one), (CLIENTS, by_many)] {
        let workers = server.clients(clients)?;
        let work = load::run(&workers, count, move |client, number| async move {
            let body = objects::config_map(&format!("create-{clients}-{number}"));
            client.create(&ConfigMap::resource(), "default", body, &WriteOptions::default()).await.map(drop)
        });
        let (took, spent) = spent::during(server, work).await?;
        rates.push((clients, count, per_second(count, took), spent.micros_each(count)));
    }
    for (clients, count, rate, cpu) in rates {
        let name = format!("creates, {clients} client{}", if clients == 1 { "" } else { "s" });
        bench.report(format!("{name}, server CPU"), cpu, "µs", "processor time of the server's process for each");
        bench.report(name, rate, "/s", format!("{count} ConfigMaps of 0.5 KB, each on disk before it is answered"));
    }
    Ok(())
}
