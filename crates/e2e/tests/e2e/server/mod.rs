//! The control plane alone: `coracle server`.

mod custom;
mod disk;
mod kill;
mod objects;
mod refusals;
mod start;
mod watch;
