//! An operator written with kube-rs. It makes a ConfigMap, a Deployment and a Service of each `Site`, keeps them as the site says, and
//! reports what became of them.
//!
//! `site-operator crd` prints the custom resource's definition, `site-operator` runs with the current context of `KUBECONFIG`, or
//! with the service account of its pod.

mod children;
mod reconcile;
mod site;

use anyhow::{Result, bail};
use kube::{Client, CustomResourceExt};

#[tokio::main]
async fn main() -> Result<()> {
    match std::env::args().nth(1).as_deref() {
        None => {}
        Some("crd") => {
            print!("{}", serde_saphyr::to_string(&site::Site::crd())?);
            return Ok(());
        }
        Some(other) => bail!("{other:?} is unknown: `site-operator` runs, `site-operator crd` prints the definition"),
    }
    tracing_subscriber::fmt().with_writer(std::io::stderr).init();
    // several of the libraries bring a provider of cryptography: one has to be named
    let _ = rustls::crypto::ring::default_provider().install_default();
    reconcile::run(Client::try_default().await?).await;
    Ok(())
}
