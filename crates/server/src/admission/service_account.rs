//! Every pod runs as a service account and gets a token of it, unless account or pod say no.

use super::{Plugin, Request, list_mut, text};
use async_trait::async_trait;
use coracle_api::{Object, Resource, Result};
use k8s_openapi::api::core::v1::ServiceAccount as Account;
use rand::Rng;
use serde_json::{Value, json};
use std::{sync::Arc, time::Duration};

const ACCOUNTS: Resource = Resource::fixed("", "v1", "serviceaccounts", "ServiceAccount", true);
const MOUNT_PATH: &str = "/var/run/secrets/kubernetes.io/serviceaccount";
const VOLUME: &str = "kube-api-access-";
const MIRROR: &str = "/metadata/annotations/kubernetes.io~1config.mirror";
/// The account of a new namespace is made by a controller; whoever is faster waits a little, as upstream.
const TRIES: u32 = 60;
const PAUSE: Duration = Duration::from_millis(25);

/// The plugin.
pub struct ServiceAccount;

#[async_trait]
impl Plugin for ServiceAccount {
    fn name(&self) -> &'static str {
        "ServiceAccount"
    }

    async fn mutate(&self, request: &Request<'_>, pod: &mut Value) -> Result<()> {
        if !request.creates("", "pods") || pod.pointer(MIRROR).is_some() {
            return Ok(());
        }
        let given = Some(text(pod, "/spec/serviceAccountName")).filter(|name| !name.is_empty());
        let name = given.unwrap_or_else(|| text(pod, "/spec/serviceAccount"));
        let name = if name.is_empty() { "default" } else { name }.to_string();
        let Some(account) = find(request, &name).await else {
            let why = format!(
                "error looking up service account {}/{name}: serviceaccount \"{name}\" not found",
                request.namespace
            );
            return Err(request.forbid(pod, why));
        };
        let account = account.view::<Account>()?;
        let Some(spec) = pod.get_mut("spec").filter(|spec| spec.is_object()) else { return Ok(()) };
        spec["serviceAccountName"] = json!(name);
        spec["serviceAccount"] = json!(name);
        let wanted =
            spec["automountServiceAccountToken"].as_bool().or(account.automount_service_account_token).unwrap_or(true);
        if wanted {
            mount_token(spec);
        }
        let has_secrets = spec["imagePullSecrets"].as_array().is_some_and(|list| !list.is_empty());
        if let Some(secrets) = account.image_pull_secrets.as_ref().filter(|list| !has_secrets && !list.is_empty()) {
            spec["imagePullSecrets"] = json!(secrets);
        }
        Ok(())
    }

    async fn validate(&self, request: &Request<'_>, pod: &Value) -> Result<()> {
        if !request.creates("", "pods") || pod.pointer(MIRROR).is_none() {
            return Ok(());
        }
        // nobody vouches for a mirror pod's rights: its node made it
        if !text(pod, "/spec/serviceAccountName").is_empty() {
            return Err(request.forbid(pod, "a mirror pod may not reference service accounts"));
        }
        let volumes = pod["spec"]["volumes"].as_array();
        if volumes.is_some_and(|all| all.iter().any(|v| !v["secret"].is_null())) {
            return Err(request.forbid(pod, "a mirror pod may not reference secrets"));
        }
        Ok(())
    }
}

async fn find(request: &Request<'_>, name: &str) -> Option<Arc<Object>> {
    let tries = if name == "default" { TRIES } else { 1 };
    for attempt in 0..tries {
        if attempt > 0 {
            tokio::time::sleep(PAUSE).await;
        }
        if let Some(account) = request.view.get(&ACCOUNTS, request.namespace, name) {
            return Some(account);
        }
    }
    None
}

/// Mounts the token into every container that has nothing at its place yet.
fn mount_token(spec: &mut Value) {
    let volumes = spec["volumes"].as_array();
    let existing = volumes.and_then(|all| all.iter().map(|v| text(v, "/name")).find(|name| name.starts_with(VOLUME)));
    let (volume, is_new) = match existing {
        Some(name) => (name.to_string(), false),
        None => (format!("{VOLUME}{}", suffix()), true),
    };
    let mut mounted = false;
    for field in ["initContainers", "containers"] {
        for container in spec.get_mut(field).and_then(Value::as_array_mut).into_iter().flatten() {
            let Some(mounts) = list_mut(container, "volumeMounts") else { continue };
            if mounts.iter().any(|mount| text(mount, "/mountPath") == MOUNT_PATH) {
                continue;
            }
            mounts.push(json!({"name": volume, "mountPath": MOUNT_PATH, "readOnly": true}));
            mounted = true;
        }
    }
    if mounted
        && is_new
        && let Some(volumes) = list_mut(spec, "volumes")
    {
        volumes.push(json!({"name": volume, "projected": {"defaultMode": 0o644, "sources": [
            {"serviceAccountToken": {"expirationSeconds": 3607, "path": "token"}},
            {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
            {"downwardAPI": {"items": [
                {"path": "namespace", "fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"}}]}},
        ]}}));
    }
}

/// Five characters of upstream's alphabet for generated names.
fn suffix() -> String {
    const ALPHABET: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
    let mut random = rand::rng();
    (0..5).map(|_| ALPHABET[random.random_range(0..ALPHABET.len())] as char).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admission::testing::Case;

    fn case(account: Value) -> Case {
        let case = Case::create(Resource::fixed("", "v1", "pods", "Pod", true));
        case.world.put(&ACCOUNTS, account);
        case
    }

    fn pod(spec: Value) -> Value {
        json!({"metadata": {"namespace": "a", "name": "p"}, "spec": spec})
    }

    #[test]
    fn a_plain_pod_gets_account_volume_and_mounts() {
        let account =
            json!({"metadata": {"namespace": "a", "name": "default"}, "imagePullSecrets": [{"name": "pull"}]});
        let out = case(account)
            .run(&ServiceAccount, &pod(json!({"containers": [{"name": "c"}], "initContainers": [{"name": "i"}]})))
            .unwrap();
        let spec = &out["spec"];
        assert_eq!(spec["serviceAccountName"], "default");
        assert_eq!(spec["serviceAccount"], "default");
        assert_eq!(spec["imagePullSecrets"], json!([{"name": "pull"}]));
        let volume = text(spec, "/volumes/0/name");
        assert_eq!(volume.len(), VOLUME.len() + 5);
        assert_eq!(spec["volumes"][0]["projected"]["sources"][0]["serviceAccountToken"]["expirationSeconds"], 3607);
        for list in ["containers", "initContainers"] {
            let mounts = &spec[list][0]["volumeMounts"];
            assert_eq!(mounts, &json!([{"name": volume, "mountPath": MOUNT_PATH, "readOnly": true}]));
        }
    }

    #[test]
    fn tokens_are_mounted_only_where_wanted() {
        let account = |mount: Value| json!({"metadata": {"namespace": "a", "name": "default"}, "automountServiceAccountToken": mount});
        let own = json!([{"name": "mine", "mountPath": MOUNT_PATH}]);
        for (mount, spec, expected) in [
            (json!(null), json!({"containers": [{}]}), 1),
            (json!(false), json!({"containers": [{}]}), 0),
            (json!(false), json!({"containers": [{}], "automountServiceAccountToken": true}), 1),
            (json!(true), json!({"containers": [{}], "automountServiceAccountToken": false}), 0),
            (json!(null), json!({"containers": [{"volumeMounts": own}]}), 0),
            (json!(null), json!({"containers": [{}], "volumes": [{"name": "kube-api-access-mine"}]}), 1),
        ] {
            let out = case(account(mount)).run(&ServiceAccount, &pod(spec.clone())).unwrap();
            assert_eq!(out["spec"]["volumes"].as_array().map_or(0, Vec::len), expected, "{spec}");
        }
    }

    #[test]
    fn an_unknown_account_is_refused() {
        let case = case(json!({"metadata": {"namespace": "b", "name": "default"}}));
        assert_eq!(
            case.refusal(&ServiceAccount, &pod(json!({"serviceAccountName": "x"}))),
            r#"pods "p" is forbidden: error looking up service account a/x: serviceaccount "x" not found"#
        );
    }
}
