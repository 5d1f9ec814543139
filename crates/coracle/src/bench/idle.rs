//! What a cluster costs while nothing happens.

use super::{Bench, memory};
use anyhow::Result;
use std::time::{Duration, Instant};

/// Time that a cluster is given to come to rest.
const SETTLE: Duration = Duration::from_secs(5);

pub async fn run(bench: &mut Bench) -> Result<()> {
    let seconds = bench.sizes.idle;
    let state = bench.cluster().await?.state()?;
    tokio::time::sleep(SETTLE).await;
    let processes = memory::processes(&state);
    let (used, begun) = (memory::cpu_time(&processes), Instant::now());
    tokio::time::sleep(Duration::from_secs(seconds)).await;
    let share = (memory::cpu_time(&processes) - used).as_secs_f64() / begun.elapsed().as_secs_f64();
    let parts = memory::pss(&processes);
    let how = "PSS of every process of a cluster of one node without pods";
    bench.report("idle memory", parts.values().sum(), "MB", format!("{how} ({})", processes.len()));
    for (role, part) in &parts {
        bench.report(format!("idle memory, {}", role.name()), *part, "MB", "its part of that");
    }
    bench.report("idle CPU", share * 100.0, "%", format!("of one core, the same processes over {seconds} s"));
    Ok(())
}
