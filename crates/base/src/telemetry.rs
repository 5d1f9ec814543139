//! Logging: one subscriber, set up once by the binary.

use std::io::IsTerminal;
use tracing_subscriber::EnvFilter;

/// Logs to standard error. `filter` is such as `info,coracle_server=debug`; one that makes no sense is said so and read as `info`.
pub fn init(filter: &str) {
    let filter = EnvFilter::try_new(filter).unwrap_or_else(|error| {
        eprintln!("the log filter {filter:?} is not understood ({error}); using \"info\"");
        EnvFilter::new("info")
    });
    // A second call (tests in one process) keeps the first subscriber.
    let colours = std::io::stderr().is_terminal();
    let _ =
        tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(colours).try_init();
}
