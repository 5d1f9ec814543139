//! A certificate as its owner and its readers see it.

use crate::{Error, Key, Result, pem};
use jiff::{SignedDuration, Timestamp};
use rustls::pki_types::CertificateDer;
use sha2::{Digest, Sha256};
use std::net::IpAddr;
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

/// What a certificate says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    /// Subject `CN`: a client's user name.
    pub common_name: String,
    /// Subject `O`: a client's groups.
    pub organizations: Vec<String>,
    /// DNS names it is valid for.
    pub dns_names: Vec<String>,
    /// Addresses it is valid for.
    pub addresses: Vec<IpAddr>,
    /// Valid from.
    pub not_before: Timestamp,
    /// Valid until.
    pub not_after: Timestamp,
    /// SHA-256 of the whole certificate, in hex.
    pub fingerprint: String,
}

impl Certificate {
    /// Reads a certificate from DER.
    pub fn parse(der: &[u8]) -> Result<Self> {
        let (_, cert) =
            X509Certificate::from_der(der).map_err(|e| Error::malformed(format!("not a certificate: {e}")))?;
        let (mut dns_names, mut addresses) = (Vec::new(), Vec::new());
        if let Ok(Some(names)) = cert.subject_alternative_name() {
            for name in &names.value.general_names {
                match name {
                    GeneralName::DNSName(name) => dns_names.push((*name).to_string()),
                    GeneralName::IPAddress(bytes) => addresses.extend(address(bytes)),
                    _ => {}
                }
            }
        }
        let at = |seconds: i64| Timestamp::from_second(seconds).map_err(Error::malformed);
        Ok(Self {
            common_name: cert.subject().iter_common_name().find_map(|n| n.as_str().ok()).unwrap_or("").to_string(),
            organizations: cert.subject().iter_organization().filter_map(|o| o.as_str().ok()).map(Into::into).collect(),
            dns_names,
            addresses,
            not_before: at(cert.validity().not_before.timestamp())?,
            not_after: at(cert.validity().not_after.timestamp())?,
            fingerprint: hex::encode(Sha256::digest(der)),
        })
    }

    /// When to renew: after four fifths of its life, so that a server that is off for a while still comes back in time.
    pub fn renew_at(&self) -> Timestamp {
        let life = self.not_after.duration_since(self.not_before);
        self.not_before + SignedDuration::from_secs(life.as_secs() / 5 * 4)
    }
}

/// An address from the bytes of a subject alternative name.
pub(crate) fn address(bytes: &[u8]) -> Option<IpAddr> {
    match bytes.len() {
        4 => <[u8; 4]>::try_from(bytes).ok().map(IpAddr::from),
        16 => <[u8; 16]>::try_from(bytes).ok().map(IpAddr::from),
        _ => None,
    }
}

/// `sha256:<hex>` of a certificate's public key: how a join token pins the authority.
pub fn public_key_hash(der: &[u8]) -> Result<String> {
    let (_, cert) = X509Certificate::from_der(der).map_err(|e| Error::malformed(format!("not a certificate: {e}")))?;
    Ok(format!("sha256:{}", hex::encode(Sha256::digest(cert.public_key().raw))))
}

/// A certificate with its key and the authority above it.
#[derive(Clone, Debug)]
pub struct Identity {
    /// The leaf, then the authority.
    pub chain: Vec<CertificateDer<'static>>,
    /// The private key of the leaf.
    pub key: Key,
}

impl Identity {
    /// Reads an identity from two PEM texts.
    pub fn from_pem(chain: &str, key: &str) -> Result<Self> {
        Ok(Self { chain: pem::certificates(chain)?, key: Key::from_pem(key)? })
    }

    /// The chain as PEM, leaf first.
    pub fn chain_pem(&self) -> String {
        self.chain.iter().map(|c| pem::encode("CERTIFICATE", c)).collect()
    }

    /// What the leaf says.
    pub fn certificate(&self) -> Result<Certificate> {
        Certificate::parse(self.chain.first().ok_or_else(|| Error::malformed("an identity without a certificate"))?)
    }
}
