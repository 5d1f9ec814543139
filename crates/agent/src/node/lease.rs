//! The heartbeat: a Lease that is renewed every ten seconds.

use crate::context::Node;
use coracle_api::{Patch, Resource, Result, WriteOptions};
use k8s_openapi::api::{coordination::v1::Lease, core::v1};
use serde_json::json;
use std::{sync::Arc, time::Duration};

const NAMESPACE: &str = "kube-node-lease";
const SECONDS: i32 = 40;
const RENEW: Duration = Duration::from_secs(10);
/// After a failure: often enough to be back before the lease runs out.
const RETRY: Duration = Duration::from_millis(500);

/// Renews the lease for ever.
pub async fn renew(node: Arc<Node>) {
    loop {
        let wait = match once(&node).await {
            Ok(()) => RENEW,
            Err(error) => {
                tracing::debug!(%error, "the node's lease could not be renewed");
                RETRY
            }
        };
        node.clock.sleep(wait).await;
    }
}

async fn once(node: &Node) -> Result<()> {
    let leases = Resource::of::<Lease>();
    let name = &node.config.node_name;
    let renew = node.clock.now().strftime("%Y-%m-%dT%H:%M:%S.%6fZ").to_string();
    let spec = json!({"holderIdentity": name, "leaseDurationSeconds": SECONDS, "renewTime": renew});
    let patch = Patch::merge(json!({"spec": spec}));
    let options = WriteOptions::default();
    match node.client.patch(&leases, NAMESPACE, name, "", patch, &options).await {
        Err(error) if error.is_not_found() => {}
        other => return other.map(drop),
    }
    let owner = node.client.get(&Resource::of::<v1::Node>(), "", name).await?;
    let lease = json!({
        "apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "spec": spec,
        "metadata": {"name": name, "namespace": NAMESPACE, "ownerReferences": [
            {"apiVersion": "v1", "kind": "Node", "name": name, "uid": owner.meta().uid}]},
    });
    match node.client.create(&leases, NAMESPACE, lease, &options).await {
        Err(error) if error.is_already_exists() => Ok(()),
        other => other.map(drop),
    }
}
