//! `coracle bench`.

use super::Command;
use crate::{
    bench::{self, Output, Sizes},
    settings::Values,
};
use anyhow::{Result, bail};
use std::process::ExitCode;

/// The command.
pub static COMMAND: Command = Command {
    name: "bench",
    about: "Measure what this machine gets: start, memory, requests, watches, pods (all measures, or those named)",
    settings: &["json", "sizes", "bench-dir"],
    arguments: &["[MEASURE]..."],
    action: crate::run!(run),
};

async fn run(values: Values) -> Result<ExitCode> {
    let sizes = match values.get("sizes") {
        "small" => Sizes::SMALL,
        "full" => Sizes::FULL,
        other => bail!("--sizes {other:?}: small or full"),
    };
    let output = if values.on("json") { Output::Json } else { Output::Table };
    bench::run(&values.path("bench-dir"), sizes, output, &values.arguments).await
}
