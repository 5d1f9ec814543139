//! Who asks: client certificates, service account tokens, bootstrap tokens.

use super::{
    Authenticator, Credentials, User,
    service_account::{self, Claims, SECRETS},
};
use base64::{Engine, prelude::BASE64_STANDARD};
use coracle_api::{Result, Status};
use coracle_base::SharedClock;
use coracle_client::SharedView;
use coracle_pki::{BootstrapToken, Certificate, TokenKey, token::unverified_claims};
use jiff::Timestamp;
use parking_lot::Mutex;
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::collections::HashMap;

/// Verified signatures are kept by the hash of what was verified: a client sends the same token or certificate with every request.
const KEPT: usize = 4096;

type Hash = [u8; 32];

/// The authenticator of the server.
pub struct Authenticate {
    view: SharedView,
    clock: SharedClock,
    tokens: TokenKey,
    issuer: String,
    audiences: Vec<String>,
    certificates: Mutex<HashMap<Hash, (User, Timestamp)>>,
    claims: Mutex<HashMap<Hash, Claims>>,
}

/// A token that holds.
pub struct Verified {
    /// Whose it is.
    pub user: User,
    /// For which of the accepted audiences.
    pub audiences: Vec<String>,
}

impl Authenticate {
    /// Believes tokens of `tokens` by `issuer` for one of `audiences`.
    pub fn new(view: SharedView, clock: SharedClock, tokens: TokenKey, issuer: String, audiences: Vec<String>) -> Self {
        Self { view, clock, tokens, issuer, audiences, certificates: Mutex::default(), claims: Mutex::default() }
    }

    /// For whom tokens are meant that are shown to this server.
    pub fn audiences(&self) -> &[String] {
        &self.audiences
    }

    fn certificate(&self, der: &[u8]) -> Result<User> {
        let hash: Hash = Sha256::digest(der).into();
        let now = self.clock.now();
        if let Some((user, until)) = self.certificates.lock().get(&hash) {
            return if now < *until { Ok(user.clone()) } else { Err(Status::unauthorized()) };
        }
        let read = Certificate::parse(der).map_err(|_| Status::unauthorized())?;
        if read.common_name.is_empty() || now >= read.not_after || now < read.not_before {
            return Err(Status::unauthorized());
        }
        let mut user = User { name: read.common_name, groups: read.organizations, ..User::default() };
        user.groups.push("system:authenticated".into());
        let id = format!("X509SHA256={}", read.fingerprint);
        user.extra.insert("authentication.kubernetes.io/credential-id".into(), vec![id]);
        keep(&self.certificates, hash, (user.clone(), read.not_after));
        Ok(user)
    }

    /// Verifies a bearer token for one of `audiences` (none: this server's own).
    ///
    /// # Errors
    /// Why it does not hold; for the log and for TokenReview, not for the client itself.
    pub fn verify(&self, token: &str, audiences: &[String]) -> std::result::Result<Verified, String> {
        let accepted = if audiences.is_empty() { &self.audiences } else { audiences };
        if let Ok(bootstrap) = token.parse::<BootstrapToken>() {
            let user = self.bootstrap(&bootstrap)?;
            // a bootstrap token says nothing of audiences: it is for this server
            let audiences: Vec<String> = accepted.iter().filter(|a| self.audiences.contains(a)).cloned().collect();
            return if audiences.is_empty() {
                Err("invalid bearer token".into())
            } else {
                Ok(Verified { user, audiences })
            };
        }
        let claims = self.claims(token)?;
        let audiences: Vec<String> = accepted.iter().filter(|a| claims.aud.contains(a)).cloned().collect();
        if audiences.is_empty() {
            return Err(format!("token audiences {:?} is invalid for the target audiences {accepted:?}", claims.aud));
        }
        let user = service_account::believe(&*self.view, &claims, self.clock.now())?;
        Ok(Verified { user, audiences })
    }

    fn claims(&self, token: &str) -> std::result::Result<Claims, String> {
        let hash: Hash = Sha256::digest(token).into();
        if let Some(claims) = self.claims.lock().get(&hash) {
            return Ok(claims.clone());
        }
        let claimed = unverified_claims(token).ok_or("invalid bearer token")?;
        if claimed["iss"] != self.issuer.as_str() {
            return Err("invalid bearer token".into());
        }
        let verified = self.tokens.verify(token).map_err(|e| e.to_string())?;
        let claims: Claims = serde_json::from_value(verified).map_err(|e| format!("invalid bearer token: {e}"))?;
        keep(&self.claims, hash, claims.clone());
        Ok(claims)
    }

    fn bootstrap(&self, token: &BootstrapToken) -> std::result::Result<User, String> {
        let name = format!("bootstrap-token-{}", token.id);
        let secret = self.view.get(&SECRETS, "kube-system", &name).ok_or("invalid bearer token")?;
        bootstrap_user(&secret.value(), token, self.clock.now())
    }
}

impl Authenticator for Authenticate {
    fn authenticate(&self, credentials: Credentials<'_>) -> Result<Option<User>> {
        if let Some(token) = credentials.bearer.map(str::trim).filter(|t| !t.is_empty()) {
            return match self.verify(token, &[]) {
                Ok(verified) => Ok(Some(verified.user)),
                Err(why) => {
                    tracing::debug!(why, "bearer token refused");
                    Err(Status::unauthorized())
                }
            };
        }
        credentials.certificate.map(|der| self.certificate(der)).transpose()
    }
}

fn keep<T>(cache: &Mutex<HashMap<Hash, T>>, hash: Hash, value: T) {
    let mut cache = cache.lock();
    if cache.len() >= KEPT {
        cache.clear();
    }
    cache.insert(hash, value);
}

/// The user of a bootstrap token by its Secret.
fn bootstrap_user(secret: &Value, token: &BootstrapToken, now: Timestamp) -> std::result::Result<User, String> {
    let data = |key: &str| -> String {
        let encoded = secret["data"][key].as_str().unwrap_or_default();
        BASE64_STANDARD.decode(encoded).ok().and_then(|b| String::from_utf8(b).ok()).unwrap_or_default()
    };
    let refuse = |why: &str| Err(format!("bootstrap token {}: {why}", token.id));
    if secret["type"] != "bootstrap.kubernetes.io/token" || !secret["metadata"]["deletionTimestamp"].is_null() {
        return refuse("the Secret is not a token");
    }
    // hashes are compared, so that the time it takes says nothing about the secret
    if data("token-id") != token.id || Sha256::digest(data("token-secret")) != Sha256::digest(&token.secret) {
        return refuse("the secret does not match");
    }
    let expiration = data("expiration");
    if !expiration.is_empty() && expiration.parse::<Timestamp>().map_or(true, |until| until <= now) {
        return refuse("expired");
    }
    if data("usage-bootstrap-authentication") != "true" {
        return refuse("not for authentication");
    }
    let mut groups = vec!["system:bootstrappers".to_string()];
    for group in data("auth-extra-groups").split(',').filter(|g| !g.is_empty()) {
        if !group.starts_with("system:bootstrappers:") {
            return refuse("a group outside of system:bootstrappers:");
        }
        groups.push(group.to_string());
    }
    groups.push("system:authenticated".into());
    Ok(User { name: format!("system:bootstrap:{}", token.id), groups, ..User::default() })
}

/// The Secret (without namespace and name checks to come) that makes `token` valid until `expires`.
pub fn bootstrap_secret(token: &BootstrapToken, description: &str, expires: Option<Timestamp>) -> Value {
    let encode = |text: &str| Value::from(BASE64_STANDARD.encode(text));
    let mut data = serde_json::json!({
        "token-id": encode(&token.id), "token-secret": encode(&token.secret), "description": encode(description),
        "usage-bootstrap-authentication": encode("true"),
        "auth-extra-groups": encode("system:bootstrappers:coracle:default-node-token"),
    });
    if let Some(expires) = expires {
        data["expiration"] = encode(&expires.strftime("%Y-%m-%dT%H:%M:%SZ").to_string());
    }
    serde_json::json!({
        "apiVersion": "v1", "kind": "Secret", "type": "bootstrap.kubernetes.io/token", "data": data,
        "metadata": {"name": format!("bootstrap-token-{}", token.id), "namespace": "kube-system"},
    })
}
