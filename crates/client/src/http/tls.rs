//! TLS towards the server: trust by CA or by the hash of its key, client certificates.

use super::{HttpConfig, Identity, Trust};
use base64::Engine as _;
use coracle_api::{Result, Status};
use parking_lot::Mutex;
use rustls::{
    ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::CryptoProvider,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime, pem::PemObject},
};
use sha2::{Digest, Sha256};
use std::sync::Arc;
use tokio_rustls::TlsConnector;

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

fn unusable(what: &str, error: impl std::fmt::Display) -> Status {
    Status::bad_request(format!("the {what} cannot be used: {error}"))
}

pub(super) fn server_name(host: &str) -> Result<ServerName<'static>> {
    ServerName::try_from(host.to_string()).map_err(|e| unusable("server's name", e))
}

pub(super) fn connector(config: &HttpConfig) -> Result<TlsConnector> {
    let builder = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(|e| unusable("TLS configuration", e))?;
    let builder = match &config.trust {
        Trust::Ca(pem) => builder.with_root_certificates(roots(pem)?),
        Trust::CaHash(hash) => {
            builder.dangerous().with_custom_certificate_verifier(Arc::new(Pinned::new(Some(hash.clone()))))
        }
        Trust::Insecure => builder.dangerous().with_custom_certificate_verifier(Arc::new(Pinned::new(None))),
    };
    let mut tls = match &config.identity {
        Identity::Certificate { certificate, key } => {
            let chain = CertificateDer::pem_slice_iter(certificate)
                .collect::<Result<Vec<_>, _>>()
                .map_err(|e| unusable("client certificate", e))?;
            let key = PrivateKeyDer::from_pem_slice(key).map_err(|e| unusable("client key", e))?;
            builder.with_client_auth_cert(chain, key).map_err(|e| unusable("client certificate", e))?
        }
        _ => builder.with_no_client_auth(),
    };
    tls.alpn_protocols = vec![b"h2".to_vec()];
    Ok(TlsConnector::from(Arc::new(tls)))
}

/// A configuration that asks no server who it is: for probes of containers, never for the API server.
///
/// # Panics
/// Never: the provider's own protocol versions are always accepted.
pub fn unverified() -> ClientConfig {
    ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .expect("ring provides the default versions")
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Pinned::new(None)))
        .with_no_client_auth()
}

fn roots(pem: &[u8]) -> Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem) {
        let certificate = certificate.map_err(|e| unusable("CA certificate", e))?;
        roots.add(certificate).map_err(|e| unusable("CA certificate", e))?;
    }
    if roots.is_empty() {
        return Err(unusable("CA certificate", "there is none in it"));
    }
    Ok(roots)
}

/// `sha256:<hex>` of a certificate's public key (its SubjectPublicKeyInfo), as `kubeadm join --discovery-token-ca-cert-hash` takes it.
///
/// # Errors
/// When the PEM holds no readable certificate.
pub fn ca_hash(pem: &[u8]) -> Result<String> {
    let certificate = CertificateDer::from_pem_slice(pem).map_err(|e| unusable("CA certificate", e))?;
    hash_of(&certificate)
}

fn hash_of(certificate: &CertificateDer<'_>) -> Result<String> {
    let mut roots = RootCertStore::empty();
    roots.add(certificate.clone().into_owned()).map_err(|e| unusable("CA certificate", e))?;
    // an anchor keeps the key's info without its outer SEQUENCE; the hash is over the whole
    let info = &roots.roots[0].subject_public_key_info;
    let mut der = vec![0x30];
    match info.len() {
        n @ 0..=0x7f => der.push(n as u8),
        n @ 0x80..=0xff => der.extend([0x81, n as u8]),
        n => der.extend([0x82, (n >> 8) as u8, n as u8]),
    }
    der.extend_from_slice(info);
    Ok(format!("sha256:{}", hex::encode(Sha256::digest(&der))))
}

/// Asks the server for its CA: the certificate of its chain whose key has `hash`. The chain is verified against it. PEM.
///
/// # Errors
/// When the server cannot be reached or does not show a chain up to that CA.
pub async fn discover_ca(server: &str, hash: &str) -> Result<Vec<u8>> {
    let uri: http::Uri = server.parse().map_err(|e| unusable("server URL", e))?;
    let host = uri.host().ok_or_else(|| unusable("server URL", "it names no host"))?.trim_matches(['[', ']']);
    let verifier = Arc::new(Pinned::new(Some(hash.to_string())));
    let tls = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(|e| unusable("TLS configuration", e))?
        .dangerous()
        .with_custom_certificate_verifier(verifier.clone())
        .with_no_client_auth();
    let unreachable = |e: std::io::Error| Status::unavailable(format!("cannot connect to {server}: {e}"));
    let tcp = tokio::net::TcpStream::connect((host, uri.port_u16().unwrap_or(443))).await.map_err(unreachable)?;
    TlsConnector::from(Arc::new(tls)).connect(server_name(host)?, tcp).await.map_err(unreachable)?;
    let found = verifier.found.lock().take();
    let der = found.ok_or_else(|| Status::internal("the handshake verified no chain"))?;
    let text = base64::engine::general_purpose::STANDARD.encode(&der);
    let mut pem = String::from("-----BEGIN CERTIFICATE-----\n");
    for line in text.as_bytes().chunks(64) {
        pem.push_str(&String::from_utf8_lossy(line));
        pem.push('\n');
    }
    pem.push_str("-----END CERTIFICATE-----\n");
    Ok(pem.into_bytes())
}

/// Trusts a chain that ends in the CA with a known key; or, without a hash, any chain.
#[derive(Debug)]
struct Pinned {
    hash: Option<String>,
    provider: Arc<CryptoProvider>,
    found: Mutex<Option<CertificateDer<'static>>>,
}

impl Pinned {
    fn new(hash: Option<String>) -> Self {
        Self { hash, provider: provider(), found: Mutex::new(None) }
    }
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let Some(hash) = &self.hash else {
            return Ok(ServerCertVerified::assertion());
        };
        let ca = intermediates
            .iter()
            .find(|c| hash_of(c).is_ok_and(|h| h.eq_ignore_ascii_case(hash)))
            .ok_or_else(|| {
                rustls::Error::General("no certificate in the server's chain has the expected CA hash".into())
            })?
            .clone()
            .into_owned();
        let mut roots = RootCertStore::empty();
        roots.add(ca.clone())?;
        let inner = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), self.provider.clone())
            .build()
            .map_err(|e| rustls::Error::General(e.to_string()))?;
        let verified = inner.verify_server_cert(end_entity, intermediates, server_name, ocsp, now)?;
        *self.found.lock() = Some(ca);
        Ok(verified)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
