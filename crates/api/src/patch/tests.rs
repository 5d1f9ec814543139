use super::*;
use crate::schema::Schema;
use proptest::prelude::*;
use serde_json::json;

fn patch(kind: PatchKind, of: &str, current: &Value, body: &Value) -> Result<Value, (u16, String)> {
    let of = Schema::builtin().type_of("", "v1", of).or_else(|| Schema::builtin().type_of("apps", "v1", of));
    apply_patch(&Patch { kind, body: body.clone() }, current.clone(), of).map_err(|e| (e.code, e.message))
}

#[test]
fn json_patches() {
    let doc = json!({"a": {"b": [1, 2, 3], "c/d": "x"}});
    for (ops, expected) in [
        (json!([{"op": "add", "path": "/a/e", "value": 5}]), Ok(json!({"a": {"b": [1, 2, 3], "c/d": "x", "e": 5}}))),
        (json!([{"op": "add", "path": "/a/b/1", "value": 9}]), Ok(json!({"a": {"b": [1, 9, 2, 3], "c/d": "x"}}))),
        (json!([{"op": "add", "path": "/a/b/-", "value": 9}]), Ok(json!({"a": {"b": [1, 2, 3, 9], "c/d": "x"}}))),
        (json!([{"op": "remove", "path": "/a/b/-1"}]), Ok(json!({"a": {"b": [1, 2], "c/d": "x"}}))),
        (json!([{"op": "replace", "path": "/a/c~1d", "value": null}]), Ok(json!({"a": {"b": [1, 2, 3], "c/d": null}}))),
        (json!([{"op": "move", "from": "/a/b", "path": "/m"}]), Ok(json!({"a": {"c/d": "x"}, "m": [1, 2, 3]}))),
        (
            json!([{"op": "copy", "from": "/a/b/0", "path": "/m"}, {"op": "test", "path": "/m", "value": 1.0}]),
            Ok(json!({"a": {"b": [1, 2, 3], "c/d": "x"}, "m": 1})),
        ),
        (
            json!([{"op": "remove", "path": "/x"}]),
            Err((422, "remove operation does not apply: doc is missing key: /x: missing value")),
        ),
        (
            json!([{"op": "replace", "path": "/a/x", "value": 1}]),
            Err((422, "replace operation does not apply: doc is missing key: /a/x: missing value")),
        ),
        (
            json!([{"op": "add", "path": "/x/y", "value": 1}]),
            Err((422, "add operation does not apply: doc is missing path: /x/y: missing value")),
        ),
        (json!([{"op": "test", "path": "/a/b", "value": 1}]), Err((422, "testing value /a/b failed: test failed"))),
        (
            json!([{"op": "add", "path": "/a/b/7", "value": 1}]),
            Err((422, "add operation does not apply: doc is missing path: /a/b/7: missing value")),
        ),
        (json!({"op": "add"}), Err((400, ""))),
        (
            json!([{"op": "move", "from": "/a", "path": "/a/b/c"}]),
            Err((422, "move operation does not apply: /a/b/c is inside of /a")),
        ),
    ] {
        match (patch(PatchKind::Json, "", &doc, &ops), expected) {
            (Err((code, message)), Err((c, m))) => assert!(code == c && message.ends_with(m), "{ops}: {message}"),
            (got, expected) => assert_eq!(got.ok(), expected.ok(), "{ops}"),
        }
    }
}

#[test]
fn copies_cannot_nest_without_end() {
    let ops: Vec<Value> = (0..500).map(|_| json!({"op": "copy", "from": "/a", "path": "/a/a"})).collect();
    assert_eq!(patch(PatchKind::Json, "", &json!({"a": {}}), &Value::Array(ops)).unwrap_err().0, 422);
}

#[test]
fn merge_patches() {
    for (doc, body, expected) in [
        (json!({"a": 1, "b": {"c": 2}}), json!({"a": null, "b": {"d": 3}}), json!({"b": {"c": 2, "d": 3}})),
        (json!({"a": [1]}), json!({"a": [2], "x": {"y": null}}), json!({"a": [2], "x": {}})),
        (json!({"a": "s"}), json!({"a": {"b": null, "c": 1}}), json!({"a": {"c": 1}})),
    ] {
        assert_eq!(patch(PatchKind::Merge, "", &doc, &body), Ok(expected), "{body}");
    }
    assert_eq!(patch(PatchKind::Merge, "", &json!({}), &json!([])).unwrap_err().0, 400);
}

#[test]
fn strategic_merge_patches() {
    let pod = |spec: Value| json!({"spec": spec});
    for (of, current, body, expected) in [
        // lists of objects merge by key; what is new comes first unless an order is set
        (
            "Pod",
            pod(json!({"containers": [{"name": "a", "image": "i", "args": ["x"]}, {"name": "b"}]})),
            pod(json!({"containers": [{"name": "a", "image": "j"}, {"name": "c"}]})),
            pod(json!({"containers": [{"name": "a", "image": "j", "args": ["x"]}, {"name": "c"}, {"name": "b"}]})),
        ),
        (
            "Pod",
            pod(json!({"containers": [{"name": "a"}, {"name": "b"}]})),
            pod(
                json!({"$setElementOrder/containers": [{"name": "b"}, {"name": "c"}, {"name": "a"}], "containers": [{"name": "c"}]}),
            ),
            pod(json!({"containers": [{"name": "b"}, {"name": "c"}, {"name": "a"}]})),
        ),
        // atomic lists are replaced
        (
            "Pod",
            pod(json!({"tolerations": [{"key": "a"}]})),
            pod(json!({"tolerations": [{"key": "b"}]})),
            pod(json!({"tolerations": [{"key": "b"}]})),
        ),
        // directives on items
        (
            "Pod",
            pod(json!({"containers": [{"name": "a"}, {"name": "b"}]})),
            pod(json!({"containers": [{"name": "a", "$patch": "delete"}]})),
            pod(json!({"containers": [{"name": "b"}]})),
        ),
        (
            "Pod",
            pod(json!({"containers": [{"name": "a"}, {"name": "b"}]})),
            pod(json!({"containers": [{"name": "c"}, {"$patch": "replace"}]})),
            pod(json!({"containers": [{"name": "c"}]})),
        ),
        // directives on objects
        (
            "Pod",
            pod(json!({"securityContext": {"runAsUser": 1, "fsGroup": 2}})),
            pod(json!({"securityContext": {"$patch": "replace", "runAsUser": 3}})),
            pod(json!({"securityContext": {"runAsUser": 3}})),
        ),
        (
            "Pod",
            pod(json!({"securityContext": {"runAsUser": 1}})),
            pod(json!({"securityContext": {"$patch": "delete"}})),
            pod(json!({"securityContext": {}})),
        ),
        // retainKeys, as `kubectl apply` sends it for a changed strategy or volume source
        (
            "Deployment",
            pod(json!({"strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1}}})),
            pod(json!({"strategy": {"$retainKeys": ["type"], "type": "Recreate"}})),
            pod(json!({"strategy": {"type": "Recreate"}})),
        ),
        (
            "Pod",
            pod(json!({"volumes": [{"name": "v", "emptyDir": {}}]})),
            pod(json!({"volumes": [{"name": "v", "$retainKeys": ["name", "hostPath"], "hostPath": {"path": "/x"}}]})),
            pod(json!({"volumes": [{"name": "v", "hostPath": {"path": "/x"}}]})),
        ),
        // scalar lists
        (
            "ConfigMap",
            json!({"metadata": {"finalizers": ["a", "b"]}}),
            json!({"metadata": {"finalizers": ["c"]}}),
            json!({"metadata": {"finalizers": ["c", "a", "b"]}}),
        ),
        (
            "ConfigMap",
            json!({"metadata": {"finalizers": ["a", "b"]}}),
            json!({"metadata": {"$deleteFromPrimitiveList/finalizers": ["a"], "$setElementOrder/finalizers": ["b"]}}),
            json!({"metadata": {"finalizers": ["b"]}}),
        ),
        // maps, nulls
        (
            "ConfigMap",
            json!({"data": {"a": "1", "b": "2"}}),
            json!({"data": {"a": null, "c": "3"}}),
            json!({"data": {"b": "2", "c": "3"}}),
        ),
        ("ConfigMap", json!({}), json!({"data": {"a": null, "c": "3"}}), json!({"data": {"c": "3"}})),
        // ports by containerPort and by port
        (
            "Pod",
            pod(json!({"containers": [{"name": "a", "ports": [{"containerPort": 80, "name": "x"}]}]})),
            pod(json!({"containers": [{"name": "a", "ports": [{"containerPort": 80, "name": "y"}]}]})),
            pod(json!({"containers": [{"name": "a", "ports": [{"containerPort": 80, "name": "y"}]}]})),
        ),
        (
            "Service",
            pod(json!({"ports": [{"port": 80, "nodePort": 30000}]})),
            pod(json!({"ports": [{"port": 80, "name": "h"}]})),
            pod(json!({"ports": [{"port": 80, "nodePort": 30000, "name": "h"}]})),
        ),
    ] {
        assert_eq!(patch(PatchKind::Strategic, of, &current, &body), Ok(expected), "{body}");
    }
    let refused = patch(PatchKind::Strategic, "Pod", &json!({}), &pod(json!({"containers": [{"image": "x"}]})));
    assert_eq!(refused, Err((400, r#"map: {"image":"x"} does not contain declared merge key: name"#.into())));
    let custom = apply_patch(&Patch::strategic(json!({})), json!({}), None).unwrap_err();
    assert_eq!((custom.code, custom.reason.as_str()), (415, "UnsupportedMediaType"));
}

fn any_object() -> impl Strategy<Value = Value> {
    let names = prop::sample::select(vec![
        "metadata",
        "spec",
        "containers",
        "name",
        "labels",
        "finalizers",
        "ports",
        "containerPort",
        "$patch",
        "$retainKeys",
        "$setElementOrder/containers",
        "$deleteFromPrimitiveList/finalizers",
        "op",
        "path",
        "value",
        "from",
    ]);
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<i8>().prop_map(Value::from),
        prop::sample::select(vec![
            "a",
            "delete",
            "replace",
            "merge",
            "add",
            "copy",
            "/spec",
            "/spec/containers/-",
            "name"
        ])
        .prop_map(Value::from)
    ];
    leaf.prop_recursive(5, 40, 5, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((names.clone(), inner), 0..5)
                .prop_map(|l| Value::Object(l.into_iter().map(|(k, v)| (k.to_string(), v)).collect())),
        ]
    })
}

proptest! {
    #[test]
    fn patches_never_panic(current in any_object(), body in any_object(), ops in prop::collection::vec(any_object(), 0..5)) {
        for kind in [PatchKind::Json, PatchKind::Merge, PatchKind::Strategic] {
            let _ = patch(kind, "Pod", &current, &body);
        }
        let _ = patch(PatchKind::Json, "Pod", &current, &Value::Array(ops));
    }
}
