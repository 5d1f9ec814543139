//! The certificate authority: what it signs, for whom, for how long.

use crate::{
    CertificateRequest, Error, Identity, Key, Result, certificate,
    der::{self, oid},
    pem,
};
use jiff::{SignedDuration, Timestamp};
use rand::RngCore;
use rustls::pki_types::CertificateDer;
use sha2::{Digest, Sha256};
use std::{net::IpAddr, time::Duration};
use x509_parser::prelude::{FromDer, X509Certificate};

/// How long an authority lives.
pub const AUTHORITY_LIFE: Duration = Duration::from_secs(10 * 365 * 86400);
/// How long what it signs lives, unless asked otherwise.
pub const LEAF_LIFE: Duration = Duration::from_secs(365 * 86400);
/// Certificates begin a little in the past, for readers whose clocks are behind.
const BACKDATE: Duration = Duration::from_secs(300);

/// Who a certificate is about.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Subject {
    /// `CN`: the user.
    pub common_name: String,
    /// `O`: the groups.
    pub organizations: Vec<String>,
}

impl Subject {
    /// A user with groups.
    pub fn new(common_name: &str, organizations: &[&str]) -> Self {
        Self {
            common_name: common_name.to_string(),
            organizations: organizations.iter().map(ToString::to_string).collect(),
        }
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let part = |id: &[u8], value: &str| der::set(&der::sequence(&[&der::object_id(id), &der::text(value)]));
        let mut parts: Vec<Vec<u8>> = self.organizations.iter().map(|o| part(oid::ORGANIZATION, o)).collect();
        if !self.common_name.is_empty() {
            parts.push(part(oid::COMMON_NAME, &self.common_name));
        }
        der::sequence(&parts.iter().map(Vec::as_slice).collect::<Vec<_>>())
    }
}

/// What a certificate is valid for besides its subject.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Names {
    /// DNS names.
    pub dns: Vec<String>,
    /// Addresses.
    pub addresses: Vec<IpAddr>,
    /// E-mail addresses.
    pub emails: Vec<String>,
    /// URIs.
    pub uris: Vec<String>,
}

impl Names {
    /// The names under which clients reach an API server: its hosts, the `kubernetes` Service in the cluster's domain, that Service's address.
    pub fn of_server(hosts: &[String], service: Option<IpAddr>, domain: &str) -> Self {
        let mut names = Self::default();
        let local = ["localhost", "127.0.0.1", "::1"].map(String::from);
        for host in hosts.iter().chain(&local) {
            match host.parse::<IpAddr>() {
                Ok(address) if address.is_unspecified() => {}
                Ok(address) => names.addresses.push(address),
                Err(_) => names.dns.push(host.clone()),
            }
        }
        names.addresses.extend(service);
        for suffix in ["", ".default", ".default.svc"] {
            names.dns.push(format!("kubernetes{suffix}"));
        }
        names.dns.push(format!("kubernetes.default.svc.{domain}"));
        names.normalized()
    }

    /// Sorted, each once, so that two sets of names can be compared.
    #[must_use]
    pub fn normalized(mut self) -> Self {
        self.dns.sort();
        self.dns.dedup();
        self.addresses.sort();
        self.addresses.dedup();
        self
    }

    /// SubjectAltName, or nothing if there are no names.
    pub(crate) fn encode(&self) -> Option<Vec<u8>> {
        let mut parts: Vec<Vec<u8>> = Vec::new();
        parts.extend(self.emails.iter().map(|n| der::tlv(0x81, &[n.as_bytes()])));
        parts.extend(self.dns.iter().map(|n| der::tlv(0x82, &[n.as_bytes()])));
        parts.extend(self.uris.iter().map(|n| der::tlv(0x86, &[n.as_bytes()])));
        parts.extend(self.addresses.iter().map(|a| match a {
            IpAddr::V4(a) => der::tlv(0x87, &[&a.octets()]),
            IpAddr::V6(a) => der::tlv(0x87, &[&a.octets()]),
        }));
        (!parts.is_empty()).then(|| der::sequence(&parts.iter().map(Vec::as_slice).collect::<Vec<_>>()))
    }
}

/// What a key may be used for; the names are those of `CertificateSigningRequest.spec.usages`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Usage {
    /// A bit of keyUsage.
    Key(u16),
    /// The last arc of an id-kp purpose.
    Purpose(u8),
}

impl Usage {
    /// `digital signature`.
    pub const DIGITAL_SIGNATURE: Self = Self::Key(1 << 15);
    /// `key encipherment`.
    pub const KEY_ENCIPHERMENT: Self = Self::Key(1 << 13);
    /// `cert sign`.
    pub const CERT_SIGN: Self = Self::Key(1 << 10);
    /// `crl sign`.
    pub const CRL_SIGN: Self = Self::Key(1 << 9);
    /// `server auth`.
    pub const SERVER_AUTH: Self = Self::Purpose(1);
    /// `client auth`.
    pub const CLIENT_AUTH: Self = Self::Purpose(2);

    /// A usage from its name in the API.
    pub fn parse(name: &str) -> Result<Self> {
        Ok(match name {
            "signing" | "digital signature" => Self::DIGITAL_SIGNATURE,
            "content commitment" => Self::Key(1 << 14),
            "key encipherment" => Self::KEY_ENCIPHERMENT,
            "data encipherment" => Self::Key(1 << 12),
            "key agreement" => Self::Key(1 << 11),
            "cert sign" => Self::CERT_SIGN,
            "crl sign" => Self::CRL_SIGN,
            "encipher only" => Self::Key(1 << 8),
            "decipher only" => Self::Key(1 << 7),
            "server auth" => Self::SERVER_AUTH,
            "client auth" => Self::CLIENT_AUTH,
            "code signing" => Self::Purpose(3),
            "email protection" | "s/mime" => Self::Purpose(4),
            "ipsec end system" => Self::Purpose(5),
            "ipsec tunnel" => Self::Purpose(6),
            "ipsec user" => Self::Purpose(7),
            "timestamping" => Self::Purpose(8),
            "ocsp signing" => Self::Purpose(9),
            other => return Err(Error::malformed(format!("unrecognized usage {other:?}"))),
        })
    }
}

/// What goes into a certificate besides the issuer's part.
struct Contents<'a> {
    subject: &'a [u8],
    public_info: &'a [u8],
    names: Option<Vec<u8>>,
    usages: &'a [Usage],
    is_authority: bool,
    from: Timestamp,
    until: Timestamp,
}

/// A certificate authority with its key.
#[derive(Clone, Debug)]
pub struct Authority {
    der: CertificateDer<'static>,
    key: Key,
    subject: Vec<u8>,
    not_after: Timestamp,
}

impl Authority {
    /// A new self-signed authority.
    pub fn create(common_name: &str, now: Timestamp) -> Result<Self> {
        let key = Key::generate()?;
        let subject = Subject::new(common_name, &[]).encode();
        let until = now + AUTHORITY_LIFE;
        let contents = Contents {
            subject: &subject,
            public_info: &key.public_info(),
            names: None,
            usages: &[Usage::DIGITAL_SIGNATURE, Usage::KEY_ENCIPHERMENT, Usage::CERT_SIGN],
            is_authority: true,
            from: now - BACKDATE,
            until,
        };
        let der = issue(&subject, &key, &contents)?.into();
        Ok(Self { der, key, subject, not_after: until })
    }

    /// Reads an authority from two PEM texts.
    pub fn from_pem(certificate: &str, key: &str) -> Result<Self> {
        let der = pem::certificates(certificate)?.remove(0);
        let (subject, not_after) = {
            let (_, cert) =
                X509Certificate::from_der(&der).map_err(|e| Error::malformed(format!("not a certificate: {e}")))?;
            let not_after = Timestamp::from_second(cert.validity().not_after.timestamp()).map_err(Error::malformed)?;
            (cert.subject().as_raw().to_vec(), not_after)
        };
        Ok(Self { der, key: Key::from_pem(key)?, subject, not_after })
    }

    /// The certificate.
    pub fn certificate(&self) -> &CertificateDer<'static> {
        &self.der
    }

    /// The certificate as PEM.
    pub fn certificate_pem(&self) -> String {
        pem::encode("CERTIFICATE", &self.der)
    }

    /// The private key.
    pub fn key(&self) -> &Key {
        &self.key
    }

    /// `sha256:<hex>` of the public key.
    pub fn hash(&self) -> String {
        format!("sha256:{}", hex::encode(Sha256::digest(self.key.public_info())))
    }

    /// A new key with a certificate; the chain ends with this authority.
    pub fn identity(&self, subject: &Subject, names: &Names, usages: &[Usage], now: Timestamp) -> Result<Identity> {
        let key = Key::generate()?;
        let contents = Contents {
            subject: &subject.encode(),
            public_info: &key.public_info(),
            names: names.encode(),
            usages,
            is_authority: false,
            from: now - BACKDATE,
            until: (now + LEAF_LIFE).min(self.not_after),
        };
        let leaf = issue(&self.subject, &self.key, &contents)?.into();
        Ok(Identity { chain: vec![leaf, self.der.clone()], key })
    }

    /// An identity that serves TLS under `names`.
    pub fn server(&self, common_name: &str, organizations: &[&str], names: &Names, now: Timestamp) -> Result<Identity> {
        let usages = [Usage::DIGITAL_SIGNATURE, Usage::KEY_ENCIPHERMENT, Usage::SERVER_AUTH];
        self.identity(&Subject::new(common_name, organizations), names, &usages, now)
    }

    /// An identity of the user `common_name` in the groups `organizations`.
    pub fn client(&self, common_name: &str, organizations: &[&str], now: Timestamp) -> Result<Identity> {
        let usages = [Usage::DIGITAL_SIGNATURE, Usage::KEY_ENCIPHERMENT, Usage::CLIENT_AUTH];
        self.identity(&Subject::new(common_name, organizations), &Names::default(), &usages, now)
    }

    /// Signs a request as it stands: its subject, its names, its key. Whether it may have them is the caller's decision. The answer is PEM;
    /// it never outlives this authority.
    pub fn sign(
        &self,
        request: &CertificateRequest,
        usages: &[Usage],
        life: Duration,
        now: Timestamp,
    ) -> Result<String> {
        let contents = Contents {
            subject: &request.subject,
            public_info: &request.public_info,
            names: request.names().encode(),
            usages,
            is_authority: false,
            from: now - BACKDATE,
            until: (now + SignedDuration::try_from(life).map_err(Error::malformed)?).min(self.not_after),
        };
        Ok(pem::encode("CERTIFICATE", &issue(&self.subject, &self.key, &contents)?))
    }

    /// Whether `leaf` was signed by this authority.
    pub fn has_signed(&self, leaf: &[u8]) -> bool {
        let (Ok((_, leaf)), Ok((_, own))) = (X509Certificate::from_der(leaf), X509Certificate::from_der(&self.der))
        else {
            return false;
        };
        leaf.verify_signature(Some(own.public_key())).is_ok()
    }
}

/// The hash under which a join token pins the authority in `certificate` (PEM).
pub fn hash_of(certificate: &str) -> Result<String> {
    certificate::public_key_hash(&pem::certificates(certificate)?[0])
}

/// The first 20 bytes of the key's SHA-256: RFC 7093, method 1.
fn key_id(public_info: &[u8]) -> Vec<u8> {
    Sha256::digest(public_info)[..20].to_vec()
}

fn issue(issuer: &[u8], key: &Key, contents: &Contents<'_>) -> Result<Vec<u8>> {
    let mut serial = [0u8; 16];
    rand::rng().fill_bytes(&mut serial);
    serial[0] = serial[0] & 0x7f | 0x40; // positive and of a fixed length
    let algorithm = der::sequence(&[&der::object_id(oid::ECDSA_SHA256)]);
    let extensions = extensions(&key.public_info(), contents);
    let tbs = der::sequence(&[
        &der::tlv(0xa0, &[&der::unsigned(&[2])]),
        &der::unsigned(&serial),
        &algorithm,
        issuer,
        &der::sequence(&[&der::time(contents.from), &der::time(contents.until)]),
        contents.subject,
        contents.public_info,
        &der::tlv(0xa3, &[&der::sequence(&extensions.iter().map(Vec::as_slice).collect::<Vec<_>>())]),
    ]);
    let signature = der::bits(&key.sign(&tbs)?);
    Ok(der::sequence(&[&tbs, &algorithm, &signature]))
}

fn extensions(issuer_info: &[u8], contents: &Contents<'_>) -> Vec<Vec<u8>> {
    let mut out = Vec::new();
    let bits = contents.usages.iter().fold(0, |all, u| if let Usage::Key(bit) = u { all | bit } else { all });
    if bits != 0 {
        out.push(der::extension(oid::KEY_USAGE, true, &der::named_bits(bits)));
    }
    let purposes: Vec<Vec<u8>> = contents
        .usages
        .iter()
        .filter_map(|u| match u {
            Usage::Purpose(last) => Some(der::object_id(&[oid::KEY_PURPOSE, &[*last]].concat())),
            Usage::Key(_) => None,
        })
        .collect();
    if !purposes.is_empty() {
        let list = der::sequence(&purposes.iter().map(Vec::as_slice).collect::<Vec<_>>());
        out.push(der::extension(oid::EXTENDED_KEY_USAGE, false, &list));
    }
    let constraints = if contents.is_authority { der::sequence(&[&[0x01, 0x01, 0xff]]) } else { der::sequence(&[]) };
    out.push(der::extension(oid::BASIC_CONSTRAINTS, true, &constraints));
    if contents.is_authority {
        out.push(der::extension(oid::SUBJECT_KEY_ID, false, &der::octets(&key_id(contents.public_info))));
    } else {
        let id = der::sequence(&[&der::tlv(0x80, &[&key_id(issuer_info)])]);
        out.push(der::extension(oid::AUTHORITY_KEY_ID, false, &id));
    }
    if let Some(names) = &contents.names {
        // RFC 5280: critical when there is no subject to go by
        out.push(der::extension(oid::ALT_NAME, contents.subject.len() <= 2, names));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Certificate, request};

    fn now() -> Timestamp {
        "2026-11-23T12:00:00Z".parse().unwrap()
    }

    #[test]
    fn several_organizations_survive_request_and_signature() {
        let ca = Authority::create("test", now()).unwrap();
        let key = Key::generate().unwrap();
        let names = Names { dns: vec!["n1".into()], addresses: vec!["10.0.0.1".parse().unwrap()], ..Names::default() };
        let subject = Subject::new("system:node:n1", &["system:nodes", "b", "c"]);
        let request = CertificateRequest::from_pem(&request::create(&key, &subject, &names).unwrap()).unwrap();
        assert_eq!(request.organizations, ["system:nodes", "b", "c"]);
        assert_eq!(request.names(), names);
        let signed = ca.sign(&request, &[Usage::CLIENT_AUTH], Duration::from_secs(600), now()).unwrap();
        let der = pem::certificates(&signed).unwrap().remove(0);
        let read = Certificate::parse(&der).unwrap();
        assert_eq!((read.common_name.as_str(), read.organizations.len()), ("system:node:n1", 3));
        assert_eq!((read.dns_names, read.addresses), (names.dns, names.addresses));
        assert_eq!(read.not_after, now() + Duration::from_secs(600));
        assert!(ca.has_signed(&der));
        assert!(!Authority::create("other", now()).unwrap().has_signed(&der));
    }

    #[test]
    fn a_request_that_was_tampered_with_is_refused() {
        let key = Key::generate().unwrap();
        let text = request::create(&key, &Subject::new("alice", &[]), &Names::default()).unwrap();
        let mut der = pem::decode(request::LABEL, &text).unwrap();
        let at = der.windows(5).position(|w| w == b"alice").unwrap();
        der[at] = b'b';
        assert!(matches!(CertificateRequest::from_der(&der), Err(Error::Signature(_))));
    }

    #[test]
    fn no_certificate_outlives_its_authority() {
        let ca = Authority::create("test", now()).unwrap();
        let late = now() + AUTHORITY_LIFE - Duration::from_secs(60);
        let end = ca.client("x", &[], late).unwrap().certificate().unwrap().not_after;
        assert_eq!(end, now() + AUTHORITY_LIFE);
    }

    #[test]
    fn an_authority_is_the_same_after_reading() {
        let ca = Authority::create("test", now()).unwrap();
        let read = Authority::from_pem(&ca.certificate_pem(), &ca.key().to_pem()).unwrap();
        assert_eq!(read.hash(), ca.hash());
        assert_eq!(hash_of(&ca.certificate_pem()).unwrap(), ca.hash());
        assert!(ca.has_signed(&read.client("x", &[], now()).unwrap().chain[0]));
    }
}
