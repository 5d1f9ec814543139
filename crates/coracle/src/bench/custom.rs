//! A custom resource: how soon it is served, and its objects.

use super::{
    Bench,
    create::CLIENTS,
    load, objects,
    report::{ms, per_second, quantile},
    spent,
};
use anyhow::{Context, Result, bail};
use coracle_api::{Resource, WriteOptions};
use coracle_client::{Client, HttpClient, Kind};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use std::time::{Duration, Instant};

/// Longer than a definition may take to be served.
const LIMIT: Duration = Duration::from_secs(10);
/// Times that the list is read.
const ROUNDS: usize = 10;
const LIST: &str = "/apis/bench.example.com/v1/namespaces/default/widgets";

pub async fn run(bench: &mut Bench) -> Result<()> {
    let count = bench.sizes.customs;
    let server = bench.server().await?;
    let clients = server.clients(CLIENTS)?;
    let client = clients.first().context("one client")?;
    let served = define(client).await?;
    let widgets = Resource::fixed("bench.example.com", "v1", "widgets", "Widget", true);
    let work = load::run(&clients, count, move |client, number| {
        let widgets = widgets.clone();
        async move {
            let body = objects::widget(&format!("widget-{number}"));
            client.create(&widgets, "default", body, &WriteOptions::default()).await.map(drop)
        }
    });
    let (created, creating) = spent::during(server, work).await?;
    let reading = async {
        let mut times = Vec::new();
        for _ in 0..ROUNDS {
            let begun = Instant::now();
            client.raw(LIST).await?;
            times.push(ms(begun.elapsed()));
        }
        Ok(times)
    };
    let (mut times, reading) = spent::during(server, reading).await?;
    bench.report(
        "custom resource, until served",
        served,
        "ms",
        "from sending the definition to the first list of its objects",
    );
    let how = format!("{count} objects by {CLIENTS} clients, defaulted, pruned and validated by schema and a rule");
    bench.report("custom creates", per_second(count, created), "/s", how);
    let each = "processor time of the server's process for each";
    bench.report("custom creates, server CPU", creating.micros_each(count), "µs", each);
    let name = format!("LIST of {count} custom objects");
    bench.report(&name, quantile(&mut times, 0.5), "ms", format!("to the last byte; median of {ROUNDS}"));
    bench.report(format!("{name}, server CPU"), reading.micros_each(ROUNDS) / 1e3, "ms", each);
    let work = "objects that the server parsed or encoded for each";
    bench.report(format!("{name}, codec work"), reading.codecs_each(ROUNDS), "", work);
    Ok(())
}

/// Defines the resource; how long until it was served, in ms.
async fn define(client: &HttpClient) -> Result<f64> {
    let begun = Instant::now();
    let definition = objects::widgets();
    client.create(&CustomResourceDefinition::resource(), "", definition, &WriteOptions::default()).await?;
    while client.raw(LIST).await.is_err() {
        if begun.elapsed() > LIMIT {
            bail!("the custom resource was not served after {} s", LIMIT.as_secs());
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    Ok(ms(begun.elapsed()))
}
