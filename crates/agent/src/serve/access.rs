//! Who may use the agent's server: by certificate or token, decided by the API server.

use crate::context::Node;
use coracle_api::{Resource, Result, Status, WriteOptions};
use coracle_pki::Certificate;
use http::{Method, Request, header};
use hyper::body::Incoming;
use k8s_openapi::api::{authentication::v1::TokenReview, authorization::v1::SubjectAccessReview};
use rustls::pki_types::CertificateDer;
use serde_json::{Value, json};

/// Whoever may do anything.
const MASTERS: &str = "system:masters";

/// Who asks, as far as the connection tells.
#[derive(Clone, Debug, Default)]
pub(super) struct Caller {
    user: Option<User>,
}

#[derive(Clone, Debug)]
struct User {
    name: String,
    groups: Vec<String>,
}

impl Caller {
    /// From a certificate that TLS has verified.
    pub(super) fn of(certificates: Option<&[CertificateDer<'_>]>) -> Self {
        let leaf = certificates.and_then(|c| c.first()).and_then(|c| Certificate::parse(c).ok());
        let user = leaf.map(|c| User { name: c.common_name, groups: c.organizations });
        Self { user }
    }

    /// Whether the request may go on.
    ///
    /// # Errors
    /// 401 without identity, 403 without permission.
    pub(super) async fn authorize(&self, node: &Node, request: &Request<Incoming>) -> Result<()> {
        let user = match (&self.user, bearer(request)) {
            (Some(user), _) => user.clone(),
            (None, Some(token)) => review(node, token).await?,
            (None, None) => return Err(Status::unauthorized()),
        };
        if user.groups.iter().any(|g| g == MASTERS) {
            return Ok(());
        }
        let (verb, subresource) = attributes(request.method(), request.uri().path());
        let body = json!({
            "apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview",
            "spec": {"user": user.name, "groups": user.groups, "resourceAttributes": {
                "verb": verb, "version": "v1", "resource": "nodes", "subresource": subresource,
                "name": node.config.node_name,
            }},
        });
        let answer = create(node, &Resource::of::<SubjectAccessReview>(), body).await?;
        if answer["status"]["allowed"] == true {
            return Ok(());
        }
        let message = format!("Forbidden (user={}, verb={verb}, resource=nodes, subresource={subresource})", user.name);
        Err(Status::new(403, "Forbidden", message))
    }
}

fn bearer(request: &Request<Incoming>) -> Option<&str> {
    request.headers().get(header::AUTHORIZATION)?.to_str().ok()?.strip_prefix("Bearer ")
}

async fn create(node: &Node, resource: &Resource, body: Value) -> Result<Value> {
    Ok(node.client.create(resource, "", body, &WriteOptions::default()).await?.value())
}

async fn review(node: &Node, token: &str) -> Result<User> {
    let body = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": {"token": token}});
    let answer = create(node, &Resource::of::<TokenReview>(), body).await?;
    let status = &answer["status"];
    if status["authenticated"] != true {
        return Err(Status::unauthorized());
    }
    let groups = status["user"]["groups"].as_array();
    Ok(User {
        name: status["user"]["username"].as_str().unwrap_or_default().to_string(),
        groups: groups.into_iter().flatten().filter_map(|g| g.as_str().map(str::to_string)).collect(),
    })
}

/// What a request is to the authorizer, as upstream's kubelet maps it.
fn attributes(method: &Method, path: &str) -> (&'static str, &'static str) {
    let verb = match *method {
        // a tunnel into a pod, as exec and port-forward are
        Method::POST | Method::CONNECT => "create",
        Method::PUT => "update",
        Method::PATCH => "patch",
        Method::DELETE => "delete",
        _ => "get",
    };
    let subresource = match path.trim_start_matches('/').split('/').next().unwrap_or_default() {
        "stats" => "stats",
        "metrics" => "metrics",
        "logs" => "log",
        _ => "proxy",
    };
    (verb, subresource)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_mapped_as_upstream_maps_them() {
        for (method, path, expected) in [
            (Method::GET, "/stats/summary", ("get", "stats")),
            (Method::GET, "/metrics/cadvisor", ("get", "metrics")),
            (Method::POST, "/exec/a/b/c", ("create", "proxy")),
            (Method::CONNECT, "", ("create", "proxy")),
            (Method::GET, "/containerLogs/a/b/c", ("get", "proxy")),
        ] {
            assert_eq!(attributes(&method, path), expected, "{path}");
        }
    }
}
