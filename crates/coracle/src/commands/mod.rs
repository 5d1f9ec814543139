//! The commands: one file each, one line in [`all`].

mod agent;
mod bench;
mod check;
mod completion;
mod demo;
mod down;
mod image;
mod kubeconfig;
mod node;
mod reference;
mod server;
mod status;
pub mod token;
mod up;
mod version;

use crate::settings::{Setting, Takes, Values, setting};
use anyhow::Result;
use clap::{Arg, ArgAction, ArgMatches};
use std::{future::Future, pin::Pin, process::ExitCode};

type Running = Pin<Box<dyn Future<Output = Result<ExitCode>>>>;

/// A command, or a group of them.
pub struct Command {
    /// Its name.
    pub name: &'static str,
    /// One sentence.
    pub about: &'static str,
    /// The settings it takes.
    pub settings: &'static [&'static str],
    /// Its arguments: placeholders, `[]` around optional ones, `...` after one that may be repeated.
    pub arguments: &'static [&'static str],
    /// What it does.
    pub action: Action,
}

/// What a command does.
pub enum Action {
    /// Runs.
    Run(fn(Values) -> Running),
    /// Stands above others.
    Group(&'static [&'static Command]),
}

/// Boxes an async function as the action of a command.
#[macro_export]
macro_rules! run {
    ($function:path) => {
        $crate::commands::Action::Run(|values| Box::pin($function(values)))
    };
}

/// Every command, in the order of help.
pub static ALL: &[&Command] = &[
    &up::COMMAND,
    &down::COMMAND,
    &status::COMMAND,
    &node::COMMAND,
    &server::COMMAND,
    &agent::COMMAND,
    &token::COMMAND,
    &kubeconfig::COMMAND,
    &image::COMMAND,
    &demo::COMMAND,
    &bench::COMMAND,
    &check::COMMAND,
    &version::COMMAND,
    &completion::COMMAND,
    &reference::COMMAND,
];

/// The command line as clap knows it.
pub fn command_line() -> clap::Command {
    let mut top = clap::Command::new("coracle")
        .about("All of Kubernetes that a cluster needs, in one binary")
        .version(env!("CARGO_PKG_VERSION"))
        .subcommand_required(true)
        .arg_required_else_help(true)
        .after_help("Every flag can also be set by a variable (--data-dir: CORACLE_DATA_DIR) or in the file that --config names.");
    for command in ALL {
        top = top.subcommand(parser(command));
    }
    top
}

fn parser(command: &Command) -> clap::Command {
    let mut parser = clap::Command::new(command.name).about(command.about);
    match command.action {
        Action::Group(commands) => {
            parser = parser.subcommand_required(true).arg_required_else_help(true);
            for command in commands {
                parser = parser.subcommand(self::parser(command));
            }
        }
        Action::Run(_) => {
            for name in command.settings {
                parser = parser.arg(flag(setting(name)));
            }
            parser = parser.arg(flag_config());
            for argument in command.arguments {
                parser = parser.arg(positional(argument));
            }
        }
    }
    parser
}

fn flag(setting: &'static Setting) -> Arg {
    let mut help = setting.help.to_string();
    if !setting.default.is_empty() {
        help = format!("{help} [default: {}]", setting.default);
    }
    let arg = Arg::new(setting.name).long(setting.name).help(help);
    match setting.takes {
        Takes::Switch => arg.action(ArgAction::SetTrue),
        Takes::Value(placeholder) => arg.value_name(placeholder),
        Takes::Values(placeholder) => arg.value_name(placeholder).action(ArgAction::Append).value_delimiter(','),
    }
}

fn flag_config() -> Arg {
    Arg::new("config").long("config").value_name("FILE").help("YAML file with settings")
}

fn positional(argument: &'static str) -> Arg {
    let name = argument.trim_matches(|c| "[].".contains(c));
    let many = argument.contains("...");
    let arg = Arg::new(name).value_name(name).required(!argument.starts_with('['));
    if many { arg.action(ArgAction::Append).num_args(1..) } else { arg }
}

/// Finds the command that was asked for, resolves its settings and runs it.
///
/// # Errors
/// What the command returns.
pub async fn run(matches: &ArgMatches) -> Result<ExitCode> {
    let (mut commands, mut matches) = (ALL, matches);
    loop {
        let Some((name, inner)) = matches.subcommand() else { return Ok(ExitCode::from(2)) };
        let Some(command) = commands.iter().find(|c| c.name == name) else { return Ok(ExitCode::from(2)) };
        matches = inner;
        match command.action {
            Action::Group(inner) => commands = inner,
            Action::Run(action) => return action(values(command, matches)?).await,
        }
    }
}

/// Refuses to go on without root.
///
/// # Errors
/// When the process is not root.
pub fn need_root(command: &str) -> Result<()> {
    if nix::unistd::geteuid().is_root() {
        return Ok(());
    }
    anyhow::bail!(
        "`coracle {command}` needs root (namespaces, mounts, cgroups): run it with sudo; `coracle check` says what else is needed"
    )
}

fn values(command: &Command, matches: &ArgMatches) -> Result<Values> {
    let given = |name: &str| -> Option<Vec<String>> {
        match setting(name).takes {
            Takes::Switch => matches.get_flag(name).then(|| vec!["true".into()]),
            Takes::Value(_) => matches.get_one::<String>(name).map(|v| vec![v.clone()]),
            Takes::Values(_) => matches.get_many::<String>(name).map(|v| v.cloned().collect()),
        }
    };
    let config = matches.get_one::<String>("config").cloned().or_else(|| std::env::var("CORACLE_CONFIG").ok());
    let arguments = command
        .arguments
        .iter()
        .flat_map(|a| matches.get_many::<String>(a.trim_matches(|c| "[].".contains(c))).into_iter().flatten().cloned())
        .collect();
    Values::resolve(command.settings, given, |v| std::env::var_os(v), config.as_deref(), arguments)
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_command_line_is_consistent() {
        super::command_line().debug_assert();
    }

    #[test]
    fn every_command_file_is_listed() {
        let listed: Vec<&str> = super::ALL.iter().map(|c| c.name).collect();
        let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/src/commands");
        for file in std::fs::read_dir(dir).unwrap() {
            let name = file.unwrap().file_name().into_string().unwrap();
            let name = name.trim_end_matches(".rs");
            assert!(name == "mod" || listed.contains(&name), "{name}.rs is not in the list of commands");
        }
    }
}
