//! The benchmark: every measure can be taken, and nothing of it stays.

use coracle_testkit::in_world;
use serde_json::Value;
use std::time::Duration;

#[test]
fn every_measure_gives_figures() {
    in_world(|world| {
        let dir = world.dir().join("bench");
        let arguments = ["bench", "--sizes", "small", "--json", "--bench-dir", dir.to_str().unwrap()];
        let out = world.coracle(&arguments).limit(Duration::from_secs(180)).ok();
        let rows: Vec<Value> = out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        for name in [
            "cold start to readyz",
            "up to first pod Running",
            "idle memory",
            "pods started",
            "creates, 32 clients",
            "gets, 1 client",
            "LIST of 500 pods",
            "watch latency p99, 10 watchers",
        ] {
            let row = rows.iter().find(|row| row["name"] == name);
            let value = row.and_then(|row| row["value"].as_f64());
            assert!(value.is_some_and(|value| value > 0.0), "{name}: {row:?}\n{out}");
        }
        assert!(!dir.exists(), "its directory goes with it");
    });
}
