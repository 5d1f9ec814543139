//! What comes beside the answer: warnings, layouts for people, forms of subresources, WebSockets.

use super::world::{Answer, JSON, World, YAML, in_world};
use futures::StreamExt;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{Message, protocol::Role},
};

const MAPS: &str = "/api/v1/namespaces/default/configmaps";
const DEPLOYMENTS: &str = "/apis/apps/v1/namespaces/default/deployments";

/// The texts of the warnings.
fn warnings(answer: &Answer) -> Vec<String> {
    let lines = answer.headers.get_all("warning").iter().map(|line| line.to_str().unwrap());
    lines.map(|line| line.strip_prefix("299 - \"").unwrap().strip_suffix('"').unwrap().replace("\\\"", "\"")).collect()
}

fn deployment(name: &str, template: &Value) -> Value {
    let mut spec = json!({"containers": [{"name": "c", "image": "i"}]});
    spec.as_object_mut().unwrap().extend(template.as_object().unwrap().clone());
    json!({"metadata": {"name": name}, "spec": {"selector": {"matchLabels": {"app": "x"}},
           "template": {"metadata": {"labels": {"app": "x"}}, "spec": spec}}})
}

#[test]
fn writers_are_warned_of_what_is_accepted() {
    in_world(|world| async move {
        let owner = json!({"apiVersion": "v1", "kind": "ConfigMap", "name": "o", "uid": "u-1"});
        let twice = |name: &str| json!({"metadata": {"name": name, "ownerReferences": [owner, owner]}});
        let old = deployment("web", &json!({"nodeSelector": {"beta.kubernetes.io/os": "linux"}}));
        let mut refused = old.clone();
        refused["spec"]["replicas"] = json!(-1);
        let label = r#"spec.template.spec.nodeSelector[beta.kubernetes.io/os]: deprecated since v1.14; use "kubernetes.io/os" instead"#;
        let owners = ".metadata.ownerReferences contains duplicate entries; API server dedups owner references in 1.20+, and may reject such requests as early as 1.24; please fix your requests; duplicate UID(s) observed: u-1";
        let endpoints = "v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice";
        let headless = json!({"metadata": {"name": "s"}, "spec": {"clusterIP": "None", "sessionAffinity": "ClientIP", "ports": [{"port": 80}]}});
        for (method, path, body, code, expected) in [
            ("POST", DEPLOYMENTS, refused, 422, vec![]),
            ("POST", DEPLOYMENTS, old, 201, vec![label]),
            (
                "PATCH",
                "/apis/apps/v1/namespaces/default/deployments/web",
                json!({"metadata": {"labels": {"a": "b"}}}),
                200,
                vec![],
            ),
            (
                "PATCH",
                "/apis/apps/v1/namespaces/default/deployments/web",
                json!({"spec": {"replicas": 2}}),
                200,
                vec![label],
            ),
            (
                "PATCH",
                "/apis/apps/v1/namespaces/default/deployments/web/scale",
                json!({"spec": {"replicas": 3}}),
                200,
                vec![label],
            ),
            (
                "PATCH",
                "/apis/apps/v1/namespaces/default/deployments/web/status",
                json!({"status": {"replicas": 1}}),
                200,
                vec![],
            ),
            ("POST", MAPS, twice("a"), 201, vec![owners]),
            (
                "POST",
                "/api/v1/namespaces/default/services",
                headless,
                201,
                vec!["spec.SessionAffinity is ignored for headless services"],
            ),
            ("GET", "/api/v1/namespaces/default/endpoints", Value::Null, 200, vec![endpoints]),
            ("GET", "/api/v1/namespaces/default/services", Value::Null, 200, vec![]),
        ] {
            let kind = if method == "PATCH" { "application/merge-patch+json" } else { JSON };
            let text = if body.is_null() { String::new() } else { body.to_string() };
            let answer = world.send(method, path, &[("content-type", kind)], text).await;
            assert_eq!(answer.code, code, "{method} {path}: {:?}", answer.body);
            assert_eq!(warnings(&answer), expected, "{method} {path}");
        }
        let map = world.get(&format!("{MAPS}/a"), JSON).await.json();
        assert_eq!(map["metadata"]["ownerReferences"], json!([owner]));
        let metrics = world.get("/metrics", "").await;
        let counted = r#"apiserver_requested_deprecated_apis{group="",version="v1",resource="endpoints",subresource="",removed_release=""} 1"#;
        assert!(String::from_utf8_lossy(&metrics.body).lines().any(|line| line == counted));
        let spaced = world.send("GET", "/version", &[("authorization", "Bearer  token")], "").await;
        let said = "the provided Authorization header contains extra space before the bearer token, and is ignored";
        assert_eq!((spaced.code, warnings(&spaced)), (200, vec![said.to_string()]));
    });
}

#[test]
fn json_is_laid_out_for_people() {
    in_world(|world| async move {
        let lines = |answer: &Answer| answer.body.iter().filter(|byte| **byte == b'\n').count();
        for (path, agent, laid_out) in [
            ("/api/v1/namespaces/default", "curl/8.0", true),
            ("/api/v1/namespaces/default", "kubectl/v1.37.0", false),
            ("/api/v1/namespaces/default?pretty=true", "kubectl/v1.37.0", true),
            ("/api/v1/namespaces?pretty=true", "kubectl/v1.37.0", true),
            ("/api/v1/namespaces/none?pretty=true", "kubectl/v1.37.0", true),
            ("/api/v1/namespaces/default?pretty=false", "curl/8.0", false),
            ("/apis", "curl/8.0", true),
            ("/version", "kubectl/v1.37.0", true),
        ] {
            let answer = world.send("GET", path, &[("user-agent", agent)], "").await;
            assert_eq!(lines(&answer) > 3, laid_out, "{path} to {agent}: {:?}", answer.body);
            let plain = world.send("GET", path, &[], "").await;
            assert_eq!(answer.json(), plain.json());
        }
    });
}

#[test]
fn resources_say_in_which_version_they_are_stored() {
    in_world(|world| async move {
        for (path, name, expected) in [
            ("/api/v1", "pods", json!("xPOwRZ+Yhw8=")),
            ("/api/v1", "pods/status", Value::Null),
            ("/api/v1", "bindings", Value::Null),
            ("/api/v1", "componentstatuses", Value::Null),
            ("/apis/events.k8s.io/v1", "events", json!("r2yiGXH7wu8=")),
            ("/apis/autoscaling/v1", "horizontalpodautoscalers", json!("qwQve8ut294=")),
        ] {
            let list = world.get(path, JSON).await.json();
            let of = list["resources"].as_array().unwrap().iter().find(|r| r["name"] == name).unwrap().clone();
            assert_eq!(of["storageVersionHash"], expected, "{path} {name}");
        }
    });
}

#[test]
fn subresources_take_and_give_what_others_do() {
    in_world(|world| async move {
        world.create(DEPLOYMENTS, &deployment("web", &json!({}))).await;
        let scale = format!("{DEPLOYMENTS}/web/scale");
        let table = world.get(&scale, "application/json;as=Table;v=v1;g=meta.k8s.io").await.json();
        let columns = table["columnDefinitions"].as_array().unwrap().iter().map(|c| c["name"].as_str().unwrap());
        assert_eq!(
            (&table["kind"], columns.collect::<Vec<_>>().join(" ")),
            (&json!("Table"), "Name Desired Available Age".into())
        );
        assert_eq!(table["rows"][0]["cells"].as_array().unwrap()[..3], [json!("web"), json!(1), json!(0)]);
        let partial = world.get(&scale, "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io").await.json();
        assert_eq!((&partial["kind"], &partial["metadata"]["name"]), (&json!("PartialObjectMetadata"), &json!("web")));
        let eviction = "/api/v1/namespaces/default/pods/none/eviction";
        let review = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
        for (method, path, accept, kind, code) in [
            ("GET", scale.as_str(), "text/html", "", 406),
            ("PUT", &scale, JSON, "text/plain", 415),
            ("POST", eviction, "text/html", JSON, 406),
            ("POST", eviction, JSON, "text/plain", 415),
            ("POST", "/api/v1/namespaces/default/serviceaccounts/default/token", "text/html", JSON, 406),
            ("POST", review, "text/html", JSON, 406),
            ("POST", review, YAML, "text/plain", 415),
        ] {
            let answer = world.send(method, path, &[("accept", accept), ("content-type", kind)], "no object").await;
            assert_eq!(answer.code, code, "{method} {path} {accept} {kind}: {:?}", answer.body);
        }
    });
}

async fn socket(
    world: &World,
    path: &str,
    headers: &[(&str, &str)],
) -> WebSocketStream<TokioIo<hyper::upgrade::Upgraded>> {
    let mut all = vec![
        ("connection", "Upgrade"),
        ("upgrade", "websocket"),
        ("sec-websocket-version", "13"),
        ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ];
    all.extend_from_slice(headers);
    let answer = world.open("GET", path, &all, "").await;
    assert_eq!(answer.status(), 101);
    assert_eq!(answer.headers()["sec-websocket-accept"], "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    let upgraded = hyper::upgrade::on(answer).await.unwrap();
    WebSocketStream::from_raw_socket(TokioIo::new(upgraded), Role::Client, None).await
}

#[test]
fn watches_speak_over_websockets() {
    in_world(|world| async move {
        world.create(MAPS, &json!({"metadata": {"name": "a"}})).await;
        let path = format!("{MAPS}?watch=1&fieldSelector=metadata.name%3Da&timeoutSeconds=1");
        let mut text = socket(&world, &path, &[]).await;
        let mut binary = socket(&world, &path, &[("accept", "application/vnd.kubernetes.protobuf")]).await;
        let Message::Text(first) = text.next().await.unwrap().unwrap() else { panic!("text") };
        let event: Value = serde_json::from_str(&first).unwrap();
        assert_eq!((&event["type"], &event["object"]["metadata"]["name"]), (&json!("ADDED"), &json!("a")));
        let Message::Binary(first) = binary.next().await.unwrap().unwrap() else { panic!("bytes") };
        assert_eq!(&first[..7], b"\x0a\x05ADDED");
        world.patch(&format!("{MAPS}/a"), &json!({"data": {"n": "1"}})).await;
        let Message::Text(second) = text.next().await.unwrap().unwrap() else { panic!("text") };
        assert!(second.contains("MODIFIED"), "{second}");
        // the end is said, too
        loop {
            match text.next().await {
                Some(Ok(Message::Close(frame))) => break assert_eq!(u16::from(frame.unwrap().code), 1000),
                Some(Ok(_)) => {}
                other => panic!("{other:?}"),
            }
        }
        let refused = world.send("GET", &path, &[("connection", "Upgrade"), ("upgrade", "websocket")], "").await;
        assert_eq!(refused.code, 400);
    });
}
