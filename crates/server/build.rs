//! What `/version` says of the sources that a release was built from. Other builds are made after every change, and need not know.

use std::{env, path::Path, process::Command};

fn git(arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").args(arguments).env("TZ", "UTC").output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| text.trim().to_string())
}

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let (mut commit, mut date, mut tree) = ("unknown".to_string(), "1970-01-01T00:00:00Z".to_string(), "unknown");
    if env::var("PROFILE").as_deref() == Ok("release") {
        // moves with every commit
        if let Some(log) = git(&["rev-parse", "--git-path", "logs/HEAD"]).filter(|log| Path::new(log).exists()) {
            println!("cargo::rerun-if-changed={log}");
        }
        commit = git(&["rev-parse", "HEAD"]).unwrap_or(commit);
        date = git(&["show", "-s", "--date=format-local:%Y-%m-%dT%H:%M:%SZ", "--format=%cd"]).unwrap_or(date);
        if let Some(changes) = git(&["status", "--porcelain"]) {
            tree = if changes.is_empty() { "clean" } else { "dirty" };
        }
    }
    println!("cargo::rustc-env=CORACLE_COMMIT={commit}");
    println!("cargo::rustc-env=CORACLE_COMMIT_DATE={date}");
    println!("cargo::rustc-env=CORACLE_TREE={tree}");
}
