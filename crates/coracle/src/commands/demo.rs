//! `coracle demo`.

use super::Command;
use crate::{
    cluster::layout::Layout,
    demo::{self, Output},
    settings::Values,
};
use anyhow::Result;
use std::{io::IsTerminal, path::Path, process::ExitCode};

/// The command.
pub static COMMAND: Command = Command {
    name: "demo",
    about: "Show a whole cluster at work, step by step, and check every promise",
    settings: &["json", "keep", "demo-dir"],
    arguments: &[],
    action: crate::run!(run),
};

async fn run(values: Values) -> Result<ExitCode> {
    super::need_root("demo")?;
    let output = if values.on("json") {
        Output::Json
    } else if std::io::stdout().is_terminal() {
        Output::Live
    } else {
        Output::Plain
    };
    let layout = Layout::open(Path::new(values.get("demo-dir")))?;
    demo::run(layout, output, values.on("keep")).await
}
