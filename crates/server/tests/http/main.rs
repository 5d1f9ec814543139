//! The server as clients meet it: real connections, real bytes.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod answers;
mod custom;
mod lists;
mod quotas;
mod syntaxes;
mod watches;
mod world;
mod writes;
