//! Watches: every event once and in order, whoever is slow.

use super::world::{JSON, PROTOBUF, World, in_world};
use coracle_api::{Schema, protobuf};
use serde_json::{Value, json};

const MAPS: &str = "/api/v1/namespaces/default/configmaps";

fn map(name: &str, labels: &Value, data: &str) -> Value {
    json!({"metadata": {"name": name, "labels": labels}, "data": {"n": data}})
}

/// (type, object) of a frame in protobuf.
fn event(frame: &[u8]) -> (String, Value) {
    // WatchEvent: the type, then an extension whose bytes are an envelope
    let kind_end = 2 + frame[1] as usize;
    let kind = String::from_utf8(frame[2..kind_end].to_vec()).unwrap();
    let start = frame.windows(4).position(|w| w == b"k8s\0").unwrap();
    let status = frame[start..].windows(6).any(|w| w == b"Status");
    let name = if status { "io.k8s.apimachinery.pkg.apis.meta.v1.Status" } else { "io.k8s.api.core.v1.ConfigMap" };
    (kind, protobuf::decode(&frame[start..], Schema::builtin().type_named(name).unwrap()).unwrap())
}

#[test]
fn objects_enter_and_leave_a_selection_in_json_and_protobuf() {
    in_world(|world| async move {
        let watched = format!("{MAPS}?watch=1&labelSelector=seen&resourceVersion={}", world.revision().await);
        let (mut json, mut binary) = (world.watch(&watched, JSON).await, world.watch(&watched, PROTOBUF).await);
        assert_eq!(
            (json.media.as_str(), binary.media.as_str()),
            (JSON, "application/vnd.kubernetes.protobuf;stream=watch")
        );
        let one = format!("{MAPS}/w");
        world.create(MAPS, &map("w", &json!({}), "0")).await;
        for patch in [
            json!({"metadata": {"labels": {"seen": "yes"}}}),
            json!({"data": {"n": "1"}}),
            json!({"metadata": {"labels": {"seen": null}}}),
            json!({"data": {"n": "2"}}),
            json!({"metadata": {"labels": {"seen": "yes"}}}),
        ] {
            world.patch(&one, &patch).await;
        }
        world.send("DELETE", &one, &[], "").await;
        let mut revision = 0;
        for (kind, n) in [("ADDED", "0"), ("MODIFIED", "1"), ("DELETED", "1"), ("ADDED", "2"), ("DELETED", "2")] {
            let (found, object) = json.event().await.unwrap();
            assert_eq!((found.as_str(), &object["data"]["n"]), (kind, &json!(n)));
            let version: u64 = object["metadata"]["resourceVersion"].as_str().unwrap().parse().unwrap();
            assert!(version > revision, "each event has a revision of its own");
            revision = version;
            assert_eq!(event(&binary.next().await.unwrap()), (found, object));
        }
    });
}

#[test]
fn a_watch_begins_where_it_is_told_to() {
    in_world(|world| async move {
        world.create(MAPS, &map("a", &json!({}), "0")).await;
        let between = world.revision().await;
        world.create(MAPS, &map("b", &json!({}), "0")).await;
        let now = world.revision().await;
        let initial = "sendInitialEvents=true&resourceVersionMatch=NotOlderThan";
        for (query, expected) in [
            ("".to_string(), vec!["ADDED a", "ADDED b"]),
            ("&resourceVersion=0".into(), vec!["ADDED a", "ADDED b"]),
            ("&allowWatchBookmarks=true".into(), vec!["ADDED a", "ADDED b", "BOOKMARK end"]),
            (format!("&{initial}&allowWatchBookmarks=true"), vec!["ADDED a", "ADDED b", "BOOKMARK end"]),
            (format!("&{initial}&resourceVersion={now}"), vec!["ADDED a", "ADDED b"]),
            (format!("&resourceVersion={between}"), vec!["ADDED b"]),
            (format!("&resourceVersion={now}"), vec![]),
            ("&sendInitialEvents=false&resourceVersionMatch=NotOlderThan".into(), vec![]),
            (format!("&{initial}&resourceVersion=900000"), vec!["ERROR 504"]),
        ] {
            // the last event is one that all of them see, but those that have failed
            let path =
                format!("{MAPS}?watch=1&timeoutSeconds=1&fieldSelector=metadata.name!%3Dkube-root-ca.crt{query}");
            let mut frames = world.watch(&path, JSON).await;
            let mut found = Vec::new();
            while let Some((kind, object)) = frames.event().await {
                let end = object["metadata"]["annotations"]["k8s.io/initial-events-end"] == "true";
                found.push(match kind.as_str() {
                    "ERROR" => format!("ERROR {}", object["code"]),
                    "BOOKMARK" if end => "BOOKMARK end".into(),
                    // the one with which a watch takes its leave
                    "BOOKMARK" => continue,
                    kind => format!("{kind} {}", object["metadata"]["name"].as_str().unwrap()),
                });
            }
            assert_eq!(found, expected, "{query}");
        }
    });
}

#[test]
fn a_client_that_stops_reading_is_told_what_it_lost_and_holds_nobody_up() {
    in_world(|world| async move {
        // more than the log remembers and connections hold
        const CHANGES: usize = 80;
        let text = "x".repeat(500_000);
        world.create(MAPS, &map("big", &json!({}), "0")).await;
        let path =
            format!("{MAPS}?watch=1&fieldSelector=metadata.name%3Dbig&resourceVersion={}", world.revision().await);
        let (mut slow, mut fast) = (world.watch(&path, JSON).await, world.watch(&path, PROTOBUF).await);
        for n in 1..=CHANGES {
            let patch = json!({"data": {"n": n.to_string(), "text": text}});
            world.patch(&format!("{MAPS}/big"), &patch).await;
            let (kind, object) = event(&fast.next().await.unwrap());
            assert_eq!((kind.as_str(), &object["data"]["n"]), ("MODIFIED", &json!(n.to_string())));
        }
        let mut seen = 0;
        let error = loop {
            let (kind, object) = slow.event().await.expect("a watch does not end without a word");
            if kind == "ERROR" {
                break object;
            }
            seen += 1;
            assert_eq!(
                (kind.as_str(), &object["data"]["n"]),
                ("MODIFIED", &json!(seen.to_string())),
                "in order, none left out"
            );
        };
        assert!(seen < CHANGES, "{seen} of {CHANGES}: the client was not slow");
        assert_eq!((&error["code"], &error["reason"]), (&json!(410), &json!("Expired")));
        assert!(slow.next().await.is_none(), "and the watch is over");
        // who comes back with where it was is told the same
        let (kind, late) = world.watch(&path, JSON).await.event().await.unwrap();
        assert_eq!((kind.as_str(), &late["code"]), ("ERROR", &json!(410)));
    });
}

impl World {
    /// The newest revision.
    async fn revision(&self) -> u64 {
        let list = self.get(&format!("{MAPS}?limit=1"), JSON).await.json();
        list["metadata"]["resourceVersion"].as_str().unwrap().parse().unwrap()
    }
}
