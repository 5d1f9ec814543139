//! A cluster on this machine: one server and any number of nodes, each a network + mount + UTS namespace and a cgroup.
//!
//! ```text
//! coracle up (supervisor) ─┬─ coracle server                in the namespaces where `up` runs
//!                          ├─ coracle agent  (node-1)       in node-1's namespaces and cgroup
//!                          │     └─ shims ─ containers      outlive the agent, and the supervisor
//!                          └─ coracle agent  (node-2)
//! ```
//! Namespaces are pinned by bind mounts below `DATA-DIR/run/ns`, so they outlive every process. Taking a cluster down is: end every
//! process in its cgroup, release the pins (mounts and links in them go with them), remove links, rules and cgroups.

pub mod cgroup;
pub mod control;
pub mod layout;
pub mod namespaces;
pub mod node;
pub mod supervisor;
pub mod teardown;
pub mod wait;
