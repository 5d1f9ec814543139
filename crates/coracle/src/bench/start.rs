//! Cold starts, from an empty data directory.

use super::{
    Bench,
    report::{ms, quantile},
    subject::{Cluster, Server},
};
use anyhow::Result;

pub async fn run(bench: &mut Bench) -> Result<()> {
    let rounds = bench.sizes.starts;
    let directory = bench.directory.join("server");
    bench.stop_server().await?;
    let mut times = Vec::new();
    for _ in 0..rounds {
        let (server, ready) = Server::start(&directory).await?;
        server.stop().await?;
        times.push(ms(ready));
    }
    let how = format!("`coracle server` on an empty directory until GET /readyz is 200; median of {rounds}");
    bench.report("cold start to readyz", quantile(&mut times, 0.5), "ms", how);

    let (mut ready, mut node, mut pod) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..rounds {
        bench.stop_cluster().await?;
        let (cluster, times) = Cluster::start(&bench.directory.join("cluster")).await?;
        // the last one is of use to the measures that follow
        bench.cluster = Some(cluster);
        ready.push(ms(times.ready));
        node.push(ms(times.node));
        pod.push(ms(times.pod));
    }
    for (name, mut times, what) in [
        ("up to readyz", ready, "until GET /readyz is 200"),
        ("up to node Ready", node, "until a watch shows the node Ready"),
        (
            "up to first pod Running",
            pod,
            "until a watch shows a pod Running that was created as soon as the API took it",
        ),
    ] {
        let how = format!("`coracle up` on an empty directory (image loaded) {what}; median of {rounds}");
        bench.report(name, quantile(&mut times, 0.5), "ms", how);
    }
    Ok(())
}
