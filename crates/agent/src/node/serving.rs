//! The certificate with which the agent serves: from the cluster's CA by request, self-signed until it is issued.

use super::join::{Files, request};
use crate::context::Node;
use coracle_pki::{Authority, Identity, Names, RotatingCertificate};
use std::{net::IpAddr, sync::Arc, time::Duration};

const SIGNER: &str = "kubernetes.io/kubelet-serving";

fn names(node: &Node) -> Names {
    Names {
        dns: vec![node.config.node_name.clone()],
        addresses: vec![IpAddr::V4(node.config.node_ip)],
        ..Names::default()
    }
}

/// The certificate from before, if it is for the address that the node has now.
fn kept(node: &Node) -> Option<Identity> {
    let address = IpAddr::V4(node.config.node_ip);
    let known = Files::new(&node.config.data_dir, "serving").load(node.clock.now());
    known.filter(|identity| identity.certificate().is_ok_and(|c| c.addresses.contains(&address)))
}

/// The certificate to start with: the one from before, or a self-signed one.
///
/// # Errors
/// When no key can be made.
pub fn first(node: &Node) -> coracle_pki::Result<Arc<RotatingCertificate>> {
    let now = node.clock.now();
    let identity = match kept(node) {
        Some(identity) => identity,
        None => {
            let name = format!("{}-ca", node.config.node_name);
            let common_name = format!("system:node:{}", node.config.node_name);
            Authority::create(&name, now)?.server(&common_name, &["system:nodes"], &names(node), now)?
        }
    };
    RotatingCertificate::new(identity)
}

/// Replaces the certificate by an issued one, and that one before it expires. Never returns.
pub async fn keep_fresh(node: Arc<Node>, certificate: Arc<RotatingCertificate>) {
    let files = Files::new(&node.config.data_dir, "serving");
    let mut issued = kept(&node).is_some();
    loop {
        if issued {
            let wait = certificate.renew_at().duration_since(node.clock.now());
            node.clock.sleep(Duration::try_from(wait).unwrap_or_default()).await;
        }
        let name = &node.config.node_name;
        match request(node.client.as_ref(), &node.clock, name, SIGNER, &names(&node)).await {
            Ok(identity) => {
                if let Err(error) = files.store(&identity) {
                    tracing::warn!(%error, "the serving certificate could not be kept");
                }
                if let Err(error) = certificate.replace(identity) {
                    tracing::warn!(%error, "the issued serving certificate cannot be used");
                }
                issued = true;
            }
            Err(error) => {
                tracing::debug!(%error, "no serving certificate was issued");
                issued = false;
                node.clock.sleep(Duration::from_secs(60)).await;
            }
        }
    }
}
