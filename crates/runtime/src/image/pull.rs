//! Pulling from a registry.

use super::{Record, Store, config::ConfigBlob, reference::Reference};
use crate::{Credentials, Error, Image, Progress, Result};
use futures::TryStreamExt;
use nix::fcntl::FlockArg;
use oci_client::{
    Client, Reference as Remote,
    client::{ClientConfig, ClientProtocol},
    manifest::OciDescriptor,
    secrets::RegistryAuth,
};
use std::io;
use tokio::sync::mpsc;
use tokio_util::io::{StreamReader, SyncIoBridge};

impl Store {
    /// Fetches `reference` from its registry with the first credentials that it accepts (none: anonymously).
    pub async fn pull(
        &self,
        reference: &str,
        credentials: &[Credentials],
        progress: Option<mpsc::Sender<Progress>>,
    ) -> Result<Image> {
        let name = Reference::parse(reference)?;
        let failed = |why: String| Error::Pull { image: reference.to_owned(), why };
        let client = self.client(&name);
        let remote = remote(&name);
        let mut auths: Vec<RegistryAuth> =
            credentials.iter().map(|c| RegistryAuth::Basic(c.username.clone(), c.password.clone())).collect();
        if auths.is_empty() {
            auths.push(RegistryAuth::Anonymous);
        }
        let mut refusal = String::new();
        for auth in auths {
            match client.pull_manifest_and_config_and_list_digest(&remote, &auth).await {
                Ok((manifest, digest, config, list)) => {
                    let found = Found { digest: list.unwrap_or(digest), config, layers: manifest.layers };
                    let image = self.fetch(&client, &remote, &name, found, progress).await;
                    return image.map_err(|e| failed(reason(&e)));
                }
                Err(error) => refusal = reason(&error),
            }
        }
        Err(failed(format!("failed to resolve reference \"{name}\": {refusal}")))
    }

    fn client(&self, name: &Reference) -> Client {
        // Another part of the process may have chosen its provider before; then that one serves.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let host = name.registry.rsplit_once(':').map_or(name.registry.as_str(), |(host, _)| host);
        let local = matches!(host, "localhost" | "127.0.0.1" | "[::1]");
        let plain = local || self.insecure.iter().any(|r| *r == name.registry || r == host);
        let protocol = if plain { ClientProtocol::Http } else { ClientProtocol::Https };
        Client::new(ClientConfig { protocol, ..ClientConfig::default() })
    }

    async fn fetch(
        &self,
        client: &Client,
        remote: &Remote,
        name: &Reference,
        found: Found,
        progress: Option<mpsc::Sender<Progress>>,
    ) -> io::Result<Image> {
        let store = self.clone();
        let adding = tokio::task::spawn_blocking(move || store.lock("gc", FlockArg::LockShared));
        let _adding = adding.await.map_err(io::Error::other)?.map_err(io::Error::other)?;
        let config = ConfigBlob::parse(found.config.as_bytes())?;
        if config.diff_ids.len() != found.layers.len() {
            return Err(io::Error::other("the config and the manifest disagree on the number of layers"));
        }
        // All layers at once: downloads overlap with unpacking, and the registry bounds the rest.
        let layers = found.layers.iter().zip(&config.diff_ids);
        let layers = layers.map(|(layer, diff_id)| self.fetch_layer(client, remote, layer, diff_id, progress.clone()));
        let sizes = futures::future::try_join_all(layers).await?;
        let record = Record {
            id: super::digest_of(found.config.as_bytes()),
            tags: name.tag.is_some().then(|| name.to_string()).into_iter().filter(|n| !n.contains('@')).collect(),
            digests: vec![format!("{}@{}", name.name(), found.digest)],
            layers: config.diff_ids,
            size: sizes.iter().sum(),
            config: config.config,
        };
        self.add_record(record, found.config.as_bytes())
    }

    async fn fetch_layer(
        &self,
        client: &Client,
        remote: &Remote,
        layer: &OciDescriptor,
        diff_id: &str,
        progress: Option<mpsc::Sender<Progress>>,
    ) -> io::Result<u64> {
        let there = self.layers().join(super::directory_name(diff_id)).is_dir();
        let stream = if there {
            None
        } else {
            Some(client.pull_blob_stream(remote, layer).await.map_err(|e| io::Error::other(reason(&e)))?)
        };
        let (store, diff_id, digest) = (self.clone(), diff_id.to_owned(), layer.digest.clone());
        let length = u64::try_from(layer.size).unwrap_or(0);
        let runtime = tokio::runtime::Handle::current();
        let unpack = move || {
            store.add_layer(&diff_id, Some(&digest), length, progress.as_ref(), || match stream {
                Some(sized) => {
                    let reader = StreamReader::new(sized.stream.map_err(io::Error::other));
                    Ok(Box::new(SyncIoBridge::new_with_handle(Box::pin(reader), runtime)) as Box<dyn io::Read + Send>)
                }
                None => Err(io::Error::other("the layer was removed meanwhile, pull again")),
            })
        };
        tokio::task::spawn_blocking(unpack).await.map_err(io::Error::other)?
    }
}

struct Found {
    digest: String,
    config: String,
    layers: Vec<OciDescriptor>,
}

fn remote(name: &Reference) -> Remote {
    let (registry, repository) = (name.registry.clone(), name.repository.clone());
    match (&name.digest, &name.tag) {
        (Some(digest), _) => Remote::with_digest(registry, repository, digest.clone()),
        (None, tag) => Remote::with_tag(registry, repository, tag.clone().unwrap_or_else(|| "latest".into())),
    }
}

/// The error with its causes: "error sending request" alone helps nobody.
fn reason(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let more = inner.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        cause = inner.source();
    }
    text
}
