//! `coracle kubeconfig`, and the context that `up` adds to the user's own file.

use super::Command;
use crate::{cluster::layout::Layout, settings::Values};
use anyhow::{Context, Result};
use serde_json::{Map, Value, json};
use std::{
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    process::ExitCode,
};

/// The command.
pub static COMMAND: Command = Command {
    name: "kubeconfig",
    about: "Print the administrator's kubeconfig",
    settings: &["data-dir"],
    arguments: &[],
    action: crate::run!(run),
};

async fn run(values: Values) -> Result<ExitCode> {
    let file = Layout::open(&values.path("data-dir"))?.kubeconfig();
    let text = std::fs::read_to_string(&file)
        .with_context(|| format!("{} cannot be read; `coracle up` or `coracle server` writes it", file.display()))?;
    print!("{text}");
    Ok(ExitCode::SUCCESS)
}

/// Adds cluster, user and context `name` to the user's kubeconfig and makes it the current one; the file.
///
/// # Errors
/// When one of the files cannot be read, understood or written. The user's file is then as before.
pub fn merge_into_users(from: &Path, name: &str) -> Result<PathBuf> {
    let admin = read(from)?;
    let file = users_file()?;
    let mut all = if file.exists() { read(&file)? } else { json!({"apiVersion": "v1", "kind": "Config"}) };
    set(&mut all, "clusters", name, json!({"cluster": admin["clusters"][0]["cluster"]}));
    set(&mut all, "users", name, json!({"user": admin["users"][0]["user"]}));
    set(&mut all, "contexts", name, json!({"context": {"cluster": name, "user": name}}));
    all["current-context"] = json!(name);
    write(&file, &all)?;
    Ok(file)
}

/// Takes cluster, user and context `name` out of the user's kubeconfig.
///
/// # Errors
/// As [`merge_into_users`].
pub fn remove_from_users(name: &str) -> Result<()> {
    let file = users_file()?;
    if !file.exists() {
        return Ok(());
    }
    let mut all = read(&file)?;
    let before = all.clone();
    for list in ["clusters", "users", "contexts"] {
        if let Some(entries) = all[list].as_array_mut() {
            entries.retain(|e| e["name"] != name);
        }
    }
    if all["current-context"] == name {
        all["current-context"] = json!("");
    }
    if all == before { Ok(()) } else { write(&file, &all) }
}

fn users_file() -> Result<PathBuf> {
    if let Some(first) =
        std::env::var_os("KUBECONFIG").and_then(|v| std::env::split_paths(&v).find(|p| !p.as_os_str().is_empty()))
    {
        return Ok(first);
    }
    let home = std::env::var_os("HOME").context("neither KUBECONFIG nor HOME is set; --no-kubeconfig does without")?;
    Ok(Path::new(&home).join(".kube/config"))
}

fn read(file: &Path) -> Result<Value> {
    let shown = file.display();
    let text = std::fs::read_to_string(file).with_context(|| format!("{shown} cannot be read"))?;
    if text.trim().is_empty() {
        return Ok(Value::Object(Map::new()));
    }
    serde_saphyr::from_str(&text).with_context(|| format!("{shown} is no kubeconfig"))
}

fn set(all: &mut Value, list: &str, name: &str, mut entry: Value) {
    entry["name"] = json!(name);
    if !all[list].is_array() {
        all[list] = json!([]);
    }
    if let Some(entries) = all[list].as_array_mut() {
        entries.retain(|e| e["name"] != name);
        entries.push(entry);
    }
}

fn write(file: &Path, all: &Value) -> Result<()> {
    let shown = file.display();
    let failed = || format!("{shown} cannot be written");
    if let Some(dir) = file.parent() {
        std::fs::create_dir_all(dir).with_context(failed)?;
    }
    let new = file.with_extension("coracle-new");
    let text = serde_saphyr::to_string(all)?;
    let mut out = std::fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&new)
        .with_context(failed)?;
    std::io::Write::write_all(&mut out, text.as_bytes()).and_then(|()| std::fs::rename(&new, file)).with_context(failed)
}
