//! A definition, and what becomes of it.

use super::Definition;
use crate::column::Context;
use crate::{Kind, Part};
use serde_json::{Value, json};
use std::sync::Arc;

fn definition() -> Value {
    let schema = json!({"type": "object", "properties": {
        "spec": {"type": "object", "properties": {
            "replicas": {"type": "integer", "default": 1, "maximum": 5}, "color": {"type": "string", "x-kubernetes-validations": [{"rule": "self != 'bad'", "message": "is bad"}]},
            "fixed": {"type": "string", "x-kubernetes-validations": [{"rule": "self == oldSelf", "message": "must stay"}]},
        }},
        "status": {"type": "object", "properties": {"replicas": {"type": "integer"}, "selector": {"type": "string"}, "conditions": {
            "type": "array", "items": {"type": "object", "properties": {"type": {"type": "string"}, "status": {"type": "string"}}},
        }}},
    }});
    json!({
        "metadata": {"name": "foos.example.com", "uid": "u", "generation": 1},
        "spec": {"group": "example.com", "scope": "Namespaced", "names": {"kind": "Foo", "plural": "foos"}, "versions": [
            {"name": "v1beta1", "served": true, "storage": false, "deprecated": true, "schema": {"openAPIV3Schema": schema}},
            {"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": schema},
             "subresources": {"status": {}, "scale": {"specReplicasPath": ".spec.replicas", "statusReplicasPath": ".status.replicas", "labelSelectorPath": ".status.selector"}},
             "selectableFields": [{"jsonPath": ".spec.color"}],
             "additionalPrinterColumns": [
                {"name": "Color", "type": "string", "jsonPath": ".spec.color"},
                {"name": "Replicas", "type": "integer", "jsonPath": ".spec.replicas", "priority": 1},
                {"name": "Ready", "type": "string", "jsonPath": ".status.conditions[?(@.type==\"Ready\")].status"},
                {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"},
             ]},
        ]},
        "status": {
            "acceptedNames": {"kind": "Foo", "listKind": "FooList", "plural": "foos", "singular": "foo", "shortNames": ["fo"], "categories": ["all"]},
            "conditions": [{"type": "Established", "status": "True"}],
        },
    })
}

fn kind(version: &str) -> Arc<Kind> {
    Definition::read(&definition()).unwrap().version(version).unwrap().kind.clone()
}

#[test]
fn a_definition_becomes_kinds() {
    let read = Definition::read(&definition()).unwrap();
    assert_eq!((read.storage.as_str(), read.versions.len(), read.terminating), ("v1", 2, false));
    let beta = read.version("v1beta1").unwrap();
    assert_eq!(beta.warning.as_deref(), Some("example.com/v1beta1 Foo is deprecated; use example.com/v1 Foo"));
    assert!(beta.kind.subresources.is_empty() && !beta.kind.status);
    let kind = kind("v1");
    assert_eq!(json!([kind.short_names, kind.categories]), json!([["fo"], ["all"]]));
    assert_eq!(kind.field(&json!({"spec": {"color": "red"}}), "spec.color").as_deref(), Some("red"));
    assert_eq!(kind.scale_paths().unwrap().selector, "status.selector");
    let mut not_yet = definition();
    not_yet["status"]["conditions"] = json!([]);
    assert!(Definition::read(&not_yet).is_none());
}

#[test]
fn columns_show_what_paths_lead_to() {
    let kind = kind("v1");
    let context = Context { now: "2026-01-01T00:05:00Z".parse().unwrap() };
    for (object, expected) in [
        (
            json!({"metadata": {"name": "a", "creationTimestamp": "2026-01-01T00:00:00Z"}, "spec": {"color": "red", "replicas": 2},
                   "status": {"conditions": [{"type": "Ready", "status": "True"}]}}),
            json!(["a", "red", 2, "True", "5m"]),
        ),
        (json!({"metadata": {"name": "a"}, "spec": {}}), json!(["a", null, null, null, null])),
        (json!({"metadata": {"name": "a"}, "spec": {"color": 7}}), json!(["a", "7", null, null, null])),
    ] {
        assert_eq!(json!(kind.columns.cells(&context, &object)), expected);
    }
    let names: Vec<&str> = kind.columns.headings().into_iter().map(|h| h.name).collect();
    assert_eq!(names, ["Name", "Color", "Replicas", "Ready", "Age"]);
}

fn object(spec: Value, status: Value) -> Value {
    json!({
        "apiVersion": "example.com/v1", "kind": "Foo", "spec": spec, "status": status,
        "metadata": {"name": "a", "namespace": "n", "uid": "u", "generation": 1, "labels": {"x": "y"}},
    })
}

#[test]
fn rules_of_custom_resources() {
    let kind = kind("v1");
    let mut new = object(json!({"replicas": null}), json!({"replicas": 1}));
    kind.default(&mut new).unwrap();
    kind.prepare_create(&mut new);
    assert_eq!(
        (&new["spec"], new.get("status"), &new["metadata"]["generation"]),
        (&json!({"replicas": 1}), None, &json!(1))
    );
    for (name, spec, expected) in [
        (
            "by its schema",
            json!({"replicas": 7}),
            "spec.replicas: Invalid value: 7: spec.replicas in body should be less than or equal to 5",
        ),
        (
            "by what scale shows",
            json!({"replicas": -1}),
            ".spec.replicas: Invalid value: -1: should be a non-negative integer",
        ),
    ] {
        let errors: Vec<String> = kind.validate(&object(spec, json!({}))).iter().map(ToString::to_string).collect();
        assert_eq!(errors, [expected], "{name}");
    }
}

#[test]
fn parts_are_written_apart() {
    let kind = kind("v1");
    let old = object(json!({"replicas": 1, "fixed": "a"}), json!({"replicas": 1}));
    let mut main = object(json!({"replicas": 2, "fixed": "a"}), json!({"replicas": 9}));
    kind.prepare_update(&mut main, &old, Part::Main);
    assert_eq!((&main["status"]["replicas"], &main["metadata"]["generation"]), (&json!(1), &json!(2)));
    let mut status = object(json!({"replicas": 2}), json!({"replicas": 9}));
    status["metadata"]["labels"] = json!({"z": "z"});
    kind.prepare_update(&mut status, &old, Part::Status);
    assert_eq!(status["spec"], old["spec"]);
    assert_eq!((&status["metadata"]["labels"], &status["metadata"]["generation"]), (&json!({"x": "y"}), &json!(1)));
    let changed = object(json!({"replicas": 1, "fixed": "b"}), json!({"replicas": 1}));
    let errors: Vec<String> =
        kind.validate_update(&changed, &old, Part::Main).iter().map(ToString::to_string).collect();
    assert_eq!(errors, ["spec.fixed: Invalid value: \"b\": must stay"]);
}

#[test]
fn what_was_wrong_before_is_warned_of() {
    let kind = kind("v1");
    let of = |color: &str, replicas: i32| object(json!({"color": color, "replicas": replicas}), json!({}));
    const BAD: &str = "spec.color: Invalid value: \"bad\": is bad";
    let none: [&str; 0] = [];
    for (old, new, errors, tolerated) in [
        (of("red", 1), of("red", 2), &none[..], &none[..]),
        (of("red", 1), of("bad", 1), &[BAD], &none),
        (of("bad", 1), of("bad", 2), &none, &[BAD]),
        (of("bad", 1), of("red", 1), &none, &none),
    ] {
        let verdict = kind.judge_update(&new, &old, Part::Main);
        let shown = |found: &[coracle_api::FieldError]| found.iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(
            (shown(&verdict.errors), shown(&verdict.tolerated)),
            (shown_as(errors), shown_as(tolerated)),
            "{new}"
        );
    }
}

fn shown_as(texts: &[&str]) -> Vec<String> {
    texts.iter().map(ToString::to_string).collect()
}
