//! Who asks, and whether they may: users from certificates and tokens, decisions from RBAC and the Node authorizer.
//!
//! Everything here reads the world through a [`View`](coracle_client::View) and decides in memory; nothing awaits.

use crate::route::RequestInfo;
use coracle_api::{Resource, Result};
use serde_json::Value;
use std::{collections::BTreeMap, sync::Arc};

/// Who asks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct User {
    /// `system:node:a`, `system:serviceaccount:ns:name`, `kubernetes-admin`, …
    pub name: String,
    /// Unique id; may be empty.
    pub uid: String,
    /// Groups, `system:authenticated` among them once authenticated.
    pub groups: Vec<String>,
    /// Extra facts (`authentication.kubernetes.io/pod-name`, …).
    pub extra: BTreeMap<String, Vec<String>>,
}

impl User {
    /// The user of requests without credentials.
    pub fn anonymous() -> Self {
        Self { name: "system:anonymous".into(), groups: vec!["system:unauthenticated".into()], ..Self::default() }
    }

    /// A component of this process: member of `groups` and `system:authenticated`.
    pub fn component(name: &str, groups: &[&str]) -> Self {
        let groups = groups.iter().chain(&["system:authenticated"]).map(ToString::to_string).collect();
        Self { name: name.into(), groups, ..Self::default() }
    }

    /// Whether the user is in `group`.
    pub fn in_group(&self, group: &str) -> bool {
        self.groups.iter().any(|g| g == group)
    }
}

/// What a connection and a request bring along to prove who asks.
#[derive(Clone, Copy, Debug, Default)]
pub struct Credentials<'a> {
    /// The client's certificate (DER), already verified against the cluster's CA by the TLS stack.
    pub certificate: Option<&'a [u8]>,
    /// `Authorization: Bearer …`.
    pub bearer: Option<&'a str>,
}

/// Turns credentials into a user.
pub trait Authenticator: Send + Sync + 'static {
    /// `Ok(None)` if there are no credentials (the caller then is [`User::anonymous`]).
    ///
    /// # Errors
    /// 401 if there are some and they do not hold.
    fn authenticate(&self, credentials: Credentials<'_>) -> Result<Option<User>>;
}

/// What is asked for, as authorization sees it.
#[derive(Clone, Debug, Default)]
pub struct Attributes {
    /// `get`, `list`, `watch`, `create`, `update`, `patch`, `delete`, `deletecollection`, or for paths the HTTP method in lower case.
    pub verb: String,
    /// API group of the resource.
    pub group: String,
    /// Version of the resource.
    pub version: String,
    /// Plural; empty for a path that names no resource.
    pub resource: String,
    /// Subresource or empty.
    pub subresource: String,
    /// Namespace or empty.
    pub namespace: String,
    /// Name or empty.
    pub name: String,
    /// The URL path when no resource is named.
    pub path: String,
    /// `fieldSelector=` of list, watch, deletecollection (the Node authorizer looks at `spec.nodeName`).
    pub field_selector: String,
    /// `labelSelector=`.
    pub label_selector: String,
}

impl Attributes {
    /// What a routed request asks for.
    pub fn of(info: &RequestInfo) -> Self {
        Self {
            verb: info.verb.clone(),
            group: info.group.clone(),
            version: info.version.clone(),
            resource: info.resource.clone(),
            subresource: info.subresource.clone(),
            namespace: info.namespace.clone(),
            name: info.name.clone(),
            path: if info.resource.is_empty() { info.path.clone() } else { String::new() },
            ..Self::default()
        }
    }
}

/// The answer of authorization.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Go on.
    Allow,
    /// Refused, with a reason for the message (may be empty).
    Deny(String),
}

/// Decides whether a user may.
pub trait Authorizer: Send + Sync + 'static {
    /// The decision of the whole chain (superusers, Node, RBAC).
    fn authorize(&self, user: &User, attributes: &Attributes) -> Decision;

    /// Fills the status of a `SelfSubjectRulesReview`: the rules of `user` in `namespace`, as its JSON.
    fn rules(&self, user: &User, namespace: &str) -> Value;

    /// Refuses a Role, ClusterRole or binding that would give more than `user` has (`escalate` and `bind` aside).
    ///
    /// # Errors
    /// 403 with the rules that are missing.
    fn may_grant(&self, user: &User, resource: &Resource, object: &Value) -> Result<()>;
}

/// Answers the create-only kinds that ask instead of store: reviews (`TokenReview`, `SubjectAccessReview`, …) and the `token`
/// subresource of a ServiceAccount.
pub trait Reviewer: Send + Sync + 'static {
    /// The review with its status filled in; `None` if `resource` is no such kind.
    ///
    /// # Errors
    /// 400 and 422 for malformed reviews.
    fn review(&self, user: &User, resource: &Resource, namespace: &str, body: Value) -> Option<Result<Value>>;

    /// `POST serviceaccounts/<name>/token`: the TokenRequest with its token.
    ///
    /// # Errors
    /// 404 for an unknown account, 400/422 for a malformed request.
    fn token(&self, user: &User, namespace: &str, name: &str, body: Value) -> Result<Value>;

    /// `/openid/v1/jwks`.
    fn jwks(&self) -> Value;

    /// `/.well-known/openid-configuration`.
    fn openid_configuration(&self) -> Value;
}

/// All that the request path needs from this module.
#[derive(Clone)]
pub struct Auth {
    /// Who asks.
    pub authenticator: Arc<dyn Authenticator>,
    /// Whether they may.
    pub authorizer: Arc<dyn Authorizer>,
    /// Reviews and tokens.
    pub reviewer: Arc<dyn Reviewer>,
}
