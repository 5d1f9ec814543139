//! All of Kubernetes that a cluster needs, in one binary: the commands, and how the parts are put together.

mod app;
mod bench;
mod cluster;
mod commands;
mod demo;
mod settings;
mod thrift;

use std::{ffi::OsString, process::ExitCode};

fn main() -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().collect();
    // Internal roles of this binary (a pod's shim, the entering of a node's namespaces) need a process without threads,
    // so they are told apart before anything else happens.
    if let Some(code) = coracle_runtime::dispatch(&arguments) {
        return code;
    }
    if let Some(code) = cluster::namespaces::dispatch(&arguments) {
        return code;
    }
    if arguments.get(1).is_some_and(|a| a == "app") {
        let arguments: Vec<String> = arguments[2..].iter().map(|a| a.to_string_lossy().into_owned()).collect();
        return app::main(&arguments);
    }
    let matches = commands::command_line().get_matches_from(arguments);
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&anyhow::anyhow!("no threads: {error}")),
    };
    match runtime.block_on(commands::run(&matches)) {
        Ok(code) => code,
        Err(error) => fail(&error),
    }
}

fn fail(error: &anyhow::Error) -> ExitCode {
    eprintln!("coracle: {error:#}");
    ExitCode::FAILURE
}
