//! How a node gets its identity: the CA by its hash, a key of its own, a certificate by request; renewed while it runs.

use crate::context::AgentConfig;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use coracle_api::{Resource, Result, Status, WriteOptions};
use coracle_base::{Backoff, SharedClock};
use coracle_client::{
    Client,
    http::{HttpClient, HttpConfig, Identity, Trust, discover_ca},
};
use coracle_pki::{Identity as Certified, Key, Names, Subject};
use k8s_openapi::api::certificates::v1::CertificateSigningRequest;
use serde_json::json;
use std::{
    fs, io,
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

/// Certificates of nodes towards the API server.
const CLIENT_SIGNER: &str = "kubernetes.io/kube-apiserver-client-kubelet";

/// A node that is in: its client, its CA, its certificate.
pub struct Joined {
    /// Requests as the node.
    pub client: Arc<HttpClient>,
    /// The cluster's CA (PEM).
    pub ca: Vec<u8>,
    identity: Certified,
}

/// Key and certificate kept in a directory.
pub struct Files {
    certificate: PathBuf,
    key: PathBuf,
}

impl Files {
    /// `<data>/pki/<name>.crt` and `.key`.
    pub fn new(data: &Path, name: &str) -> Self {
        let dir = data.join("pki");
        Self { certificate: dir.join(format!("{name}.crt")), key: dir.join(format!("{name}.key")) }
    }

    /// What is there, if it is valid for a while yet.
    pub fn load(&self, now: jiff::Timestamp) -> Option<Certified> {
        let identity =
            Certified::from_pem(&fs::read_to_string(&self.certificate).ok()?, &fs::read_to_string(&self.key).ok()?)
                .ok()?;
        (identity.certificate().ok()?.not_after > now).then_some(identity)
    }

    /// Keeps an identity.
    pub fn store(&self, identity: &Certified) -> io::Result<()> {
        write_private(&self.key, identity.key.to_pem().as_bytes())?;
        write_private(&self.certificate, identity.chain_pem().as_bytes())
    }
}

fn write_private(path: &Path, data: &[u8]) -> io::Result<()> {
    if let Some(dir) = path.parent() {
        fs::create_dir_all(dir)?;
        fs::set_permissions(dir, fs::Permissions::from_mode(0o700))?;
    }
    let temporary = path.with_extension("new");
    let _ = fs::remove_file(&temporary);
    let mut file = fs::OpenOptions::new().create_new(true).write(true).mode(0o600).open(&temporary)?;
    io::Write::write_all(&mut file, data)?;
    file.sync_all()?;
    fs::rename(temporary, path)
}

fn unusable(error: impl std::fmt::Display) -> Status {
    Status::internal(error)
}

/// Who a node is.
pub fn subject(node: &str) -> Subject {
    Subject::new(&format!("system:node:{node}"), &["system:nodes"])
}

/// Enters the cluster; keeps trying while the server is away.
///
/// # Errors
/// When it cannot succeed by waiting: no token, a CA that is not the expected one, a denied request.
pub async fn join(config: &AgentConfig, clock: &SharedClock) -> Result<Joined> {
    let mut backoff = Backoff::new(Duration::from_millis(50), Duration::from_secs(5));
    loop {
        match attempt(config, clock).await {
            Err(error) if matches!(error.code, 429 | 503 | 504) => {
                tracing::info!(%error, "waiting for the server");
                clock.sleep(backoff.next_delay()).await;
            }
            other => return other,
        }
    }
}

async fn attempt(config: &AgentConfig, clock: &SharedClock) -> Result<Joined> {
    let ca = authority(config).await?;
    let files = Files::new(&config.data_dir, "client");
    let connect = |identity| {
        let trust = Trust::Ca(ca.clone());
        HttpClient::new(HttpConfig { server: config.server.clone(), trust, identity }).map(Arc::new)
    };
    let identity = match files.load(clock.now()) {
        Some(identity) => identity,
        None => {
            let token = config.join.token.clone().ok_or_else(|| {
                Status::bad_request(
                    "this node is not in the cluster yet: start it with a join token (coracle token create)",
                )
            })?;
            let client = connect(Identity::Token(token))?;
            let identity = request(client.as_ref(), clock, &config.node_name, CLIENT_SIGNER, &Names::default()).await?;
            files.store(&identity).map_err(unusable)?;
            identity
        }
    };
    Ok(Joined { client: connect(as_client(&identity))?, ca, identity })
}

fn as_client(identity: &Certified) -> Identity {
    Identity::Certificate {
        certificate: identity.chain_pem().into_bytes(),
        key: identity.key.to_pem().as_bytes().to_vec(),
    }
}

/// The CA: given, known from before, or taken from the server by its hash.
async fn authority(config: &AgentConfig) -> Result<Vec<u8>> {
    let path = config.data_dir.join("pki").join("ca.crt");
    if let Some(ca) = &config.join.ca {
        return Ok(ca.clone());
    }
    if let Ok(ca) = fs::read(&path) {
        return Ok(ca);
    }
    let hash = config.join.ca_hash.as_deref().ok_or_else(|| {
        Status::bad_request("the server cannot be trusted: give its CA, or a join token that names the CA's hash")
    })?;
    let ca = discover_ca(&config.server, hash).await?;
    write_private(&path, &ca).map_err(unusable)?;
    Ok(ca)
}

/// Asks for a certificate with a new key and waits until it is issued.
///
/// # Errors
/// When the request is denied, or the server does not take it.
pub async fn request(
    client: &dyn Client,
    clock: &SharedClock,
    node: &str,
    signer: &str,
    names: &Names,
) -> Result<Certified> {
    let key = Key::generate().map_err(unusable)?;
    let pem = coracle_pki::request::create(&key, &subject(node), names).map_err(unusable)?;
    let usage = if signer == CLIENT_SIGNER { "client auth" } else { "server auth" };
    let requests = Resource::of::<CertificateSigningRequest>();
    let body = json!({
        "apiVersion": "certificates.k8s.io/v1", "kind": "CertificateSigningRequest",
        "metadata": {"generateName": "csr-"},
        "spec": {"request": STANDARD.encode(pem), "signerName": signer, "usages": ["digital signature", usage]},
    });
    let made = client.create(&requests, "", body, &WriteOptions::default()).await?;
    let mut backoff = Backoff::new(Duration::from_millis(20), Duration::from_secs(1));
    loop {
        clock.sleep(backoff.next_delay()).await;
        let current = match client.get(&requests, "", &made.meta().name).await {
            Ok(current) => current,
            Err(error) if error.is_not_found() => return Err(Status::unavailable("the certificate request is gone")),
            Err(error) if error.code == 503 => continue,
            Err(error) => return Err(error),
        };
        let view = current.view::<CertificateSigningRequest>()?;
        let status = view.status.clone().unwrap_or_default();
        if let Some(no) = status.conditions.iter().flatten().find(|c| c.type_ == "Denied" || c.type_ == "Failed") {
            let why = no.message.clone().unwrap_or_default();
            return Err(Status::new(403, "Forbidden", format!("the certificate request was refused: {why}")));
        }
        if let Some(issued) = status.certificate {
            let chain = String::from_utf8_lossy(&issued.0).into_owned();
            return Certified::from_pem(&chain, &key.to_pem()).map_err(unusable);
        }
    }
}

/// Renews the node's certificate whenever it is due. Never returns.
pub async fn keep_fresh(joined: Joined, config: AgentConfig, clock: SharedClock) {
    let files = Files::new(&config.data_dir, "client");
    let mut identity = joined.identity;
    loop {
        let due = identity.certificate().map_or_else(|_| clock.now(), |c| c.renew_at());
        clock.sleep(Duration::try_from(due.duration_since(clock.now())).unwrap_or_default()).await;
        let renewed =
            request(joined.client.as_ref(), &clock, &config.node_name, CLIENT_SIGNER, &Names::default()).await;
        let taken = renewed.and_then(|fresh| {
            files.store(&fresh).map_err(unusable)?;
            joined.client.set_identity(as_client(&fresh))?;
            identity = fresh;
            Ok(())
        });
        if let Err(error) = taken {
            tracing::warn!(%error, "the node's certificate could not be renewed, trying again");
            clock.sleep(Duration::from_secs(60)).await;
        }
    }
}
