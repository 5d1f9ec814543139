//! Lifecycle hooks: run something in a container, call it over HTTP, or wait.

use crate::{
    context::Node,
    probes::{self, Outcome},
    spec::ports,
};
use k8s_openapi::api::core::v1::{Container, LifecycleHandler};
use std::time::Duration;

/// Runs a hook to its end, for at most `limit`.
///
/// # Errors
/// What went wrong, for an event.
pub async fn run(
    node: &Node,
    container: &Container,
    id: &str,
    hook: &LifecycleHandler,
    pod_ip: Option<&str>,
    limit: Duration,
) -> Result<(), String> {
    if let Some(exec) = &hook.exec {
        let command = exec.command.clone().unwrap_or_default();
        let output = node.runtime.exec_sync(id, &command, limit).await.map_err(|e| e.to_string())?;
        if output.code == 0 {
            return Ok(());
        }
        let said = String::from_utf8_lossy(if output.stderr.is_empty() { &output.stdout } else { &output.stderr });
        return Err(format!("command '{}' exited with {}: {}", command.join(" "), output.code, said.trim()));
    }
    if let Some(http) = &hook.http_get {
        let host = http.host.as_deref().filter(|h| !h.is_empty()).or(pod_ip).unwrap_or("127.0.0.1");
        let port = ports::resolve(&http.port, container)?;
        return match probes::http(http, host, port, limit).await {
            Outcome::Success => Ok(()),
            Outcome::Failure(why) => Err(why),
        };
    }
    if let Some(tcp) = &hook.tcp_socket {
        let host = tcp.host.as_deref().filter(|h| !h.is_empty()).or(pod_ip).unwrap_or("127.0.0.1");
        return match probes::tcp(host, ports::resolve(&tcp.port, container)?, limit).await {
            Outcome::Success => Ok(()),
            Outcome::Failure(why) => Err(why),
        };
    }
    if let Some(sleep) = &hook.sleep {
        let time = Duration::from_secs(u64::try_from(sleep.seconds).unwrap_or(0));
        node.clock.sleep(time.min(limit)).await;
    }
    Ok(())
}
