//! The same in every syntax.

use super::world::{JSON, PROTOBUF, World, YAML, in_world};
use coracle_api::{
    Schema, protobuf,
    schema::{Type, yaml},
};
use serde_json::{Value, json};

fn type_of(value: &Value) -> Type<'static> {
    let (version, kind) = (value["apiVersion"].as_str().unwrap_or("v1"), value["kind"].as_str().unwrap());
    let named = |package: &str| Schema::builtin().type_named(&format!("{package}.{kind}"));
    match version {
        "meta.k8s.io/v1" => named("io.k8s.apimachinery.pkg.apis.meta.v1"),
        "apidiscovery.k8s.io/v2" => named("io.k8s.api.apidiscovery.v2"),
        "v1" => Schema::builtin().type_of("", "v1", kind).or_else(|| named("io.k8s.apimachinery.pkg.apis.meta.v1")),
        other => Schema::builtin().type_of_api_version(other, kind),
    }
    .unwrap_or_else(|| panic!("no type of {version} {kind}"))
}

/// What protobuf cannot tell from nothing, taken away: items' types and empty lists, maps and structs.
fn bare(value: &Value) -> Value {
    match value {
        Value::Object(map) => {
            let inner = map.iter().map(|(k, v)| (k.clone(), bare(v)));
            Value::Object(
                inner.filter(|(_, v)| !matches!(v, Value::Null) && *v != json!({}) && *v != json!([])).collect(),
            )
        }
        Value::Array(list) => list.iter().map(bare).collect(),
        other => other.clone(),
    }
}

/// A value read back from protobuf as JSON would have it: what Go always writes is told apart by its type.
fn spoken(value: &Value) -> Value {
    let of = type_of(value);
    let message = protobuf::encode(value, of).unwrap();
    protobuf::decode(message.envelope(), of).unwrap()
}

async fn same_in_all(world: &World, path: &str) {
    let [json, yaml_answer, answer] = [JSON, YAML, PROTOBUF].map(|accept| world.get(path, accept));
    let (json, yaml_answer, answer) = (json.await, yaml_answer.await, answer.await);
    let expected = json.json();
    assert_eq!((json.code, json.header("content-type")), (200, JSON), "{path}");
    assert_eq!((yaml_answer.code, yaml_answer.header("content-type")), (200, YAML), "{path}");
    let from_yaml: Value = serde_json::from_slice(&yaml::to_json(&yaml_answer.body).unwrap()).unwrap();
    assert_eq!(from_yaml, expected, "{path}");
    assert_eq!((answer.code, answer.header("content-type")), (200, PROTOBUF), "{path}");
    let found = protobuf::decode(&answer.body, type_of(&expected)).unwrap();
    assert_eq!(bare(&found), bare(&spoken(&expected)), "{path}");
}

#[test]
fn objects_lists_and_discovery_say_the_same_in_every_syntax() {
    in_world(|world| async move {
        for name in ["a", "b"] {
            let object = json!({"metadata": {"name": name}, "data": {"n": name}, "binaryData": {"x": "AAE="}});
            world.create("/api/v1/namespaces/default/configmaps", &object).await;
        }
        for path in [
            "/api",
            "/apis",
            "/api/v1",
            "/apis/apps",
            "/apis/apps/v1",
            "/api/v1/namespaces/default",
            "/api/v1/namespaces/default/configmaps/a",
            "/api/v1/configmaps?limit=1",
            "/api/v1/pods",
            "/apis/events.k8s.io/v1/events",
        ] {
            same_in_all(&world, path).await;
        }
        for kind in coracle_kinds::all().iter().filter(|k| k.verbs.contains(&"list")) {
            let resource = &kind.resource;
            let root = if resource.group.is_empty() { "api" } else { "apis" };
            same_in_all(&world, &format!("/{root}/{}/{}", resource.api_version(), resource.plural)).await;
        }
    });
}

#[test]
fn what_kubectl_sends_in_protobuf_is_created_and_comes_back() {
    in_world(|world| async move {
        let mut created_kinds = 0;
        let sent = include_str!("../../../api/src/protobuf/kubectl.txt");
        for line in sent.lines().filter(|l| !l.starts_with('#')) {
            let bytes: Vec<u8> = line
                .as_bytes()
                .chunks(2)
                .map(|b| u8::from_str_radix(str::from_utf8(b).unwrap(), 16).unwrap())
                .collect();
            let said = |needle: &str| bytes.windows(needle.len()).any(|w| w == needle.as_bytes());
            let kind = coracle_kinds::all().iter().find(|k| {
                let (version, kind) = (k.resource.api_version(), k.resource.kind.as_ref());
                let head = [
                    b"\x0a",
                    &[version.len() as u8][..],
                    version.as_bytes(),
                    b"\x12",
                    &[kind.len() as u8],
                    kind.as_bytes(),
                ];
                said(str::from_utf8(&head.concat()).unwrap())
            });
            // a token is asked for below a service account
            let Some(kind) = kind else { continue };
            let (resource, of) = (&kind.resource, kind.type_of().unwrap());
            let root = if resource.group.is_empty() { "api" } else { "apis" };
            let namespace = if resource.namespaced { "namespaces/default/" } else { "" };
            let path = format!("/{root}/{}/{namespace}{}", resource.api_version(), resource.plural);
            let headers = [("content-type", PROTOBUF), ("accept", PROTOBUF)];
            let answer = world.send("POST", &path, &headers, bytes.clone()).await;
            // names in the file repeat, and one of its objects is refused upstream too
            if matches!(answer.code, 409 | 422) {
                continue;
            }
            created_kinds += 1;
            assert_eq!((answer.code, answer.header("content-type")), (201, PROTOBUF), "{path}: {:?}", answer.body);
            let created = protobuf::decode(&answer.body, of).unwrap();
            let asked = protobuf::decode(&bytes, of).unwrap();
            assert_eq!(created["metadata"]["name"], asked["metadata"]["name"], "{path}");
            let name = created["metadata"]["name"].as_str().unwrap_or_default();
            if kind.verbs.contains(&"update") && !name.is_empty() {
                // what was read is written back and changes nothing
                let read = world.get(&format!("{path}/{name}"), PROTOBUF).await;
                let headers = [("content-type", PROTOBUF), ("accept", JSON)];
                let written = world.send("PUT", &format!("{path}/{name}"), &headers, read.body.clone()).await;
                let (before, after) = (protobuf::decode(&read.body, of).unwrap(), written.json());
                assert_eq!(written.code, 200, "{path}: {after}");
                let version =
                    |v: &Value| (v["metadata"]["resourceVersion"].clone(), v["metadata"]["generation"].clone());
                assert_eq!(version(&after), version(&before), "{path}: {before} became {after}");
            }
        }
        assert!(created_kinds >= 14, "{created_kinds}");
    });
}

#[test]
fn refusals_are_told_in_the_syntax_that_is_wanted() {
    in_world(|world| async move {
        let maps = "/api/v1/namespaces/default/configmaps";
        let known = "only the following media types are accepted: application/json, application/yaml, application/vnd.kubernetes.protobuf";
        let framed = "only the following media types are accepted: application/json;stream=watch, application/vnd.kubernetes.protobuf;stream=watch";
        let body = "the body of the request was in an unknown format - accepted media types include: application/json, application/yaml, application/vnd.kubernetes.protobuf";
        let patches = "the body of the request was in an unknown format - accepted media types include: application/json-patch+json, application/merge-patch+json, application/strategic-merge-patch+json, application/apply-patch+yaml";
        let one = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1";
        let list = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1";
        let table = "application/vnd.kubernetes.protobuf;as=Table;g=meta.k8s.io;v=v1";
        for (method, path, accept, content, code, message) in [
            ("GET", format!("{maps}/none"), PROTOBUF, "", 404, "configmaps \"none\" not found"),
            ("GET", format!("{maps}/none"), YAML, "", 404, "configmaps \"none\" not found"),
            ("GET", format!("{maps}/none"), "application/cbor", "", 406, known),
            ("GET", maps.into(), "application/cbor", "", 406, known),
            ("GET", format!("{maps}?watch=1"), "text/html", "", 406, known),
            ("GET", format!("{maps}?watch=1"), YAML, "", 406, framed),
            ("GET", maps.into(), table, "", 406, known),
            (
                "GET",
                maps.into(),
                one,
                "",
                406,
                "you requested PartialObjectMetadata, but the requested object is a list (*core.ConfigMapList)",
            ),
            (
                "GET",
                "/api/v1/namespaces/default".into(),
                list,
                "",
                406,
                "you requested PartialObjectMetadataList, but the requested object is not a list (*core.Namespace)",
            ),
            ("POST", maps.into(), "application/cbor", JSON, 406, known),
            ("POST", maps.into(), JSON, "application/cbor", 415, body),
            ("POST", maps.into(), JSON, "text/plain", 415, body),
            ("PATCH", format!("{maps}/none"), JSON, JSON, 415, patches),
        ] {
            let headers = [("accept", accept), ("content-type", content)];
            let body = if content.is_empty() { "" } else { "{\"metadata\":{\"name\":\"never\"}}" };
            let answer = world.send(method, &path, &headers, body).await;
            let (media, status) = match accept {
                PROTOBUF => (PROTOBUF, protobuf::decode(&answer.body, type_of(&json!({"kind": "Status"}))).unwrap()),
                YAML => (YAML, serde_json::from_slice(&yaml::to_json(&answer.body).unwrap()).unwrap()),
                _ => (JSON, answer.json()),
            };
            let found = (answer.code, answer.header("content-type"), status["message"].as_str().unwrap_or_default());
            assert_eq!(found, (code, media, message), "{method} {path} {accept}");
            assert_eq!((&status["code"], &status["status"]), (&json!(code), &json!("Failure")));
        }
        let none = world.get(&format!("{maps}/never"), JSON).await;
        assert_eq!(none.code, 404, "what cannot be answered is not done");
    });
}

#[test]
fn metadata_alone_in_json_and_protobuf() {
    in_world(|world| async move {
        let maps = "/api/v1/namespaces/default/configmaps";
        let object = json!({"metadata": {"name": "m", "labels": {"a": "b"}}, "data": {"k": "v"}});
        let made = world.create(maps, &object).await;
        for (path, kind) in [
            (format!("{maps}/m"), "PartialObjectMetadata"),
            (format!("{maps}?labelSelector=a"), "PartialObjectMetadataList"),
        ] {
            for syntax in [JSON, PROTOBUF] {
                let answer = world.get(&path, &format!("{syntax};as={kind};g=meta.k8s.io;v=v1")).await;
                let of = type_of(&json!({"apiVersion": "meta.k8s.io/v1", "kind": kind}));
                let value = if syntax == JSON { answer.json() } else { protobuf::decode(&answer.body, of).unwrap() };
                let one = value.get("items").map_or(&value, |items| &items[0]);
                assert_eq!((answer.header("content-type"), &value["kind"]), (syntax, &json!(kind)));
                assert_eq!((&one["metadata"], one.get("data")), (&made["metadata"], None), "{path} {syntax}");
            }
        }
    });
}

#[test]
fn large_answers_are_packed_for_those_who_ask() {
    in_world(|world| async move {
        let maps = "/api/v1/namespaces/default/configmaps";
        world.create(maps, &json!({"metadata": {"name": "big"}, "data": {"k": "x".repeat(200_000)}})).await;
        for (path, syntax, encoding, expected) in [
            (format!("{maps}/big"), JSON, "gzip", "gzip"),
            (format!("{maps}/big"), PROTOBUF, "deflate, gzip", "gzip"),
            (format!("{maps}/big"), JSON, "deflate", ""),
            (maps.to_string(), PROTOBUF, "gzip", "gzip"),
            ("/api/v1/namespaces/default".to_string(), JSON, "gzip", ""),
        ] {
            let answer = world.send("GET", &path, &[("accept", syntax), ("accept-encoding", encoding)], "").await;
            assert_eq!((answer.code, answer.header("content-encoding")), (200, expected), "{path} {syntax} {encoding}");
        }
    });
}
