//! `certificates.k8s.io`: requests for certificates, and bundles of trust.

mod bundles;
mod pods;
mod requests;
mod x509;

use crate::column::{AGE, Column, NAME, SelectableField, human_duration, items, string, string_or};
use crate::descriptor::{Action, Kind, NameRule, Subresource, text};
use k8s_openapi::api::certificates::v1::{CertificateSigningRequest, ClusterTrustBundle, PodCertificateRequest};
use serde_json::{Value, json};

const CSR: &str = "io.k8s.api.certificates.v1.CertificateSigningRequest";
const PCR: &str = "io.k8s.api.certificates.v1.PodCertificateRequest";

/// CertificateSigningRequest.
pub static CERTIFICATE_SIGNING_REQUEST: Kind = Kind::new::<CertificateSigningRequest>("certificatesigningrequest", CSR)
    .short(&["csr"])
    .subresources(&[
        Subresource::of::<CertificateSigningRequest>(Action::Approval, CSR),
        Subresource::status::<CertificateSigningRequest>(CSR),
    ])
    .names(NameRule::PathSegment)
    .rules(&requests::RequestRules)
    .selectable(&[SelectableField { path: "spec.signerName", get: |o| text(&o["spec"]["signerName"]) }])
    .columns(&[
        NAME,
        AGE,
        Column::text("SignerName", |_, o| json!(string_or(&o["spec"]["signerName"], "<none>"))),
        Column::text("Requestor", |_, o| json!(string(&o["spec"]["username"]))),
        Column::text("RequestedDuration", |_, o| {
            json!(o["spec"]["expirationSeconds"].as_i64().map_or("<none>".into(), human_duration))
        }),
        Column::text("Condition", |_, o| json!(condition(o))),
    ]);

/// ClusterTrustBundle.
pub static CLUSTER_TRUST_BUNDLE: Kind =
    Kind::new::<ClusterTrustBundle>("clustertrustbundle", "io.k8s.api.certificates.v1.ClusterTrustBundle")
        .names(NameRule::PathSegment)
        .conditional_update()
        .rules(&bundles::BundleRules)
        .selectable(&[SelectableField { path: "spec.signerName", get: |o| text(&o["spec"]["signerName"]) }])
        .columns(&[NAME, Column::text("SignerName", |_, o| json!(string_or(&o["spec"]["signerName"], "<none>")))]);

/// PodCertificateRequest.
pub static POD_CERTIFICATE_REQUEST: Kind = Kind::new::<PodCertificateRequest>("podcertificaterequest", PCR)
    .conditional_update()
    .rules(&pods::RequestRules)
    .subresources(&[Subresource::status::<PodCertificateRequest>(PCR)])
    .selectable(&[
        SelectableField { path: "spec.signerName", get: |o| text(&o["spec"]["signerName"]) },
        SelectableField { path: "spec.podName", get: |o| text(&o["spec"]["podName"]) },
        SelectableField { path: "spec.nodeName", get: |o| text(&o["spec"]["nodeName"]) },
    ])
    .columns(&[
        NAME,
        Column::text("PodName", |_, o| o["spec"]["podName"].clone()),
        Column::text("ServiceAccountName", |_, o| o["spec"]["serviceAccountName"].clone()),
        Column::text("NodeName", |_, o| o["spec"]["nodeName"].clone()),
        Column::text("SignerName", |_, o| o["spec"]["signerName"].clone()),
        Column::text("State", |_, o| json!(condition(o))),
    ]);

fn condition(object: &Value) -> String {
    let conditions = items(&object["status"]["conditions"]);
    let has = |kind: &str| conditions.iter().any(|c| c["type"] == kind);
    let mut words: Vec<&str> = Vec::new();
    match () {
        () if has("Approved") => words.push("Approved"),
        () if has("Denied") => words.push("Denied"),
        () => words.push("Pending"),
    }
    if has("Failed") {
        words.push("Failed");
    }
    if !string_or(&object["status"]["certificate"], string(&object["status"]["certificateChain"])).is_empty() {
        words.push("Issued");
    }
    words.join(",")
}
