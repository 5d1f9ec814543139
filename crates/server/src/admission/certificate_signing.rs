//! Who writes a certificate into a request needs the verb `sign` on its signer.

use super::{Operation, Plugin, Request, certificate_approval::may_for_signer, text};
use crate::auth::Authorizer;
use async_trait::async_trait;
use coracle_api::Result;
use serde_json::Value;
use std::sync::Arc;

/// The plugin.
pub struct CertificateSigning(pub Arc<dyn Authorizer>);

#[async_trait]
impl Plugin for CertificateSigning {
    fn name(&self) -> &'static str {
        "CertificateSigning"
    }

    async fn validate(&self, request: &Request<'_>, object: &Value) -> Result<()> {
        if request.operation != Operation::Update
            || !request.is("certificates.k8s.io", "certificatesigningrequests", "status")
        {
            return Ok(());
        }
        let old = request.old.map(|old| old.value()).unwrap_or_default();
        let same = ["/status/certificate", "/status/conditions"].iter().all(|p| old.pointer(p) == object.pointer(p));
        let signer = text(object, "/spec/signerName");
        if same || may_for_signer(&*self.0, request.user, "sign", signer) {
            return Ok(());
        }
        Err(request.forbid(object, format!("user not permitted to sign requests with signerName {signer:?}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        admission::{certificate_approval::CertificateApproval, testing::Case},
        auth::{Attributes, Decision, User},
    };
    use coracle_api::Resource;
    use serde_json::json;

    /// Lets `signer` sign for one signer and `approver` approve for a domain.
    struct Rules;

    impl Authorizer for Rules {
        fn authorize(&self, user: &User, a: &Attributes) -> Decision {
            let held = [("signer", "sign", "d.io/a"), ("approver", "approve", "d.io/*")];
            if held.contains(&(&user.name, &a.verb, &a.name)) { Decision::Allow } else { Decision::Deny(String::new()) }
        }
        fn rules(&self, _: &User, _: &str) -> Value {
            Value::Null
        }
        fn may_grant(&self, _: &User, _: &Resource, _: &Value) -> Result<()> {
            Ok(())
        }
    }

    #[test]
    fn signing_and_approving_are_rights_of_their_own() {
        let check = |user: &str, subresource, status: Value| {
            let csr =
                |status: &Value| json!({"metadata": {"name": "r"}, "spec": {"signerName": "d.io/a"}, "status": status});
            let resource = Resource::fixed(
                "certificates.k8s.io",
                "v1",
                "certificatesigningrequests",
                "CertificateSigningRequest",
                false,
            );
            let case = Case {
                user: User { name: user.into(), ..User::default() },
                operation: Operation::Update,
                subresource,
                old: Some(csr(&json!({}))),
                ..Case::create(resource)
            };
            let authorizer: Arc<dyn Authorizer> = Arc::new(Rules);
            let plugins: [Box<dyn Plugin>; 2] =
                [Box::new(CertificateApproval(authorizer.clone())), Box::new(CertificateSigning(authorizer))];
            plugins.iter().all(|plugin| case.refusal(&**plugin, &csr(&status)).is_empty())
        };
        assert!(check("approver", "approval", json!({"conditions": [{}]})));
        assert!(!check("signer", "approval", json!({"conditions": [{}]})));
        assert!(check("signer", "status", json!({"certificate": "x"})));
        assert!(!check("approver", "status", json!({"certificate": "x"})));
        assert!(check("approver", "status", json!({"other": "x"})));
    }
}
