//! One set of descriptors for flags, environment variables and the configuration file.
//!
//! A value comes from the first of: the flag `--name`, the variable `CORACLE_NAME`, the entry `name:` of the file that `--config`
//! names (YAML), the default here. Commands name the settings that they take; help, completion and the reference page in docs/
//! are made from the same descriptors.

use anyhow::{Context, Result, bail};
use std::{collections::BTreeMap, ffi::OsString, path::PathBuf};

/// What a setting takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Takes {
    /// Nothing: it is on or off.
    Switch,
    /// One value; the placeholder in help.
    Value(&'static str),
    /// Any number of values, separated by commas or given repeatedly; the placeholder in help.
    Values(&'static str),
}

/// One setting.
#[derive(Debug)]
pub struct Setting {
    /// Flag and file entry, `data-dir`.
    pub name: &'static str,
    /// What it takes.
    pub takes: Takes,
    /// Default; empty: none.
    pub default: &'static str,
    /// One sentence.
    pub help: &'static str,
}

const fn value(name: &'static str, placeholder: &'static str, default: &'static str, help: &'static str) -> Setting {
    Setting { name, takes: Takes::Value(placeholder), default, help }
}

const fn values(name: &'static str, placeholder: &'static str, default: &'static str, help: &'static str) -> Setting {
    Setting { name, takes: Takes::Values(placeholder), default, help }
}

const fn switch(name: &'static str, help: &'static str) -> Setting {
    Setting { name, takes: Takes::Switch, default: "", help }
}

/// Every setting of every command.
pub static SETTINGS: &[Setting] = &[
    value(
        "advertise-address",
        "IP",
        "",
        "Address at which nodes and pods reach the server; found by itself if not given",
    ),
    value("bench-dir", "DIR", "/var/lib/coracle-bench", "Where the benchmark keeps its data; emptied before and after"),
    value("bind", "ADDRESS:PORT", "0.0.0.0:6443", "Where the API server listens"),
    value(
        "ca-hash",
        "sha256:HEX",
        "",
        "Hash of the cluster's CA key that the server must show; part of a token made by `token create`",
    ),
    value("cgroup", "PATH", "coracle/node", "Cgroup below which this node's pods live"),
    value("cluster-cidr", "CIDR", "10.244.0.0/16", "Range of pod addresses; each node gets a /24 of it"),
    value("cluster-domain", "NAME", "cluster.local", "Domain of the cluster's DNS names"),
    value("data-dir", "DIR", "/var/lib/coracle", "Where everything is kept"),
    value("demo-dir", "DIR", "/var/lib/coracle-demo", "Where the demo keeps its cluster; emptied before and after"),
    switch("detach", "Return once the cluster is ready; it goes on in the background"),
    value(
        "images-dir",
        "DIR",
        "",
        "Where images are kept; several nodes of one machine may share it (default: DATA-DIR/images)",
    ),
    value(
        "eviction-hard",
        "SIGNAL<AMOUNT,…",
        "",
        "What must stay free on a node, else it is under pressure and takes no pods; \
         default `memory.available<100Mi,nodefs.available<5%,nodefs.inodesFree<5%,imagefs.available<5%`, \
         with `up` only 100Mi of memory and 512Mi of disk",
    ),
    switch("json", "Print JSON"),
    switch("keep", "Leave the cluster up afterwards"),
    value("kubeconfig", "FILE", "", "Kubeconfig to use (default: DATA-DIR/admin.kubeconfig)"),
    values("label", "KEY=VALUE", "", "Label of the node when it registers"),
    value("log", "FILTER", "info", "What to log, `debug` or `info,coracle_agent=debug`"),
    value("name", "NAME", "coracle", "Name of the cluster: its context, links and cgroups are named after it"),
    switch("no-kubeconfig", "Do not add a context to your own kubeconfig"),
    value("node-ip", "IP", "", "Address of this node; found by itself if not given"),
    value("node-name", "NAME", "", "Name of this node (default: the host name)"),
    value(
        "node-subnet",
        "CIDR",
        "",
        "Range of the nodes' addresses on this machine; a free one is chosen if not given",
    ),
    value("nodes", "N", "1", "How many nodes"),
    values(
        "runtime-config",
        "KEY=VALUE",
        "",
        "Versions to serve or not: `api/beta=true`, `GROUP/VERSION=true`, `GROUP/VERSION/RESOURCE=false`",
    ),
    value("server", "URL", "", "The API server to join, https://ADDRESS:6443"),
    value("service-cidr", "CIDR", "10.96.0.0/16", "Range of service addresses"),
    value("sizes", "small|full", "full", "How much work the benchmark does"),
    values("tls-san", "NAME", "", "More names and addresses in the server's certificate"),
    value("token", "TOKEN", "", "Join token, made by `token create`"),
    value("ttl", "DURATION", "24h", "How long a token can be used"),
];

/// The descriptor of a setting.
pub fn setting(name: &str) -> &'static Setting {
    SETTINGS.iter().find(|s| s.name == name).unwrap_or_else(|| panic!("no setting is called {name}"))
}

/// The variable of a setting: `CORACLE_DATA_DIR`.
pub fn variable(name: &str) -> String {
    format!("CORACLE_{}", name.to_uppercase().replace('-', "_"))
}

/// The values that one command runs with.
#[derive(Clone, Debug, Default)]
pub struct Values {
    settings: BTreeMap<&'static str, Vec<String>>,
    /// Arguments that are no flags.
    pub arguments: Vec<String>,
}

impl Values {
    /// Puts flags, environment, file and defaults together.
    ///
    /// # Errors
    /// When the configuration file cannot be read or has an entry that no setting has.
    pub fn resolve(
        taken: &[&'static str],
        flags: impl Fn(&str) -> Option<Vec<String>>,
        environment: impl Fn(&str) -> Option<OsString>,
        file: Option<&str>,
        arguments: Vec<String>,
    ) -> Result<Self> {
        let file = file.map(read_file).transpose()?.unwrap_or_default();
        let mut settings = BTreeMap::new();
        for name in taken {
            let setting = setting(name);
            let from_environment = || {
                let text = environment(&variable(name))?.into_string().ok()?;
                Some(match setting.takes {
                    Takes::Values(_) => text.split(',').map(str::to_string).collect(),
                    _ => vec![text],
                })
            };
            let default = || match setting.default {
                "" => Vec::new(),
                text => vec![text.to_string()],
            };
            let found =
                flags(name).or_else(from_environment).or_else(|| file.get(*name).cloned()).unwrap_or_else(default);
            settings.insert(setting.name, found);
        }
        Ok(Self { settings, arguments })
    }

    /// The value of a setting; empty if it has none.
    pub fn get(&self, name: &str) -> &str {
        self.all(name).first().map_or("", String::as_str)
    }

    /// All values of a setting.
    pub fn all(&self, name: &str) -> &[String] {
        self.settings.get(name).map_or(&[], Vec::as_slice)
    }

    /// Whether a switch is on.
    pub fn on(&self, name: &str) -> bool {
        matches!(self.get(name), "true" | "1" | "yes" | "on")
    }

    /// The value as a path.
    pub fn path(&self, name: &str) -> PathBuf {
        PathBuf::from(self.get(name))
    }

    /// The value, parsed.
    ///
    /// # Errors
    /// Naming the setting, the value and what is wrong with it.
    pub fn parse<T: std::str::FromStr>(&self, name: &str) -> Result<T>
    where
        T::Err: std::fmt::Display,
    {
        let text = self.get(name);
        text.parse().map_err(|e| anyhow::anyhow!("--{name} {text:?} cannot be used: {e}"))
    }

    /// The value, parsed, if there is one.
    ///
    /// # Errors
    /// As [`Values::parse`].
    pub fn parse_opt<T: std::str::FromStr>(&self, name: &str) -> Result<Option<T>>
    where
        T::Err: std::fmt::Display,
    {
        if self.get(name).is_empty() { Ok(None) } else { self.parse(name).map(Some) }
    }
}

fn read_file(path: &str) -> Result<BTreeMap<String, Vec<String>>> {
    let text =
        std::fs::read_to_string(path).with_context(|| format!("the configuration file {path} cannot be read"))?;
    let entries: BTreeMap<String, serde_json::Value> =
        serde_saphyr::from_str(&text).with_context(|| format!("the configuration file {path} is no YAML mapping"))?;
    let scalar = |v: &serde_json::Value| v.as_str().map_or_else(|| v.to_string(), str::to_string);
    let mut found = BTreeMap::new();
    for (name, entry) in entries {
        if !SETTINGS.iter().any(|s| s.name == name) {
            bail!("{path}: there is no setting {name:?}; `coracle up --help` and the other commands' help list them");
        }
        let all = match &entry {
            serde_json::Value::Array(items) => items.iter().map(scalar).collect(),
            one => vec![scalar(one)],
        };
        found.insert(name, all);
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flag_before_environment_before_file_before_default() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("c.yaml");
        std::fs::write(&file, "nodes: 3\ndetach: true\nlabel: [a=b, c=d]\nbind: 127.0.0.1:1\n").unwrap();
        let values = Values::resolve(
            &["nodes", "detach", "label", "bind", "ttl", "name", "json"],
            |name| (name == "bind").then(|| vec!["flag".into()]),
            |name| (name == "CORACLE_NAME" || name == "CORACLE_BIND").then(|| "env".into()),
            file.to_str(),
            vec![],
        )
        .unwrap();
        assert_eq!(
            (values.get("bind"), values.get("name"), values.get("nodes"), values.get("ttl")),
            ("flag", "env", "3", "24h")
        );
        assert!(values.on("detach") && !values.on("json"));
        assert_eq!(values.all("label"), ["a=b", "c=d"]);
    }

    #[test]
    fn an_unknown_entry_of_the_file_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("c.yaml");
        std::fs::write(&file, "nods: 3\n").unwrap();
        let error = Values::resolve(&[], |_| None, |_| None, file.to_str(), vec![]).unwrap_err();
        assert!(error.to_string().contains("\"nods\""), "{error}");
    }
}
