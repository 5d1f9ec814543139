//! TLS configurations, and the certificate that is exchanged while they are in use.

use crate::{Certificate, Error, Identity, Result, pem};
use coracle_base::Clock;
use jiff::Timestamp;
use parking_lot::RwLock;
use rustls::{
    ClientConfig, RootCertStore, ServerConfig, SignatureScheme,
    client::ResolvesClientCert,
    crypto::{CryptoProvider, ring},
    pki_types::CertificateDer,
    server::{ClientHello, ResolvesServerCert, WebPkiClientVerifier},
    sign::CertifiedKey,
};
use std::{future::Future, sync::Arc, time::Duration};

/// A certificate that running servers and clients present; replacing it affects every handshake from then on.
#[derive(Debug)]
pub struct RotatingCertificate {
    current: RwLock<Current>,
}

#[derive(Debug)]
struct Current {
    key: Arc<CertifiedKey>,
    identity: Arc<Identity>,
    says: Certificate,
}

impl Current {
    fn new(identity: Identity) -> Result<Self> {
        let signer = ring::sign::any_supported_type(&identity.key.to_rustls())?;
        let says = identity.certificate()?;
        Ok(Self {
            key: Arc::new(CertifiedKey::new(identity.chain.clone(), signer)),
            identity: Arc::new(identity),
            says,
        })
    }
}

impl RotatingCertificate {
    /// Presents `identity` until another one is given.
    pub fn new(identity: Identity) -> Result<Arc<Self>> {
        Ok(Arc::new(Self { current: RwLock::new(Current::new(identity)?) }))
    }

    /// Presents `identity` from now on.
    pub fn replace(&self, identity: Identity) -> Result<()> {
        *self.current.write() = Current::new(identity)?;
        Ok(())
    }

    /// What is presented now.
    pub fn identity(&self) -> Arc<Identity> {
        self.current.read().identity.clone()
    }

    /// What the presented certificate says.
    pub fn certificate(&self) -> Certificate {
        self.current.read().says.clone()
    }

    /// When it is to be replaced.
    pub fn renew_at(&self) -> Timestamp {
        self.current.read().says.renew_at()
    }

    /// Replaces the certificate whenever it is due; `renew` makes the next one. A failure is tried again after a minute. Never returns.
    pub async fn keep_fresh<F, E>(self: Arc<Self>, clock: &dyn Clock, mut renew: impl FnMut() -> F)
    where
        F: Future<Output = std::result::Result<Identity, E>>,
        E: From<Error>,
    {
        loop {
            let wait = self.renew_at().duration_since(clock.now());
            clock.sleep(Duration::try_from(wait).unwrap_or_default()).await;
            let renewed = match renew().await {
                Ok(identity) => self.replace(identity).map_err(E::from),
                Err(error) => Err(error),
            };
            if renewed.is_err() {
                clock.sleep(Duration::from_secs(60)).await;
            }
        }
    }
}

impl ResolvesServerCert for RotatingCertificate {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.current.read().key.clone())
    }
}

impl ResolvesClientCert for RotatingCertificate {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(self.current.read().key.clone())
    }

    fn has_certs(&self) -> bool {
        true
    }
}

/// The one cryptographic provider of the program.
pub fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

/// A set of trusted authorities.
pub fn roots<'a>(authorities: impl IntoIterator<Item = &'a CertificateDer<'static>>) -> Result<RootCertStore> {
    let mut store = RootCertStore::empty();
    for authority in authorities {
        store.add(authority.clone())?;
    }
    Ok(store)
}

/// A server that presents `certificate` and, with `clients`, asks for certificates of that authority without insisting on one.
pub fn server_config(
    certificate: Arc<RotatingCertificate>,
    clients: Option<&CertificateDer<'static>>,
) -> Result<ServerConfig> {
    let builder = ServerConfig::builder_with_provider(provider()).with_safe_default_protocol_versions()?;
    let builder = match clients {
        None => builder.with_no_client_auth(),
        Some(authority) => {
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots([authority])?), provider())
                .allow_unauthenticated()
                .build()
                .map_err(|e| Error::malformed(format!("client authority: {e}")))?;
            builder.with_client_cert_verifier(verifier)
        }
    };
    let mut config = builder.with_cert_resolver(certificate);
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

/// A client that trusts the authorities in `authorities` (PEM) and, if it has one, presents a certificate.
pub fn client_config(authorities: &str, certificate: Option<Arc<RotatingCertificate>>) -> Result<ClientConfig> {
    let roots = roots(&pem::certificates(authorities)?)?;
    let builder = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots);
    let mut config = match certificate {
        Some(certificate) => builder.with_client_cert_resolver(certificate),
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Authority;
    use coracle_base::TestClock;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[tokio::test]
    async fn a_certificate_is_renewed_when_it_is_due_and_again_after_a_failure() {
        let clock = TestClock::new("2026-01-01T00:00:00Z".parse().unwrap());
        let ca = Authority::create("test", clock.now()).unwrap();
        let held = RotatingCertificate::new(ca.client("a", &[], clock.now()).unwrap()).unwrap();
        let first = held.certificate();
        let tries = Arc::new(AtomicUsize::new(0));
        let (task_clock, task_held, task_tries, task_ca) = (clock.clone(), held.clone(), tries.clone(), ca.clone());
        let task = tokio::spawn(async move {
            let made = || {
                let first = task_tries.fetch_add(1, Ordering::SeqCst) == 0;
                let now = task_clock.now();
                let made = if first { Err(Error::malformed("not yet")) } else { task_ca.client("a", &[], now) };
                async move { made }
            };
            task_held.keep_fresh::<_, Error>(&*task_clock, made).await;
        });
        for _ in 0..5 {
            tokio::task::yield_now().await;
        }
        assert_eq!(tries.load(Ordering::SeqCst), 0);
        clock.advance(Duration::from_secs(293 * 86400));
        while tries.load(Ordering::SeqCst) < 1 {
            tokio::task::yield_now().await;
        }
        while held.certificate() == first {
            clock.advance(Duration::from_secs(61));
            tokio::task::yield_now().await;
        }
        assert!(held.certificate().not_after > first.not_after);
        task.abort();
    }
}
