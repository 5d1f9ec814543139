//! Quotas: what is in use is part of every commit, so no crowd gets more than there is.

use super::world::{JSON, World, in_world};
use serde_json::{Value, json};
use std::sync::Arc;

const MAPS: &str = "/api/v1/namespaces/bounded/configmaps";
const QUOTA: &str = "/api/v1/namespaces/bounded/resourcequotas/q";

/// A namespace with a quota of `most` ConfigMaps that has been counted.
async fn bounded(world: &World, most: &str) {
    world.create("/api/v1/namespaces", &json!({"metadata": {"name": "bounded"}})).await;
    let hard = json!({"configmaps": most});
    let quota = json!({"metadata": {"name": "q"}, "spec": {"hard": hard}});
    world.create("/api/v1/namespaces/bounded/resourcequotas", &quota).await;
    world.patch(&format!("{QUOTA}/status"), &json!({"status": {"hard": hard, "used": {"configmaps": "0"}}})).await;
}

async fn used(world: &World) -> Value {
    world.get(QUOTA, JSON).await.json()["status"]["used"]["configmaps"].clone()
}

#[test]
fn a_crowd_gets_what_there_is_and_gives_it_back() {
    in_world(|world| async move {
        bounded(&world, "5").await;
        let create = |n: usize| {
            let world: Arc<World> = world.clone();
            async move {
                let object = json!({"metadata": {"name": format!("m{n}")}}).to_string();
                world.send("POST", MAPS, &[("content-type", JSON)], object).await
            }
        };
        let answers = futures::future::join_all((0..24).map(create)).await;
        let made = answers.iter().filter(|a| a.code == 201).count();
        assert_eq!((made, used(&world).await), (5, json!("5")));
        for refusal in answers.iter().filter(|a| a.code != 201) {
            let message = refusal.json()["message"].as_str().unwrap().to_string();
            assert_eq!(refusal.code, 403, "{message}");
            let why =
                " is forbidden: exceeded quota: q, requested: configmaps=1, used: configmaps=5, limited: configmaps=5";
            assert!(message.starts_with("configmaps \"m") && message.ends_with(why), "{message}");
        }
        let list = world.get(MAPS, JSON).await.json();
        let names: Vec<&str> =
            list["items"].as_array().unwrap().iter().map(|o| o["metadata"]["name"].as_str().unwrap()).collect();
        let gone = names.iter().map(|name| format!("{MAPS}/{name}"));
        let gone = gone.map(|path| {
            let world = world.clone();
            async move { world.send("DELETE", &path, &[], "").await.code }
        });
        assert_eq!(futures::future::join_all(gone).await, [200; 5]);
        assert_eq!(used(&world).await, json!("0"));
    });
}

#[test]
fn only_what_is_kept_counts() {
    in_world(|world| async move {
        bounded(&world, "1").await;
        let send = |method: &'static str, path: String, body: Value| {
            let world = world.clone();
            async move { world.send(method, &path, &[("content-type", JSON)], body.to_string()).await.code }
        };
        let map = |name: &str| json!({"metadata": {"name": name, "finalizers": ["example.com/held"]}});
        assert_eq!(send("POST", format!("{MAPS}?dryRun=All"), map("a")).await, 201);
        assert_eq!(used(&world).await, json!("0"));
        assert_eq!(send("POST", MAPS.into(), map("a")).await, 201);
        assert_eq!(send("POST", MAPS.into(), map("b")).await, 403);
        // what waits for its finalizers is still there
        assert_eq!(send("DELETE", format!("{MAPS}/a"), json!({})).await, 200);
        assert_eq!(used(&world).await, json!("1"));
        world.patch(&format!("{MAPS}/a"), &json!({"metadata": {"finalizers": null}})).await;
        assert_eq!(used(&world).await, json!("0"));
        // the quota itself can go, and with it its bounds
        assert_eq!(send("DELETE", QUOTA.into(), json!({})).await, 200);
        assert_eq!(send("POST", MAPS.into(), json!({"metadata": {"name": "c"}})).await, 201);
    });
}
