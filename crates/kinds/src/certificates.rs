//! `certificates.k8s.io`: requests for certificates, and bundles of trust.

use crate::check::{Check, path};
use crate::column::{AGE, Column, NAME, SelectableField, human_duration, items, string, string_or};
use crate::descriptor::{Action, Kind, NameRule, Part, Rules, Subresource, text};
use coracle_api::FieldError;
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
    .rules(&CsrRules)
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
        .selectable(&[SelectableField { path: "spec.signerName", get: |o| text(&o["spec"]["signerName"]) }])
        .columns(&[NAME, Column::text("SignerName", |_, o| json!(string_or(&o["spec"]["signerName"], "<none>")))]);

/// PodCertificateRequest.
pub static POD_CERTIFICATE_REQUEST: Kind = Kind::new::<PodCertificateRequest>("podcertificaterequest", PCR)
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

// The request itself never changes; conditions belong to approvers, the certificate to the signer.
struct CsrRules;

fn is_verdict(condition: &Value) -> bool {
    matches!(string(&condition["type"]), "Approved" | "Denied")
}

fn conditions(object: &Value, wanted: impl Fn(&Value) -> bool) -> Vec<Value> {
    items(&object["status"]["conditions"]).iter().filter(|c| wanted(c)).cloned().collect()
}

impl Rules for CsrRules {
    fn validate(&self, csr: &Value) -> Vec<FieldError> {
        Check::run(|check| {
            let (at, spec) = (path("spec"), &csr["spec"]);
            if string(&spec["request"]).is_empty() {
                check.required(at.field("request"), "");
            }
            if items(&spec["usages"]).is_empty() {
                check.required(at.field("usages"), "");
            }
            let signer = string(&spec["signerName"]);
            if signer.is_empty() {
                check.required(at.field("signerName"), "");
            } else if !signer.contains('/') {
                let why = "must be a fully qualified domain and path of the form 'example.com/signer-name'";
                check.invalid(at.field("signerName"), &spec["signerName"], why);
            }
            if spec["expirationSeconds"].as_i64().is_some_and(|n| n < 600) {
                let why = "may not specify a duration less than 600 seconds (10 minutes)";
                check.invalid(at.field("expirationSeconds"), &spec["expirationSeconds"], why);
            }
        })
    }

    fn prepare_update(&self, new: &mut Value, old: &Value, part: Part) {
        let verdicts = match part {
            Part::Approval => conditions(new, is_verdict),
            _ => conditions(old, is_verdict),
        };
        let others = match part {
            Part::Status => conditions(new, |c| !is_verdict(c)),
            _ => conditions(old, |c| !is_verdict(c)),
        };
        if part == Part::Approval {
            new["status"] = old["status"].clone();
        }
        new["spec"] = old["spec"].clone();
        let all: Vec<Value> = verdicts.into_iter().chain(others).collect();
        if new["status"].is_null() {
            new["status"] = json!({});
        }
        if !all.is_empty() {
            new["status"]["conditions"] = json!(all);
        }
    }
}
