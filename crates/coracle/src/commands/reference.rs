//! `coracle reference`: docs/cli.md, written from the descriptors that the command line is parsed with.

use super::{ALL, Action, Command};
use crate::settings::{Setting, Takes, Values, setting, variable};
use anyhow::Result;
use std::{fmt::Write, process::ExitCode};

/// The command.
pub static COMMAND: Command = Command {
    name: "reference",
    about: "Print the reference page of all commands and settings (Markdown)",
    settings: &[],
    arguments: &[],
    action: crate::run!(run),
};

async fn run(_: Values) -> Result<ExitCode> {
    print!("{}", page()?);
    Ok(ExitCode::SUCCESS)
}

fn page() -> Result<String> {
    let mut out = String::from(
        "# Commands\n\n<!-- made by `cargo xtask cli`; change crates/coracle/src/settings.rs and crates/coracle/src/commands instead -->\n\n\
         A setting comes from its flag, else from its variable, else from the YAML file that `--config FILE` (or `CORACLE_CONFIG`) names, else from its default.\n",
    );
    for command in ALL {
        section(&mut out, "coracle", command)?;
    }
    Ok(out)
}

fn section(out: &mut String, above: &str, command: &Command) -> Result<()> {
    let name = format!("{above} {}", command.name);
    if let Action::Group(commands) = command.action {
        return commands.iter().try_for_each(|command| section(out, &name, command));
    }
    let arguments: String = command.arguments.iter().map(|a| format!(" {a}")).collect();
    writeln!(out, "\n## `{name}{arguments}`\n\n{}.", command.about)?;
    if !command.settings.is_empty() {
        out.push_str("\n| flag | variable | default | |\n|---|---|---|---|\n");
    }
    for name in command.settings {
        row(out, setting(name))?;
    }
    Ok(())
}

fn row(out: &mut String, setting: &Setting) -> Result<()> {
    let value = match setting.takes {
        Takes::Switch => String::new(),
        Takes::Value(placeholder) => format!(" {placeholder}"),
        Takes::Values(placeholder) => format!(" {placeholder},…"),
    };
    let default = if setting.default.is_empty() { String::new() } else { format!("`{}`", setting.default) };
    // a bar would end the cell
    let (value, help) = (value.replace('|', "\\|"), setting.help.replace('|', "\\|"));
    writeln!(out, "| `--{}{value}` | `{}` | {default} | {help} |", setting.name, variable(setting.name))?;
    Ok(())
}
