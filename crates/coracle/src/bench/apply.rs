//! Server-side apply: objects that it makes, then changes.

use super::{Bench, create::CLIENTS, load, objects, report::per_second, spent};
use anyhow::Result;
use coracle_api::{Patch, PatchKind, WriteOptions};
use coracle_client::{Client, Kind};
use k8s_openapi::api::core::v1::ConfigMap;

pub async fn run(bench: &mut Bench) -> Result<()> {
    let count = bench.sizes.applies;
    let server = bench.server().await?;
    let mut rows = Vec::new();
    for (what, timeout) in [("that create", "2500ms"), ("that change", "3s")] {
        let clients = server.clients(CLIENTS)?;
        let work = load::run(&clients, count, move |client, number| async move {
            let mut body = objects::config_map(&format!("apply-{number}"));
            body["data"]["timeout"] = timeout.into();
            let name = format!("apply-{number}");
            let options = WriteOptions { field_manager: "bench".into(), force: true, ..WriteOptions::default() };
            let patch = Patch::new(PatchKind::Apply, body);
            client.patch(&ConfigMap::resource(), "default", &name, "", patch, &options).await.map(drop)
        });
        let (took, spent) = spent::during(server, work).await?;
        rows.push((what, per_second(count, took), spent.micros_each(count)));
    }
    for (what, rate, cpu) in rows {
        let how = format!("{count} ConfigMaps applied by {CLIENTS} clients, each on disk before it is answered");
        bench.report(format!("applies {what}"), rate, "/s", how);
        bench.report(
            format!("applies {what}, server CPU"),
            cpu,
            "µs",
            "processor time of the server's process for each",
        );
    }
    Ok(())
}
