//! The kinds that ask and are never stored: access and token reviews; and the making of service account tokens.

use super::{
    Attributes, Authorizer, Reviewer, User,
    authenticate::Authenticate,
    chain::Authorize,
    service_account::{self, Bound, NODES, PODS, Private, SECRETS, SERVICE_ACCOUNTS, Wanted},
};
use coracle_api::{FieldError, Resource, Result, Status};
use coracle_base::SharedClock;
use coracle_client::SharedView;
use coracle_pki::{TokenKey, token};
use k8s_openapi::api::core::v1::Pod;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::sync::Arc;

const TOKEN_REQUEST: Resource = Resource::fixed("authentication.k8s.io", "v1", "tokenrequests", "TokenRequest", true);
const SHORTEST: i64 = 600;
const LONGEST: i64 = 1 << 32;

/// The reviewer of the server.
pub struct Review {
    /// The world.
    pub view: SharedView,
    /// The time.
    pub clock: SharedClock,
    /// Believes tokens.
    pub authenticate: Arc<Authenticate>,
    /// Decides.
    pub authorize: Arc<Authorize>,
    /// Signs tokens.
    pub tokens: TokenKey,
    /// Who issues them.
    pub issuer: String,
    /// Where the issuer's keys are found.
    pub jwks_uri: String,
}

impl Review {
    fn access(&self, user: &User, resource: &Resource, namespace: &str, body: &Value) -> Result<Value> {
        let spec = &body["spec"];
        let attributes = attributes_of(resource, spec)?;
        let subject =
            if resource.kind == "SelfSubjectAccessReview" { user.clone() } else { subject_of(resource, spec)? };
        if resource.kind == "LocalSubjectAccessReview" && attributes.namespace != namespace {
            return Err(Status::bad_request(format!(
                "spec.resourceAttributes.namespace must match namespace: {namespace}"
            )));
        }
        let (allowed, reason) = self.authorize.explain(&subject, &attributes);
        let mut status = json!({"allowed": allowed});
        if !reason.is_empty() {
            status["reason"] = json!(reason);
        }
        Ok(status)
    }

    fn token_review(&self, resource: &Resource, body: &Value) -> Result<Value> {
        let token = body["spec"]["token"].as_str().unwrap_or_default();
        if token.is_empty() {
            return Err(Status::bad_request("token is required for TokenReview in authentication"));
        }
        let audiences = strings(&body["spec"]["audiences"]).map_err(|_| malformed(resource, "spec.audiences"))?;
        Ok(match self.authenticate.verify(token, &audiences) {
            Ok(verified) => {
                json!({"authenticated": true, "user": user_info(&verified.user), "audiences": verified.audiences})
            }
            Err(why) => json!({"user": {}, "error": why}),
        })
    }

    /// Checks what a TokenRequest asks for.
    fn wanted(&self, namespace: &str, name: &str, spec: &Value) -> Result<Wanted> {
        let account = self
            .view
            .get(&SERVICE_ACCOUNTS, namespace, name)
            .filter(|account| !account.meta().is_deleting())
            .ok_or_else(|| Status::not_found(&SERVICE_ACCOUNTS, name))?;
        let seconds = spec["expirationSeconds"].as_i64().unwrap_or(3600);
        let invalid = |detail: &str| {
            let error = FieldError::invalid("spec.expirationSeconds", seconds, detail);
            Err(Status::invalid(&TOKEN_REQUEST, name, &[error]))
        };
        if seconds < SHORTEST {
            return invalid("may not specify a duration less than 10 minutes");
        }
        if seconds > LONGEST {
            return invalid("may not specify a duration larger than 2^32 seconds");
        }
        let mut audiences = strings(&spec["audiences"]).map_err(|_| malformed(&TOKEN_REQUEST, "spec.audiences"))?;
        if audiences.is_empty() {
            audiences = self.authenticate.audiences().to_vec();
        }
        let bound = self.binding(namespace, name, &spec["boundObjectRef"])?;
        Ok(Wanted { account, bound, audiences, seconds })
    }

    fn binding(&self, namespace: &str, account: &str, reference: &Value) -> Result<Private> {
        let mut bound = Private::default();
        if reference.is_null() {
            return Ok(bound);
        }
        let text = |field: &str| reference[field].as_str().unwrap_or_default();
        let resource = match (text("apiVersion"), text("kind")) {
            ("v1", "Pod") => &PODS,
            ("v1", "Secret") => &SECRETS,
            ("v1", "Node") => &NODES,
            (version, kind) => {
                let what = format!(
                    "cannot bind token for serviceaccount {account:?} to an object of type {version}, Kind={kind}"
                );
                return Err(Status::bad_request(what));
            }
        };
        let (name, uid) = (text("name"), text("uid"));
        let namespace = if resource.namespaced { namespace } else { "" };
        let object = self.view.get(resource, namespace, name).ok_or_else(|| Status::not_found(resource, name))?;
        if !uid.is_empty() && uid != object.meta().uid {
            let why = format!(
                "the UID in the bound object reference ({uid}) does not match the UID in record. The object might have been deleted and then recreated"
            );
            return Err(Status::conflict(resource, name, why));
        }
        match resource.kind.as_ref() {
            "Secret" => bound.secret = Some(Bound::to(&object)),
            "Node" => bound.node = Some(Bound::to(&object)),
            _ => {
                let pod = object.view::<Pod>()?;
                let spec = pod.spec.as_ref();
                if spec.and_then(|s| s.service_account_name.as_deref()) != Some(account) {
                    return Err(Status::bad_request(format!(
                        "cannot bind token for serviceaccount {account:?} to pod running with different serviceaccount name."
                    )));
                }
                bound.pod = Some(Bound::to(&object));
                if let Some(node) = spec.and_then(|s| s.node_name.as_deref()).filter(|n| !n.is_empty()) {
                    let uid = self.view.get(&NODES, "", node).map(|n| n.meta().uid.clone()).unwrap_or_default();
                    bound.node = Some(Bound { name: node.to_string(), uid });
                }
            }
        }
        Ok(bound)
    }
}

impl Reviewer for Review {
    fn review(&self, user: &User, resource: &Resource, namespace: &str, mut body: Value) -> Option<Result<Value>> {
        let status = match (resource.group.as_ref(), resource.plural.as_ref()) {
            (
                "authorization.k8s.io",
                "subjectaccessreviews" | "selfsubjectaccessreviews" | "localsubjectaccessreviews",
            ) => self.access(user, resource, namespace, &body),
            ("authorization.k8s.io", "selfsubjectrulesreviews") => match body["spec"]["namespace"].as_str() {
                None | Some("") => Err(Status::bad_request("no namespace on request")),
                Some(namespace) => Ok(self.authorize.rules(user, namespace)),
            },
            ("authentication.k8s.io", "tokenreviews") => self.token_review(resource, &body),
            ("authentication.k8s.io", "selfsubjectreviews") => Ok(json!({"userInfo": user_info(user)})),
            _ => return None,
        };
        Some(status.map(|status| {
            body["apiVersion"] = json!(resource.api_version());
            body["kind"] = json!(resource.kind);
            body["status"] = status;
            if body["metadata"].is_null() {
                body["metadata"] = json!({});
            }
            body
        }))
    }

    fn token(&self, _: &User, namespace: &str, name: &str, mut body: Value) -> Result<Value> {
        if !body.is_object() {
            body = json!({});
        }
        let given = |field: &str| body["metadata"][field].as_str().unwrap_or_default();
        if !matches!(given("name"), "" | "default") && given("name") != name {
            return Err(Status::bad_request("name in URL does not match name in TokenRequest object"));
        }
        if !given("namespace").is_empty() && given("namespace") != namespace {
            return Err(Status::bad_request("namespace in URL does not match namespace in TokenRequest object"));
        }
        let wanted = self.wanted(namespace, name, &body["spec"])?;
        let now = self.clock.now();
        let for_us = wanted.audiences == self.authenticate.audiences();
        let claims = wanted.claims(&self.issuer, uuid::Uuid::new_v4().to_string(), for_us, now);
        let token = self.tokens.sign(&serde_json::to_value(claims).map_err(Status::internal)?);
        let mut spec = body["spec"].as_object().cloned().unwrap_or_else(Map::new);
        spec.insert("audiences".into(), json!(wanted.audiences));
        spec.insert("expirationSeconds".into(), json!(wanted.seconds));
        spec.entry("boundObjectRef").or_insert(Value::Null);
        Ok(json!({
            "apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest",
            "metadata": {"name": name, "namespace": namespace, "creationTimestamp": now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()},
            "spec": spec,
            "status": service_account::status(&token.map_err(Status::internal)?, wanted.seconds, now),
        }))
    }

    fn jwks(&self) -> Value {
        self.tokens.jwks()
    }

    fn openid_configuration(&self) -> Value {
        token::openid_configuration(&self.issuer, &self.jwks_uri)
    }
}

fn malformed(resource: &Resource, field: &str) -> Status {
    Status::bad_request(format!("{} in version \"v1\" cannot be handled: {field} has the wrong type", resource.kind))
}

fn strings(list: &Value) -> std::result::Result<Vec<String>, serde_json::Error> {
    if list.is_null() { Ok(Vec::new()) } else { Vec::deserialize(list) }
}

fn attributes_of(resource: &Resource, spec: &Value) -> Result<Attributes> {
    let text = |part: &Value, field: &str| part[field].as_str().unwrap_or_default().to_string();
    match (&spec["resourceAttributes"], &spec["nonResourceAttributes"]) {
        (r, Value::Null) if r.is_object() => Ok(Attributes {
            verb: text(r, "verb"),
            group: text(r, "group"),
            version: text(r, "version"),
            resource: text(r, "resource"),
            subresource: text(r, "subresource"),
            namespace: text(r, "namespace"),
            name: text(r, "name"),
            ..Attributes::default()
        }),
        (Value::Null, p) if p.is_object() && resource.kind != "LocalSubjectAccessReview" => {
            Ok(Attributes { verb: text(p, "verb"), path: text(p, "path"), ..Attributes::default() })
        }
        (r, p) => {
            let shown = if r.is_null() { p } else { r };
            let detail = match (r.is_null(), p.is_null()) {
                (true, true) => "exactly one of nonResourceAttributes or resourceAttributes must be specified",
                _ if resource.kind == "LocalSubjectAccessReview" => "disallowed on this kind of request",
                _ => "cannot be specified in combination with resourceAttributes",
            };
            let error = FieldError::invalid("spec.resourceAttributes", shown.clone(), detail);
            Err(Status::invalid(resource, "", &[error]))
        }
    }
}

fn subject_of(resource: &Resource, spec: &Value) -> Result<User> {
    let text = |field: &str| spec[field].as_str().unwrap_or_default().to_string();
    let groups = strings(&spec["groups"]).map_err(|_| malformed(resource, "spec.groups"))?;
    let user = User { name: text("user"), uid: text("uid"), groups, ..User::default() };
    if user.name.is_empty() && user.groups.is_empty() {
        let error = FieldError::invalid("spec.user", "", "at least one of user or group must be specified");
        return Err(Status::invalid(resource, "", &[error]));
    }
    Ok(user)
}

/// A user as reviews show it.
pub fn user_info(user: &User) -> Value {
    let mut info = json!({"username": user.name, "groups": user.groups});
    if !user.uid.is_empty() {
        info["uid"] = json!(user.uid);
    }
    if !user.extra.is_empty() {
        info["extra"] = json!(user.extra);
    }
    info
}

#[cfg(test)]
mod tests;
