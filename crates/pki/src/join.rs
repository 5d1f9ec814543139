//! How a node finds out, knowing one short text, that it talks to the right cluster and may ask for a certificate.
//!
//! A join token is `coracle:<id>.<secret>:<sha256 of the authority's public key>`. The agent connects, takes the authority from the
//! chain that the server presents, compares its hash, and from then on trusts that authority. The middle part is an ordinary
//! Kubernetes bootstrap token.

use crate::{Error, Result, certificate, pem, tls};
use rand::Rng;
use rustls::{
    ClientConfig, DigitallySignedStruct, SignatureScheme,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime},
};
use std::{
    fmt,
    str::FromStr,
    sync::{Arc, OnceLock},
};

const ALPHABET: &[u8] = b"0123456789abcdefghijklmnopqrstuvwxyz";

/// A bootstrap token: `[a-z0-9]{6}.[a-z0-9]{16}`.
#[derive(Clone, PartialEq, Eq)]
pub struct BootstrapToken {
    /// The public half; names the Secret.
    pub id: String,
    /// The secret half.
    pub secret: String,
}

impl BootstrapToken {
    /// A new token.
    pub fn generate() -> Self {
        let mut random = rand::rng();
        let mut text = |length: usize| -> String {
            (0..length).map(|_| ALPHABET[random.random_range(0..ALPHABET.len())] as char).collect()
        };
        Self { id: text(6), secret: text(16) }
    }
}

impl FromStr for BootstrapToken {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let fits = |part: &str, length| part.len() == length && part.bytes().all(|b| ALPHABET.contains(&b));
        match text.split_once('.') {
            Some((id, secret)) if fits(id, 6) && fits(secret, 16) => {
                Ok(Self { id: id.to_string(), secret: secret.to_string() })
            }
            _ => Err(Error::malformed("a bootstrap token has the form [a-z0-9]{6}.[a-z0-9]{16}")),
        }
    }
}

impl fmt::Display for BootstrapToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.id, self.secret)
    }
}

impl fmt::Debug for BootstrapToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BootstrapToken({}.…)", self.id)
    }
}

/// What `coracle token create` prints and `coracle agent --token` takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JoinToken {
    /// Lets the node ask for a certificate.
    pub bootstrap: BootstrapToken,
    /// `sha256:<hex>`: lets the node know the cluster.
    pub authority_hash: String,
}

impl FromStr for JoinToken {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let form = "a join token has the form coracle:<id>.<secret>:<sha256 of the CA's public key>";
        let (bootstrap, hash) =
            text.strip_prefix("coracle:").and_then(|t| t.split_once(':')).ok_or_else(|| Error::malformed(form))?;
        if hash.len() != 64 || !hash.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(Error::malformed(form));
        }
        let authority_hash = format!("sha256:{}", hash.to_ascii_lowercase());
        Ok(Self { bootstrap: bootstrap.parse()?, authority_hash })
    }
}

impl fmt::Display for JoinToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hash = self.authority_hash.strip_prefix("sha256:").unwrap_or(&self.authority_hash);
        write!(f, "coracle:{}:{hash}", self.bootstrap)
    }
}

/// Verifies a server by the hash of its authority, and keeps the authority.
#[derive(Debug)]
pub struct PinnedAuthority {
    hash: String,
    found: OnceLock<CertificateDer<'static>>,
}

impl PinnedAuthority {
    /// Trusts the authority with this hash (`sha256:<hex>`).
    pub fn new(hash: &str) -> Arc<Self> {
        Arc::new(Self { hash: hash.to_ascii_lowercase(), found: OnceLock::new() })
    }

    /// The authority as PEM, once a handshake has succeeded.
    pub fn authority_pem(&self) -> Option<String> {
        self.found.get().map(|der| pem::encode("CERTIFICATE", der))
    }

    /// A client that trusts the pinned authority only.
    pub fn client_config(self: &Arc<Self>) -> Result<ClientConfig> {
        let mut config = ClientConfig::builder_with_provider(tls::provider())
            .with_safe_default_protocol_versions()?
            .dangerous()
            .with_custom_certificate_verifier(self.clone())
            .with_no_client_auth();
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(config)
    }
}

impl ServerCertVerifier for PinnedAuthority {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        chain: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let pinned = |c: &&CertificateDer<'_>| certificate::public_key_hash(c).is_ok_and(|hash| hash == self.hash);
        let authority = chain.iter().find(pinned).ok_or_else(|| {
            rustls::Error::General("the server's certificate authority is not the one that the token names".into())
        })?;
        let authority = authority.clone().into_owned();
        let roots = tls::roots([&authority]).map_err(|e| rustls::Error::General(e.to_string()))?;
        let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), tls::provider())
            .build()
            .map_err(|e| rustls::Error::General(e.to_string()))?;
        let verified = verifier.verify_server_cert(leaf, chain, name, ocsp, now)?;
        let _ = self.found.set(authority);
        Ok(verified)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, signed, &tls::provider().signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, signed, &tls::provider().signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        tls::provider().signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Authority, Names};
    use jiff::Timestamp;

    #[test]
    fn tokens_survive_print_and_parse() {
        let token = JoinToken { bootstrap: BootstrapToken::generate(), authority_hash: format!("sha256:{:064x}", 7) };
        assert_eq!(token.to_string().parse::<JoinToken>().unwrap(), token);
        for wrong in ["", "coracle:abc", "coracle:abcdef.0123456789abcdef:12", "coracle:ABCDEF.0123456789abcdef:"] {
            assert!(wrong.parse::<JoinToken>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn only_the_pinned_authority_is_believed() {
        let now = Timestamp::now();
        let (ours, theirs) = (Authority::create("a", now).unwrap(), Authority::create("a", now).unwrap());
        let names = Names::of_server(&["node-1".into()], None, "cluster.local");
        let check = |signer: &Authority, shown: &Authority, host: &str| {
            let pin = PinnedAuthority::new(&ours.hash());
            let leaf = signer.server("apiserver", &[], &names, now).unwrap().chain.remove(0);
            let name = ServerName::try_from(host.to_string()).unwrap();
            let chain = [shown.certificate().clone()];
            let result = pin.verify_server_cert(&leaf, &chain, &name, &[], UnixTime::now());
            assert_eq!(pin.authority_pem().is_some(), result.is_ok());
            result.is_ok()
        };
        assert!(check(&ours, &ours, "node-1"));
        assert!(check(&ours, &ours, "127.0.0.1"));
        assert!(!check(&ours, &ours, "elsewhere"));
        assert!(!check(&theirs, &theirs, "node-1"));
        assert!(!check(&theirs, &ours, "node-1"), "a leaf of another authority beside the pinned one");
    }
}
