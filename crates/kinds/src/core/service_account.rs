//! ServiceAccount: an identity for pods.

use crate::column::{AGE, Column, NAME, items};
use crate::descriptor::{Kind, Rules, Subresource};
use k8s_openapi::api::core::v1::ServiceAccount;
use serde_json::{Value, json};

/// The descriptor.
pub static KIND: Kind = Kind::new::<ServiceAccount>("serviceaccount", "io.k8s.api.core.v1.ServiceAccount")
    .short(&["sa"])
    .subresources(&[Subresource::TOKEN])
    .rules(&AccountRules)
    .columns(&[NAME, Column::number("Secrets", |_, o| json!(items(&o["secrets"]).len())), AGE]);

struct AccountRules;

const ENFORCED: &str = "kubernetes.io/enforce-mountable-secrets";

impl Rules for AccountRules {
    fn warnings(&self, account: &Value) -> Vec<String> {
        self.update_warnings(account, &Value::Null)
    }

    fn update_warnings(&self, new: &Value, old: &Value) -> Vec<String> {
        let given = |account: &Value| account["metadata"]["annotations"].get(ENFORCED).is_some();
        let why = "deprecated in v1.32+; prefer separate namespaces to isolate access to mounted secrets";
        let said = (given(new) && !given(old)).then(|| format!("metadata.annotations[{ENFORCED}]: {why}"));
        said.into_iter().collect()
    }
}
