//! End to end: the release binary as a user has it, with clients that are not ours. A test is a function; its world is its own.

// a helper that cannot do its part fails the test
#![allow(missing_docs, clippy::unwrap_used)]

mod cluster;
mod server;
