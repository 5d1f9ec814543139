//! docs/cli.md: the reference of the commands, printed by the binary itself from the descriptors that it parses with.

use crate::{Mode, metadata::root};
use anyhow::{Context, Result, bail};
use std::{fs, process::Command};

/// Entry point of the task. `CORACLE_BIN` names a binary that is built already.
pub fn run(mode: Mode) -> Result<()> {
    let mut command = match std::env::var_os("CORACLE_BIN") {
        Some(binary) => Command::new(binary),
        None => {
            let mut cargo = Command::new(env!("CARGO"));
            cargo.args(["run", "-q", "-p", "coracle", "--"]).current_dir(root());
            cargo
        }
    };
    let out = command.arg("reference").output().context("coracle cannot be run")?;
    if !out.status.success() {
        bail!("coracle reference: {}", String::from_utf8_lossy(&out.stderr));
    }
    let page = String::from_utf8(out.stdout)?;
    let path = root().join("docs/cli.md");
    if mode == Mode::Check {
        if fs::read_to_string(&path).unwrap_or_default() != page {
            bail!("docs/cli.md is stale: run `cargo xtask cli` and commit the result");
        }
        return Ok(());
    }
    fs::create_dir_all(root().join("docs"))?;
    fs::write(&path, page).with_context(|| format!("{} cannot be written", path.display()))
}
