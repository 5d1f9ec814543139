//! The objects that are written: of the size and shape that clusters are full of.

use serde_json::{Value, json};

/// A small ConfigMap.
pub fn config_map(name: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": name, "labels": {"app": "bench", "component": "settings"}},
        "data": {
            "listen": "0.0.0.0:8080", "log-level": "info", "database": "postgres://db-0.db.default.svc:5432/shop",
            "features": "checkout,search,recommendations", "timeout": "2500ms",
        },
    })
}

/// A pod as a Deployment makes it, that no scheduler takes.
pub fn unscheduled_pod(name: &str) -> Value {
    let mut pod = pod(name, "registry.example/shop/web:1.4.2", &["serve", "--port=8080"]);
    pod["spec"]["schedulerName"] = "none".into();
    let container = &mut pod["spec"]["containers"][0];
    container["ports"] = json!([{"name": "http", "containerPort": 8080}]);
    container["env"] = json!([
        {"name": "POD_NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
        {"name": "DATABASE", "valueFrom": {"configMapKeyRef": {"name": "settings", "key": "database"}}},
        {"name": "PASSWORD", "valueFrom": {"secretKeyRef": {"name": "database", "key": "password"}}},
    ]);
    container["resources"] =
        json!({"requests": {"cpu": "100m", "memory": "64Mi"}, "limits": {"cpu": "500m", "memory": "256Mi"}});
    container["readinessProbe"] = json!({"httpGet": {"path": "/healthz", "port": "http"}, "periodSeconds": 5});
    container["livenessProbe"] = json!({"httpGet": {"path": "/healthz", "port": "http"}, "initialDelaySeconds": 10});
    container["volumeMounts"] = json!([{"name": "settings", "mountPath": "/etc/shop", "readOnly": true}]);
    pod["spec"]["volumes"] = json!([{"name": "settings", "configMap": {"name": "settings"}}]);
    pod
}

/// A pod that runs the web program of the demo image.
pub fn running_pod(name: &str) -> Value {
    pod(name, &format!("{}:v1", crate::demo::images::NAME), &["web"])
}

fn pod(name: &str, image: &str, arguments: &[&str]) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": name, "labels": {"app": "bench", "pod-template-hash": "6b7f5c9d4"}},
        "spec": {
            "terminationGracePeriodSeconds": 1,
            "containers": [{"name": "web", "image": image, "imagePullPolicy": "IfNotPresent", "args": arguments}],
        },
    })
}

/// A custom resource with a schema, a default and a rule.
pub fn widgets() -> Value {
    let spec = json!({
        "type": "object", "required": ["size"],
        "properties": {
            "size": {"type": "integer", "minimum": 1},
            "color": {"type": "string", "default": "blue"},
            "parts": {"type": "array", "items": {
                "type": "object", "properties": {"name": {"type": "string"}, "weight": {"type": "integer"}},
            }},
        },
        "x-kubernetes-validations": [{"rule": "self.size < 100", "message": "too big"}],
    });
    let schema = json!({"type": "object", "properties": {"spec": spec}});
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "widgets.bench.example.com"},
        "spec": {
            "group": "bench.example.com", "scope": "Namespaced",
            "names": {"plural": "widgets", "singular": "widget", "kind": "Widget", "listKind": "WidgetList"},
            "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": schema}}],
        },
    })
}

/// One of its objects.
pub fn widget(name: &str) -> Value {
    let parts: Vec<Value> = (0..8).map(|n| json!({"name": format!("part-{n}"), "weight": n * 10})).collect();
    json!({
        "apiVersion": "bench.example.com/v1", "kind": "Widget",
        "metadata": {"name": name, "labels": {"app": "bench"}}, "spec": {"size": 7, "parts": parts},
    })
}
