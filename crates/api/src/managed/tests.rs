use super::*;
use crate::schema::Schema;
use proptest::prelude::*;

fn writer(manager: &str, second: i64) -> Writer<'_> {
    Writer { manager, time: Timestamp::from_second(second).unwrap(), subresource: "" }
}

fn deployment() -> Option<Type<'static>> {
    Schema::builtin().type_of("apps", "v1", "Deployment")
}

fn web(spec: Value) -> Value {
    json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}, "spec": spec})
}

fn containers(list: Value) -> Value {
    json!({"template": {"spec": {"containers": list}}})
}

fn run(live: Option<Value>, applied: Value, manager: &str, on_conflict: OnConflict) -> Result<Value> {
    apply(live, applied, writer(manager, 100), on_conflict, deployment())
}

fn fields_of(object: &Value, manager: &str) -> Value {
    let list = object["metadata"]["managedFields"].as_array().cloned().unwrap_or_default();
    list.into_iter().find(|e| e["manager"] == manager).map_or(Value::Null, |e| e["fieldsV1"].clone())
}

#[test]
fn apply_creates_and_notes_the_owner() {
    let spec = json!({"replicas": 2, "selector": {"matchLabels": {"a": "b"}}, "template": {"spec": {"containers": [{"name": "c", "image": "i"}]}}});
    let object = run(None, web(spec), "helm", OnConflict::Refuse).unwrap();
    let entry = &object["metadata"]["managedFields"][0];
    assert_eq!((&entry["operation"], &entry["time"]), (&json!("Apply"), &json!("1970-01-01T00:01:40Z")));
    assert_eq!(
        fields_of(&object, "helm"),
        json!({"f:spec": {"f:replicas": {}, "f:selector": {}, "f:template": {"f:spec": {"f:containers": {"k:{\"name\":\"c\"}": {".": {}, "f:image": {}, "f:name": {}}}}}}})
    );
    let again = apply(
        Some(object.clone()),
        web(
            json!({"replicas": 2, "selector": {"matchLabels": {"a": "b"}}, "template": {"spec": {"containers": [{"name": "c", "image": "i"}]}}}),
        ),
        writer("helm", 200),
        OnConflict::Refuse,
        deployment(),
    );
    assert_eq!(again, Ok(object), "an apply that changes nothing changes no byte");
}

#[test]
fn given_up_fields_go_unless_others_name_them() {
    let first =
        run(None, web(json!({"replicas": 2, "paused": true, "minReadySeconds": 5})), "a", OnConflict::Refuse).unwrap();
    let shared = run(Some(first), web(json!({"minReadySeconds": 5})), "b", OnConflict::Refuse).unwrap();
    let object = run(Some(shared), web(json!({"replicas": 2})), "a", OnConflict::Refuse).unwrap();
    assert_eq!(object["spec"], json!({"replicas": 2, "minReadySeconds": 5}));
    let first =
        run(None, web(containers(json!([{"name": "x", "image": "1"}, {"name": "y"}]))), "a", OnConflict::Refuse)
            .unwrap();
    let mut defaulted = first.clone();
    defaulted["spec"]["template"]["spec"]["containers"][0]["imagePullPolicy"] = json!("Always");
    let object = run(Some(defaulted), web(containers(json!([{"name": "x"}]))), "a", OnConflict::Refuse).unwrap();
    assert_eq!(
        object["spec"],
        containers(json!([{"name": "x", "imagePullPolicy": "Always"}])),
        "defaults of a kept item stay"
    );
}

#[test]
fn conflicts_are_refused_or_taken() {
    let mut live = run(None, web(json!({"replicas": 2})), "a", OnConflict::Refuse).unwrap();
    let old = live.clone();
    live["spec"]["replicas"] = json!(5);
    live["spec"]["paused"] = json!(true);
    track_update(Some(&old), &mut live, writer("kubectl", 150), deployment());
    assert_eq!(fields_of(&live, "kubectl"), json!({"f:spec": {"f:paused": {}, "f:replicas": {}}}));
    assert_eq!(fields_of(&live, "a"), Value::Null, "an update takes what it changes");
    let refused = run(Some(live.clone()), web(json!({"replicas": 2})), "a", OnConflict::Refuse).unwrap_err();
    assert_eq!(
        (refused.code, refused.message.as_str()),
        (409, r#"Apply failed with 1 conflict: conflict with "kubectl" using apps/v1: .spec.replicas"#)
    );
    assert_eq!(
        refused.details["causes"][0],
        json!({"reason": "FieldManagerConflict", "message": "conflict with \"kubectl\" using apps/v1", "field": ".spec.replicas"})
    );
    let refused =
        run(Some(live.clone()), web(json!({"replicas": 2, "paused": false})), "a", OnConflict::Refuse).unwrap_err();
    assert_eq!(
        refused.message,
        "Apply failed with 2 conflicts: conflicts with \"kubectl\" using apps/v1:\n- .spec.paused\n- .spec.replicas"
    );
    let same = run(Some(live.clone()), web(json!({"replicas": 5})), "a", OnConflict::Refuse).unwrap();
    assert_eq!(fields_of(&same, "a"), json!({"f:spec": {"f:replicas": {}}}), "an equal value is shared");
    let taken = run(Some(live), web(json!({"replicas": 2})), "a", OnConflict::Take).unwrap();
    assert_eq!(taken["spec"], json!({"replicas": 2, "paused": true}));
    assert_eq!(fields_of(&taken, "kubectl"), json!({"f:spec": {"f:paused": {}}}));
}

#[test]
fn updates_are_tracked() {
    let mut pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "uid": "u", "labels": {"a": "b"}, "finalizers": ["x/y"]},
        "spec": {"containers": [{"name": "c", "ports": [{"containerPort": 80}]}], "nodeSelector": {"k": "v"}}});
    let of = Schema::builtin().type_of("", "v1", "Pod");
    track_update(None, &mut pod, writer("kubectl", 1), of);
    assert_eq!(
        fields_of(&pod, "kubectl"),
        json!({
            "f:metadata": {"f:finalizers": {"v:\"x/y\"": {}}, "f:labels": {"f:a": {}}},
            "f:spec": {"f:containers": {"k:{\"name\":\"c\"}": {".": {}, "f:name": {}, "f:ports": {".": {}, "k:{\"containerPort\":80,\"protocol\":\"TCP\"}": {".": {}, "f:containerPort": {}}}}}, "f:nodeSelector": {}}
        })
    );
    let unchanged = pod.clone();
    track_update(Some(&unchanged), &mut pod, writer("other", 9), of);
    assert_eq!(pod, unchanged, "no change, no note");
    let mut status = pod.clone();
    status["status"] = json!({"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]});
    track_update(Some(&pod), &mut status, Writer { subresource: "status", ..writer("kubelet", 2) }, of);
    let entry = status["metadata"]["managedFields"][1].clone();
    assert_eq!((&entry["subresource"], &entry["manager"]), (&json!("status"), &json!("kubelet")));
    let mut bare = status.clone();
    bare["metadata"]["labels"] = json!({});
    bare["metadata"].as_object_mut().unwrap().remove("managedFields");
    track_update(Some(&status), &mut bare, writer("kubectl", 3), of);
    assert!(fields_of(&bare, "kubectl")["f:metadata"].get("f:labels").is_none(), "what is removed belongs to nobody");
    bare["metadata"]["managedFields"] = json!([{}]);
    let old = bare.clone();
    track_update(Some(&old), &mut bare, writer("kubectl", 3), of);
    assert_eq!(bare["metadata"].get("managedFields"), None, "an empty entry resets");
}

#[test]
fn many_updaters_are_folded() {
    let mut object = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}, "data": {}});
    let of = Schema::builtin().type_of("", "v1", "ConfigMap");
    for i in 0..15 {
        let old = object.clone();
        object["data"][format!("k{i}")] = json!("v");
        track_update(Some(&old), &mut object, writer(&format!("m{i}"), i), of);
    }
    let managers = object["metadata"]["managedFields"].as_array().unwrap();
    assert_eq!((managers.len(), managers[0]["manager"].as_str()), (10, Some("ancient-changes")));
}

#[test]
fn custom_resources_have_granular_objects_and_atomic_lists() {
    let cr = |spec: Value| json!({"apiVersion": "x.y/v1", "kind": "Z", "metadata": {"name": "z"}, "spec": spec});
    let a = apply(None, cr(json!({"l": [1, 2], "m": {"p": 1}})), writer("a", 1), OnConflict::Refuse, None).unwrap();
    let b = apply(Some(a), cr(json!({"m": {"q": 2}})), writer("b", 2), OnConflict::Refuse, None).unwrap();
    assert_eq!(b["spec"], json!({"l": [1, 2], "m": {"p": 1, "q": 2}}));
    assert!(apply(Some(b), cr(json!({"l": [1]})), writer("b", 2), OnConflict::Refuse, None).is_err());
}

fn any_object() -> impl Strategy<Value = Value> {
    let names = prop::sample::select(vec![
        "metadata",
        "managedFields",
        "spec",
        "template",
        "containers",
        "name",
        "labels",
        "finalizers",
        "ports",
        "fieldsV1",
        "f:spec",
        ".",
    ]);
    let leaf = prop_oneof![Just(Value::Null), any::<i8>().prop_map(Value::from), "[a-c]".prop_map(Value::from)];
    leaf.prop_recursive(6, 60, 5, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((names.clone(), inner), 0..5)
                .prop_map(|l| Value::Object(l.into_iter().map(|(k, v)| (k.to_string(), v)).collect())),
        ]
    })
}

proptest! {
    #[test]
    fn bookkeeping_never_panics(live in any_object(), applied in any_object()) {
        for of in [deployment(), None] {
            let _ = apply(Some(live.clone()), applied.clone(), writer("a", 1), OnConflict::Refuse, of);
            let mut new = applied.clone();
            track_update(Some(&live), &mut new, writer("a", 1), of);
            if let Ok(first) = apply(None, applied.clone(), writer("a", 1), OnConflict::Refuse, of)
                && applied.is_object() && applied["metadata"].is_object() {
                prop_assert_eq!(apply(Some(first.clone()), applied.clone(), writer("a", 2), OnConflict::Refuse, of), Ok(first));
            }
        }
    }
}
