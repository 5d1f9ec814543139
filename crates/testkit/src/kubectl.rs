//! kubectl and Helm: the clients that judge.

use crate::{LIMIT, Run, World, until};
use serde_json::Value;
use std::{path::PathBuf, time::Duration};

/// The versions of kubectl that everything has to work with.
pub const VERSIONS: [&str; 2] = ["1.37", "1.32"];

/// Helm of these versions, too: 4 and 3, named after the kubectl that they are packed with.
pub const HELMS: [&str; 2] = ["37", "32"];

/// kubectl of one version, with a kubeconfig.
#[derive(Clone)]
pub struct Kubectl<'w> {
    world: &'w World,
    program: PathBuf,
    kubeconfig: PathBuf,
}

impl<'w> Kubectl<'w> {
    pub(crate) fn new(world: &'w World, version: &str, kubeconfig: PathBuf) -> Self {
        Self { world, program: world.tool(&format!("kubectl-{version}")), kubeconfig }
    }

    /// kubectl about to be run with these words.
    pub fn command(&self, arguments: &[&str]) -> Run {
        self.world
            .run(&self.program, arguments)
            .env("KUBECONFIG", &self.kubeconfig)
            // a version of kubectl far from the server's says so at every call
            .env("KUBECTL_KUBERC", "false")
    }

    /// Runs it; it has to succeed. Its output.
    pub fn ok(&self, line: &str) -> String {
        self.command(&words(line)).ok()
    }

    /// Runs it; it has to fail. What it says.
    pub fn fails(&self, line: &str) -> String {
        self.command(&words(line)).fails()
    }

    /// Applies a manifest.
    pub fn apply(&self, manifest: &str) -> String {
        self.command(&["apply", "-f", "-"]).input(manifest).ok()
    }

    /// `get … -o json`.
    pub fn json(&self, line: &str) -> Value {
        let text = self.ok(&format!("{line} -o json"));
        serde_json::from_str(&text).unwrap_or_else(|e| panic!("kubectl {line}: {e}: {text}"))
    }

    /// `get … -o json`, or what it says instead.
    pub fn try_json(&self, line: &str) -> Result<Value, String> {
        let output = self.command(&words(&format!("{line} -o json"))).output();
        if output.code != 0 {
            return Err(output.to_string());
        }
        serde_json::from_str(&output.stdout).map_err(|e| e.to_string())
    }

    /// `get` until `done` gives something.
    pub fn until<T>(&self, what: &str, line: &str, done: impl Fn(&Value) -> Option<T>) -> T {
        self.until_within(LIMIT, what, line, done)
    }

    /// The same with a limit of its own.
    pub fn until_within<T>(&self, limit: Duration, what: &str, line: &str, done: impl Fn(&Value) -> Option<T>) -> T {
        until(what, limit, || {
            let seen = self.try_json(line)?;
            done(&seen).ok_or_else(|| brief(&seen))
        })
    }
}

/// The words of a line; single quotes keep blanks.
fn words(line: &str) -> Vec<&str> {
    let mut words = Vec::new();
    for (number, part) in line.split('\'').enumerate() {
        if number % 2 == 1 {
            words.push(part);
        } else {
            words.extend(part.split_whitespace());
        }
    }
    words
}

/// What matters of an object that was not as awaited.
fn brief(seen: &Value) -> String {
    let one = |o: &Value| format!("{} {}", o["metadata"]["name"].as_str().unwrap_or_default(), o["status"]);
    match seen["items"].as_array() {
        Some(items) => items.iter().map(one).collect::<Vec<_>>().join("\n"),
        None => one(seen),
    }
}

/// Helm of one version, with a kubeconfig.
pub struct Helm<'w> {
    world: &'w World,
    program: PathBuf,
    kubeconfig: PathBuf,
}

impl<'w> Helm<'w> {
    pub(crate) fn new(world: &'w World, version: &str, kubeconfig: PathBuf) -> Self {
        Self { world, program: world.tool(&format!("helm-{version}")), kubeconfig }
    }

    /// Helm about to be run with these words.
    pub fn command(&self, line: &str) -> Run {
        let cache = self.world.dir().join("helm");
        self.world
            .run(&self.program, &words(line))
            .env("KUBECONFIG", &self.kubeconfig)
            .env("HELM_CACHE_HOME", cache.join("cache"))
            .env("HELM_CONFIG_HOME", cache.join("config"))
            .env("HELM_DATA_HOME", cache.join("data"))
    }

    /// Runs it; it has to succeed. Its output.
    pub fn ok(&self, line: &str) -> String {
        self.command(line).ok()
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn quotes_keep_blanks() {
        assert_eq!(super::words("get pods -l 'a in (b, c)' -A"), ["get", "pods", "-l", "a in (b, c)", "-A"]);
    }
}
