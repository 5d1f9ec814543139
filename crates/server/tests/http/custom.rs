//! Custom resources: their definitions come, change and go, and clients of every version see their objects.

use super::world::{Frames, JSON, World, in_world};
use bytes::Bytes;
use coracle_pki::{
    Authority, Names, pem,
    tls::{self, RotatingCertificate},
};
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};
use tokio_rustls::TlsAcceptor;

const DEFINITIONS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";

fn version(name: &str, storage: bool, properties: Value) -> Value {
    let spec = json!({"type": "object", "properties": properties});
    json!({
        "name": name, "served": true, "storage": storage, "subresources": {"status": {}},
        "schema": {"openAPIV3Schema": {"type": "object", "properties": {"spec": spec}}},
    })
}

fn definition(versions: Value, conversion: Value) -> Value {
    json!({
        "metadata": {"name": "foos.example.com"},
        "spec": {
            "group": "example.com", "scope": "Cluster", "names": {"plural": "foos", "kind": "Foo"},
            "versions": versions, "conversion": conversion,
        },
    })
}

fn path(version: &str, name: &str) -> String {
    format!("/apis/example.com/{version}/foos{name}")
}

fn is_true(definition: &Value, condition: &str) -> bool {
    definition["status"]["conditions"]
        .as_array()
        .into_iter()
        .flatten()
        .any(|c| c["type"] == condition && c["status"] == "True")
}

/// Reads a watch until something holds of an object; the object.
async fn until(frames: &mut Frames, holds: impl Fn(&str, &Value) -> bool) -> Value {
    loop {
        let (kind, object) = frames.event().await.expect("the watch ended before");
        if holds(&kind, &object) {
            return object;
        }
    }
}

/// Creates a definition and waits until it is established, as a client does.
pub async fn define(world: &World, definition: &Value) -> Value {
    let made = world.create(DEFINITIONS, definition).await;
    let from = made["metadata"]["resourceVersion"].as_str().unwrap();
    let mut watch = world.watch(&format!("{DEFINITIONS}?watch=1&resourceVersion={from}"), JSON).await;
    until(&mut watch, |_, object| is_true(object, "Established")).await
}

async fn spec(world: &World, path: &str) -> Value {
    let answer = world.get(path, JSON).await;
    assert_eq!(answer.code, 200, "{path}: {:?}", answer.body);
    answer.json()["spec"].clone()
}

#[test]
fn what_is_established_is_served_and_what_is_deleted_is_not() {
    in_world(|world| async move {
        let none = json!({"strategy": "None"});
        define(&world, &definition(json!([version("v1", true, json!({"a": {"type": "string"}}))]), none)).await;
        // at once: nobody has to try again
        assert_eq!(world.get(&path("v1", ""), JSON).await.code, 200);
        let groups = world.get("/apis/example.com/v1", JSON).await.json();
        assert_eq!(groups["resources"][1]["name"], "foos/status");
        let published = world.get("/openapi/v3/apis/example.com/v1", JSON).await.json();
        assert!(published["components"]["schemas"]["com.example.v1.Foo"]["properties"]["spec"].is_object());

        let held = json!({"kind": "Foo", "apiVersion": "example.com/v1", "metadata": {"name": "held", "finalizers": ["example.com/f"]}});
        world.create(&path("v1", ""), &held).await;
        world.create(&path("v1", ""), &json!({"metadata": {"name": "free"}})).await;
        let gone = world.send("DELETE", &format!("{DEFINITIONS}/foos.example.com"), &[], "").await.json();
        let from = gone["metadata"]["resourceVersion"].as_str().unwrap().to_string();
        let mut watch = world.watch(&format!("{DEFINITIONS}?watch=1&resourceVersion={from}"), JSON).await;
        until(&mut watch, |_, object| {
            let conditions = object["status"]["conditions"].as_array().unwrap();
            conditions.iter().any(|c| c["reason"] == "InstanceDeletionInProgress")
        })
        .await;
        let refused =
            world.send("POST", &path("v1", ""), &[("content-type", JSON)], r#"{"metadata":{"name":"late"}}"#).await;
        assert_eq!(refused.code, 403);
        world.patch(&path("v1", "/held"), &json!({"metadata": {"finalizers": null}})).await;
        until(&mut watch, |kind, _| kind == "DELETED").await;
        assert_eq!(world.get("/apis/example.com/v1", JSON).await.code, 404);
        assert_eq!(world.get(&path("v1", ""), JSON).await.code, 404);
    });
}

#[test]
fn a_changed_schema_holds_for_what_is_stored() {
    in_world(|world| async move {
        let with =
            |properties: Value| definition(json!([version("v1", true, properties)]), json!({"strategy": "None"}));
        let any = json!({"type": "string"});
        define(&world, &with(json!({"a": any, "b": any}))).await;
        world.create(&path("v1", ""), &json!({"metadata": {"name": "x"}, "spec": {"a": "1", "b": "2"}})).await;
        let change = json!({"spec": with(json!({"a": any, "c": {"type": "string", "default": "new"}}))["spec"]});
        world.patch(&format!("{DEFINITIONS}/foos.example.com"), &change).await;
        // the catalog follows a moment later; a watch that began before ends then
        let mut seen = Value::Null;
        while seen != json!({"a": "1", "c": "new"}) {
            seen = spec(&world, &path("v1", "/x")).await;
        }
        assert_eq!(world.get(&path("v1", ""), JSON).await.json()["items"][0]["spec"], seen);
        // writing what was read puts it into the store that way
        let before = world.get(&path("v1", "/x"), JSON).await.json();
        let written = world.send("PUT", &path("v1", "/x"), &[("content-type", JSON)], before.to_string()).await.json();
        assert_ne!(written["metadata"]["resourceVersion"], before["metadata"]["resourceVersion"]);
    });
}

#[test]
fn versions_differ_by_name_only_without_conversion() {
    in_world(|world| async move {
        let (a, b) = (
            json!({"a": {"type": "string"}}),
            json!({"a": {"type": "string"}, "b": {"type": "string", "default": "B"}}),
        );
        define(
            &world,
            &definition(json!([version("v1", false, a), version("v2", true, b)]), json!({"strategy": "None"})),
        )
        .await;
        world.create(&path("v1", ""), &json!({"metadata": {"name": "x"}, "spec": {"a": "1"}})).await;
        let v2 = world.get(&path("v2", "/x"), JSON).await.json();
        assert_eq!((&v2["apiVersion"], &v2["spec"]), (&json!("example.com/v2"), &json!({"a": "1", "b": "B"})));
        assert_eq!(spec(&world, &path("v1", "/x")).await, json!({"a": "1"}));
    });
}

/// A webhook that splits `spec.address` of v1 into `spec.host` and `spec.port` of v2, and back.
struct Hook {
    config: Value,
    asked: Arc<AtomicUsize>,
}

/// What a webhook's `caBundle` names.
enum Trusted {
    Authority,
    Leaf,
}

impl Hook {
    /// `trusted`: what the bundle holds of the authority and the webhook's own certificate.
    async fn start(trusted: Trusted) -> Self {
        let now = jiff::Timestamp::now();
        let authority = Authority::create("hooks", now).unwrap();
        let names = Names { addresses: vec![[127, 0, 0, 1].into()], ..Names::default() };
        let identity = authority.server("hook", &[], &names, now).unwrap();
        let bundle = match trusted {
            Trusted::Authority => authority.certificate_pem(),
            Trusted::Leaf => pem::encode("CERTIFICATE", &identity.chain[0]),
        };
        let mut tls = tls::server_config(RotatingCertificate::new(identity).unwrap(), None).unwrap();
        tls.alpn_protocols = vec![b"http/1.1".to_vec()];
        let acceptor = TlsAcceptor::from(Arc::new(tls));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let asked = Arc::new(AtomicUsize::new(0));
        let counter = asked.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, counter) = (acceptor.clone(), counter.clone());
                tokio::spawn(async move {
                    let Ok(stream) = acceptor.accept(stream).await else { return };
                    let service = service_fn(move |request| answer(request, counter.clone()));
                    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
                });
            }
        });
        use base64::{Engine, prelude::BASE64_STANDARD};
        let bundle = BASE64_STANDARD.encode(bundle);
        let client = json!({"url": format!("https://127.0.0.1:{port}/convert"), "caBundle": bundle});
        let webhook = json!({"clientConfig": client, "conversionReviewVersions": ["v1"]});
        Self { config: json!({"strategy": "Webhook", "webhook": webhook}), asked }
    }
}

async fn answer(request: Request<Incoming>, asked: Arc<AtomicUsize>) -> Result<Response<Full<Bytes>>, hyper::Error> {
    asked.fetch_add(1, Ordering::SeqCst);
    let body = request.into_body().collect().await?.to_bytes();
    let review: Value = serde_json::from_slice(&body).unwrap();
    let (question, desired) = (&review["request"], review["request"]["desiredAPIVersion"].clone());
    let objects = question["objects"].as_array().unwrap().iter().map(|object| {
        let mut object = object.clone();
        let spec = object["spec"].clone();
        object["apiVersion"] = desired.clone();
        object["spec"] = match (desired.as_str().unwrap(), spec["address"].as_str()) {
            ("example.com/v2", Some(address)) => {
                let (host, port) = address.split_once(':').unwrap();
                json!({"host": host, "port": port})
            }
            // what is asked about is not always whole: who owns what is found out with parts of objects
            ("example.com/v1", None) => {
                let text = |name: &str| spec[name].as_str().unwrap_or_default();
                json!({"address": format!("{}:{}", text("host"), text("port"))})
            }
            _ => spec,
        };
        object
    });
    let broken = question["objects"][0]["metadata"]["name"] == "broken";
    let result =
        if broken { json!({"status": "Failure", "message": "it is broken"}) } else { json!({"status": "Success"}) };
    let response = json!({"uid": question["uid"], "result": result, "convertedObjects": objects.collect::<Vec<_>>()});
    let review = json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "ConversionReview", "response": response});
    Ok(Response::new(Full::new(review.to_string().into())))
}

/// The versions between which the webhook converts.
fn addresses() -> Value {
    let text = json!({"type": "string"});
    json!([version("v1", true, json!({"address": text})), version("v2", false, json!({"host": text, "port": text}))])
}

/// Who owns what of `spec`, by version.
fn owners(object: &Value) -> Vec<String> {
    let entries = object["metadata"]["managedFields"].as_array().unwrap().iter();
    let mut owners: Vec<String> = entries
        .map(|e| {
            let fields = e["fieldsV1"]["f:spec"].as_object().into_iter().flatten().map(|(name, _)| name.as_str());
            let fields: Vec<&str> = fields.filter(|name| *name != ".").collect();
            let text = |v: &Value| v.as_str().unwrap().to_string();
            format!("{} {} {}", text(&e["manager"]), text(&e["apiVersion"]), fields.join(","))
        })
        .collect();
    owners.sort();
    owners
}

#[test]
fn who_owns_what_is_judged_in_the_version_that_it_was_written_in() {
    in_world(|world| async move {
        // a bundle may hold the webhook's own certificate, as Go takes it
        let hook = Hook::start(Trusted::Leaf).await;
        define(&world, &definition(addresses(), hook.config.clone())).await;
        let apply = async |manager: &str, version: &str, spec: Value| {
            let body = json!({"apiVersion": format!("example.com/{version}"), "kind": "Foo", "metadata": {"name": "a"}, "spec": spec}).to_string();
            let url = format!("{}?fieldManager={manager}", path(version, "/a"));
            world.send("PATCH", &url, &[("content-type", "application/apply-patch+yaml")], body).await
        };
        let made = apply("two", "v2", json!({"host": "h", "port": "1"})).await;
        assert_eq!(made.code, 201, "{:?}", made.body);
        let headers = [("content-type", "application/merge-patch+json")];
        let body = json!({"spec": {"address": "h:2"}}).to_string();
        let patched =
            world.send("PATCH", &format!("{}?fieldManager=one", path("v1", "/a")), &headers, body).await.json();
        // what is one field there is two here, of which one has changed
        assert_eq!(owners(&patched), ["one example.com/v1 f:address", "two example.com/v2 f:host"]);
        let conflict = apply("two", "v2", json!({"host": "h", "port": "3"})).await;
        let why = "Apply failed with 1 conflict: conflict with \"one\" using example.com/v1: .spec.address";
        assert_eq!((conflict.code, conflict.json()["message"].as_str()), (409, Some(why)));
        let agreed = apply("two", "v2", json!({"host": "h", "port": "2"})).await;
        assert_eq!(agreed.code, 200, "{:?}", agreed.body);
        assert_eq!(owners(&agreed.json()), ["one example.com/v1 f:address", "two example.com/v2 f:host,f:port"]);
    });
}

#[test]
fn a_webhook_converts_and_is_asked_once() {
    in_world(|world| async move {
        let hook = Hook::start(Trusted::Authority).await;
        define(&world, &definition(addresses(), hook.config.clone())).await;
        world.create(&path("v2", ""), &json!({"metadata": {"name": "a"}, "spec": {"host": "h", "port": "1"}})).await;
        assert_eq!(spec(&world, &path("v1", "/a")).await, json!({"address": "h:1"}));
        world.create(&path("v1", ""), &json!({"metadata": {"name": "b"}, "spec": {"address": "i:2"}})).await;
        let list = world.get(&path("v2", ""), JSON).await.json();
        let specs: Vec<&Value> = list["items"].as_array().unwrap().iter().map(|o| &o["spec"]).collect();
        assert_eq!(specs, [&json!({"host": "h", "port": "1"}), &json!({"host": "i", "port": "2"})]);
        let before = hook.asked.load(Ordering::SeqCst);
        for _ in 0..3 {
            assert_eq!(spec(&world, &path("v2", "/b")).await, json!({"host": "i", "port": "2"}));
        }
        assert_eq!(hook.asked.load(Ordering::SeqCst), before, "what was converted once is kept");

        let from = list["metadata"]["resourceVersion"].as_str().unwrap();
        let mut watch = world.watch(&format!("{}?watch=1&resourceVersion={from}", path("v2", "")), JSON).await;
        world.patch(&path("v1", "/b"), &json!({"spec": {"address": "j:3"}})).await;
        let (kind, object) = watch.event().await.unwrap();
        assert_eq!((kind.as_str(), &object["spec"]), ("MODIFIED", &json!({"host": "j", "port": "3"})));

        world.create(&path("v1", ""), &json!({"metadata": {"name": "broken"}, "spec": {"address": "k:4"}})).await;
        let answer = world.get(&path("v2", "/broken"), JSON).await;
        let expected = "conversion webhook for example.com/v1, Kind=Foo failed: it is broken";
        assert_eq!((answer.code, answer.json()["message"].as_str().unwrap().contains(expected)), (500, true));
    });
}
