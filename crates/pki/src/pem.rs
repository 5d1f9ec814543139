//! PEM, the text form in which keys and certificates are kept and handed around.

use crate::{Error, Result};
use base64::{Engine, prelude::BASE64_STANDARD};
use rustls::pki_types::{CertificateDer, pem::PemObject};

/// One block.
pub fn encode(label: &str, der: &[u8]) -> String {
    let body = BASE64_STANDARD.encode(der);
    let mut out = format!("-----BEGIN {label}-----\n");
    let mut rest = body.as_str();
    while !rest.is_empty() {
        let (line, tail) = rest.split_at(rest.len().min(64));
        out.push_str(line);
        out.push('\n');
        rest = tail;
    }
    out.push_str(&format!("-----END {label}-----\n"));
    out
}

/// The content of the first block labelled `label`.
///
/// # Errors
/// When there is none, or its base64 is broken.
pub fn decode(label: &str, text: &str) -> Result<Vec<u8>> {
    let (begin, end) = (format!("-----BEGIN {label}-----"), format!("-----END {label}-----"));
    let body = text
        .split_once(&begin)
        .and_then(|(_, rest)| rest.split_once(&end))
        .map(|(body, _)| body)
        .ok_or_else(|| Error::malformed(format!("PEM block type must be {label}")))?;
    let body: String = body.chars().filter(|c| !c.is_ascii_whitespace()).collect();
    BASE64_STANDARD.decode(body).map_err(|e| Error::malformed(format!("PEM block {label}: {e}")))
}

/// Every certificate of a PEM text, in order.
///
/// # Errors
/// When a block is broken, or there is no certificate.
pub fn certificates(text: &str) -> Result<Vec<CertificateDer<'static>>> {
    let found = CertificateDer::pem_slice_iter(text.as_bytes())
        .collect::<std::result::Result<Vec<_>, _>>()
        .map_err(|e| Error::malformed(format!("certificate: {e}")))?;
    if found.is_empty() { Err(Error::malformed("no certificate in PEM text")) } else { Ok(found) }
}
