//! Certificate signing requests (PKCS#10): written by an agent, read and checked by the signer.

use crate::{
    Error, Key, Names, Result, Subject,
    certificate::address,
    der::{self, oid},
    pem,
};
use std::net::IpAddr;
use x509_parser::prelude::{FromDer, GeneralName, ParsedExtension, X509CertificationRequest};

/// The PEM label of a request.
pub const LABEL: &str = "CERTIFICATE REQUEST";

/// A request whose own signature holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateRequest {
    /// Subject `CN`.
    pub common_name: String,
    /// Subject `O`.
    pub organizations: Vec<String>,
    /// Asked DNS names.
    pub dns_names: Vec<String>,
    /// Asked addresses.
    pub addresses: Vec<IpAddr>,
    /// Asked e-mail addresses.
    pub emails: Vec<String>,
    /// Asked URIs.
    pub uris: Vec<String>,
    /// The subject as it was encoded.
    pub(crate) subject: Vec<u8>,
    /// The public key as SubjectPublicKeyInfo.
    pub(crate) public_info: Vec<u8>,
}

impl CertificateRequest {
    /// Reads a PEM request and checks that its sender holds the key.
    pub fn from_pem(text: &str) -> Result<Self> {
        Self::from_der(&pem::decode(LABEL, text)?)
    }

    /// Reads a DER request and checks that its sender holds the key.
    pub fn from_der(bytes: &[u8]) -> Result<Self> {
        let (_, request) = X509CertificationRequest::from_der(bytes)
            .map_err(|e| Error::malformed(format!("not a certificate request: {e}")))?;
        request.verify_signature().map_err(|e| Error::Signature(format!("certificate request: {e}")))?;
        let info = &request.certification_request_info;
        let mut read = Self {
            common_name: info.subject.iter_common_name().find_map(|n| n.as_str().ok()).unwrap_or("").to_string(),
            organizations: info.subject.iter_organization().filter_map(|o| o.as_str().ok()).map(Into::into).collect(),
            dns_names: Vec::new(),
            addresses: Vec::new(),
            emails: Vec::new(),
            uris: Vec::new(),
            subject: info.subject.as_raw().to_vec(),
            public_info: info.subject_pki.raw.to_vec(),
        };
        for extension in request.requested_extensions().into_iter().flatten() {
            let ParsedExtension::SubjectAlternativeName(names) = extension else { continue };
            for name in &names.general_names {
                match name {
                    GeneralName::DNSName(name) => read.dns_names.push((*name).to_string()),
                    GeneralName::IPAddress(bytes) => read.addresses.extend(address(bytes)),
                    GeneralName::RFC822Name(name) => read.emails.push((*name).to_string()),
                    GeneralName::URI(name) => read.uris.push((*name).to_string()),
                    _ => {}
                }
            }
        }
        Ok(read)
    }

    /// The names that it asks for.
    pub fn names(&self) -> Names {
        Names {
            dns: self.dns_names.clone(),
            addresses: self.addresses.clone(),
            emails: self.emails.clone(),
            uris: self.uris.clone(),
        }
    }
}

/// Writes a request for `key`, as PEM.
pub fn create(key: &Key, subject: &Subject, names: &Names) -> Result<String> {
    let attributes = match names.encode() {
        None => der::tlv(0xa0, &[]),
        Some(names) => {
            let extensions = der::sequence(&[&der::extension(oid::ALT_NAME, false, &names)]);
            der::tlv(0xa0, &[&der::sequence(&[&der::object_id(oid::EXTENSION_REQUEST), &der::set(&extensions)])])
        }
    };
    let info = der::sequence(&[&der::unsigned(&[0]), &subject.encode(), &key.public_info(), &attributes]);
    let algorithm = der::sequence(&[&der::object_id(oid::ECDSA_SHA256)]);
    let request = der::sequence(&[&info, &algorithm, &der::bits(&key.sign(&info)?)]);
    Ok(pem::encode(LABEL, &request))
}
