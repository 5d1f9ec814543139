//! `coracle bench`: figures of this binary on this machine, taken from outside.
//!
//! Everything is measured on real processes (`coracle server`, `coracle up`, started anew in a directory of their own) through the
//! door that every client uses: HTTPS with a client certificate. A measure is a file here and a line in [`MEASURES`].

mod apply;
mod create;
mod custom;
mod get;
mod idle;
mod list;
mod load;
mod memory;
mod objects;
mod pods;
mod report;
mod spent;
mod start;
mod subject;
mod watch;

use anyhow::{Context, Result, bail};
pub use report::Output;
use report::Row;
use std::{
    future::Future,
    path::{Path, PathBuf},
    pin::Pin,
    process::ExitCode,
};
use subject::{Cluster, Server};

type Running<'a> = Pin<Box<dyn Future<Output = Result<()>> + Send + 'a>>;

struct Measure {
    name: &'static str,
    /// Whether it needs nodes, hence root.
    nodes: bool,
    run: for<'a> fn(&'a mut Bench) -> Running<'a>,
}

static MEASURES: &[Measure] = &[
    Measure { name: "start", nodes: true, run: |b| Box::pin(start::run(b)) },
    Measure { name: "idle", nodes: true, run: |b| Box::pin(idle::run(b)) },
    Measure { name: "pods", nodes: true, run: |b| Box::pin(pods::run(b)) },
    Measure { name: "create", nodes: false, run: |b| Box::pin(create::run(b)) },
    Measure { name: "apply", nodes: false, run: |b| Box::pin(apply::run(b)) },
    Measure { name: "get", nodes: false, run: |b| Box::pin(get::run(b)) },
    Measure { name: "list", nodes: false, run: |b| Box::pin(list::run(b)) },
    Measure { name: "custom", nodes: false, run: |b| Box::pin(custom::run(b)) },
    Measure { name: "watch", nodes: false, run: |b| Box::pin(watch::run(b)) },
];

/// The word for all measures of the server alone.
const API: &str = "api";

impl Measure {
    fn is_meant(&self, names: &[String]) -> bool {
        names.is_empty() || names.iter().any(|n| n == self.name || n == API && !self.nodes)
    }
}

/// How much is done for a figure.
#[derive(Clone, Copy, Debug)]
pub struct Sizes {
    /// Cold starts; the median counts.
    pub starts: usize,
    /// Seconds of doing nothing.
    pub idle: u64,
    /// Pods started one after another, and pods started at once.
    pub pods: (usize, usize),
    /// Creates by one client, and by many.
    pub creates: (usize, usize),
    /// Objects applied, twice.
    pub applies: usize,
    /// Reads by one client, and by many.
    pub gets: (usize, usize),
    /// Pods in the list.
    pub list: usize,
    /// Objects of a custom resource.
    pub customs: usize,
    /// Watchers and events.
    pub watch: (usize, usize),
    /// A crowd of watchers, and events.
    pub crowd: (usize, usize),
}

impl Sizes {
    /// What the published figures are taken with.
    pub const FULL: Self = Self {
        starts: 5,
        idle: 10,
        pods: (20, 50),
        creates: (5_000, 40_000),
        applies: 10_000,
        gets: (5_000, 60_000),
        list: 5_000,
        customs: 10_000,
        watch: (100, 300),
        crowd: (1_000, 50),
    };
    /// For a look, and for the test that the benchmark works.
    pub const SMALL: Self = Self {
        starts: 1,
        idle: 2,
        pods: (3, 10),
        creates: (300, 2_000),
        applies: 500,
        gets: (300, 3_000),
        list: 500,
        customs: 500,
        watch: (10, 50),
        crowd: (50, 10),
    };
}

/// The benchmark while it runs: what is started stays until a measure no longer needs it.
pub struct Bench {
    sizes: Sizes,
    output: Output,
    directory: PathBuf,
    server: Option<Server>,
    cluster: Option<Cluster>,
}

/// Runs the measures named, or all, with their data in `directory`; exit code 1 if one could not be taken.
///
/// # Errors
/// When a name is unknown or the directory cannot be used.
pub async fn run(directory: &Path, sizes: Sizes, output: Output, names: &[String]) -> Result<ExitCode> {
    if let Some(unknown) = names.iter().find(|n| *n != API && MEASURES.iter().all(|m| m.name != **n)) {
        let known: Vec<&str> = MEASURES.iter().map(|m| m.name).collect();
        bail!("no measure {unknown:?}: {API} (all of the server alone), {}", known.join(", "));
    }
    let chosen = || MEASURES.iter().filter(|m| m.is_meant(names));
    if chosen().any(|m| m.nodes) {
        crate::commands::need_root("bench")?;
    }
    std::fs::create_dir_all(directory).with_context(|| format!("{} cannot be made", directory.display()))?;
    let directory = directory.canonicalize()?;
    let mut bench = Bench { sizes, output, directory, server: None, cluster: None };
    report::head(output);
    let measuring = async {
        let mut failed = false;
        for measure in chosen() {
            if let Err(error) = (measure.run)(&mut bench).await {
                failed = true;
                report::failure(output, measure.name, &error);
            }
        }
        failed
    };
    let failed = tokio::select! {
        failed = measuring => failed,
        _ = tokio::signal::ctrl_c() => true,
    };
    bench.clean_up().await?;
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

impl Bench {
    /// The server alone, started if it does not run.
    async fn server(&mut self) -> Result<&Server> {
        // what is measured on the server is not to share the machine with a cluster
        self.stop_cluster().await?;
        if self.server.is_none() {
            self.server = Some(Server::start(&self.directory.join("server")).await?.0);
        }
        self.server.as_ref().context("the server was just started")
    }

    /// A cluster of one node, started if it does not run.
    async fn cluster(&mut self) -> Result<&Cluster> {
        self.stop_server().await?;
        if self.cluster.is_none() {
            let (cluster, _) = Cluster::start(&self.directory.join("cluster")).await?;
            self.cluster = Some(cluster);
        }
        self.cluster.as_ref().context("the cluster was just started")
    }

    async fn stop_server(&mut self) -> Result<()> {
        match self.server.take() {
            Some(server) => server.stop().await,
            None => Ok(()),
        }
    }

    async fn stop_cluster(&mut self) -> Result<()> {
        match self.cluster.take() {
            Some(cluster) => cluster.stop().await,
            None => Ok(()),
        }
    }

    async fn clean_up(mut self) -> Result<()> {
        self.stop_server().await?;
        self.stop_cluster().await?;
        // what an interrupted measure had started is found by its traces
        subject::take_down(&self.directory.join("cluster")).await?;
        std::fs::remove_dir_all(&self.directory)
            .with_context(|| format!("{} cannot be removed", self.directory.display()))
    }

    fn report(&self, name: impl Into<String>, value: f64, unit: &'static str, how: impl Into<String>) {
        report::row(self.output, &Row { name: name.into(), value, unit, how: how.into() });
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn names_are_unique() {
        let names: std::collections::BTreeSet<&str> = super::MEASURES.iter().map(|m| m.name).collect();
        assert_eq!(names.len(), super::MEASURES.len());
        assert!(!names.contains(super::API));
    }
}
