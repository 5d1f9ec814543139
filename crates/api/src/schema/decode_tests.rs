use super::*;
use crate::schema::Schema;
use proptest::prelude::*;
use serde_json::json;

fn check(kind: (&str, &str), body: &str, validation: FieldValidation) -> Result<Decoded, String> {
    let of = Schema::builtin().type_of_api_version(kind.0, kind.1).unwrap();
    let media = if body.starts_with('{') { Media::Json } else { Media::Yaml };
    decode(body.as_bytes(), media, Some(of), validation).map_err(|e| e.message)
}

#[test]
fn objects_become_canonical() {
    for (kind, body, expected) in [
        (
            ("v1", "Pod"),
            json!({"spec": {"containers": [{"name": "a", "resources": {"limits": {"cpu": "1000m", "memory": "1024Ki"}, "requests": {"cpu": 0.5}}}]}}),
            json!({"spec": {"containers": [{"name": "a", "resources": {"limits": {"cpu": "1", "memory": "1Mi"}, "requests": {"cpu": "500m"}}}]}}),
        ),
        (
            ("v1", "Pod"),
            json!({"metadata": {"creationTimestamp": null, "labels": {}}, "spec": {"volumes": [{"name": "v", "emptyDir": {}}], "containers": []}, "status": {}}),
            json!({"metadata": {}, "spec": {"volumes": [{"name": "v", "emptyDir": {}}], "containers": []}, "status": {}}),
        ),
        (
            ("v1", "Pod"),
            json!({"metadata": {"creationTimestamp": "2024-01-02T03:04:05+02:00"}}),
            json!({"metadata": {"creationTimestamp": "2024-01-02T01:04:05Z"}}),
        ),
        (
            ("coordination.k8s.io/v1", "Lease"),
            json!({"spec": {"renewTime": "2024-01-02T04:04:05.500000+01:00"}}),
            json!({"spec": {"renewTime": "2024-01-02T03:04:05.500000Z"}}),
        ),
        (
            ("v1", "ConfigMap"),
            json!({"data": {"a": null}, "binaryData": {"b": "aGk="}}),
            json!({"data": {"a": ""}, "binaryData": {"b": "aGk="}}),
        ),
        (
            ("v1", "Service"),
            json!({"spec": {"ports": [{"port": 80, "targetPort": "http"}, {"port": 81, "targetPort": 8}]}}),
            json!({"spec": {"ports": [{"port": 80, "targetPort": "http"}, {"port": 81, "targetPort": 8}]}}),
        ),
        (
            ("apps/v1", "ControllerRevision"),
            json!({"data": {"x": {"y": null}}, "revision": 1}),
            json!({"data": {"x": {"y": null}}, "revision": 1}),
        ),
    ] {
        let got = check(kind, &body.to_string(), FieldValidation::Strict);
        assert_eq!(got, Ok(Decoded { value: expected, warnings: vec![] }), "{body}");
    }
}

#[test]
fn unknown_and_duplicate_fields() {
    let body = r#"{"spec": {"foo": 1, "replicas": 1, "replicas": 2, "template": {"spec": {"containers": [{"name": "a", "bar": {"x": []}}]}}}}"#;
    let dropped = [
        r#"unknown field "spec.foo""#,
        r#"duplicate field "spec.replicas""#,
        r#"unknown field "spec.template.spec.containers[0].bar""#,
    ];
    let got = check(("apps/v1", "Deployment"), body, FieldValidation::Warn).unwrap();
    assert_eq!(got.warnings, dropped);
    assert_eq!(got.value, json!({"spec": {"replicas": 2, "template": {"spec": {"containers": [{"name": "a"}]}}}}));
    assert_eq!(
        check(("apps/v1", "Deployment"), body, FieldValidation::Strict),
        Err(format!(
            "Deployment in version \"v1\" cannot be handled as a Deployment: strict decoding error: {}",
            dropped.join(", ")
        ))
    );
    assert_eq!(check(("apps/v1", "Deployment"), body, FieldValidation::Ignore).unwrap().warnings, Vec::<String>::new());
    let yaml = "kind: ConfigMap\ndata:\n  a: x\n  a: y\nDATA: {}\n";
    let got = check(("v1", "ConfigMap"), yaml, FieldValidation::Warn).unwrap();
    assert_eq!(got.warnings, [r#"line 4: key "a" already set in map"#, r#"unknown field "DATA""#]);
    assert_eq!(got.value, json!({"kind": "ConfigMap", "data": {"a": "y"}}));
    assert_eq!(
        check(("v1", "ConfigMap"), yaml, FieldValidation::Strict).unwrap_err(),
        "ConfigMap in version \"v1\" cannot be handled as a ConfigMap: strict decoding error: yaml: unmarshal errors:\n  \
         line 4: key \"a\" already set in map, unknown field \"DATA\""
    );
}

#[test]
fn wrong_types_are_told_as_go_tells_them() {
    for (kind, body, message) in [
        (
            ("apps/v1", "Deployment"),
            r#"{"spec": {"replicas": "3"}}"#,
            "json: cannot unmarshal string into Go struct field DeploymentSpec.spec.replicas of type int32",
        ),
        (
            ("apps/v1", "Deployment"),
            r#"{"spec": {"replicas": 1.5}}"#,
            "json: cannot unmarshal number 1.5 into Go struct field DeploymentSpec.spec.replicas of type int32",
        ),
        (
            ("apps/v1", "Deployment"),
            r#"{"spec": []}"#,
            "json: cannot unmarshal array into Go struct field Deployment.spec of type v1.DeploymentSpec",
        ),
        (
            ("v1", "Pod"),
            r#"{"spec": {"containers": [{"image": 5}]}}"#,
            "json: cannot unmarshal number into Go struct field Container.spec.containers.image of type string",
        ),
        (
            ("v1", "Pod"),
            r#"{"spec": {"containers": {}}}"#,
            "json: cannot unmarshal object into Go struct field PodSpec.spec.containers of type []v1.Container",
        ),
        (
            ("v1", "Pod"),
            r#"{"metadata": {"labels": {"a": true}}}"#,
            "json: cannot unmarshal bool into Go struct field ObjectMeta.metadata.labels.a of type string",
        ),
        (
            ("v1", "Pod"),
            r#"{"spec": {"containers": [{"resources": {"limits": {"cpu": "x"}}}]}}"#,
            "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'",
        ),
        (("v1", "Secret"), r#"{"data": {"a": "***"}}"#, "illegal base64 data at input byte 0"),
    ] {
        let got = check(kind, body, FieldValidation::Warn).unwrap_err();
        assert_eq!(got.split_once(": ").unwrap().1, message, "{body}");
    }
}

#[test]
fn what_is_no_object_is_told_as_upstream_tells_it() {
    const STRUCT: &str =
        r#"struct { APIVersion string "json:\"apiVersion,omitempty\""; Kind string "json:\"kind,omitempty\"" }"#;
    let no_struct = |what: &str| format!("json: cannot unmarshal {what} into Go value of type {STRUCT}");
    for (body, error) in [
        ("{\"a\": x}", "invalid character 'x' looking for beginning of value ({\"a\": x})".to_string()),
        ("", "unexpected end of JSON input (<empty>)".into()),
        ("nonsense", "invalid character 'o' in literal null (expecting 'u') (6e6f6e73656e7365)".into()),
        ("[]", format!("{} (5b5d)", no_struct("array"))),
        ("5", format!("{} (35)", no_struct("number"))),
        (
            "{\"metadata\": {\"name\": \"a-long-name\"}",
            "unexpected end of JSON input ({\"metadata\": {\"name\": \"a-long- ...)".into(),
        ),
    ] {
        let of = Schema::builtin().type_of("", "v1", "ConfigMap");
        let got = decode(body.as_bytes(), Media::Json, of, FieldValidation::Strict).unwrap_err();
        let head = "the object provided is unrecognized (must be of type ConfigMap): couldn't get version/kind; json parse error: ";
        assert_eq!((got.code, got.message), (400, format!("{head}{error}")), "{body}");
    }
}

#[test]
fn fields_named_twice_are_found_anywhere() {
    let text = br#"{"a": {"b": 1, "b": 2}, "l": [{"x": 1, "x": 1}], "a": 1}"#;
    assert_eq!(duplicates(text), [r#"duplicate field "a.b""#, r#"duplicate field "l[0].x""#, r#"duplicate field "a""#]);
}

#[test]
fn broken_and_hostile_bodies_are_refused() {
    let deep = format!("{}{}", r#"{"a":"#.repeat(2000), "1");
    for body in ["{", "[]", "1", "", "{\"a\":1}x", deep.as_str()] {
        assert!(
            decode(body.as_bytes(), Media::Json, Schema::builtin().type_of("", "v1", "Pod"), FieldValidation::Warn)
                .is_err(),
            "{body:.20}"
        );
    }
    let large = vec![b' '; MAX_BYTES + 1];
    assert_eq!(decode(&large, Media::Json, None, FieldValidation::Warn).unwrap_err().code, 413);
}

fn any_json() -> impl Strategy<Value = Value> {
    let names = prop::sample::select(vec![
        "metadata",
        "spec",
        "containers",
        "name",
        "labels",
        "resources",
        "limits",
        "cpu",
        "x",
        "ports",
        "data",
    ]);
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(|f| json!(f)),
        "[a-z0-9.:TZ-]{0,12}".prop_map(Value::from)
    ];
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
    fn decoding_never_panics_and_is_idempotent(value in any_json(), kind in prop::sample::select(vec!["Pod", "Service", "ConfigMap"])) {
        let of = Schema::builtin().type_of("", "v1", kind).unwrap();
        if let Ok(first) = decode(value.to_string().as_bytes(), Media::Json, Some(of), FieldValidation::Warn) {
            let again = decode(first.value.to_string().as_bytes(), Media::Json, Some(of), FieldValidation::Strict).unwrap();
            prop_assert_eq!(&again.value, &first.value);
            prop_assert_eq!(conform(&first.value, of, FieldValidation::Strict).unwrap().value, first.value);
        }
    }
}
