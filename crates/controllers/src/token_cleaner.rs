//! Bootstrap tokens end with their time: the Secrets that hold them are deleted.

use crate::framework::{Context, Controller, Key, Requeue};
use async_trait::async_trait;
use coracle_api::{Resource, Result};
use coracle_client::{Change, ClientExt, Kind, Typed, View, ViewExt};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Secret;
use std::time::Duration;

const NAMESPACE: &str = "kube-system";
const TYPE: &str = "bootstrap.kubernetes.io/token";

/// The token cleaner.
#[derive(Default)]
pub struct TokenCleaner;

/// What is to be done with a token.
#[derive(Debug, PartialEq)]
enum Plan {
    /// It is none, or it has no end.
    Keep,
    /// It ends after this long.
    Wait(Duration),
    /// It has ended. So has one whose end cannot be read.
    Delete,
}

fn plan(secret: &Secret, now: Timestamp) -> Plan {
    if secret.type_.as_deref() != Some(TYPE) {
        return Plan::Keep;
    }
    let text = secret.data.as_ref().and_then(|data| data.get("expiration"));
    let Some(text) = text.map(|bytes| String::from_utf8_lossy(&bytes.0).trim().to_string()).filter(|t| !t.is_empty())
    else {
        return Plan::Keep;
    };
    let Ok(end) = text.parse::<Timestamp>() else { return Plan::Delete };
    match Duration::try_from(end.duration_since(now)) {
        Ok(left) if !left.is_zero() => Plan::Wait(left),
        _ => Plan::Delete,
    }
}

#[async_trait]
impl Controller for TokenCleaner {
    fn name(&self) -> &'static str {
        "token-cleaner"
    }

    fn watches(&self) -> Vec<Resource> {
        vec![Secret::resource()]
    }

    fn keys(&self, _view: &dyn View, change: &Change) -> Vec<Key> {
        let here = change.object().meta().namespace == NAMESPACE && change.new.is_some();
        if here { vec![Key::from_change(change)] } else { Vec::new() }
    }

    async fn reconcile(&self, ctx: &Context, key: &Key) -> Result<Requeue> {
        let Some(secret) = ctx.view.typed::<Secret>(&key.namespace, &key.name) else { return Ok(Requeue::No) };
        match plan(&secret, ctx.clock.now()) {
            Plan::Keep => Ok(Requeue::No),
            Plan::Wait(left) => Ok(Requeue::After(left)),
            Plan::Delete => delete(ctx, &secret).await,
        }
    }
}

async fn delete(ctx: &Context, secret: &Typed<Secret>) -> Result<Requeue> {
    tracing::info!(name = secret.name(), "a bootstrap token has ended");
    ctx.client.delete_typed(secret, None).await?;
    Ok(Requeue::No)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{ago, now};
    use k8s_openapi::ByteString;

    #[test]
    fn tokens_end() {
        let check = |kind: &str, end: Option<&str>, wanted: Plan| {
            let data = end.map(|end| [("expiration".to_string(), ByteString(end.as_bytes().to_vec()))].into());
            let secret = Secret { type_: Some(kind.into()), data, ..Secret::default() };
            assert_eq!(plan(&secret, now()), wanted, "{kind} {end:?}");
        };
        check(TYPE, None, Plan::Keep);
        check("Opaque", Some(&ago(5).to_string()), Plan::Keep);
        check(TYPE, Some(&ago(-5).to_string()), Plan::Wait(Duration::from_secs(5)));
        check(TYPE, Some(&ago(0).to_string()), Plan::Delete);
        check(TYPE, Some("2023-11-14T23:13:19+01:00"), Plan::Delete);
        check(TYPE, Some("soon"), Plan::Delete);
    }
}
