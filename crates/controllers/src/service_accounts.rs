//! What every namespace is given: the ServiceAccount `default`, and the cluster's CA as the ConfigMap `kube-root-ca.crt`.

use crate::{ClusterSettings, Context, Controller, Key, Requeue};
use async_trait::async_trait;
use coracle_api::{Resource, Result, WriteOptions};
use coracle_client::{Change, Kind, View, ViewExt};
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, ServiceAccount};
use serde_json::{Value, json};

const ACCOUNT: &str = "default";
const ROOT_CA: &str = "kube-root-ca.crt";

/// A namespace that may get new things.
fn is_active(view: &dyn View, name: &str) -> bool {
    view.typed::<Namespace>("", name).is_some_and(|n| !n.object.meta().is_deleting())
}

/// The namespaces that a change to a namespace or to an object in it concerns.
fn namespace(change: &Change, name: &str) -> Vec<Key> {
    let meta = change.object().meta();
    match &*change.resource.kind {
        "Namespace" => vec![Key::new("", &meta.name)],
        _ if meta.name == name => vec![Key::new("", &meta.namespace)],
        _ => Vec::new(),
    }
}

/// Another controller of the same cluster may have been faster: that is as good.
fn there(result: Result<std::sync::Arc<coracle_api::Object>>) -> Result<Requeue> {
    match result {
        Err(status) if !status.is_already_exists() => Err(status),
        _ => Ok(Requeue::No),
    }
}

/// Keeps the account `default`.
pub struct ServiceAccounts;

#[async_trait]
impl Controller for ServiceAccounts {
    fn name(&self) -> &'static str {
        "service-account-controller"
    }

    fn watches(&self) -> Vec<Resource> {
        vec![Namespace::resource(), ServiceAccount::resource()]
    }

    fn keys(&self, _view: &dyn View, change: &Change) -> Vec<Key> {
        namespace(change, ACCOUNT)
    }

    async fn reconcile(&self, ctx: &Context, key: &Key) -> Result<Requeue> {
        let resource = ServiceAccount::resource();
        if !is_active(&*ctx.view, &key.name) || ctx.view.get(&resource, &key.name, ACCOUNT).is_some() {
            return Ok(Requeue::No);
        }
        let body = json!({
            "apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": ACCOUNT, "namespace": key.name},
        });
        there(ctx.client.create(&resource, &key.name, body, &WriteOptions::default()).await)
    }
}

/// Keeps the CA that pods trust.
pub struct RootCa {
    certificate: String,
}

impl RootCa {
    /// Publishes the certificate of the cluster's authority.
    pub fn new(settings: &ClusterSettings) -> Self {
        Self { certificate: settings.pki.authority().certificate_pem() }
    }
}

/// The ConfigMap as it is to be, if it is not.
fn root_ca(found: Option<Value>, namespace: &str, certificate: &str) -> Option<Value> {
    let data = json!({"ca.crt": certificate});
    match found {
        Some(found) if found["data"] == data => None,
        Some(mut found) => {
            found["data"] = data;
            Some(found)
        }
        None => Some(json!({
            "apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {
                "name": ROOT_CA, "namespace": namespace,
                "annotations": {"kubernetes.io/description": "Contains a CA bundle that can be used to verify the \
                    kube-apiserver when using internal endpoints such as the internal service IP or kubernetes.default.svc. \
                    No other usage is guaranteed across distributions of Kubernetes clusters."},
            },
            "data": data,
        })),
    }
}

#[async_trait]
impl Controller for RootCa {
    fn name(&self) -> &'static str {
        "root-ca-cert-publisher"
    }

    fn watches(&self) -> Vec<Resource> {
        vec![Namespace::resource(), ConfigMap::resource()]
    }

    fn keys(&self, _view: &dyn View, change: &Change) -> Vec<Key> {
        namespace(change, ROOT_CA)
    }

    async fn reconcile(&self, ctx: &Context, key: &Key) -> Result<Requeue> {
        if !is_active(&*ctx.view, &key.name) {
            return Ok(Requeue::No);
        }
        let resource = ConfigMap::resource();
        let found = ctx.view.get(&resource, &key.name, ROOT_CA).map(|object| object.value());
        let exists = found.is_some();
        let Some(body) = root_ca(found, &key.name, &self.certificate) else { return Ok(Requeue::No) };
        let options = WriteOptions::default();
        if exists {
            ctx.client.update(&resource, &key.name, ROOT_CA, "", body, &options).await?;
            return Ok(Requeue::No);
        }
        there(ctx.client.create(&resource, &key.name, body, &options).await)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_authority_is_written_only_if_it_is_not_there() {
        let check = |found: Option<Value>, wanted: Option<&str>| {
            let written = root_ca(found.clone(), "n", "new");
            assert_eq!(written.as_ref().and_then(|w| w["data"]["ca.crt"].as_str()), wanted, "{found:?}");
        };
        check(None, Some("new"));
        check(Some(json!({"data": {"ca.crt": "old"}})), Some("new"));
        check(Some(json!({"data": {"ca.crt": "new", "more": "x"}})), Some("new"));
        check(Some(json!({"data": {"ca.crt": "new"}})), None);
    }
}
