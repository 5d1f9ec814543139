//! Who approves or denies a certificate request needs the verb `approve` on its signer.

use super::{Operation, Plugin, Request, text};
use crate::auth::{Attributes, Authorizer, Decision, User};
use async_trait::async_trait;
use coracle_api::Result;
use serde_json::Value;
use std::sync::Arc;

/// The plugin.
pub struct CertificateApproval(pub Arc<dyn Authorizer>);

#[async_trait]
impl Plugin for CertificateApproval {
    fn name(&self) -> &'static str {
        "CertificateApproval"
    }

    async fn validate(&self, request: &Request<'_>, object: &Value) -> Result<()> {
        if request.operation != Operation::Update
            || !request.is("certificates.k8s.io", "certificatesigningrequests", "approval")
        {
            return Ok(());
        }
        let signer = text(object, "/spec/signerName");
        if may_for_signer(&*self.0, request.user, "approve", signer) {
            return Ok(());
        }
        Err(request.forbid(object, format!("user not permitted to approve requests with signerName {signer:?}")))
    }
}

/// Whether a user has `verb` on a signer, by its name or by its whole domain (`example.com/*`).
pub fn may_for_signer(authorizer: &dyn Authorizer, user: &User, verb: &str, signer: &str) -> bool {
    let domain = signer.split_once('/').map(|(domain, _)| format!("{domain}/*"));
    std::iter::once(signer.to_string()).chain(domain).any(|name| {
        let attributes = Attributes {
            verb: verb.into(),
            group: "certificates.k8s.io".into(),
            version: "*".into(),
            resource: "signers".into(),
            name,
            ..Attributes::default()
        };
        authorizer.authorize(user, &attributes) == Decision::Allow
    })
}
