//! What a definition may say, as a table: a good one, a change of it, and what is wrong then.

use super::KIND;
use crate::Part;
use coracle_api::FieldError;
use serde_json::{Value, json};

fn plain() -> Value {
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "foos.example.com", "uid": "u"},
        "spec": {
            "group": "example.com", "scope": "Namespaced", "names": {"plural": "foos", "kind": "Foo"},
            "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": {
                "type": "object", "properties": {"spec": {"type": "object", "properties": {"a": {"type": "string"}}}},
            }}}],
        },
    })
}

fn created(mut definition: Value) -> (Value, Vec<FieldError>) {
    KIND.default(&mut definition).unwrap();
    KIND.prepare_create(&mut definition);
    let errors = KIND.validate(&definition);
    (definition, errors)
}

fn lines(errors: &[FieldError]) -> Vec<String> {
    errors.iter().map(ToString::to_string).collect()
}

/// The plain definition with the value at `pointer` replaced (or made).
fn with(pointer: &str, value: Value) -> Value {
    let mut definition = plain();
    let (parent, leaf) = pointer.rsplit_once('/').unwrap();
    let parent = definition.pointer_mut(parent).unwrap_or_else(|| panic!("{pointer}"));
    match leaf.parse::<usize>() {
        Ok(at) if parent.is_array() => parent[at] = value,
        _ => parent[leaf] = value,
    }
    definition
}

fn schema(of_a: Value) -> Value {
    with("/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/a", of_a)
}

#[test]
fn a_good_definition_is_completed() {
    let (definition, errors) = created(plain());
    assert_eq!(lines(&errors), Vec::<String>::new());
    assert_eq!(definition["spec"]["names"]["singular"], "foo");
    assert_eq!(definition["spec"]["names"]["listKind"], "FooList");
    assert_eq!(definition["spec"]["conversion"], json!({"strategy": "None"}));
    assert_eq!(definition["status"]["storedVersions"], json!(["v1"]));
}

#[test]
fn definitions_are_refused_in_upstreams_words() {
    const A: &str = "spec.validation.openAPIV3Schema.properties[spec].properties[a]";
    let version = |name: &str, storage: bool| {
        let mut version = plain()["spec"]["versions"][0].clone();
        version["name"] = json!(name);
        version["storage"] = json!(storage);
        version
    };
    let at = |rest: &str| format!("{A}{rest}");
    for (definition, expected) in [
        (with("/metadata/name", json!("bars.example.com")), "metadata.name: Invalid value: \"bars.example.com\": must be spec.names.plural+\".\"+spec.group".to_string()),
        (with("/spec/scope", json!("Both")), "spec.scope: Unsupported value: \"Both\": supported values: \"Cluster\", \"Namespaced\"".into()),
        (with("/spec/names/shortNames", json!(["A"])), "spec.names.shortNames[0]: Invalid value: \"A\": a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?')".into()),
        (with("/spec/names/listKind", json!("Foo")), "spec.names.listKind: Invalid value: \"Foo\": kind and listKind may not be the same".into()),
        (with("/spec/versions/0/schema", json!({})), "spec.versions[0].schema.openAPIV3Schema: Required value".into()),
        (with("/spec/preserveUnknownFields", json!(true)), "spec.preserveUnknownFields: Invalid value: true: cannot set to true, set x-kubernetes-preserve-unknown-fields to true in spec.versions[*].schema instead".into()),
        (with("/spec/versions/0/subresources", json!({"scale": {"specReplicasPath": ".spec.replicas", "statusReplicasPath": ".spec.replicas"}})), "spec.subresources.scale.statusReplicasPath: Invalid value: \".spec.replicas\": should be a json path under .status".into()),
        (with("/spec/versions/0/additionalPrinterColumns", json!([{"name": "A", "type": "text", "jsonPath": ".spec.a"}])), "spec.additionalPrinterColumns[0].type: Invalid value: \"text\": must be one of boolean,date,integer,number,string".into()),
        (with("/spec/versions/0/selectableFields", json!([{"jsonPath": ".spec.b"}])), "spec.selectableFields[0].jsonPath: Invalid value: \".spec.b\": is an invalid path: does not refer to a valid field".into()),
        (with("/spec/versions/0/deprecationWarning", json!("old")), "spec.versions[0].deprecationWarning: Invalid value: \"old\": can only be set for deprecated versions".into()),
        (with("/spec/conversion", json!({"strategy": "Webhook", "webhook": {"conversionReviewVersions": ["v1"]}})), "spec.conversion.webhookClientConfig: Required value: required when strategy is set to Webhook".into()),
        (with("/spec/conversion", json!({"strategy": "Webhook", "webhook": {"conversionReviewVersions": ["v9"], "clientConfig": {"url": "https://a/b"}}})), "spec.conversion.conversionReviewVersions: Invalid value: [\"v9\"]: must include at least one of v1, v1beta1".into()),
        (schema(json!({})), at(".type: Required value: must not be empty for specified object fields")),
        (schema(json!({"type": "text"})), at(".type: Unsupported value: \"text\": supported values: \"array\", \"boolean\", \"integer\", \"number\", \"object\", \"string\"")),
        (schema(json!({"type": "array", "items": {"type": "string"}, "uniqueItems": true})), at(".uniqueItems: Forbidden: uniqueItems cannot be set to true since the runtime complexity becomes quadratic")),
        (schema(json!({"type": "object", "properties": {"b": {"type": "string"}}, "additionalProperties": {"type": "string"}})), at(".additionalProperties: Forbidden: additionalProperties and properties are mutual exclusive")),
        (schema(json!({"type": "string", "x-kubernetes-list-type": "set"})), at(".type: Invalid value: \"string\": must be array if x-kubernetes-list-type is specified")),
        (schema(json!({"type": "array", "items": {"type": "object", "properties": {"k": {"type": "string"}}}, "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["k"]})), at(".items.properties[k].default: Required value: this property is in x-kubernetes-list-map-keys, so it must have a default or be a required property")),
        (schema(json!({"type": "string", "default": 1})), at(".default: Invalid value: \"integer\": spec.validation.openAPIV3Schema.properties[spec].properties[a].default in body must be of type string: \"integer\"")),
        (schema(json!({"type": "object", "default": {"b": 1}})), at(".default: Invalid value: {\"b\":1}: must not have unknown fields")),
        (schema(json!({"type": "string", "default": "abc", "x-kubernetes-validations": [{"rule": "self.size() < 3", "message": "too long"}]})), at(".default: Invalid value: \"abc\": too long")),
        (
            schema(json!({"type": "object", "default": {"b": [7]}, "properties": {"b": {"type": "array", "items": {"type": "integer", "x-kubernetes-validations": [{"rule": "self < 5"}]}}}})),
            at(".default.b[0]: Invalid value: 7: failed rule: self < 5"),
        ),
        (schema(json!({"type": "integer", "default": 1, "x-kubernetes-validations": [{"rule": "self > oldSelf"}]})), at(".default: Invalid value: 1: failed rule: self > oldSelf")),
        (schema(json!({"type": "string", "x-kubernetes-validations": [{"rule": "self.size() + 1"}]})), at(".x-kubernetes-validations[0].rule: Invalid value: {\"rule\":\"self.size() + 1\"}: cel expression must evaluate to a bool")),
    ] {
        assert_eq!(lines(&created(definition).1), [expected]);
    }
    for (versions, expected) in [
        (json!([version("v1", true), version("v2", true)]), "must have exactly one version marked as storage version"),
        (json!([version("v1", true), version("v1", false)]), "must contain unique version names"),
    ] {
        let errors = created(with("/spec/versions", versions)).1;
        assert_eq!(errors.first().map(|e| (e.path.as_str(), e.detail.as_str())), Some(("spec.versions", expected)));
    }
}

#[test]
fn what_an_update_must_keep() {
    let (mut old, _) = created(plain());
    old["status"]["conditions"] = json!([{"type": "Established", "status": "True"}]);
    let change = |pointer: &str, value: Value| {
        let mut new = old.clone();
        *new.pointer_mut(pointer).unwrap() = value;
        new
    };
    let mut moved = plain()["spec"]["versions"][0].clone();
    moved["name"] = json!("v2");
    for (new, expected) in [
        (change("/spec/scope", json!("Cluster")), vec!["spec.scope: Invalid value: \"Cluster\": field is immutable"]),
        (change("/spec/names/kind", json!("Bar")), vec!["spec.names.kind: Invalid value: \"Bar\": field is immutable"]),
        (
            change("/spec/versions", json!([moved])),
            vec![
                "status.storedVersions[0]: Invalid value: \"v1\": missing from spec.versions; v1 was previously a storage version, and must remain in spec.versions until a storage migration ensures no data remains persisted in v1 and removes v1 from status.storedVersions",
            ],
        ),
        (change("/spec/versions/0/schema/openAPIV3Schema/properties", json!({})), vec![]),
    ] {
        let mut new = new;
        KIND.prepare_update(&mut new, &old, Part::Main);
        assert_eq!(lines(&KIND.validate_update(&new, &old, Part::Main)), expected);
    }
}

#[test]
fn groups_of_the_project_need_approval() {
    let mut definition = with("/spec/group", json!("foo.k8s.io"));
    definition["metadata"]["name"] = json!("foos.foo.k8s.io");
    for (annotation, expected) in [
        (None, Some("FieldValueRequired")),
        (Some("yes"), Some("FieldValueInvalid")),
        (Some("unapproved, experimental"), None),
        (Some("https://github.com/kubernetes/kubernetes/pull/1"), None),
    ] {
        let mut definition = definition.clone();
        if let Some(annotation) = annotation {
            definition["metadata"]["annotations"] = json!({"api-approved.kubernetes.io": annotation});
        }
        let errors = created(definition).1;
        assert_eq!(errors.first().map(|e| e.kind.reason()), expected, "{annotation:?}");
    }
}

#[test]
fn the_beginning_of_the_end() {
    let (mut definition, _) = created(plain());
    KIND.rules.begin_deletion(&mut definition, "2026-01-01T00:00:00Z".parse().unwrap());
    assert_eq!(definition["metadata"]["finalizers"], json!(["customresourcecleanup.apiextensions.k8s.io"]));
    assert_eq!(definition["status"]["conditions"][0]["reason"], "InstanceDeletionPending");
}
