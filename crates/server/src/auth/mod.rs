//! Who asks, and whether they may: users from certificates and tokens, decisions from RBAC and the Node authorizer.
//!
//! Everything here reads the world through a [`View`](coracle_client::View) and decides in memory; nothing awaits.

pub mod authenticate;
pub mod bootstrap;
pub mod chain;
pub mod forbidden;
pub mod impersonate;
pub mod node;
pub mod rbac;
pub mod review;
pub mod service_account;
#[cfg(test)]
pub(crate) mod testing;

pub use authenticate::bootstrap_secret;
pub use forbidden::forbidden;
pub use impersonate::impersonate;

use crate::route::RequestInfo;
use coracle_api::{Resource, Result};
use coracle_base::{SharedClock, Tasks};
use coracle_client::SharedView;
use coracle_pki::TokenKey;
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

    /// A controller of this process: the service account that it has upstream.
    pub fn controller(name: &str) -> Self {
        let account = service_account::Bound { name: name.into(), uid: String::new() };
        service_account::user("kube-system", &account)
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

/// Who issues tokens, and for whom.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The key that signs service account tokens.
    pub tokens: TokenKey,
    /// `iss` of tokens.
    pub issuer: String,
    /// `aud` of tokens that are meant for this server.
    pub audiences: Vec<String>,
    /// Where others find the issuer's keys.
    pub jwks_uri: String,
}

impl Settings {
    /// Upstream's defaults for a cluster domain; `server` is the server's URL as others reach it.
    pub fn new(tokens: TokenKey, domain: &str, server: &str) -> Self {
        let issuer = format!("https://kubernetes.default.svc.{domain}");
        Self { tokens, audiences: vec![issuer.clone()], issuer, jwks_uri: format!("{server}/openid/v1/jwks") }
    }
}

impl Auth {
    /// The whole of it over the world in `view`; a task in `tasks` follows the policy's changes.
    pub fn start(view: SharedView, clock: SharedClock, settings: Settings, tasks: &Tasks) -> Self {
        Self::with(view, clock, settings, Some(tasks))
    }

    fn with(view: SharedView, clock: SharedClock, settings: Settings, tasks: Option<&Tasks>) -> Self {
        let Settings { tokens, issuer, audiences, jwks_uri } = settings;
        let authenticate = Arc::new(authenticate::Authenticate::new(
            view.clone(),
            clock.clone(),
            tokens.clone(),
            issuer.clone(),
            audiences,
        ));
        let authorize = chain::Authorize::new(view.clone());
        if let Some(tasks) = tasks {
            tasks.spawn("rbac policy", authorize.clone().follow());
        }
        let review = review::Review {
            view,
            clock,
            authenticate: authenticate.clone(),
            authorize: authorize.clone(),
            tokens,
            issuer,
            jwks_uri,
        };
        Self { authenticator: authenticate, authorizer: authorize, reviewer: Arc::new(review) }
    }
}
