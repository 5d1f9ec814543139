//! What the server's process spends on a piece of work: processor time, and objects that it parsed and encoded.

use super::{
    memory::{self, Role},
    subject::Server,
};
use anyhow::{Context, Result};
use coracle_client::HttpClient;
use std::{collections::BTreeMap, future::Future, time::Duration};

/// What was spent.
pub struct Spent {
    /// Processor time of the process, all threads.
    pub cpu: Duration,
    /// Objects read from their bytes.
    pub parsed: f64,
    /// Objects written to bytes.
    pub encoded: f64,
}

impl Spent {
    /// Processor time of one of `count` operations, in µs.
    #[allow(clippy::cast_precision_loss)]
    pub fn micros_each(&self, count: usize) -> f64 {
        self.cpu.as_secs_f64() * 1e6 / count as f64
    }

    /// Objects parsed and encoded for one of `count` operations.
    #[allow(clippy::cast_precision_loss)]
    pub fn codecs_each(&self, count: usize) -> f64 {
        (self.parsed + self.encoded) / count as f64
    }
}

/// Does `work`, and tells what the server spent meanwhile.
///
/// # Errors
/// Those of the work, and when the server does not tell its counters.
pub async fn during<T>(server: &Server, work: impl Future<Output = Result<T>>) -> Result<(T, Spent)> {
    let clients = server.clients(1)?;
    let client = clients.first().context("one client")?;
    let (parsed, encoded) = codecs(client).await?;
    let process = BTreeMap::from([(server.pid()?, Role::Server)]);
    let before = memory::cpu_time(&process);
    let done = work.await?;
    let cpu = memory::cpu_time(&process).saturating_sub(before);
    let after = codecs(client).await?;
    Ok((done, Spent { cpu, parsed: after.0 - parsed, encoded: after.1 - encoded }))
}

/// Objects parsed and encoded so far.
async fn codecs(client: &HttpClient) -> Result<(f64, f64)> {
    let text = client.raw("/metrics").await?;
    let text = String::from_utf8_lossy(&text);
    Ok((metric(&text, "coracle_objects_parsed_total")?, metric(&text, "coracle_objects_encoded_total")?))
}

fn metric(text: &str, name: &str) -> Result<f64> {
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok());
    value.with_context(|| format!("the server has no counter {name}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metrics_are_read_by_their_whole_name() {
        let text = "# HELP a b\n# TYPE a counter\na_b 3\na 12\n";
        for (name, expected) in [("a", Some(12.0)), ("a_b", Some(3.0)), ("b", None)] {
            assert_eq!(metric(text, name).ok(), expected, "{name}");
        }
    }
}
