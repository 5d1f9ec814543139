//! Requests for certificates, what becomes of them, and bundles of trust.

use super::{becomes, wrong, wrong_change};
use crate::Part;
use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

/// A request for `CN=x`, signed with its own key.
pub(super) const REQUEST: &str = "-----BEGIN CERTIFICATE REQUEST-----\nMIHGMG4CAQAwDDEKMAgGA1UEAwwBeDBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IA\nBGcRZuTpaykoU4LqV7PlBX6h6lvD17FQ5jpxR8tKj36o/5KU8HqTKNsWJXW71jco\nnQPMwBptzCfUFTVDtTS1bwSgADAKBggqhkjOPQQDAgNIADBFAiEAn9nQkzzioBsd\nsxl69+aE/uwDgC3R18P0viIub/aLxz8CIHHYuH+IVk2G4foXIuCj26CWIB1VXmYa\nTeEqvVb5dTz2\n-----END CERTIFICATE REQUEST-----\n";
/// An authority, and a certificate that is none.
pub(super) const AUTHORITY: &str = "-----BEGIN CERTIFICATE-----\nMIIBcDCCARegAwIBAgIUQiIZPT5ClCi1JQxajfrf3qUVXnkwCgYIKoZIzj0EAwIw\nDTELMAkGA1UEAwwCY2EwIBcNMjYxMTI2MDM0NjMwWhgPMjEyNjExMDIwMzQ2MzBa\nMA0xCzAJBgNVBAMMAmNhMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEZxFm5Olr\nKShTgupXs+UFfqHqW8PXsVDmOnFHy0qPfqj/kpTwepMo2xYldbvWNyidA8zAGm3M\nJ9QVNUO1NLVvBKNTMFEwHQYDVR0OBBYEFKhhpspQ6CAlQ1o15xIM8H9igb6BMB8G\nA1UdIwQYMBaAFKhhpspQ6CAlQ1o15xIM8H9igb6BMA8GA1UdEwEB/wQFMAMBAf8w\nCgYIKoZIzj0EAwIDRwAwRAIgFeHg4gXdIm/mnhaMV8Qozf3R7t/5jaDYL/5szMrv\n8XUCIBoAyJrQo6bGiK9KEJS6NFGxllnZWgb6nFmWg1/D/1o4\n-----END CERTIFICATE-----\n";
const LEAF: &str = "-----BEGIN CERTIFICATE-----\nMIIBcjCCARigAwIBAgIUNo65qXZ77X5oz8GiTkMNw0toOLIwCgYIKoZIzj0EAwIw\nDzENMAsGA1UEAwwEbGVhZjAgFw0yNjExMjYwMzQ2MzBaGA8yMTI2MTEwMjAzNDYz\nMFowDzENMAsGA1UEAwwEbGVhZjBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABGcR\nZuTpaykoU4LqV7PlBX6h6lvD17FQ5jpxR8tKj36o/5KU8HqTKNsWJXW71jconQPM\nwBptzCfUFTVDtTS1bwSjUDBOMB0GA1UdDgQWBBSoYabKUOggJUNaNecSDPB/YoG+\ngTAfBgNVHSMEGDAWgBSoYabKUOggJUNaNecSDPB/YoG+gTAMBgNVHRMBAf8EAjAA\nMAoGCCqGSM49BAMCA0gAMEUCIA4UfSdhjuTfydlslfL6e7DKQ8xf30yEcRXe2y4m\n9/joAiEA0751kq+gJTJAPYEX8Np+dMP9uh7CZ8/6M4Ya+tzxGzw=\n-----END CERTIFICATE-----\n";

/// The request without PEM, as a field of bytes.
pub(super) fn der_request() -> String {
    REQUEST.lines().filter(|line| !line.starts_with('-')).collect()
}

const CSR: &str = "certificates.k8s.io/certificatesigningrequests";

fn condition(kind: &str, status: &str) -> Value {
    json!({"type": kind, "status": status, "lastUpdateTime": "2020-01-01T00:00:00Z", "lastTransitionTime": "2020-01-01T00:00:00Z"})
}

fn conditions(list: &[Value]) -> Value {
    json!({"status": {"conditions": list}})
}

#[test]
fn requests() {
    let spec = |spec: Value| json!({"spec": spec});
    let broken = REQUEST.replacen("MIH", "MIG", 1);
    let forged = {
        let mut der = STANDARD.decode(der_request()).unwrap();
        let at = der.len() - 1;
        der[at] ^= 1;
        STANDARD.encode(format!(
            "-----BEGIN CERTIFICATE REQUEST-----\n{}\n-----END CERTIFICATE REQUEST-----\n",
            STANDARD.encode(der)
        ))
    };
    const SIGNER: &str = "must be a fully qualified domain and path of the form 'example.com/signer-name'";
    wrong(
        CSR,
        &[
            (
                spec(json!({"request": "eA=="})),
                &["spec.request: Invalid value: \"eA==\": PEM block type must be CERTIFICATE REQUEST"],
            ),
            (
                spec(json!({"request": STANDARD.encode(&broken)})),
                &[&format!(
                    "spec.request: Invalid value: \"{}\": asn1: structure error: this is no certificate request",
                    STANDARD.encode(&broken)
                )],
            ),
            (
                spec(json!({"request": forged})),
                &[&format!("spec.request: Invalid value: \"{forged}\": x509: ECDSA verification failure")],
            ),
            (spec(json!({"usages": []})), &["spec.usages: Required value"]),
            (
                spec(json!({"usages": ["client auth", "client auth"]})),
                &["spec.usages[1]: Duplicate value: \"client auth\""],
            ),
            (
                spec(json!({"usages": ["x"]})),
                &[
                    "spec.usages[0]: Unsupported value: \"x\": supported values: \"any\", \"cert sign\", \"client auth\", \"code signing\", \"content commitment\", \"crl sign\", \"data encipherment\", \"decipher only\", \"digital signature\", \"email protection\", \"encipher only\", \"ipsec end system\", \"ipsec tunnel\", \"ipsec user\", \"key agreement\", \"key encipherment\", \"microsoft sgc\", \"netscape sgc\", \"ocsp signing\", \"s/mime\", \"server auth\", \"signing\", \"timestamping\"",
                ],
            ),
            (spec(json!({"signerName": ""})), &["spec.signerName: Required value"]),
            (spec(json!({"signerName": "a"})), &[&format!("spec.signerName: Invalid value: \"a\": {SIGNER}")]),
            (
                spec(json!({"signerName": "a.io/b/c"})),
                &[&format!("spec.signerName: Invalid value: \"a.io/b/c\": {SIGNER}")],
            ),
            (
                spec(json!({"signerName": "kubernetes.io/legacy-unknown"})),
                &[
                    "spec.signerName: Invalid value: \"kubernetes.io/legacy-unknown\": the legacy signerName is not allowed via this API version",
                ],
            ),
            (
                spec(json!({"expirationSeconds": 599})),
                &[
                    "spec.expirationSeconds: Invalid value: 599: may not specify a duration less than 600 seconds (10 minutes)",
                ],
            ),
            (json!({"metadata": {"name": "Any:Name"}}), &[]),
        ],
    );
}

#[test]
fn verdicts_and_certificates() {
    let approved = conditions(&[condition("Approved", "True")]);
    let certificate = |pem: &str| json!({"status": {"certificate": STANDARD.encode(pem)}});
    const AT: &str = "status.conditions";
    wrong_change(
        CSR,
        Part::Approval,
        &[
            (json!({}), approved.clone(), &[]),
            (
                json!({}),
                conditions(&[condition("Approved", "False")]),
                &[&format!("{AT}[0].status: Unsupported value: \"False\": supported values: \"True\"")],
            ),
            (
                json!({}),
                conditions(&[condition("Approved", "True"), condition("Denied", "True")]),
                &[&format!(
                    "{AT}[1].type: Invalid value: \"Denied\": Approved and Denied conditions are mutually exclusive"
                )],
            ),
            (
                json!({}),
                conditions(&[condition("Failed", "True"), condition("Failed", "True")]),
                &[&format!("{AT}[1].type: Duplicate value: \"Failed\"")],
            ),
            (
                json!({}),
                conditions(&[condition("", "")]),
                &[&format!("{AT}[0].type: Required value"), &format!("{AT}[0].status: Required value")],
            ),
            (
                approved.clone(),
                conditions(&[]),
                &[&format!("{AT}: Forbidden: updates may not remove a condition of type \"Approved\"")],
            ),
            // an approver's certificate is not looked at
            (json!({}), certificate(LEAF), &[]),
        ],
    );
    wrong_change(
        CSR,
        Part::Status,
        &[
            (approved.clone(), certificate(LEAF), &[]),
            (
                json!({}),
                approved.clone(),
                &[&format!("{AT}: Forbidden: updates may not add a condition of type \"Approved\"")],
            ),
            (
                approved,
                conditions(&[]),
                &[&format!("{AT}: Forbidden: updates may not remove a condition of type \"Approved\"")],
            ),
            (
                json!({}),
                certificate("x"),
                &[
                    "status.certificate: Invalid value: \"<certificate data>\": must contain at least one CERTIFICATE PEM block",
                ],
            ),
            (
                json!({}),
                certificate(REQUEST),
                &[
                    "status.certificate: Invalid value: \"<certificate data>\": only CERTIFICATE PEM blocks are allowed, found \"CERTIFICATE REQUEST\"",
                ],
            ),
            (
                certificate(LEAF),
                certificate(AUTHORITY),
                &["status.certificate: Forbidden: updates may not modify existing certificate content"],
            ),
        ],
    );
    // a plain update changes neither
    wrong_change(
        CSR,
        Part::Main,
        &[(json!({}), certificate(LEAF), &[]), (json!({}), json!({"spec": {"usages": []}}), &[])],
    );
}

#[test]
fn trust() {
    let bundles = "certificates.k8s.io/clustertrustbundles";
    let text = |text: &str| json!({"spec": {"trustBundle": text}});
    const AT: &str = "spec.trustBundle: Invalid value: \"<value omitted>\":";
    let twice = format!("{AUTHORITY}{AUTHORITY}");
    let mixed = format!("{AUTHORITY}{LEAF}{REQUEST}");
    wrong(
        bundles,
        &[
            (text(""), &[&format!("{AT} at least one trust anchor must be provided")]),
            (text(&twice), &[&format!("{AT} duplicate trust anchor (indices [0 1])")]),
            (
                text(&mixed),
                &[
                    &format!("{AT} entry 1 does not have the CA bit set"),
                    &format!("{AT} entry 2 has bad block type: CERTIFICATE REQUEST"),
                ],
            ),
            (
                json!({"metadata": {"name": "a:b"}}),
                &[
                    "metadata.name: Invalid value: \"a:b\": ClusterTrustBundle without signer name must not have \":\" in its name",
                ],
            ),
            (
                json!({"spec": {"signerName": "a.io/b"}}),
                &[
                    "metadata.name: Invalid value: \"x\": ClusterTrustBundle for signerName a.io/b must be named with prefix a.io:b:",
                ],
            ),
            (json!({"metadata": {"name": "a.io:b:x"}, "spec": {"signerName": "a.io/b"}}), &[]),
        ],
    );
    wrong_change(
        bundles,
        Part::Main,
        &[
            (json!({}), json!({"metadata": {"labels": {"a": "b"}}}), &[]),
            (
                json!({"metadata": {"name": "a.io:b:x"}, "spec": {"signerName": "a.io/b"}}),
                json!({"spec": {"signerName": "a.io/c"}}),
                &[
                    "metadata.name: Invalid value: \"a.io:b:x\": ClusterTrustBundle for signerName a.io/c must be named with prefix a.io:c:",
                    "spec.signerName: Invalid value: \"a.io/c\": field is immutable",
                ],
            ),
        ],
    );
}

#[test]
fn certificates_of_pods() {
    let requests = "certificates.k8s.io/podcertificaterequests";
    wrong(
        requests,
        &[
            (json!({"spec": {"podUID": ""}}), &["spec.podUID: Invalid value: \"\": must not be empty"]),
            (
                json!({"spec": {"nodeUID": "x".repeat(129)}}),
                &["spec.nodeUID: Too long: may not be more than 128 bytes"],
            ),
            (
                json!({"spec": {"maxExpirationSeconds": 60}}),
                &["spec.maxExpirationSeconds: Invalid value: 60: must be in the range [3600, 7862400]"],
            ),
            (
                json!({"spec": {"signerName": "kubernetes.io/x", "maxExpirationSeconds": 90_000}}),
                &["spec.maxExpirationSeconds: Invalid value: 90000: must be in the range [3600, 86400]"],
            ),
        ],
    );
    becomes(requests, &[(json!({}), json!({"spec": {"maxExpirationSeconds": 86_400}}))]);
    wrong_change(requests, Part::Main, &[(json!({}), json!({"metadata": {"labels": {"a": "b"}}}), &[])]);
    let with = |kind: &str| json!({"status": {"conditions": [{"type": kind, "status": "True", "reason": "R", "lastTransitionTime": "2020-01-01T00:00:00Z"}]}});
    wrong_change(
        requests,
        Part::Status,
        &[
            (json!({}), with("Denied"), &[]),
            (
                json!({}),
                with("Other"),
                &[
                    "status.conditions[0].type: Unsupported value: \"Other\": supported values: \"Issued\", \"Denied\", \"Failed\"",
                ],
            ),
            (
                json!({}),
                with("Issued"),
                &[
                    "status.certificateChain: Invalid value: \"\": issued certificate chain must contain at least one certificate",
                ],
            ),
        ],
    );
}
