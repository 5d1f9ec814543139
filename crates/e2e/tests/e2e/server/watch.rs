//! Watching, as kubectl does it.

use coracle_testkit::{VERSIONS, in_world};
use serde_json::{Value, json};
use std::fs::File;

#[test]
fn every_change_is_seen_in_order() {
    in_world(|world| {
        let server = world.server();
        for version in VERSIONS {
            let kubectl = server.kubectl(version);
            let words = ["get", "configmaps", "--watch", "--output-watch-events", "-o", "json", "-l", "seen=yes"];
            let watch = kubectl.command(&words).start(File::create(world.dir().join("watch.log")).unwrap());
            kubectl.ok("create configmap w");
            // enters the selection, changes, leaves it
            kubectl.ok("label configmap w seen=yes");
            kubectl.ok("patch configmap w --type merge -p '{\"data\":{\"n\":\"1\"}}'");
            kubectl.ok("patch configmap w --type merge -p '{\"data\":{\"n\":\"2\"}}'");
            kubectl.ok("label configmap w seen-");
            kubectl.ok("delete configmap w");
            let mut text = String::new();
            let mut seen = Vec::new();
            while seen.len() < 4 {
                let line = watch.line().expect("the watch goes on");
                text += &line;
                // on one line or on many, as the version likes
                if let Ok(event) = serde_json::from_str::<Value>(&text) {
                    seen.push((event["type"].clone(), event["object"]["data"]["n"].clone()));
                    text.clear();
                }
            }
            let expected =
                [("ADDED", json!(null)), ("MODIFIED", json!("1")), ("MODIFIED", json!("2")), ("DELETED", json!("2"))];
            assert_eq!(seen, expected.map(|(kind, n)| (json!(kind), n)));
        }
    });
}

#[test]
fn wait_and_rollout_follow_the_world() {
    in_world(|world| {
        let server = world.server();
        let kubectl = server.kubectl(VERSIONS[0]);
        kubectl.ok("create configmap c --from-literal=a=x");
        let log = File::create(world.dir().join("wait.log")).unwrap();
        let words = ["wait", "configmap/c", "--for=jsonpath={.data.a}=y", "--timeout=60s"];
        let wait = kubectl.command(&words).start(log);
        kubectl.ok("patch configmap c --type merge -p '{\"data\":{\"a\":\"y\"}}'");
        assert_eq!(wait.line().as_deref(), Some("configmap/c condition met"));
    });
}
