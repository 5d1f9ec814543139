//! Discovery: what is served, as clients ask for it: per group version, and aggregated in one document.

use crate::{
    answer,
    app::Ask,
    catalog::{Catalog, Kinds, Served},
    http::{
        body::{self, Body},
        negotiate::{self, Accepted, Endpoint, Form, Syntax, Takes},
    },
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use coracle_api::{Result, Schema, Status, validation::version_rank as rank};
use coracle_kinds::{Kind, Subresource};
use http::{HeaderValue, Response, StatusCode, header};
use parking_lot::Mutex;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::{cmp::Reverse, sync::Arc};

/// The discovery documents, made when first asked for after a change of the catalog.
pub struct Discovery {
    catalog: Catalog,
    address: String,
    made: Mutex<Option<(u64, Arc<Documents>)>>,
}

/// The documents of one state of the catalog.
struct Documents {
    groups: Vec<Group>,
    address: String,
    core: Aggregated,
    others: Aggregated,
}

struct Group {
    name: String,
    versions: Vec<(String, Vec<Arc<Served>>)>,
}

/// An aggregated document in its two versions, with its ETag.
struct Aggregated {
    v2: (Vec<u8>, String),
    v2beta1: (Vec<u8>, String),
}

impl Discovery {
    /// The documents of a catalog; `address` is what clients outside reach the server at.
    pub fn new(catalog: &Catalog, address: &str) -> Self {
        Self { catalog: catalog.clone(), address: address.to_string(), made: Mutex::default() }
    }

    fn documents(&self) -> Arc<Documents> {
        let kinds = self.catalog.kinds();
        let mut made = self.made.lock();
        match &*made {
            Some((generation, documents)) if *generation == kinds.generation => documents.clone(),
            _ => {
                let documents = Arc::new(Documents::new(&kinds, &self.address));
                *made = Some((kinds.generation, documents.clone()));
                documents
            }
        }
    }

    /// `/`.
    pub fn paths(&self) -> Value {
        self.documents().paths()
    }

    /// The answer for a path that begins with `api` or `apis`; `None`: no such group or version.
    pub fn answer(&self, parts: &[&str], ask: &Ask) -> Option<Response<Body>> {
        self.documents().answer(parts, ask)
    }
}

impl Documents {
    fn new(kinds: &Kinds, address: &str) -> Self {
        let mut groups: Vec<Group> = Vec::new();
        for served in kinds.all() {
            let (name, version) = (&served.resource.group, &served.resource.version);
            let at = groups.iter().position(|g| g.name == *name).unwrap_or_else(|| {
                groups.push(Group { name: name.to_string(), versions: Vec::new() });
                groups.len() - 1
            });
            let versions = &mut groups[at].versions;
            match versions.iter_mut().find(|(v, _)| v == version) {
                Some((_, kinds)) => kinds.push(served.clone()),
                None => versions.push((version.to_string(), vec![served.clone()])),
            }
        }
        for group in &mut groups {
            group.versions.sort_by_key(|(version, _)| Reverse(rank(version)));
        }
        let aggregated_of = |core: bool| {
            let items: Vec<Value> = groups.iter().filter(|g| g.name.is_empty() == core).map(aggregate).collect();
            Aggregated { v2: document("v2", &items), v2beta1: document("v2beta1", &items) }
        };
        let (core, others) = (aggregated_of(true), aggregated_of(false));
        Self { groups, address: address.to_string(), core, others }
    }

    fn paths(&self) -> Value {
        let mut paths =
            vec!["/.well-known/openid-configuration".to_string(), "/api".into(), "/api/v1".into(), "/apis".into()];
        for group in self.groups.iter().filter(|g| !g.name.is_empty()) {
            paths.push(format!("/apis/{}", group.name));
            paths.extend(group.versions.iter().map(|(v, _)| format!("/apis/{}/{v}", group.name)));
        }
        paths.extend(
            [
                "/healthz",
                "/livez",
                "/metrics",
                "/metrics/slis",
                "/openapi/v2",
                "/openapi/v3",
                "/openid/v1/jwks",
                "/readyz",
                "/version",
            ]
            .map(String::from),
        );
        json!({"paths": paths})
    }

    fn answer(&self, parts: &[&str], ask: &Ask) -> Option<Response<Body>> {
        let find = |name: &str| self.groups.iter().find(|g| g.name == name);
        let value = match parts {
            ["api"] => match aggregated(&ask.takes) {
                Some(accepted) => return Some(send(&self.core, accepted, ask)),
                None => {
                    let versions: Vec<&str> =
                        find("").map(|g| g.versions.iter().map(|(v, _)| v.as_str()).collect()).unwrap_or_default();
                    let address = json!({"clientCIDR": "0.0.0.0/0", "serverAddress": self.address});
                    json!({"kind": "APIVersions", "versions": versions, "serverAddressByClientCIDRs": [address]})
                }
            },
            ["apis"] => match aggregated(&ask.takes) {
                Some(accepted) => return Some(send(&self.others, accepted, ask)),
                None => {
                    let groups: Vec<Value> =
                        self.groups.iter().filter(|g| !g.name.is_empty()).map(group_value).collect();
                    json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups})
                }
            },
            ["apis", name] => {
                let mut value = group_value(find(name).filter(|g| !g.name.is_empty())?);
                value["kind"] = json!("APIGroup");
                value["apiVersion"] = json!("v1");
                value
            }
            ["api", version] => resource_list(find("")?, version)?,
            ["apis", name, version] => resource_list(find(name).filter(|g| !g.name.is_empty())?, version)?,
            _ => return None,
        };
        let kind = value["kind"].as_str().unwrap_or_default();
        Some(answer::meta(&ask.takes, 200, &value, kind))
    }
}

fn group_value(group: &Group) -> Value {
    let version = |v: &str| json!({"groupVersion": format!("{}/{v}", group.name), "version": v});
    let versions: Vec<Value> = group.versions.iter().map(|(v, _)| version(v)).collect();
    json!({"name": group.name, "preferredVersion": versions.first(), "versions": versions})
}

fn resource_list(group: &Group, version: &str) -> Option<Value> {
    let (_, kinds) = group.versions.iter().find(|(v, _)| v == version)?;
    let mut resources = Vec::new();
    for served in kinds {
        resources.push(resource(served));
        resources.extend(served.kind.subresources.iter().map(|s| subresource(&served.kind, s)));
    }
    let name = if group.name.is_empty() { version.to_string() } else { format!("{}/{version}", group.name) };
    Some(json!({"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": name, "resources": resources}))
}

fn resource(served: &Served) -> Value {
    let kind = &served.kind;
    let mut value = json!({
        "name": kind.resource.plural, "singularName": kind.singular, "namespaced": kind.resource.namespaced,
        "kind": kind.resource.kind, "verbs": verbs(served),
    });
    if let Some(version) = served.storage_version() {
        value["storageVersionHash"] = json!(storage_hash(&version, &served.kind.storage().resource.kind));
    }
    if !kind.short_names.is_empty() {
        value["shortNames"] = json!(kind.short_names);
    }
    if !kind.categories.is_empty() {
        value["categories"] = json!(kind.categories);
    }
    value
}

/// What can be done with a resource: while its definition goes, nothing comes or changes.
fn verbs(served: &Served) -> &'static [&'static str] {
    const WHILE_IT_GOES: &[&str] = &["delete", "deletecollection", "get", "list", "watch"];
    if served.custom.as_ref().is_some_and(|custom| custom.terminating()) { WHILE_IT_GOES } else { served.kind.verbs }
}

/// Tells clients when objects are stored in another version: `group/version/kind` as the beginning of a hash.
fn storage_hash(version: &str, kind: &str) -> String {
    let version = if version.contains('/') { version.to_string() } else { format!("/{version}") };
    STANDARD.encode(&Sha256::digest(format!("{version}/{kind}"))[..8])
}

fn subresource(kind: &Kind, sub: &Subresource) -> Value {
    let spoken = kind.spoken(sub);
    let mut value = json!({
        "name": format!("{}/{}", kind.resource.plural, sub.action.name()), "singularName": "",
        "namespaced": kind.resource.namespaced, "kind": spoken.kind, "verbs": sub.verbs,
    });
    if spoken.group != kind.resource.group || spoken.version != kind.resource.version {
        value["group"] = json!(spoken.group);
        value["version"] = json!(spoken.version);
    }
    value
}

fn aggregate(group: &Group) -> Value {
    let versions: Vec<Value> = group
        .versions
        .iter()
        .map(|(version, kinds)| {
            let resources: Vec<Value> = kinds.iter().map(|served| aggregate_resource(served)).collect();
            json!({"version": version, "resources": resources, "freshness": "Current"})
        })
        .collect();
    let metadata = if group.name.is_empty() { json!({}) } else { json!({"name": group.name}) };
    json!({"metadata": metadata, "versions": versions})
}

fn aggregate_resource(served: &Served) -> Value {
    let kind = &served.kind;
    let response = |group: &str, version: &str, kind: &str| json!({"group": group, "version": version, "kind": kind});
    let mut value = json!({
        "resource": kind.resource.plural,
        "responseKind": response(&kind.resource.group, &kind.resource.version, &kind.resource.kind),
        "scope": if kind.resource.namespaced { "Namespaced" } else { "Cluster" },
        "singularResource": kind.singular, "verbs": verbs(served),
    });
    if !kind.short_names.is_empty() {
        value["shortNames"] = json!(kind.short_names);
    }
    if !kind.categories.is_empty() {
        value["categories"] = json!(kind.categories);
    }
    if !kind.subresources.is_empty() {
        let subresources: Vec<Value> = kind
            .subresources
            .iter()
            .map(|s| {
                let spoken = kind.spoken(s);
                let kind = response(spoken.group, spoken.version, spoken.kind);
                json!({"subresource": s.action.name(), "responseKind": kind, "verbs": s.verbs})
            })
            .collect();
        value["subresources"] = json!(subresources);
    }
    value
}

fn document(version: &str, items: &[Value]) -> (Vec<u8>, String) {
    let list = json!({
        "kind": "APIGroupDiscoveryList", "apiVersion": format!("apidiscovery.k8s.io/{version}"), "metadata": {}, "items": items,
    });
    let bytes = serde_json::to_vec(&list).unwrap_or_default();
    let tag = format!("\"{}\"", hex::encode_upper(Sha256::digest(&bytes)));
    (bytes, tag)
}

/// The aggregated form that the client wants, if it wants one.
fn aggregated(takes: &Takes) -> Option<Accepted> {
    let accepted = negotiate::accept(&takes.accept, Endpoint::Discovery).ok()?;
    (accepted.form == Form::Discovery).then_some(accepted)
}

fn send(document: &Aggregated, accepted: Accepted, ask: &Ask) -> Response<Body> {
    let version = accepted.version;
    let (bytes, tag) = if version == "v2" { &document.v2 } else { &document.v2beta1 };
    let media = format!("{};g=apidiscovery.k8s.io;v={version};as=APIGroupDiscoveryList", accepted.syntax.media_type());
    let known = ask.headers.get(header::IF_NONE_MATCH).and_then(|v| v.to_str().ok()).is_some_and(|v| v == tag);
    let bytes = if known { Ok(Bytes::new()) } else { spoken(bytes, accepted) };
    let mut response = match bytes {
        Ok(bytes) => body::typed(200, &media, bytes),
        Err(error) => return answer::status(&ask.takes, &error),
    };
    if known {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
    }
    let headers = response.headers_mut();
    if let Ok(tag) = HeaderValue::from_str(tag) {
        headers.insert(header::ETAG, tag);
    }
    headers.insert(header::VARY, HeaderValue::from_static("Accept"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("public"));
    response
}

/// A document, kept as JSON, in the syntax that is wanted.
fn spoken(json: &[u8], accepted: Accepted) -> Result<Bytes> {
    if accepted.syntax == Syntax::Json {
        return Ok(Bytes::copy_from_slice(json));
    }
    let value: Value = serde_json::from_slice(json).map_err(Status::internal)?;
    let name = format!("io.k8s.api.apidiscovery.{}.APIGroupDiscoveryList", accepted.version);
    answer::encode(accepted.syntax, &value, Schema::builtin().type_named(&name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn storage_versions_have_upstreams_hashes() {
        for (version, kind, expected) in [
            ("v1", "Pod", "xPOwRZ+Yhw8="),
            ("v1", "Event", "r2yiGXH7wu8="),
            ("apps/v1", "Deployment", "8aSe+NMegvE="),
            ("autoscaling/v2", "HorizontalPodAutoscaler", "qwQve8ut294="),
        ] {
            assert_eq!(storage_hash(version, kind), expected);
        }
    }

    #[test]
    fn versions_in_order_of_preference() {
        let mut versions = ["v1alpha1", "v1", "v2beta1", "v2", "v1beta2"];
        versions.sort_by_key(|v| Reverse(rank(v)));
        assert_eq!(versions, ["v2", "v1", "v2beta1", "v1beta2", "v1alpha1"]);
    }
}
