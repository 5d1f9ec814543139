//! A P-256 key pair: made, kept as PKCS#8, and used to sign.

use crate::{Error, Result, der, pem};
use ring::{
    rand::SystemRandom,
    signature::{
        ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, EcdsaSigningAlgorithm,
        KeyPair as _,
    },
};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use std::fmt;

const LABEL: &str = "PRIVATE KEY";

/// A private key with its public half.
#[derive(Clone)]
pub struct Key {
    pkcs8: Vec<u8>,
    point: Vec<u8>,
}

impl Key {
    /// A new key.
    pub fn generate() -> Result<Self> {
        let document = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &SystemRandom::new())
            .map_err(|_| Error::Crypto("no randomness for a new key".into()))?;
        Self::from_pkcs8(document.as_ref().to_vec())
    }

    fn from_pkcs8(pkcs8: Vec<u8>) -> Result<Self> {
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &pkcs8, &SystemRandom::new())
            .map_err(|e| Error::malformed(format!("not a P-256 private key: {e}")))?;
        let point = pair.public_key().as_ref().to_vec();
        Ok(Self { pkcs8, point })
    }

    /// Reads the PEM text that [`Key::to_pem`] writes.
    pub fn from_pem(text: &str) -> Result<Self> {
        Self::from_pkcs8(pem::decode(LABEL, text)?)
    }

    /// The private key as PEM (PKCS#8).
    pub fn to_pem(&self) -> String {
        pem::encode(LABEL, &self.pkcs8)
    }

    /// The private key for rustls.
    pub fn to_rustls(&self) -> PrivateKeyDer<'static> {
        PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(self.pkcs8.clone()))
    }

    /// The public point, uncompressed: `04 || x || y`.
    pub fn public_point(&self) -> &[u8] {
        &self.point
    }

    /// The public key as SubjectPublicKeyInfo.
    pub fn public_info(&self) -> Vec<u8> {
        let algorithm = der::sequence(&[&der::object_id(der::oid::EC_PUBLIC_KEY), &der::object_id(der::oid::P256)]);
        der::sequence(&[&algorithm, &der::bits(&self.point)])
    }

    /// An ECDSA signature with SHA-256 in ASN.1 form, as certificates carry it.
    pub fn sign(&self, message: &[u8]) -> Result<Vec<u8>> {
        self.sign_as(&ECDSA_P256_SHA256_ASN1_SIGNING, message)
    }

    /// An ECDSA signature with SHA-256 as `r || s`, as tokens carry it (ES256).
    pub fn sign_fixed(&self, message: &[u8]) -> Result<Vec<u8>> {
        self.sign_as(&ECDSA_P256_SHA256_FIXED_SIGNING, message)
    }

    fn sign_as(&self, algorithm: &'static EcdsaSigningAlgorithm, message: &[u8]) -> Result<Vec<u8>> {
        let random = SystemRandom::new();
        let pair = EcdsaKeyPair::from_pkcs8(algorithm, &self.pkcs8, &random)
            .map_err(|e| Error::Crypto(format!("key refused: {e}")))?;
        let signature = pair.sign(&random, message).map_err(|_| Error::Crypto("signing failed".into()))?;
        Ok(signature.as_ref().to_vec())
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // never the private half
        write!(f, "Key({})", hex::encode(&self.point[..8]))
    }
}
