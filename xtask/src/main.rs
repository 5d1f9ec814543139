//! Development tasks: facts that are generated and checked in, and rules about the crates that `cargo` itself does not hold.

mod cli;
mod conformance;
mod crates;
mod licences;
mod metadata;
mod schema;

use anyhow::{Result, bail};
use std::process::ExitCode;

/// Whether to write a generated file or to compare it with the one checked in.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Write it.
    Write,
    /// Fail if it would change.
    Check,
}

const USAGE: &str = "usage: cargo xtask TASK
  schema [--check]   make (or check) the schema table of the built-in API types
  cli [--check]      make (or check) docs/cli.md, the reference of the commands
  conformance FILE   merge the results of a run of upstream's suite into docs/conformance.md
  licences           check licences and reasons of the dependencies, and which crate uses which";

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // the message alone: these are findings, not faults of this program
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match args.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["schema"] => schema::run(Mode::Write),
        ["schema", "--check"] => schema::run(Mode::Check),
        ["cli"] => cli::run(Mode::Write),
        ["cli", "--check"] => cli::run(Mode::Check),
        ["conformance", results] => conformance::merge(results),
        ["licences"] => {
            let metadata = metadata::read()?;
            let mut wrong = licences::check(&metadata)?;
            wrong.extend(crates::check(&metadata)?);
            if wrong.is_empty() {
                return Ok(());
            }
            bail!("{}", wrong.join("\n"))
        }
        _ => bail!("{USAGE}"),
    }
}
