//! OpenAPI documents of what is served: v3 per group and version, v2 for all, from the schema table.
//!
//! Clients take from them: types and descriptions (`explain`), merge keys (`apply`), and which parameters a write
//! takes (`--validate`). Documents are made when first asked for; the caller keeps the bytes.

mod definitions;
mod paths;
pub mod protobuf;

use crate::{resource::Resource, schema::Schema};
use definitions::{Definitions, Descriptions};
use serde_json::{Map, Value, json};

/// A served resource, as far as the documents tell of it.
#[derive(Clone, Debug)]
pub struct Served {
    /// Names and scope.
    pub resource: Resource,
    /// Discovery verbs: `get`, `list`, `create`, ….
    pub verbs: Vec<String>,
    /// What stands below an object.
    pub subresources: Vec<Subresource>,
    /// The schema of a kind that the table does not have (a custom resource), in OpenAPI v3.
    pub definition: Option<Value>,
}

/// `status`, `scale`, `eviction`, ….
#[derive(Clone, Debug)]
pub struct Subresource {
    /// Name in the path.
    pub name: String,
    /// Discovery verbs.
    pub verbs: Vec<String>,
    /// The kind's group.
    pub group: String,
    /// The kind's version.
    pub version: String,
    /// The kind it speaks.
    pub kind: String,
}

/// Which form of the standard a document has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    V2,
    V3,
}

impl Form {
    fn reference(self, name: &str) -> String {
        match self {
            Self::V2 => format!("#/definitions/{name}"),
            Self::V3 => format!("#/components/schemas/{name}"),
        }
    }
}

/// The v3 document of one group and version. `version` is the server's (`v1.37.0`).
pub fn v3(schema: &Schema, group: &str, version: &str, served: &[Served], server: &str) -> Vec<u8> {
    let served: Vec<&Served> =
        served.iter().filter(|s| s.resource.group == group && s.resource.version == version).collect();
    let (definitions, paths) = parts(schema, &served, Form::V3);
    let document = json!({
        "openapi": "3.0.0",
        "info": {"title": "Kubernetes", "version": server},
        "paths": paths,
        "components": {"schemas": definitions, "securitySchemes": {"BearerToken": {
            "type": "apiKey", "description": "Bearer Token authentication", "name": "authorization", "in": "header",
        }}},
    });
    document.to_string().into_bytes()
}

/// The v2 document of everything.
pub fn v2(schema: &Schema, served: &[Served], server: &str) -> Vec<u8> {
    let served: Vec<&Served> = served.iter().collect();
    let (definitions, paths) = parts(schema, &served, Form::V2);
    let document = json!({
        "swagger": "2.0",
        "info": {"title": "Kubernetes", "version": server},
        "paths": paths,
        "definitions": definitions,
        "securityDefinitions": {"BearerToken": {
            "type": "apiKey", "description": "Bearer Token authentication", "name": "authorization", "in": "header",
        }},
        "security": [{"BearerToken": []}],
    });
    document.to_string().into_bytes()
}

fn parts(schema: &Schema, served: &[&Served], form: Form) -> (Map<String, Value>, Map<String, Value>) {
    let descriptions = Descriptions::load();
    let mut definitions = Definitions::new(schema, &descriptions, form);
    let mut paths = Map::new();
    for one in served {
        paths::add(&mut paths, one, &mut definitions);
    }
    (definitions.finish(), paths)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn served(group: &'static str, version: &'static str, plural: &'static str, kind: &'static str) -> Served {
        let verbs = ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"];
        Served {
            resource: Resource::fixed(group, version, plural, kind, true),
            verbs: verbs.map(String::from).to_vec(),
            subresources: vec![Subresource {
                name: "status".into(),
                verbs: vec!["get".into(), "patch".into(), "update".into()],
                group: group.into(),
                version: version.into(),
                kind: kind.into(),
            }],
            definition: None,
        }
    }

    fn all() -> Vec<Served> {
        vec![
            served("apps", "v1", "deployments", "Deployment"),
            served("", "v1", "pods", "Pod"),
            Served {
                definition: Some(json!({"type": "object", "properties": {"spec": {"type": "object"}}})),
                ..served("example.com", "v1", "things", "Thing")
            },
        ]
    }

    /// Every `$ref` must lead somewhere.
    fn check_references(document: &Value, value: &Value) {
        match value {
            Value::Object(map) => {
                if let Some(to) = map.get("$ref").and_then(Value::as_str) {
                    assert!(document.pointer(&to[1..]).is_some(), "{to}");
                }
                map.values().for_each(|v| check_references(document, v));
            }
            Value::Array(list) => list.iter().for_each(|v| check_references(document, v)),
            _ => {}
        }
    }

    #[test]
    fn custom_resources_take_no_strategic_merge() {
        for (group, path, media) in [
            ("apps", "/apis/apps/v1/namespaces/{namespace}/deployments/{name}", 4),
            ("example.com", "/apis/example.com/v1/namespaces/{namespace}/things/{name}/status", 3),
        ] {
            let document: Value =
                serde_json::from_slice(&v3(Schema::builtin(), group, "v1", &all(), "v1.37.0")).unwrap();
            let content = document["paths"][path]["patch"]["requestBody"]["content"].as_object().unwrap();
            assert_eq!(content.len(), media, "{path}");
            assert_eq!(content.contains_key("application/strategic-merge-patch+json"), media == 4);
        }
    }

    #[test]
    fn version_3_says_what_kubectl_reads() {
        let document: Value = serde_json::from_slice(&v3(Schema::builtin(), "apps", "v1", &all(), "v1.37.0")).unwrap();
        check_references(&document, &document);
        let schemas = &document["components"]["schemas"];
        let deployment = &schemas["io.k8s.api.apps.v1.Deployment"];
        assert_eq!(
            deployment["x-kubernetes-group-version-kind"][0],
            json!({"group": "apps", "kind": "Deployment", "version": "v1"})
        );
        assert!(deployment["description"].as_str().unwrap().starts_with("Deployment enables declarative updates"));
        let containers = &schemas["io.k8s.api.core.v1.PodSpec"]["properties"]["containers"];
        assert_eq!(
            (
                &containers["x-kubernetes-patch-merge-key"],
                &containers["x-kubernetes-list-map-keys"],
                &containers["x-kubernetes-list-type"]
            ),
            (&json!("name"), &json!(["name"]), &json!("map"))
        );
        let item = &document["paths"]["/apis/apps/v1/namespaces/{namespace}/deployments/{name}"];
        assert_eq!(item["get"]["x-kubernetes-group-version-kind"]["kind"], "Deployment");
        assert!(item["patch"]["parameters"].as_array().unwrap().iter().any(|p| p["name"] == "fieldValidation"));
        assert!(document["paths"].get("/apis/apps/v1/deployments").is_some());
        assert!(document["paths"].get("/apis/apps/v1/namespaces/{namespace}/deployments/{name}/status").is_some());
    }

    #[test]
    fn version_2_covers_everything() {
        let document: Value = serde_json::from_slice(&v2(Schema::builtin(), &all(), "v1.37.0")).unwrap();
        check_references(&document, &document);
        assert!(document["definitions"].get("io.k8s.api.core.v1.Pod").is_some());
        assert_eq!(
            document["definitions"]["com.example.v1.Thing"]["x-kubernetes-group-version-kind"][0]["kind"],
            "Thing"
        );
        assert!(document["paths"].get("/api/v1/namespaces/{namespace}/pods").is_some());
    }

    #[test]
    fn every_builtin_type_can_be_shown() {
        let descriptions = Descriptions::load();
        for form in [Form::V2, Form::V3] {
            let mut definitions = Definitions::new(Schema::builtin(), &descriptions, form);
            for of in Schema::builtin().types() {
                definitions.reference(of.name());
            }
            let all = definitions.finish();
            assert!(Schema::builtin().types().all(|t| all.contains_key(t.name())));
        }
    }
}
