//! What callers show to be believed: tokens, certificates, requests for certificates.

use super::text;
use crate::Target;
use coracle_pki::{BootstrapToken, Certificate, CertificateRequest, JoinToken, Key, TokenKey, certificate, pem, token};
use std::{fmt::Display, str::FromStr, sync::LazyLock};

pub(super) static TARGETS: &[Target] = &[
    Target { name: "token", run: any_token, seeds: TOKENS },
    Target { name: "certificate", run: read_certificate, seeds: CERTIFICATES },
];

const TOKENS: &[&[u8]] = &[
    b"abcdef.0123456789abcdef",
    b"coracle:abcdef.0123456789abcdef:00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff",
    b"eyJhbGciOiJFUzI1NiIsImtpZCI6ImEifQ.eyJzdWIiOiJzeXN0ZW06c2VydmljZWFjY291bnQ6YTpiIiwiZXhwIjo1fQ.AAAA",
];
const CERTIFICATES: &[&[u8]] =
    &[include_bytes!("../../seeds/certificate.pem"), include_bytes!("../../seeds/request.pem")];

fn any_token(input: &[u8]) {
    static KEY: LazyLock<Option<TokenKey>> = LazyLock::new(|| Key::generate().ok().map(TokenKey::new));
    let Some(text) = text(input) else { return };
    same::<BootstrapToken>(text);
    same::<JoinToken>(text);
    let _ = token::unverified_claims(text);
    // of this key nobody knows
    assert!(KEY.as_ref().is_none_or(|key| key.verify(text).is_err()), "a forged token");
}

/// What can be read is read again as the same.
fn same<T: FromStr + Display>(text: &str) {
    if let Ok(token) = text.parse::<T>() {
        let shown = token.to_string();
        assert_eq!(shown.parse::<T>().ok().map(|t| t.to_string()), Some(shown));
    }
}

/// As PEM, and what is inside.
fn read_certificate(input: &[u8]) {
    let _ = text(input).map(CertificateRequest::from_pem);
    let inside = |label| text(input).and_then(|text| pem::decode(label, text).ok());
    for der in [inside("CERTIFICATE"), inside("CERTIFICATE REQUEST"), Some(input.to_vec())].into_iter().flatten() {
        let _ = Certificate::parse(&der);
        let _ = certificate::public_key_hash(&der);
        let _ = CertificateRequest::from_der(&der);
    }
}
