//! The control loops, one a file: a pure plan and an apply.
//!
//! Adding one is a file with an `impl Controller` and a line in [`all`]. Each file decides in a function without I/O
//! (`plan(desired, observed, now)`, tested as tables) and then applies the plan through the client.

pub mod framework;

mod conditions;
mod hash;
mod owners;
mod pods;
mod revisions;
mod rounding;

mod daemonset;
mod deployment;
mod replicaset;
mod statefulset;

#[cfg(test)]
mod testing;

pub use framework::{Context, Controller, Controllers, Key, Keys, Requeue};

/// Every controller.
pub fn all() -> Vec<Box<dyn Controller>> {
    vec![
        Box::new(daemonset::DaemonSets::default()),
        Box::new(deployment::Deployments::default()),
        Box::new(replicaset::replica_sets()),
        Box::new(replicaset::replication_controllers()),
        Box::new(statefulset::StatefulSets::default()),
    ]
}
