//! `coracle token`: what another machine needs to join.

use super::{Action, Command};
use crate::{cluster::layout::Layout, settings::Values};
use anyhow::{Context, Result, bail};
use coracle_api::{Resource, WriteOptions};
use coracle_client::{SharedClient, http::HttpClient};
use coracle_pki::{BootstrapToken, JoinToken};
use k8s_openapi::api::core::v1::Secret;
use serde_json::json;
use std::{process::ExitCode, sync::Arc, time::Duration};

/// The command.
pub static COMMAND: Command = Command {
    name: "token",
    about: "Tokens by which other machines join",
    settings: &[],
    arguments: &[],
    action: Action::Group(&[&CREATE]),
};

static CREATE: Command = Command {
    name: "create",
    about: "Make a token and print it",
    settings: &["data-dir", "ttl"],
    arguments: &[],
    action: crate::run!(run),
};

async fn run(values: Values) -> Result<ExitCode> {
    let layout = Layout::open(&values.path("data-dir"))?;
    let client: SharedClient = Arc::new(HttpClient::from_kubeconfig(&layout.kubeconfig(), None)?);
    println!("{}", create(&client, &layout, duration(values.get("ttl"))?, "coracle token create").await?);
    Ok(ExitCode::SUCCESS)
}

/// Makes a bootstrap token that lets a node join for `ttl`, together with the hash of the CA.
///
/// # Errors
/// When the API refuses, or the CA cannot be read.
pub async fn create(client: &SharedClient, layout: &Layout, ttl: Duration, purpose: &str) -> Result<String> {
    let ca = layout.authority();
    let pem = std::fs::read_to_string(&ca).with_context(|| format!("{} cannot be read", ca.display()))?;
    let token = JoinToken { bootstrap: BootstrapToken::generate(), authority_hash: coracle_pki::hash_of(&pem)? };
    let expiration = jiff::Timestamp::now().checked_add(ttl).context("--ttl is too long")?;
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret", "type": "bootstrap.kubernetes.io/token",
        "metadata": {"name": format!("bootstrap-token-{}", token.bootstrap.id), "namespace": "kube-system"},
        "stringData": {
            "token-id": token.bootstrap.id, "token-secret": token.bootstrap.secret, "description": purpose,
            "expiration": format!("{expiration:.0}"),
            "usage-bootstrap-authentication": "true", "usage-bootstrap-signing": "true",
            "auth-extra-groups": "system:bootstrappers:coracle:default-node-token",
        },
    });
    client.create(&Resource::of::<Secret>(), "kube-system", secret, &WriteOptions::default()).await?;
    Ok(token.to_string())
}

/// `90s`, `30m`, `24h`, `7d`.
fn duration(text: &str) -> Result<Duration> {
    let parsed = text.char_indices().next_back().and_then(|(at, unit)| {
        let seconds = match unit {
            's' => 1,
            'm' => 60,
            'h' => 3600,
            'd' => 86_400,
            _ => return None,
        };
        text[..at].parse::<u64>().ok()?.checked_mul(seconds)
    });
    match parsed {
        Some(seconds) if seconds > 0 => Ok(Duration::from_secs(seconds)),
        _ => bail!("--ttl {text:?}: a number and one of s, m, h, d"),
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn durations() {
        for (text, seconds) in [
            ("90s", Some(90)),
            ("2h", Some(7200)),
            ("1d", Some(86_400)),
            ("", None),
            ("5", None),
            ("0s", None),
            ("h", None),
        ] {
            assert_eq!(super::duration(text).ok().map(|d| d.as_secs()), seconds, "{text:?}");
        }
    }
}
