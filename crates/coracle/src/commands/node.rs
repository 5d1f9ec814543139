//! `coracle node`: nodes of this machine, while the cluster runs.

use super::{Action, Command};
use crate::{
    cluster::{
        control::{Request, ask},
        layout::Layout,
    },
    settings::Values,
};
use anyhow::Result;
use std::process::ExitCode;

/// The command.
pub static COMMAND: Command = Command {
    name: "node",
    about: "Add nodes to the running cluster, or delete them",
    settings: &[],
    arguments: &[],
    action: Action::Group(&[&ADD, &DELETE]),
};

static ADD: Command = Command {
    name: "add",
    about: "Add a node on this machine",
    settings: &["data-dir", "label"],
    arguments: &["[NAME]"],
    action: crate::run!(add),
};

static DELETE: Command = Command {
    name: "delete",
    about: "End a node of this machine, with its pods and its data",
    settings: &["data-dir"],
    arguments: &["NAME"],
    action: crate::run!(delete),
};

async fn add(values: Values) -> Result<ExitCode> {
    let name = values.arguments.first().cloned().unwrap_or_default();
    request(&values, &Request::AddNode { name, labels: values.all("label").to_vec() }).await
}

async fn delete(values: Values) -> Result<ExitCode> {
    request(&values, &Request::DeleteNode { name: values.arguments.concat() }).await
}

async fn request(values: &Values, request: &Request) -> Result<ExitCode> {
    let layout = Layout::open(&values.path("data-dir"))?;
    let last = ask(&layout.socket(), request, |line| println!("{line}")).await?;
    println!("{last}");
    Ok(ExitCode::SUCCESS)
}
