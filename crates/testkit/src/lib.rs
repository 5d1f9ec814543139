//! What the end-to-end tests stand on. Each test has a world of its own: network and mount namespaces, a directory, a cluster name;
//! so all tests run side by side, and at its end each world is searched for what was left behind.
//!
//! Nothing here waits for a time to pass: everything waits for a condition, and fails at a deadline with what it last saw.

// A helper that cannot do its part fails the test, and says where.
#![allow(clippy::unwrap_used)]

mod cluster;
mod command;
mod kubectl;
mod leaks;
mod server;
mod wait;
mod world;

pub use cluster::Cluster;
pub use command::{Output, Run, Started};
pub use kubectl::{HELMS, Helm, Kubectl, VERSIONS};
pub use server::Server;
pub use wait::{LIMIT, until};
pub use world::{World, in_world};
