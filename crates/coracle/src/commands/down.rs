//! `coracle down`.

use super::Command;
use crate::{
    cluster::{layout::Layout, teardown},
    settings::Values,
};
use anyhow::Result;
use nix::sys::signal::Signal;
use std::{process::ExitCode, time::Duration};

/// The command.
pub static COMMAND: Command = Command {
    name: "down",
    about: "End the cluster of a data directory; its data stay",
    settings: &["data-dir"],
    arguments: &[],
    action: crate::run!(run),
};

async fn run(values: Values) -> Result<ExitCode> {
    super::need_root("down")?;
    let layout = Layout::open(&values.path("data-dir"))?;
    let Some(state) = layout.state() else {
        println!("no cluster runs in {}", layout.root().display());
        return Ok(ExitCode::SUCCESS);
    };
    // in order if the supervisor lives, by force if it does not
    state.supervisor.signal(Signal::SIGTERM);
    for _ in 0..600 {
        if !state.supervisor.lives() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    if let Some(left) = layout.state() {
        left.supervisor.signal(Signal::SIGKILL);
        teardown::cluster(&layout, &left).await?;
    }
    super::kubeconfig::remove_from_users(&state.name)?;
    println!("cluster {:?} is down", state.name);
    Ok(ExitCode::SUCCESS)
}
