//! What `cargo metadata` says of the workspace and its dependencies.

use anyhow::{Context, Result, bail};
use serde_json::Value;
use std::{
    path::{Path, PathBuf},
    process::Command,
};

/// The root of the workspace that `cargo xtask` was called in. Cargo says it at run time; the directory of compilation may be another
/// one, where several work trees share a target directory.
pub fn root() -> PathBuf {
    let ours = std::env::var_os("CARGO_MANIFEST_DIR").map(PathBuf::from);
    ours.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).to_path_buf()).join("..")
}

/// The whole answer.
pub fn read() -> Result<Value> {
    let out = Command::new(env!("CARGO"))
        .args(["metadata", "--locked", "--format-version", "1"])
        .current_dir(root())
        .output()?;
    if !out.status.success() {
        bail!("cargo metadata: {}", String::from_utf8_lossy(&out.stderr));
    }
    serde_json::from_slice(&out.stdout).context("cargo metadata")
}

/// All packages.
pub fn packages(metadata: &Value) -> impl Iterator<Item = &Value> {
    metadata["packages"].as_array().into_iter().flatten()
}

/// The packages of the workspace: those that come from no registry.
pub fn ours(metadata: &Value) -> impl Iterator<Item = &Value> {
    packages(metadata).filter(|p| p["source"].is_null())
}

/// A text field, empty if it is not there.
pub fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value[field].as_str().unwrap_or_default()
}
