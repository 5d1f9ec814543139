//! Nobody becomes a superuser by a signed certificate request.

use super::{Plugin, Request, text};
use async_trait::async_trait;
use base64::{Engine, prelude::BASE64_STANDARD};
use coracle_api::Result;
use coracle_pki::CertificateRequest;
use serde_json::Value;

/// The plugin.
pub struct CertificateSubjectRestriction;

#[async_trait]
impl Plugin for CertificateSubjectRestriction {
    fn name(&self) -> &'static str {
        "CertificateSubjectRestriction"
    }

    async fn validate(&self, request: &Request<'_>, object: &Value) -> Result<()> {
        if !request.creates("certificates.k8s.io", "certificatesigningrequests")
            || text(object, "/spec/signerName") != "kubernetes.io/kube-apiserver-client"
        {
            return Ok(());
        }
        let Some(asked) = decode(object) else {
            return Err(request.forbid(object, "the certificate request cannot be read"));
        };
        if asked.organizations.iter().any(|group| group == "system:masters") {
            let why = "use of kubernetes.io/kube-apiserver-client signer with system:masters group is not allowed";
            return Err(request.forbid(object, why));
        }
        Ok(())
    }
}

/// The request inside of a CertificateSigningRequest.
pub fn decode(object: &Value) -> Option<CertificateRequest> {
    let pem = BASE64_STANDARD.decode(text(object, "/spec/request")).ok()?;
    CertificateRequest::from_pem(std::str::from_utf8(&pem).ok()?).ok()
}
