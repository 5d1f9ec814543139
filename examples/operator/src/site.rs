//! The custom resource: a `Site` is a page that some pods show.

// one column is like another to clippy
#![allow(clippy::duplicated_attributes)]

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, KubeSchema};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

/// What is wanted of a site.
#[derive(CustomResource, KubeSchema, Clone, Debug, Deserialize, Serialize)]
#[kube(
    group = "examples.coracle.dev",
    version = "v1",
    kind = "Site",
    doc = "A page, and how many pods show it.",
    namespaced,
    status = "SiteStatus",
    shortname = "st",
    category = "all",
    selectable = ".spec.image",
    printcolumn(name = "Wanted", type_ = "integer", json_path = ".spec.replicas"),
    printcolumn(name = "Ready", type_ = "integer", json_path = ".status.replicas"),
    printcolumn(name = "Address", type_ = "string", json_path = ".status.address"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    scale(
        spec_replicas_path = ".spec.replicas",
        status_replicas_path = ".status.replicas",
        label_selector_path = ".status.selector"
    )
)]
#[x_kube(validation = ("self.greeting != '' || self.replicas == 0", "a site that is shown needs a greeting"))]
#[serde(rename_all = "camelCase")]
pub struct SiteSpec {
    /// What the page says.
    #[serde(default)]
    pub greeting: String,
    /// How many pods show it.
    #[serde(default = "one")]
    #[schemars(range(min = 0, max = 20))]
    pub replicas: i32,
    /// The image of the pods.
    #[serde(default = "image")]
    pub image: String,
}

fn one() -> i32 {
    1
}

fn image() -> String {
    "coracle.dev/demo:v1".into()
}

/// What the operator found.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SiteStatus {
    /// How many pods are ready.
    #[serde(default)]
    pub replicas: i32,
    /// Which pods are the site's.
    #[serde(default)]
    pub selector: String,
    /// Where it answers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// The generation that this is about.
    #[serde(default)]
    pub observed_generation: i64,
    /// `Ready`: as many pods as wanted show the page.
    #[serde(default)]
    #[schemars(schema_with = "conditions")]
    pub conditions: Vec<Condition>,
}

/// Conditions are told apart by their types, so that several programs can each keep their own.
fn conditions(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["type"],
        "items": {
            "type": "object",
            "required": ["type", "status", "reason", "message", "lastTransitionTime"],
            "properties": {
                "type": {"type": "string"},
                "status": {"type": "string", "enum": ["True", "False", "Unknown"]},
                "reason": {"type": "string"},
                "message": {"type": "string"},
                "lastTransitionTime": {"type": "string", "format": "date-time"},
                "observedGeneration": {"type": "integer", "format": "int64"},
            },
        },
    })
}
