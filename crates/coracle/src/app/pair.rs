//! `pair-server` and `pair-client`: two containers of one pod that talk over 127.0.0.1; the client signals the server.

use super::http;
use anyhow::{Context, Result, bail};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::json;
use std::{cell::Cell, future::pending, rc::Rc, time::Duration};
use tokio::signal::unix::{SignalKind, signal};

const ADDRESS: &str = "127.0.0.1:9000";

/// Tells its process number and how many SIGUSR1 it has had.
pub async fn server() -> Result<()> {
    let signals = Rc::new(Cell::new(0u64));
    let mut usr1 = signal(SignalKind::user_defined1())?;
    let counted = signals.clone();
    let count = async move {
        while usr1.recv().await.is_some() {
            counted.set(counted.get() + 1);
            println!("SIGUSR1 number {}", counted.get());
        }
    };
    let serve = http::serve(ADDRESS, move |_, _, _| Some(json!({"pid": std::process::id(), "signals": signals.get()})));
    tokio::select! {
        result = serve => result,
        () = count => Ok(()),
    }
}

/// Asks the server for its number over 127.0.0.1, signals that process, and asks whether the signal came.
pub async fn client() -> Result<()> {
    let ask = || http::get(ADDRESS, "/", Duration::from_secs(1));
    let before = loop {
        match ask().await {
            Ok(answer) => break answer,
            // the containers of a pod start in any order
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    };
    let pid = before["pid"].as_i64().and_then(|p| i32::try_from(p).ok()).context("no process number")?;
    kill(Pid::from_raw(pid), Signal::SIGUSR1)
        .with_context(|| format!("process {pid} of the other container cannot be signalled"))?;
    for _ in 0..100 {
        if ask().await?["signals"].as_u64() > before["signals"].as_u64() {
            println!("process {pid} got the signal");
            return pending().await;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    bail!("process {pid} did not get the signal")
}
