//! What OpenAPI documents say of a custom resource.

use serde_json::{Map, Value, json};

const OBJECT_META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta";
const API_VERSION: &str = "APIVersion defines the versioned schema of this representation of an object. Servers should convert recognized schemas to the latest internal value, and may reject unrecognized values. More info: https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#resources";
const KIND: &str = "Kind is a string value representing the REST resource this object represents. Servers may infer this from the endpoint the client submits requests to. Cannot be updated. In CamelCase. More info: https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#types-kinds";
const METADATA: &str = "Standard object's metadata. More info: https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#metadata";

/// The definition for version 3, from the `openAPIV3Schema`; it refers to ObjectMeta.
pub fn v3(schema: &Value) -> Value {
    let mut published = schema.clone();
    let reference = json!({"$ref": format!("#/components/schemas/{OBJECT_META}")});
    let metadata = || json!({"description": METADATA, "allOf": [reference.clone()], "default": {}});
    unfold(&mut published);
    embedded(&mut published, &metadata);
    resource(&mut published, &metadata);
    published
}

/// The definition for version 2, reduced to what its readers can take.
pub fn v2(schema: &Value) -> Value {
    if schema["x-kubernetes-preserve-unknown-fields"] == true {
        // whoever reads version 2 takes a list of properties for a complete one
        return json!({"type": "object"});
    }
    let mut published = schema.clone();
    reduce(&mut published);
    let metadata = || json!({"description": METADATA, "$ref": format!("#/definitions/{OBJECT_META}")});
    embedded(&mut published, &metadata);
    resource(&mut published, &metadata);
    published
}

/// What every resource has.
fn resource(schema: &mut Value, metadata: &dyn Fn() -> Value) {
    if !schema["properties"].is_object() {
        schema["properties"] = json!({});
    }
    let Some(properties) = schema["properties"].as_object_mut() else { return };
    properties.insert("apiVersion".into(), json!({"description": API_VERSION, "type": "string"}));
    properties.insert("kind".into(), json!({"description": KIND, "type": "string"}));
    properties.insert("metadata".into(), metadata());
}

fn embedded(schema: &mut Value, metadata: &dyn Fn() -> Value) {
    let Some(map) = schema.as_object_mut() else { return };
    each_child(map, &mut |child| {
        embedded(child, metadata);
        if child["x-kubernetes-embedded-resource"] == true {
            resource(child, metadata);
        }
    });
}

/// Says in words of the standard what `x-kubernetes-int-or-string` means.
fn unfold(schema: &mut Value) {
    let Some(map) = schema.as_object_mut() else { return };
    each_child(map, &mut unfold);
    if map.get("x-kubernetes-int-or-string") == Some(&Value::Bool(true)) && !map.contains_key("anyOf") {
        let either = json!([{"type": "integer"}, {"type": "string"}]);
        let told =
            map.get("allOf").and_then(Value::as_array).is_some_and(|all| all.iter().any(|a| a["anyOf"] == either));
        if !told {
            map.insert("anyOf".into(), either);
        }
    }
}

fn each_child(map: &mut Map<String, Value>, change: &mut dyn FnMut(&mut Value)) {
    for (key, value) in map {
        match (key.as_str(), value) {
            ("properties", Value::Object(properties)) => properties.values_mut().for_each(&mut *change),
            ("items" | "additionalProperties", child @ Value::Object(_)) => change(child),
            _ => {}
        }
    }
}

/// Takes out what version 2 does not have, and what breaks its readers.
fn reduce(schema: &mut Value) {
    let Some(map) = schema.as_object_mut() else { return };
    for junctor in ["allOf", "oneOf", "anyOf", "not"] {
        map.remove(junctor);
    }
    if map.remove("nullable") == Some(Value::Bool(true)) {
        for key in ["type", "items", "properties"] {
            map.remove(key);
        }
    }
    if map.get("x-kubernetes-preserve-unknown-fields") == Some(&Value::Bool(true)) {
        for key in ["items", "properties"] {
            map.remove(key);
        }
        if map.get("type").is_some_and(|t| t == "object") {
            map.remove("type");
        }
    }
    if !map.contains_key("items") && map.get("type").is_some_and(|t| t == "array") {
        map.remove("type");
    }
    let nullable: Vec<String> = map
        .get("properties")
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
        .filter(|(_, property)| property["nullable"] == true)
        .map(|(name, _)| name.clone())
        .collect();
    if let Some(Value::Array(required)) = map.get_mut("required") {
        required.retain(|name| !nullable.iter().any(|n| name == n));
        if required.is_empty() {
            map.remove("required");
        }
    }
    each_child(map, &mut reduce);
}
