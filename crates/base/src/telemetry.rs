//! Logging: one subscriber, set up once by the binary.

use std::io::IsTerminal;
use tracing_subscriber::EnvFilter;

/// Logs to standard error. `CORACLE_LOG` (or `default`) takes a filter such as `info,coracle_server=debug`.
pub fn init(default: &str) {
    let filter = EnvFilter::try_from_env("CORACLE_LOG").unwrap_or_else(|_| EnvFilter::new(default));
    // A second call (tests in one process) keeps the first subscriber.
    let colours = std::io::stderr().is_terminal();
    let _ = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(colours).try_init();
}
