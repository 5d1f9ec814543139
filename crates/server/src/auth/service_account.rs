//! Service account tokens: what stands in them, and when they are believed.
//!
//! A token is bound to its account and, if asked, to a pod, a Secret or a node. It holds only as long as all of them exist with the
//! uids that they had.

use super::User;
use coracle_api::{Object, Resource};
use coracle_client::View;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::sync::Arc;

/// ServiceAccounts.
pub const SERVICE_ACCOUNTS: Resource = Resource::fixed("", "v1", "serviceaccounts", "ServiceAccount", true);
/// Pods.
pub const PODS: Resource = Resource::fixed("", "v1", "pods", "Pod", true);
/// Secrets.
pub const SECRETS: Resource = Resource::fixed("", "v1", "secrets", "Secret", true);
/// Nodes.
pub const NODES: Resource = Resource::fixed("", "v1", "nodes", "Node", false);

/// How long a token that was asked for a pod's own use (3607 seconds) really lives, for clients that read it once and never again.
pub const EXTENDED_LIFE: SignedDuration = SignedDuration::from_hours(365 * 24);
/// The lifetime by which such a token is recognised.
pub const POD_TOKEN_SECONDS: i64 = 3607;

/// A name with the uid that it had.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Bound {
    /// Name.
    pub name: String,
    /// Uid.
    pub uid: String,
}

impl Bound {
    /// To this very object.
    pub fn to(object: &Object) -> Self {
        Self { name: object.meta().name.clone(), uid: object.meta().uid.clone() }
    }
}

/// The claims of a token.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Claims {
    /// For whom.
    pub aud: Vec<String>,
    /// Until when.
    pub exp: i64,
    /// Made when.
    pub iat: i64,
    /// By whom.
    pub iss: String,
    /// A name for this token.
    pub jti: String,
    /// What it is bound to.
    #[serde(rename = "kubernetes.io")]
    pub bound: Private,
    /// From when.
    pub nbf: i64,
    /// The user name.
    pub sub: String,
}

/// The claim `kubernetes.io`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Private {
    /// The account's namespace.
    pub namespace: String,
    /// The node that the pod runs on, or the node that it is bound to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node: Option<Bound>,
    /// The pod that it is bound to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pod: Option<Bound>,
    /// The Secret that it is bound to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret: Option<Bound>,
    /// The account.
    pub serviceaccount: Bound,
    /// From when on its use is a sign of a client that does not reload.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub warnafter: Option<i64>,
}

/// User name of an account.
pub fn user_name(namespace: &str, name: &str) -> String {
    format!("system:serviceaccount:{namespace}:{name}")
}

/// The user that an account is, without what a token adds.
pub fn user(namespace: &str, account: &Bound) -> User {
    User {
        name: user_name(namespace, &account.name),
        uid: account.uid.clone(),
        groups: vec![
            "system:serviceaccounts".into(),
            format!("system:serviceaccounts:{namespace}"),
            "system:authenticated".into(),
        ],
        ..User::default()
    }
}

/// The user of verified claims, or why they do not hold.
pub fn believe(view: &dyn View, claims: &Claims, now: Timestamp) -> Result<User, String> {
    let private = &claims.bound;
    if now.as_second() >= claims.exp {
        return Err("service account token has expired".into());
    }
    if now.as_second() < claims.nbf {
        return Err("service account token is not valid yet".into());
    }
    let namespace = private.namespace.as_str();
    if claims.sub != user_name(namespace, &private.serviceaccount.name) {
        return Err("service account token names two different accounts".into());
    }
    exists(view, &SERVICE_ACCOUNTS, namespace, &private.serviceaccount, now)?;
    let mut user = user(namespace, &private.serviceaccount);
    let mut tell = |key: &str, value: &str| {
        user.extra.insert(format!("authentication.kubernetes.io/{key}"), vec![value.to_string()]);
    };
    if let Some(secret) = &private.secret {
        exists(view, &SECRETS, namespace, secret, now)?;
    }
    if let Some(pod) = &private.pod {
        exists(view, &PODS, namespace, pod, now)?;
        tell("pod-name", &pod.name);
        tell("pod-uid", &pod.uid);
    }
    if let Some(node) = &private.node {
        // beside a pod the node is a fact about the pod; alone it is what the token is bound to
        if private.pod.is_none() {
            exists(view, &NODES, "", node, now)?;
        }
        tell("node-name", &node.name);
        tell("node-uid", &node.uid);
    }
    if !claims.jti.is_empty() {
        tell("credential-id", &format!("JTI={}", claims.jti));
    }
    Ok(user)
}

fn exists(view: &dyn View, resource: &Resource, namespace: &str, bound: &Bound, now: Timestamp) -> Result<(), String> {
    let kind = resource.kind.to_ascii_lowercase();
    let Some(object) = view.get(resource, namespace, &bound.name) else {
        return Err(format!("the {kind} of the token does not exist"));
    };
    if object.meta().uid != bound.uid {
        return Err(format!("the {kind} of the token was deleted and made again"));
    }
    // 60 s after its end has come, an object that is still being taken down no longer vouches for anybody
    let gone = object.meta().deletion_timestamp.is_some_and(|at| at + SignedDuration::from_secs(60) < now);
    if gone { Err(format!("the {kind} of the token has been deleted")) } else { Ok(()) }
}

/// What a TokenRequest asks for, validated.
pub struct Wanted {
    /// The account.
    pub account: Arc<Object>,
    /// What to bind to besides it.
    pub bound: Private,
    /// For whom.
    pub audiences: Vec<String>,
    /// For how long.
    pub seconds: i64,
}

impl Wanted {
    /// The claims; `extend` if the token is for the API server itself.
    pub fn claims(&self, issuer: &str, id: String, extend: bool, now: Timestamp) -> Claims {
        let meta = self.account.meta();
        let mut bound = self.bound.clone();
        bound.namespace = meta.namespace.clone();
        bound.serviceaccount = Bound::to(&self.account);
        let mut until = now + SignedDuration::from_secs(self.seconds);
        if extend && bound.pod.is_some() && self.seconds == POD_TOKEN_SECONDS {
            bound.warnafter = Some(until.as_second());
            until = now + EXTENDED_LIFE;
        }
        Claims {
            aud: self.audiences.clone(),
            exp: until.as_second(),
            iat: now.as_second(),
            iss: issuer.to_string(),
            jti: id,
            bound,
            nbf: now.as_second(),
            sub: user_name(&meta.namespace, &meta.name),
        }
    }
}

/// The status of the answered TokenRequest: the promised end, not the extended one.
pub fn status(token: &str, seconds: i64, now: Timestamp) -> Value {
    let until = (now + SignedDuration::from_secs(seconds)).strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    json!({"token": token, "expirationTimestamp": until})
}
