//! What rules need to know of PEM and X.509.

use base64::{Engine, engine::general_purpose::STANDARD};
use x509_parser::prelude::{FromDer, X509Certificate, X509CertificationRequest, X509Error};

/// One block of a PEM text.
pub struct Block {
    /// `CERTIFICATE`.
    pub label: String,
    /// Whether lines like `Name: value` stand before the content.
    pub headers: bool,
    /// The content.
    pub der: Vec<u8>,
}

/// The blocks of a text; what stands between them, or is cut off, does not count.
pub fn blocks(text: &str) -> Vec<Block> {
    let mut all = Vec::new();
    let mut lines = text.lines().map(str::trim_end);
    while let Some(label) = lines.by_ref().find_map(|l| l.strip_prefix("-----BEGIN ")?.strip_suffix("-----")) {
        let end = format!("-----END {label}-----");
        let mut body = String::new();
        let (mut headers, mut ended) = (false, false);
        for line in lines.by_ref() {
            if line == end {
                ended = true;
                break;
            }
            match line.contains(':') {
                true => headers = true,
                false => body.push_str(line.trim()),
            }
        }
        if let (true, Ok(der)) = (ended, STANDARD.decode(body)) {
            all.push(Block { label: label.into(), headers, der });
        }
    }
    all
}

/// A field of bytes, as text.
pub fn text_of(base64: &str) -> String {
    STANDARD.decode(base64).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
}

/// What is wrong with a signing request in PEM, as upstream says it where it says it itself.
pub fn request_error(pem: &str) -> Option<String> {
    match blocks(pem).first() {
        Some(block) if block.label == "CERTIFICATE REQUEST" => der_request_error(&block.der),
        _ => Some("PEM block type must be CERTIFICATE REQUEST".into()),
    }
}

/// The same for one without PEM.
pub fn der_request_error(der: &[u8]) -> Option<String> {
    let Ok((rest, request)) = X509CertificationRequest::from_der(der) else {
        return Some("asn1: structure error: this is no certificate request".into());
    };
    if !rest.is_empty() {
        return Some("asn1: syntax error: trailing data".into());
    }
    match request.verify_signature() {
        Err(X509Error::SignatureVerificationError) => {
            let algorithm = request.certification_request_info.subject_pki.algorithm.algorithm.to_id_string();
            Some(match algorithm.as_str() {
                "1.2.840.10045.2.1" => "x509: ECDSA verification failure".into(),
                "1.3.101.112" => "x509: Ed25519 verification failure".into(),
                _ => "crypto/rsa: verification error".into(),
            })
        }
        // of algorithms that are not known here the signer will judge
        _ => None,
    }
}

/// What is wrong with an issued chain in PEM.
pub fn chain_error(pem: &str) -> Option<String> {
    let all = blocks(pem);
    if pem.is_empty() {
        return None;
    }
    for block in &all {
        if block.label != "CERTIFICATE" {
            let label = coracle_api::status::quoted(&block.label);
            return Some(format!("only CERTIFICATE PEM blocks are allowed, found {label}"));
        }
        if block.headers {
            return Some("no PEM block headers are permitted".into());
        }
        if block.der.is_empty() {
            return Some("found CERTIFICATE PEM block containing 0 certificates".into());
        }
        if X509Certificate::from_der(&block.der).is_err() {
            return Some("x509: malformed certificate".into());
        }
    }
    all.is_empty().then(|| "must contain at least one CERTIFICATE PEM block".into())
}

/// Whether it is a certificate, and if so whether of an authority.
pub fn is_authority(der: &[u8]) -> Option<bool> {
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    Some(certificate.is_ca())
}
