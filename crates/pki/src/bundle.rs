//! Trust in what a webhook's `caBundle` names: its authorities, or the very certificate that the webhook presents.
//!
//! Go takes a certificate in the bundle for trusted wherever it stands, so that people put a self-signed serving certificate there. `webpki`
//! wants an authority above it. What the bundle holds byte for byte is accepted here as well, as long as it is of the name that was asked for, is
//! not out of date and may serve; that the other side has its key, the handshake proves.

use crate::{Error, Result, pem, tls};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, SignatureScheme,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        verify_server_name,
    },
    pki_types::{CertificateDer, ServerName, UnixTime},
    server::ParsedCertificate,
};
use std::sync::Arc;
use x509_parser::prelude::{FromDer, X509Certificate};

/// A client that trusts a bundle (PEM).
///
/// # Errors
/// When it holds no certificate, or one that cannot be read.
pub fn client_config(bundle: &str) -> Result<ClientConfig> {
    let mut config = ClientConfig::builder_with_provider(tls::provider())
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Bundle::new(bundle)?))
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

#[derive(Debug)]
struct Bundle {
    authorities: Arc<WebPkiServerVerifier>,
    certificates: Vec<CertificateDer<'static>>,
}

impl Bundle {
    fn new(bundle: &str) -> Result<Self> {
        let certificates = pem::certificates(bundle)?;
        let roots = Arc::new(tls::roots(&certificates)?);
        let authorities = WebPkiServerVerifier::builder_with_provider(roots, tls::provider())
            .build()
            .map_err(|e| Error::malformed(format!("bundle: {e}")))?;
        Ok(Self { authorities, certificates })
    }
}

/// Whether a certificate that is trusted in itself may serve under `name` now.
fn serves(leaf: &CertificateDer<'_>, name: &ServerName<'_>, now: UnixTime) -> Result<(), rustls::Error> {
    verify_server_name(&ParsedCertificate::try_from(leaf)?, name)?;
    let (_, certificate) = X509Certificate::from_der(leaf).map_err(|_| CertificateError::BadEncoding)?;
    let (now, validity) = (i64::try_from(now.as_secs()).unwrap_or(i64::MAX), certificate.validity());
    if now < validity.not_before.timestamp() {
        return Err(CertificateError::NotValidYet.into());
    }
    if now > validity.not_after.timestamp() {
        return Err(CertificateError::Expired.into());
    }
    match certificate.extended_key_usage() {
        Ok(None) => Ok(()),
        Ok(Some(usage)) if usage.value.any || usage.value.server_auth => Ok(()),
        _ => Err(CertificateError::InvalidPurpose.into()),
    }
}

impl ServerCertVerifier for Bundle {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        chain: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let judged = self.authorities.verify_server_cert(leaf, chain, name, ocsp, now);
        if judged.is_ok() || !self.certificates.iter().any(|known| known == leaf) {
            return judged;
        }
        serves(leaf, name, now).map(|()| ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.authorities.verify_tls12_signature(message, cert, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.authorities.verify_tls13_signature(message, cert, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.authorities.supported_verify_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Authority, Identity, Names};
    use jiff::{SignedDuration, Timestamp};

    #[test]
    fn authorities_and_the_very_certificate_are_trusted() {
        let now = Timestamp::now();
        let authority = Authority::create("a", now).unwrap();
        let other = Authority::create("b", now).unwrap();
        let names = Names::of_server(&["hook".into()], None, "cluster.local");
        let server: Identity = authority.server("hook", &[], &names, now).unwrap();
        let client: Identity = authority.client("hook", &[], now).unwrap();
        let pem_of = |der: &CertificateDer<'_>| pem::encode("CERTIFICATE", der);
        let (leaf, impostor) =
            (server.chain[0].clone(), other.server("hook", &[], &names, now).unwrap().chain.remove(0));
        let later = now + SignedDuration::from_hours(24 * 366 * 20);
        // (bundle, what is presented, name, when, whether it is trusted)
        for (bundle, shown, name, at, trusted) in [
            (authority.certificate_pem(), &leaf, "hook", now, true),
            (pem_of(&leaf), &leaf, "hook", now, true),
            (pem_of(&impostor) + &pem_of(&leaf), &leaf, "hook", now, true),
            (pem_of(&leaf), &leaf, "other", now, false),
            (pem_of(&leaf), &leaf, "hook", later, false),
            (pem_of(&leaf), &impostor, "hook", now, false),
            (other.certificate_pem(), &leaf, "hook", now, false),
            (pem_of(&client.chain[0]), &client.chain[0], "hook", now, false),
        ] {
            let at = UnixTime::since_unix_epoch(std::time::Duration::from_secs(at.as_second() as u64));
            let name = ServerName::try_from(name).unwrap();
            let judged = Bundle::new(&bundle).unwrap().verify_server_cert(shown, &[], &name, &[], at);
            assert_eq!(judged.is_ok(), trusted, "{name:?} {judged:?}");
        }
    }
}
