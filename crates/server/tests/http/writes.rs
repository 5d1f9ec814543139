//! Writes, over every kind and everything below its objects: a dry run changes nothing and answers as the real thing does, every kind of
//! patch is taken or refused; what is written comes back canonical.

use super::world::{JSON, PROTOBUF, World, in_world};
use coracle_api::protobuf;
use coracle_kinds::Kind;
use serde_json::{Value, json};

const MERGE: &str = "application/merge-patch+json";
const STRATEGIC: &str = "application/strategic-merge-patch+json";
const JSON_PATCH: &str = "application/json-patch+json";
const APPLY: &str = "application/apply-patch+yaml";

/// A kind, where its objects are, and one of them.
struct Sample {
    kind: &'static Kind,
    all: String,
    one: String,
    object: Value,
}

/// Groups with objects whose status the server writes by itself, at any moment: no two answers are the same.
const RESTLESS: [&str; 3] = ["apiextensions.k8s.io", "apiregistration.k8s.io", "flowcontrol.apiserver.k8s.io"];

/// An object of every kind that is served and takes writes. Certificate requests have a test of their own.
fn samples() -> Vec<Sample> {
    let objects: Value = serde_json::from_str(include_str!("objects.json")).unwrap();
    let written = coracle_kinds::all().iter().filter(|k| k.verbs.contains(&"create") && k.is_stored());
    let stable = written.filter(|k| matches!(&*k.resource.version, "v1" | "v2"));
    let known = stable.filter(|k| k.resource.group != "certificates.k8s.io" && !RESTLESS.contains(&&*k.resource.group));
    known
        .map(|kind| {
            let resource = &kind.resource;
            let (root, prefix) = match &*resource.group {
                "" => ("api", String::new()),
                // served as core's are
                "events.k8s.io" => ("apis", String::new()),
                group => ("apis", format!("{group}/")),
            };
            let name = format!("{prefix}{}", resource.plural);
            let mut object = objects[&name].clone();
            assert!(object.is_object(), "no object of {name}");
            object["apiVersion"] = json!(resource.api_version());
            object["kind"] = json!(resource.kind);
            if object["metadata"]["name"].is_null() {
                object["metadata"]["name"] = json!("sample");
            }
            if resource.group == "events.k8s.io" {
                object = json!({
                    "apiVersion": "events.k8s.io/v1", "kind": "Event", "metadata": {"name": "other"}, "action": "a", "reason": "r",
                    "eventTime": "2024-01-01T00:00:00.000000Z", "reportingController": "a.b/c", "reportingInstance": "i",
                    "type": "Normal", "regarding": {"kind": "Pod", "namespace": "default", "name": "p"},
                });
            }
            if resource.group == "autoscaling" && resource.version == "v1" {
                object["metadata"]["name"] = json!("older");
            }
            let namespace = if resource.namespaced { "namespaces/default/" } else { "" };
            let all = format!("/{root}/{}/{namespace}{}", resource.api_version(), resource.plural);
            let one = format!("{all}/{}", object["metadata"]["name"].as_str().unwrap());
            Sample { kind, all, one, object }
        })
        .collect()
}

/// What must be the same after a dry run: the collection, without what controllers of the server do on their own.
async fn state(world: &World, sample: &Sample) -> Value {
    let answer = world.get(&sample.one, JSON).await;
    if answer.code == 404 { Value::Null } else { answer.json() }
}

/// An answer without what differs from write to write.
fn bare(object: &Value) -> Value {
    let uid = object["metadata"]["uid"].as_str().unwrap_or("none");
    let mut object: Value = serde_json::from_str(&object.to_string().replace(uid, "uid")).unwrap();
    if let Some(metadata) = object["metadata"].as_object_mut() {
        for field in ["resourceVersion", "creationTimestamp", "deletionTimestamp"] {
            metadata.remove(field);
        }
        for entry in metadata.get_mut("managedFields").and_then(Value::as_array_mut).into_iter().flatten() {
            entry.as_object_mut().unwrap().remove("time");
        }
    }
    object
}

/// What was otherwise than it should be; told all at once.
#[derive(Default)]
struct Faults(Vec<String>);

impl Faults {
    fn unless_same<T: PartialEq + std::fmt::Debug>(&mut self, what: &str, found: &T, expected: &T) {
        if found != expected {
            self.0.push(format!("{what}: {found:?}, not {expected:?}"));
        }
    }
}

/// Sends a write twice, dry and wet: dry it changes nothing, and the answers are the same.
async fn check(
    world: &World,
    sample: &Sample,
    (method, path, content): (&str, &str, &str),
    body: &Value,
    expected: u16,
    faults: &mut Faults,
) {
    let headers = [("content-type", content)];
    let with = |more: &str| {
        let manager = if content == APPLY { "&fieldManager=me&force=true" } else { "" };
        format!("{path}?fieldValidation=Strict{manager}{more}")
    };
    let what = format!("{method} {path} {content}");
    let before = state(world, sample).await;
    let dry = world.send(method, &with("&dryRun=All"), &headers, body.to_string()).await;
    faults.unless_same(&format!("{what}, what is there"), &state(world, sample).await, &before);
    let wet = world.send(method, &with(""), &headers, body.to_string()).await;
    if (dry.code, wet.code) != (expected, expected) {
        let why = [dry.json()["message"].clone(), wet.json()["message"].clone()];
        faults.0.push(format!("{what}: {} and {}, not {expected}: {why:?}", dry.code, wet.code));
    } else if wet.code < 300 {
        faults.unless_same(&what, &bare(&dry.json()), &bare(&wet.json()));
    } else {
        faults.unless_same(&what, &dry.json()["message"], &wet.json()["message"]);
    }
}

fn label(value: &str) -> Value {
    json!({"metadata": {"labels": {"written": value}}})
}

/// Every kind of patch; `codes` are those that a merge patch and a strategic one get, and so all others.
async fn patches(
    world: &World,
    sample: &Sample,
    path: &str,
    (version, kind): (&str, &str),
    codes: (u16, u16),
    faults: &mut Faults,
) {
    let name = &sample.object["metadata"]["name"];
    let applied = match kind {
        "Scale" => json!({"apiVersion": version, "kind": kind, "metadata": {"name": name}, "spec": {"replicas": 3}}),
        _ => json!({"apiVersion": version, "kind": kind, "metadata": {"name": name, "labels": {"applied": "1"}}}),
    };
    let (merge, strategic) = match kind {
        "Scale" => (json!({"spec": {"replicas": 1}}), json!({"spec": {"replicas": 2}})),
        _ => (label("merge"), label("strategic")),
    };
    for (content, body) in [
        (MERGE, merge),
        (STRATEGIC, strategic),
        (JSON_PATCH, json!([{"op": "test", "path": "/kind", "value": kind}])),
        (APPLY, applied),
    ] {
        let expected = if content == STRATEGIC { codes.1 } else { codes.0 };
        check(world, sample, ("PATCH", path, content), &body, expected, faults).await;
    }
}

/// What is posted to a subresource that can only be created.
fn asked(subresource: &str, sample: &Sample) -> Value {
    let name = &sample.object["metadata"]["name"];
    match subresource {
        "binding" => json!({"metadata": {"name": name}, "target": {"kind": "Node", "name": "n"}}),
        "eviction" => json!({"metadata": {"name": name}}),
        _ => json!({"spec": {"audiences": ["a"]}}),
    }
}

/// The same for what is below an object.
async fn below(world: &World, sample: &Sample, faults: &mut Faults) {
    for sub in sample.kind.subresources.iter() {
        let name = sub.action.name();
        if matches!(name, "log" | "exec" | "attach" | "portforward" | "proxy") {
            continue;
        }
        let path = format!("{}/{name}", sample.one);
        let spoken = sample.kind.spoken(sub);
        let version = match spoken.group {
            "" => spoken.version.to_string(),
            group => format!("{group}/{}", spoken.version),
        };
        if sub.verbs.contains(&"create") {
            let before = state(world, sample).await;
            let headers = [("content-type", JSON)];
            let made =
                world.send("POST", &format!("{path}?dryRun=All"), &headers, asked(name, sample).to_string()).await;
            faults.unless_same(&format!("POST {path}"), &(made.code, state(world, sample).await), &(201, before));
        }
        let takes = |verb: &str| if sub.verbs.contains(&verb) { 200 } else { 405 };
        patches(world, sample, &path, (&version, spoken.kind), (takes("patch"), takes("patch")), faults).await;
        let read = world.get(&path, JSON).await;
        faults.unless_same(&format!("GET {path}"), &read.code, &takes("get"));
        let body = if read.code == 200 { read.json() } else { state(world, sample).await };
        check(world, sample, ("PUT", &path, JSON), &body, takes("update"), faults).await;
    }
}

#[test]
fn a_dry_run_changes_nothing_and_answers_as_the_real_thing() {
    in_world(|world| async move {
        let mut faults = Faults::default();
        // pods want one
        world.create("/api/v1/namespaces/default/serviceaccounts", &json!({"metadata": {"name": "default"}})).await;
        for sample in samples() {
            let (kind, resource) = (sample.kind, &sample.kind.resource);
            check(&world, &sample, ("POST", &sample.all, JSON), &sample.object, 201, &mut faults).await;
            let mut changed = state(&world, &sample).await;
            changed["metadata"]["labels"] = json!({"written": "put"});
            if kind.unconditional_update {
                changed["metadata"].as_object_mut().unwrap().remove("resourceVersion");
                check(&world, &sample, ("PUT", &sample.one, JSON), &changed, 200, &mut faults).await;
            }
            let spoken = (&*resource.api_version(), &*resource.kind);
            patches(&world, &sample, &sample.one, spoken, (200, 200), &mut faults).await;
            below(&world, &sample, &mut faults).await;
            let before = state(&world, &sample).await;
            let deleted = world.send("DELETE", &format!("{}?dryRun=All", sample.one), &[], "").await;
            let what = format!("DELETE {}", sample.one);
            faults.unless_same(&what, &(deleted.code < 300, state(&world, &sample).await), &(true, before.clone()));
            if kind.verbs.contains(&"deletecollection") {
                let emptied = world.send("DELETE", &format!("{}?dryRun=All", sample.all), &[], "").await;
                let what = format!("DELETE {}", sample.all);
                faults.unless_same(&what, &(emptied.code, state(&world, &sample).await), &(200, before));
            }
        }
        assert!(faults.0.is_empty(), "{} faults:\n{}", faults.0.len(), faults.0.join("\n"));
    });
}

#[test]
fn custom_resources_take_all_patches_but_strategic_ones() {
    in_world(|world| async move {
        let mut faults = Faults::default();
        let objects: Value = serde_json::from_str(include_str!("objects.json")).unwrap();
        let mut definition = objects["apiextensions.k8s.io/customresourcedefinitions"].clone();
        let count = json!({"type": "object", "properties": {"replicas": {"type": "integer"}}});
        let version = &mut definition["spec"]["versions"][0];
        version["schema"]["openAPIV3Schema"]["properties"] = json!({"spec": count, "status": count});
        let scale = json!({"specReplicasPath": ".spec.replicas", "statusReplicasPath": ".status.replicas"});
        version["subresources"] = json!({"status": {}, "scale": scale});
        super::custom::define(&world, &definition).await;
        let (all, one) = ("/apis/example.com/v1/foos".to_string(), "/apis/example.com/v1/foos/a".to_string());
        let kind = coracle_kinds::find("apiextensions.k8s.io", "v1", "customresourcedefinitions").unwrap();
        let object = json!({"metadata": {"name": "a"}, "spec": {"replicas": 1}});
        let sample = Sample { kind, all, one, object };
        check(&world, &sample, ("POST", &sample.all, JSON), &sample.object, 201, &mut faults).await;
        for (below, spoken) in [
            ("", ("example.com/v1", "Foo")),
            ("/status", ("example.com/v1", "Foo")),
            ("/scale", ("autoscaling/v1", "Scale")),
        ] {
            let path = format!("{}{below}", sample.one);
            patches(&world, &sample, &path, spoken, (200, 415), &mut faults).await;
            let body = world.get(&path, JSON).await.json();
            if below.is_empty() {
                // what is there may not be overwritten blindly
                let blind = world.send("PUT", &path, &[("content-type", JSON)], r#"{"metadata":{"name":"a"}}"#).await;
                let why = "foos.example.com \"a\" is invalid: metadata.resourceVersion: Invalid value: 0: must be specified for an update";
                assert_eq!((blind.code, blind.json()["message"].as_str()), (422, Some(why)));
            } else {
                check(&world, &sample, ("PUT", &path, JSON), &body, 200, &mut faults).await;
            }
        }
        assert!(faults.0.is_empty(), "{}", faults.0.join("\n"));
    });
}

#[test]
fn what_is_written_comes_back_canonical() {
    in_world(|world| async move {
        let range = |cpu: Value| {
            json!({
                "apiVersion": "v1", "kind": "LimitRange", "metadata": {"name": "q"},
                "spec": {"limits": [{"type": "Pod", "max": {"cpu": cpu, "memory": "1024Mi"}, "min": {"memory": "1e3"}}]},
            })
        };
        let (all, one) = ("/api/v1/namespaces/default/limitranges", "/api/v1/namespaces/default/limitranges/q");
        let of = |answer: &Value| answer["spec"]["limits"][0]["max"]["cpu"].as_str().unwrap_or_default().to_string();
        let of_type = coracle_api::Schema::builtin().type_of("", "v1", "LimitRange").unwrap();
        for (cpu, expected) in [
            (json!("1000m"), "1"),
            (json!("0.1"), "100m"),
            (json!(0.1), "100m"),
            (json!(2), "2"),
            (json!(" 2 "), "2"),
            (json!("1.500"), "1.500"),
            (json!("100000000000000000000"), "100E"),
        ] {
            let body = range(cpu.clone());
            // in every syntax, by every verb that can say it
            let created = world.send("POST", all, &[("content-type", JSON)], body.to_string()).await;
            assert_eq!((created.code, of(&created.json()).as_str()), (201, expected), "{:?}", created.body);
            let limits = &created.json()["spec"]["limits"][0];
            assert_eq!((&limits["max"]["memory"], &limits["min"]["memory"]), (&json!("1Gi"), &json!("1e3")));
            for (method, content) in [("PUT", JSON), ("PATCH", MERGE), ("PATCH", STRATEGIC)] {
                let same = world.send(method, one, &[("content-type", content)], body.to_string()).await;
                assert_eq!((same.code, of(&same.json()).as_str()), (200, expected), "{method} {:?}", same.body);
                assert_eq!(same.json()["metadata"]["resourceVersion"], created.json()["metadata"]["resourceVersion"]);
            }
            world.send("DELETE", one, &[], "").await;
            if cpu.is_string() {
                let wire = protobuf::encode(&body, of_type).unwrap().envelope().to_vec();
                let headers = [("content-type", PROTOBUF), ("accept", JSON)];
                let created = world.send("POST", all, &headers, wire).await;
                assert_eq!((created.code, of(&created.json()).as_str()), (201, expected), "{:?}", created.body);
                world.send("DELETE", one, &[], "").await;
            }
            let path = format!("{one}?fieldManager=me");
            let applied = world.send("PATCH", &path, &[("content-type", APPLY)], body.to_string()).await;
            assert_eq!((applied.code, of(&applied.json()).as_str()), (201, expected), "{:?}", applied.body);
            world.send("DELETE", one, &[], "").await;
        }
        let lease = |time: &str| json!({"metadata": {"name": "l"}, "spec": {"renewTime": time}});
        let (secret, map) =
            (json!({"metadata": {"name": "s"}, "data": {"a": "YR=="}}), "/api/v1/namespaces/default/secrets");
        assert_eq!(world.create(map, &secret).await["data"]["a"], "YQ==");
        let leases = "/apis/coordination.k8s.io/v1/namespaces/default/leases";
        let made = world.create(leases, &lease("2024-01-02T03:04:05.123456+01:00")).await;
        assert_eq!(made["spec"]["renewTime"], "2024-01-02T02:04:05.123456Z");
        for (path, body, why) in [
            (
                all,
                range(json!("1x")),
                "LimitRange in version \"v1\" cannot be handled as a LimitRange: quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'",
            ),
            (
                all,
                range(json!("1i")),
                "LimitRange in version \"v1\" cannot be handled as a LimitRange: unable to parse quantity's suffix",
            ),
            (
                leases,
                lease("2024-01-02T03:04:05Z"),
                "Lease in version \"v1\" cannot be handled as a Lease: parsing time \"2024-01-02T03:04:05Z\" as \"2006-01-02T15:04:05.000000Z07:00\": cannot parse \"Z\" as \".000000\"",
            ),
            (
                map,
                json!({"metadata": {"name": "t"}, "data": {"a": "!"}}),
                "Secret in version \"v1\" cannot be handled as a Secret: illegal base64 data at input byte 0",
            ),
        ] {
            let answer = world.send("POST", path, &[("content-type", JSON)], body.to_string()).await;
            assert_eq!((answer.code, answer.json()["message"].as_str()), (400, Some(why)));
        }
    });
}

#[test]
fn metadata_is_judged_and_reset_as_upstream_does() {
    in_world(|world| async move {
        let (all, one) = ("/api/v1/namespaces/default/configmaps", "/api/v1/namespaces/default/configmaps/m");
        let made = world
            .create(all, &json!({"metadata": {
                "name": "m", "uid": "mine", "creationTimestamp": "2020-01-01T00:00:00Z", "deletionTimestamp": "2020-01-01T00:00:00Z",
                "deletionGracePeriodSeconds": 5, "selfLink": "/x", "generation": 3, "resourceVersion": "", "generateName": "n-",
                "finalizers": ["example.com/f"],
            }}))
            .await;
        let metadata = made["metadata"].as_object().unwrap();
        assert!(metadata["uid"] != "mine" && metadata["creationTimestamp"] != "2020-01-01T00:00:00Z", "{made}");
        assert_eq!((&made["metadata"]["generation"], metadata.contains_key("selfLink")), (&json!(3), false));
        assert!(!metadata.contains_key("deletionTimestamp") && !metadata.contains_key("deletionGracePeriodSeconds"));
        let uid = metadata["uid"].as_str().unwrap();
        // (method, where, metadata, code, what is said; or the metadata afterwards, in part)
        let long = "x".repeat(129);
        for (method, path, change, code, expected) in [
            (
                "POST",
                all,
                json!({"name": "x", "resourceVersion": "7"}),
                500,
                "resourceVersion should not be set on objects to be created",
            ),
            (
                "POST",
                all,
                json!({}),
                422,
                "ConfigMap \"\" is invalid: metadata.name: Required value: name or generateName is required",
            ),
            (
                "POST",
                all,
                json!({"name": "m", "generateName": "m-"}),
                409,
                "configmaps \"m\" already exists, the server was not able to generate a unique name for the object",
            ),
            (
                "POST",
                all,
                json!({"name": "x", "generation": -1}),
                422,
                "ConfigMap \"x\" is invalid: metadata.generation: Invalid value: -1: must be greater than or equal to 0",
            ),
            (
                "POST",
                all,
                json!({"name": "x", "labels": {"a/b/c": "d"}}),
                422,
                "ConfigMap \"x\" is invalid: metadata.labels: Invalid value: \"a/b/c\": a valid label key must consist of",
            ),
            (
                "PUT",
                one,
                json!({"name": "m", "uid": "other"}),
                409,
                &format!(
                    "Operation cannot be fulfilled on configmaps \"m\": Precondition failed: UID in precondition: other, UID in object meta: {uid}"
                ),
            ),
            (
                "PUT",
                one,
                json!({"name": "m", "deletionTimestamp": "2020-01-01T00:00:00Z"}),
                422,
                "ConfigMap \"m\" is invalid: metadata.deletionTimestamp: Invalid value: \"2020-01-01T00:00:00Z\": field is immutable",
            ),
            (
                "PUT",
                one,
                json!({"name": "m", "deletionGracePeriodSeconds": 1}),
                422,
                "ConfigMap \"m\" is invalid: metadata.deletionGracePeriodSeconds: Invalid value: 1: field is immutable",
            ),
            (
                "PUT",
                one,
                json!({"name": "m", "managedFields": [{"manager": long, "operation": "Update", "apiVersion": "v1", "fieldsType": "FieldsV1", "fieldsV1": {"f:data": {}}}]}),
                422,
                "ConfigMap \"m\" is invalid: metadata.managedFields[0].manager: Too long: may not be more than 128 bytes",
            ),
            (
                "PUT",
                one,
                json!({"name": "m", "resourceVersion": "1"}),
                409,
                "Operation cannot be fulfilled on configmaps \"m\": the object has been modified; please apply your changes to the latest version and try again",
            ),
            (
                "PUT",
                one,
                json!({"name": "m", "generation": 9, "creationTimestamp": "2020-01-01T00:00:00Z", "selfLink": "/y", "finalizers": ["example.com/f"]}),
                200,
                "",
            ),
        ] {
            let body = json!({"metadata": change}).to_string();
            let answer = world.send(method, path, &[("content-type", JSON)], body).await;
            let said = answer.json();
            assert_eq!(answer.code, code, "{method} {change}: {said}");
            assert!(said["message"].as_str().unwrap_or_default().starts_with(expected), "{method} {change}: {said}");
        }
        let now = world.get(one, JSON).await.json();
        assert_eq!((&now["metadata"]["generation"], &now["metadata"]["generateName"]), (&json!(3), &Value::Null));
        assert_eq!(now["metadata"]["creationTimestamp"], metadata["creationTimestamp"]);
        world.send("DELETE", one, &[], "").await;
        for (method, path, change, code, expected) in [
            ("POST", all, json!({"name": "m"}), 409, "object is being deleted: configmaps \"m\" already exists"),
            (
                "PUT",
                one,
                json!({"name": "m", "finalizers": ["example.com/f", "b.c/d", "a.c/d"]}),
                422,
                "ConfigMap \"m\" is invalid: metadata.finalizers: Forbidden: no new finalizers can be added if the object is being deleted, found new finalizers []string{\"a.c/d\", \"b.c/d\"}",
            ),
        ] {
            let body = json!({"metadata": change}).to_string();
            let answer = world.send(method, path, &[("content-type", JSON)], body).await;
            assert_eq!((answer.code, answer.json()["message"].as_str()), (code, Some(expected)));
        }
        let base = "long-".repeat(30);
        let named = world.create(all, &json!({"metadata": {"generateName": base}})).await;
        let name = named["metadata"]["name"].as_str().unwrap();
        assert!(name.len() == 63 && name.starts_with(&base[..58]), "{name}");
        let odd = json!({"metadata": {"generateName": format!("a{}", "ä".repeat(40))}}).to_string();
        assert_eq!(world.send("POST", all, &[("content-type", JSON)], odd).await.code, 422);
        // kinds that must know what they overwrite
        let leases = "/apis/coordination.k8s.io/v1/namespaces/default/leases";
        world.create(leases, &json!({"metadata": {"name": "l"}})).await;
        let blind =
            world.send("PUT", &format!("{leases}/l"), &[("content-type", JSON)], r#"{"metadata":{"name":"l"}}"#).await;
        let why = "leases.coordination.k8s.io \"l\" is invalid: metadata.resourceVersion: Invalid value: 0: must be specified for an update";
        assert_eq!((blind.code, blind.json()["message"].as_str()), (422, Some(why)));
        let system = "/apis/scheduling.k8s.io/v1/priorityclasses/system-node-critical";
        let kept = world.send("DELETE", system, &[], "").await;
        let why = "priorityclasses.scheduling.k8s.io \"system-node-critical\" is forbidden: this is a system priority class and cannot be deleted";
        assert_eq!((kept.code, kept.json()["message"].as_str()), (403, Some(why)));
    });
}

#[test]
fn devices_are_claimed_for_administration_where_that_is_allowed() {
    in_world(|world| async move {
        for (namespace, labels, code) in [
            ("plain", json!({}), 422),
            ("wrong", json!({"resource.kubernetes.io/admin-access": "yes"}), 422),
            ("right", json!({"resource.kubernetes.io/admin-access": "true"}), 201),
        ] {
            world.create("/api/v1/namespaces", &json!({"metadata": {"name": namespace, "labels": labels}})).await;
            let devices = json!({"requests": [
                {"name": "a", "exactly": {"deviceClassName": "c"}},
                {"name": "b", "exactly": {"deviceClassName": "c", "adminAccess": true}},
            ]});
            for (plural, spec) in [
                ("resourceclaims", json!({"devices": devices})),
                ("resourceclaimtemplates", json!({"spec": {"devices": devices}})),
            ] {
                let path = format!("/apis/resource.k8s.io/v1/namespaces/{namespace}/{plural}");
                let body = json!({"metadata": {"name": "x"}, "spec": spec}).to_string();
                let answer = world.send("POST", &path, &[("content-type", JSON)], body).await;
                assert_eq!(answer.code, code, "{namespace} {plural}: {:?}", answer.body);
                if code == 422 {
                    let why = "spec.devices.requests[1].adminAccess: Forbidden: admin access to devices requires the `resource.kubernetes.io/admin-access: true` label on the containing namespace";
                    assert!(answer.json()["message"].as_str().unwrap().ends_with(why), "{:?}", answer.body);
                }
            }
        }
    });
}
