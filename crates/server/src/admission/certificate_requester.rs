//! A certificate request says who sent it; that is never the sender's to say. (Upstream does this where the object is stored; here the
//! storage does not know users.)

use super::{Operation, Plugin, Request};
use async_trait::async_trait;
use coracle_api::Result;
use serde_json::{Value, json};

/// The plugin.
pub struct CertificateRequester;

#[async_trait]
impl Plugin for CertificateRequester {
    fn name(&self) -> &'static str {
        "CertificateRequester"
    }

    async fn mutate(&self, request: &Request<'_>, object: &mut Value) -> Result<()> {
        if request.resource.group != "certificates.k8s.io"
            || request.resource.plural != "certificatesigningrequests"
            || !object["spec"].is_object()
        {
            return Ok(());
        }
        match request.operation {
            Operation::Create => {
                let user = request.user;
                for (field, value, given) in [
                    ("username", json!(user.name), !user.name.is_empty()),
                    ("uid", json!(user.uid), !user.uid.is_empty()),
                    ("groups", json!(user.groups), !user.groups.is_empty()),
                    ("extra", json!(user.extra), !user.extra.is_empty()),
                ] {
                    if given {
                        object["spec"][field] = value;
                    } else if let Some(spec) = object["spec"].as_object_mut() {
                        spec.remove(field);
                    }
                }
            }
            // what was asked for does not change afterwards
            Operation::Update => {
                if let Some(old) = request.old {
                    object["spec"] = old.value()["spec"].clone();
                }
            }
            _ => {}
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{admission::testing::Case, auth::User};
    use coracle_api::Resource;

    #[test]
    fn nobody_sends_a_request_in_another_name() {
        let resource = Resource::fixed(
            "certificates.k8s.io",
            "v1",
            "certificatesigningrequests",
            "CertificateSigningRequest",
            false,
        );
        let user = User { name: "eve".into(), groups: vec!["g".into()], ..User::default() };
        let case = Case { user, ..Case::create(resource) };
        let forged =
            json!({"metadata": {"name": "r"}, "spec": {"username": "root", "uid": "1", "groups": ["system:masters"]}});
        let out = case.run(&CertificateRequester, &forged).unwrap();
        assert_eq!(out["spec"], json!({"username": "eve", "groups": ["g"]}));
    }
}
