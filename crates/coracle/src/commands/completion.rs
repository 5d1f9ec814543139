//! `coracle completion`.

use super::Command;
use crate::settings::Values;
use anyhow::{Result, anyhow};
use clap_complete::Shell;
use std::process::ExitCode;

/// The command.
pub static COMMAND: Command = Command {
    name: "completion",
    about: "Print a completion script for a shell (bash, zsh, fish, elvish, powershell)",
    settings: &[],
    arguments: &["SHELL"],
    action: crate::run!(run),
};

async fn run(values: Values) -> Result<ExitCode> {
    let name = values.arguments.first().map_or("", String::as_str);
    let shell: Shell = name
        .parse()
        .map_err(|_| anyhow!("no completion for {name:?}: choose bash, zsh, fish, elvish or powershell"))?;
    clap_complete::generate(shell, &mut super::command_line(), "coracle", &mut std::io::stdout());
    Ok(ExitCode::SUCCESS)
}
