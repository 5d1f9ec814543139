//! Taking a cluster down, whatever state its processes are in: by the supervisor when it stops, by `down` when it is gone.

use super::{
    cgroup,
    layout::{Layout, State},
    namespaces,
};
use anyhow::Result;
use coracle_network::fabric::Fabric;

/// Ends every process of the cluster and removes its namespaces, links, rules and cgroups. Data stay.
///
/// # Errors
/// When something cannot be removed; it says what.
pub async fn cluster(layout: &Layout, state: &State) -> Result<()> {
    if let Some(server) = state.server {
        server.signal(nix::sys::signal::Signal::SIGTERM);
    }
    let group = state.cgroup();
    tokio::task::spawn_blocking({
        let group = group.clone();
        move || cgroup::kill_all(&group)
    })
    .await?;
    for node in &state.nodes {
        namespaces::release(&layout.pins(&node.name))?;
    }
    Fabric::named(&state.name, state.subnet).remove().await?;
    release_directory(layout);
    cgroup::remove(&group);
    layout.forget();
    Ok(())
}

/// The same for one node.
///
/// # Errors
/// As [`cluster`].
pub async fn node(layout: &Layout, state: &State, name: &str) -> Result<()> {
    let group = format!("{}/{name}", state.cgroup());
    tokio::task::spawn_blocking({
        let group = group.clone();
        move || cgroup::kill_all(&group)
    })
    .await?;
    namespaces::release(&layout.pins(name))?;
    Fabric::named(&state.name, state.subnet).disconnect(name).await?;
    cgroup::remove(&group);
    Ok(())
}

fn release_directory(layout: &Layout) {
    // empty once every node's pins are gone
    let _ = std::fs::remove_dir(layout.run().join("ns"));
}
