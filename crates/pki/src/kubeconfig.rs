//! Writes kubeconfig files.

use crate::{Error, Identity, Result};
use base64::{Engine, prelude::BASE64_STANDARD};
use serde_json::{Value, json};
use std::fmt::Write;

/// How a user proves who they are.
#[derive(Clone, Debug)]
pub enum Credentials {
    /// By a client certificate, inline.
    Certificate(Identity),
    /// By a bearer token.
    Token(String),
}

/// One cluster, one user, one context.
#[derive(Clone, Debug)]
pub struct Kubeconfig {
    /// The name of cluster and context.
    pub cluster: String,
    /// The name of the user.
    pub user: String,
    /// `https://host:port`.
    pub server: String,
    /// The authority as PEM.
    pub authority: String,
    /// The user's credentials.
    pub credentials: Credentials,
}

impl Kubeconfig {
    /// The `cluster` entry.
    pub fn cluster_entry(&self) -> Value {
        json!({"certificate-authority-data": BASE64_STANDARD.encode(&self.authority), "server": self.server})
    }

    /// The `user` entry.
    pub fn user_entry(&self) -> Result<Value> {
        Ok(match &self.credentials {
            Credentials::Token(token) => json!({"token": token}),
            Credentials::Certificate(identity) => {
                let leaf =
                    identity.chain.first().ok_or_else(|| Error::malformed("an identity without a certificate"))?;
                json!({
                    "client-certificate-data": BASE64_STANDARD.encode(crate::pem::encode("CERTIFICATE", leaf)),
                    "client-key-data": BASE64_STANDARD.encode(identity.key.to_pem()),
                })
            }
        })
    }

    /// The whole file as YAML. Strings are written quoted, which YAML reads as JSON does.
    pub fn to_yaml(&self) -> Result<String> {
        let mut out = String::from("apiVersion: v1\nkind: Config\npreferences: {}\n");
        let mut entry = |list: &str, name: &str, key: &str, fields: &Value| {
            let _ = write!(out, "{list}:\n- name: {}\n  {key}:\n", json!(name));
            for (field, value) in fields.as_object().into_iter().flatten() {
                let _ = writeln!(out, "    {field}: {value}");
            }
        };
        entry("clusters", &self.cluster, "cluster", &self.cluster_entry());
        entry("contexts", &self.cluster, "context", &json!({"cluster": self.cluster, "user": self.user}));
        entry("users", &self.user, "user", &self.user_entry()?);
        let _ = writeln!(out, "current-context: {}", json!(self.cluster));
        Ok(out)
    }
}
