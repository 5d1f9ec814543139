//! The programs inside the demo images: this very binary, called as `coracle app PROGRAM`.
//!
//! They are ordinary small services. They know of Kubernetes only what any container knows: environment, files, DNS, signals.

mod collector;
mod db;
mod http;
mod load;
mod pair;
mod web;

use anyhow::{Result, bail};
use std::process::ExitCode;
use tokio::signal::unix::{SignalKind, signal};

/// Runs the program that the arguments name.
pub fn main(arguments: &[String]) -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("app: {error}");
            return ExitCode::FAILURE;
        }
    };
    match runtime.block_on(run(arguments)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("app: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: &[String]) -> Result<()> {
    let program = arguments.first().map_or("", String::as_str);
    let work = async {
        match program {
            "web" => web::run().await,
            "db" => db::run().await,
            "collector" => collector::run().await,
            "pair-server" => pair::server().await,
            "pair-client" => pair::client().await,
            "load" => load::run(&arguments[1..]).await,
            "get" | "put" => request(program, &arguments[1..]).await,
            other => bail!("no program {other:?}: web, db, collector, pair-server, pair-client, load, get, put"),
        }
    };
    // as process 1 of its container a program has no default action for SIGTERM
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        result = work => result,
        _ = terminate.recv() => Ok(()),
    }
}

/// `get ADDRESS PATH`, `put ADDRESS PATH BODY`: prints the answer.
async fn request(method: &str, arguments: &[String]) -> Result<()> {
    let [address, path, body @ ..] = arguments else { bail!("{method} takes an address and a path") };
    let body = body.first().map_or("", String::as_str);
    println!(
        "{}",
        http::request(&method.to_uppercase(), address, path, body, std::time::Duration::from_secs(5)).await?
    );
    Ok(())
}

/// An environment variable; empty if it is not set.
fn env(name: &str) -> String {
    std::env::var(name).unwrap_or_default()
}
