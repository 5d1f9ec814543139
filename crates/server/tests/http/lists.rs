//! Lists: which state, how much of it, and how it goes on.

use super::world::{Answer, JSON, World, in_world};
use serde_json::{Value, json};

const MAPS: &str = "/api/v1/namespaces/lists/configmaps";

async fn filled(world: &World) -> u64 {
    world.create("/api/v1/namespaces", &json!({"metadata": {"name": "lists"}})).await;
    let mut last = Value::Null;
    for name in ["a", "b", "c", "d", "e"] {
        let label = if name < "c" { "low" } else { "high" };
        last = world.create(MAPS, &json!({"metadata": {"name": name, "labels": {"half": label}}})).await;
    }
    last["metadata"]["resourceVersion"].as_str().unwrap().parse().unwrap()
}

fn names(list: &Value) -> String {
    let items = list["items"].as_array().map(Vec::as_slice).unwrap_or_default();
    items.iter().map(|o| o["metadata"]["name"].as_str().unwrap()).collect()
}

async fn list(world: &World, query: &str) -> Answer {
    world.get(&format!("{MAPS}?{query}"), JSON).await
}

/// Percent-encoded, so that a token can be part of a query.
fn continued(list: &Value) -> String {
    list["metadata"]["continue"].as_str().unwrap_or_default().to_string()
}

#[test]
fn pages_of_one_list_agree_whatever_happens_between_them() {
    in_world(|world| async move {
        filled(&world).await;
        let first = list(&world, "limit=2").await.json();
        assert_eq!((names(&first).as_str(), &first["metadata"]["remainingItemCount"]), ("ab", &json!(3)));
        // between two pages one object goes and another comes
        world.send("DELETE", &format!("{MAPS}/c"), &[], "").await;
        world.create(MAPS, &json!({"metadata": {"name": "f"}})).await;
        let second = list(&world, &format!("limit=2&continue={}", continued(&first))).await.json();
        assert_eq!((names(&second).as_str(), &second["metadata"]["remainingItemCount"]), ("cd", &json!(1)));
        assert_eq!(second["metadata"]["resourceVersion"], first["metadata"]["resourceVersion"]);
        let third = list(&world, &format!("limit=2&continue={}", continued(&second))).await.json();
        assert_eq!((names(&third).as_str(), continued(&third).as_str()), ("e", ""));
        assert_eq!(third["metadata"].get("remainingItemCount"), None);
        // with a selector nobody counts what is left
        let chosen = list(&world, "limit=1&labelSelector=half%3Dhigh").await.json();
        assert_eq!((names(&chosen).as_str(), chosen["metadata"].get("remainingItemCount")), ("d", None));
        assert!(!continued(&chosen).is_empty());
    });
}

#[test]
fn the_state_that_is_asked_for_or_a_refusal() {
    in_world(|world| async move {
        let made = filled(&world).await;
        let token = |version: i64, start: &str| {
            use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
            BASE64_URL_SAFE_NO_PAD.encode(json!({"v": "meta.k8s.io/v1", "rv": version, "start": start}).to_string())
        };
        let large = "Timeout: Too large resource version: 900000, current: ";
        for (query, code, expected) in [
            ("resourceVersion=0".to_string(), 200, "abcde"),
            (format!("resourceVersion={made}"), 200, "abcde"),
            (format!("resourceVersion={made}&resourceVersionMatch=NotOlderThan&limit=2"), 200, "ab"),
            ("resourceVersion=900000".into(), 504, large),
            ("resourceVersion=900000&resourceVersionMatch=NotOlderThan".into(), 504, large),
            ("resourceVersion=900000&resourceVersionMatch=Exact".into(), 504, large),
            (
                "resourceVersion=1&resourceVersionMatch=Exact".into(),
                410,
                "The resourceVersion for the provided list is too old.",
            ),
            ("resourceVersion=1&limit=2".into(), 410, "The resourceVersion for the provided list is too old."),
            (
                format!("limit=2&continue={}", token(1, "b\0")),
                410,
                "The provided continue parameter is too old to display a consistent list result. You can start a new list without the continue parameter, or use the continue token",
            ),
            (format!("limit=2&continue={}", token(-1, "b\0")), 200, "cd"),
            (
                format!("continue={}", token(0, "b")),
                400,
                "invalid continue token: continue key is not valid: incorrect encoded start resourceVersion (version meta.k8s.io/v1)",
            ),
            (
                format!("continue={}", token(-1, "")),
                400,
                "invalid continue token: continue key is not valid: encoded start key empty (version meta.k8s.io/v1)",
            ),
            (format!("continue={}", token(-1, "../x")), 400, "invalid continue token: continue key is not valid: ../x"),
            (
                "continue=%25".into(),
                400,
                "invalid continue token: continue key is not valid: illegal base64 data at input byte 0",
            ),
        ] {
            let answer = list(&world, &query).await;
            let value = answer.json();
            let found = if code == 200 { names(&value) } else { value["message"].as_str().unwrap().to_string() };
            assert_eq!(answer.code, code, "{query}: {value}");
            assert!(if code == 200 { found == expected } else { found.starts_with(expected) }, "{query}: {found}");
            match code {
                504 => {
                    let cause = json!([{"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}]);
                    let details = (&value["details"]["causes"], &value["details"]["retryAfterSeconds"]);
                    assert_eq!((details, answer.header("retry-after")), ((&cause, &json!(1)), "1"));
                }
                410 if query.contains("continue") => {
                    // the token in the answer goes on with what is there now
                    let rest = list(&world, &format!("continue={}", continued(&value))).await.json();
                    assert_eq!(names(&rest), "cde");
                }
                _ => {}
            }
        }
        let future = world.get(&format!("{MAPS}/a?resourceVersion=900000"), JSON).await;
        assert_eq!(future.code, 504);
    });
}

#[test]
fn fields_that_can_be_selected_and_those_that_cannot() {
    in_world(|world| async move {
        filled(&world).await;
        for (path, selector, code, expected) in [
            (MAPS, "metadata.name=b", 200, "b"),
            (MAPS, "metadata.name!=b", 200, "acdekube-root-ca.crt"),
            (MAPS, "metadata.namespace=lists,metadata.name=c", 200, "c"),
            (MAPS, "metadata.namespace=other", 200, ""),
            ("/api/v1/namespaces", "metadata.name=lists,status.phase=Active", 200, "lists"),
            ("/api/v1/namespaces", "status.phase=Terminating", 200, ""),
            ("/apis/storage.k8s.io/v1/storageclasses", "metadata.namespace=x", 200, ""),
            (
                MAPS,
                "data.x=1",
                400,
                "\"data.x\" is not a known field selector: only \"metadata.name\", \"metadata.namespace\"",
            ),
            ("/api/v1/pods", "spec.image=1", 400, "field label not supported: spec.image"),
            ("/api/v1/nodes", "metadata.namespace=x", 400, "field label not supported: metadata.namespace"),
            ("/api/v1/pods", "x", 400, "invalid selector: 'x'; can't understand 'x'"),
        ] {
            let query = selector.replace('=', "%3D").replace(',', "%2C");
            let answer = world.get(&format!("{path}?fieldSelector={query}"), JSON).await;
            let value = answer.json();
            let found = if code == 200 { names(&value) } else { value["message"].as_str().unwrap().to_string() };
            // the controller that makes the certificate's map does not run here
            let expected = if code == 200 { expected.replace("kube-root-ca.crt", "") } else { expected.to_string() };
            assert_eq!((answer.code, found), (code, expected), "{path} {selector}");
        }
    });
}

#[test]
fn deletion_keeps_its_conditions() {
    in_world(|world| async move {
        filled(&world).await;
        let read = world.get(&format!("{MAPS}/a"), JSON).await.json();
        let (uid, version) = (&read["metadata"]["uid"], &read["metadata"]["resourceVersion"]);
        for (conditions, code) in [
            (json!({"uid": "other"}), 409),
            (json!({"uid": uid, "resourceVersion": "1"}), 409),
            (json!({"uid": uid, "resourceVersion": version}), 200),
        ] {
            let body = json!({"kind": "DeleteOptions", "apiVersion": "v1", "preconditions": conditions}).to_string();
            let answer = world.send("DELETE", &format!("{MAPS}/a"), &[("content-type", JSON)], body).await;
            assert_eq!(answer.code, code, "{conditions}: {:?}", answer.body);
        }
        let gone = world.send("DELETE", &format!("{MAPS}?labelSelector=half%3Dhigh"), &[], "").await;
        assert_eq!((gone.code, names(&gone.json()).as_str()), (200, "cde"));
        assert_eq!(names(&list(&world, "").await.json()), "b");
    });
}
