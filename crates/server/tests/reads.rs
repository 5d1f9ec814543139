//! Reads copy bytes. (A test of its own, because it counts what the whole process does.)

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, dead_code)]

#[path = "http/world.rs"]
mod world;

use coracle_api::codec::{Counts, counts};
use serde_json::json;
use world::{JSON, PROTOBUF, in_world};

const MAPS: &str = "/api/v1/namespaces/reads/configmaps";
const OBJECTS: u64 = 40;

#[test]
fn gets_lists_and_watches_parse_and_encode_nothing() {
    in_world(|world| async move {
        world.create("/api/v1/namespaces", &json!({"metadata": {"name": "reads"}})).await;
        for n in 0..OBJECTS {
            world.create(MAPS, &json!({"metadata": {"name": format!("c{n}"), "labels": {"n": n.to_string()}}})).await;
        }
        let one = format!("{MAPS}/c7");
        let (all, page, chosen) = (MAPS.to_string(), format!("{MAPS}?limit=9"), format!("{MAPS}?labelSelector=n%3D7"));
        let watch = format!("{MAPS}?watch=1&timeoutSeconds=1");
        // (what is read, in which syntax, how many objects have their protobuf form made)
        for (path, syntax, made) in [
            (&one, JSON, 0),
            (&all, JSON, 0),
            (&page, JSON, 0),
            (&chosen, JSON, 0),
            (&watch, JSON, 0),
            (&one, PROTOBUF, 1),
            (&one, PROTOBUF, 0),
            (&all, PROTOBUF, OBJECTS - 1),
            (&all, PROTOBUF, 0),
            (&watch, PROTOBUF, 0),
            (&all, JSON, 0),
        ] {
            let before = counts();
            let answer = world.get(path, syntax).await;
            assert_eq!(answer.code, 200, "{path}");
            let after = counts();
            let spent = Counts { parsed: after.parsed - before.parsed, encoded: after.encoded - before.encoded };
            assert_eq!(spent, Counts { parsed: made, encoded: made }, "{path} in {syntax}");
        }
    });
}
