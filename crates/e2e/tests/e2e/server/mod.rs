//! The control plane alone: `coracle server`.

mod custom;
mod disk;
mod health;
mod kill;
mod objects;
mod refusals;
mod start;
mod watch;
