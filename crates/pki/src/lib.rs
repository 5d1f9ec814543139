//! The certificate authority, certificates, and tokens of a cluster.
//!
//! Everything is ECDSA on P-256, so that a cluster's whole set of keys is made in a few milliseconds at its first start.
//!
//! Invariants: no Kubernetes types; the only I/O is in [`files`]; whatever depends on time takes `now` as an argument.
//! Certificates are written by our own small encoder ([`der`]) because a client's groups are several `O` in one subject, which the
//! common certificate builders cannot express; reading goes through `x509-parser`, signatures through `ring`.

pub mod authority;
pub mod bundle;
pub mod certificate;
pub mod der;
pub mod files;
pub mod join;
pub mod key;
pub mod kubeconfig;
pub mod pem;
pub mod request;
pub mod tls;
pub mod token;

pub use authority::{Authority, Names, Subject, Usage, hash_of};
pub use certificate::{Certificate, Identity};
pub use files::Pki;
pub use join::{BootstrapToken, JoinToken, PinnedAuthority};
pub use key::Key;
pub use kubeconfig::{Credentials, Kubeconfig};
pub use request::CertificateRequest;
pub use tls::RotatingCertificate;
pub use token::TokenKey;

use std::{io, path::PathBuf};

/// What can go wrong with keys, certificates and tokens.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file could not be read or written.
    #[error("{path}: {source}", path = path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// Something handed in is not what it should be.
    #[error("{0}")]
    Malformed(String),
    /// A signature does not hold.
    #[error("{0}")]
    Signature(String),
    /// The cryptographic library refused.
    #[error("cryptography: {0}")]
    Crypto(String),
    /// TLS could not be set up.
    #[error("TLS: {0}")]
    Tls(#[from] rustls::Error),
}

impl Error {
    pub(crate) fn malformed(what: impl std::fmt::Display) -> Self {
        Self::Malformed(what.to_string())
    }
}

/// A result whose error is an [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;
