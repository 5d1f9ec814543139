//! `coracle version`.

use super::Command;
use crate::settings::Values;
use anyhow::Result;
use std::process::ExitCode;

/// The command.
pub static COMMAND: Command = Command {
    name: "version",
    about: "Print the version of Coracle and of the Kubernetes API it serves",
    settings: &["json"],
    arguments: &[],
    action: crate::run!(run),
};

async fn run(values: Values) -> Result<ExitCode> {
    let (coracle, kubernetes) = (env!("CARGO_PKG_VERSION"), coracle_server::KUBERNETES_VERSION);
    if values.on("json") {
        println!("{}", serde_json::json!({"coracle": coracle, "kubernetes": kubernetes}));
    } else {
        println!("coracle {coracle}\nkubernetes {kubernetes}");
    }
    Ok(ExitCode::SUCCESS)
}
