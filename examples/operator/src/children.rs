//! What a site consists of: pure functions from the site to the objects that make it.

use crate::site::Site;
use k8s_openapi::{
    api::{
        apps::v1::Deployment,
        core::v1::{ConfigMap, Service},
    },
    apimachinery::pkg::apis::meta::v1::OwnerReference,
};
use kube::{Resource, ResourceExt};
use serde_json::{Value, json};

/// The label by which a site's pods are known.
pub const LABEL: &str = "examples.coracle.dev/site";

/// The selector of a site's pods.
pub fn selector(site: &Site) -> String {
    format!("{LABEL}={}", site.name_any())
}

/// The page.
pub fn config(site: &Site) -> Result<ConfigMap, serde_json::Error> {
    of(site, json!({"data": {"greeting": site.spec.greeting}}))
}

/// The pods. They read the page when they start, so another page makes other pods.
pub fn deployment(site: &Site) -> Result<Deployment, serde_json::Error> {
    let labels = json!({LABEL: site.name_any()});
    of(
        site,
        json!({"spec": {
            "replicas": site.spec.replicas,
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels, "annotations": {"examples.coracle.dev/greeting": site.spec.greeting}},
                "spec": {"containers": [{
                    "name": "site",
                    "image": site.spec.image,
                    "args": ["web"],
                    "ports": [{"name": "http", "containerPort": 8080}],
                    "env": [
                        {"name": "POD_NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
                        {"name": "GREETING", "valueFrom": {"configMapKeyRef": {"name": site.name_any(), "key": "greeting"}}},
                    ],
                    "readinessProbe": {"httpGet": {"path": "/healthz", "port": "http"}, "periodSeconds": 1},
                }]},
            },
        }}),
    )
}

/// The address.
pub fn service(site: &Site) -> Result<Service, serde_json::Error> {
    of(
        site,
        json!({"spec": {
            "selector": {LABEL: site.name_any()},
            "ports": [{"name": "http", "port": 80, "targetPort": "http"}],
        }}),
    )
}

/// An object named like the site, and owned by it: it goes when the site goes.
fn of<K: serde::de::DeserializeOwned>(site: &Site, mut object: Value) -> Result<K, serde_json::Error> {
    let owner: Option<OwnerReference> = site.controller_owner_ref(&());
    object["metadata"] = json!({
        "name": site.name_any(),
        "namespace": site.namespace(),
        "labels": {LABEL: site.name_any()},
        "ownerReferences": owner.into_iter().collect::<Vec<_>>(),
    });
    serde_json::from_value(object)
}
