//! A disk that fills up.

use coracle_api::{ListOptions, Resource, Status, WriteOptions};
use coracle_client::SharedClient;
use coracle_testkit::{LIMIT, Server, in_world};
use k8s_openapi::api::core::v1::ConfigMap;
use nix::mount::{MsFlags, mount};
use serde_json::json;
use std::{collections::BTreeMap, path::Path, time::Instant};
use tokio::runtime::Runtime;

/// Gives the data directory a file system of this size.
fn size(dir: &Path, mebibytes: u32, flags: MsFlags) {
    let options = format!("size={mebibytes}m");
    mount(Some("tmpfs"), dir, Some("tmpfs"), flags, Some(options.as_str())).unwrap();
}

async fn write(client: &SharedClient, name: &str, text: &str) -> Result<(), Status> {
    let body = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"text": text}});
    client.create(&Resource::of::<ConfigMap>(), "default", body, &WriteOptions::default()).await.map(drop)
}

/// Every ConfigMap of this test, with its text.
async fn stored(client: &SharedClient) -> BTreeMap<String, String> {
    let all = client.list(&Resource::of::<ConfigMap>(), "default", &ListOptions::default()).await.unwrap();
    let text = |o: &coracle_api::Object| o.value()["data"]["text"].as_str().unwrap_or_default().to_string();
    all.items.iter().filter(|o| o.meta().name.starts_with("full-")).map(|o| (o.meta().name.clone(), text(o))).collect()
}

/// Writes until the disk is full; what it said then.
async fn fill(client: &SharedClient, acknowledged: &mut BTreeMap<String, String>) -> Status {
    let begun = Instant::now();
    loop {
        let name = format!("full-{}", acknowledged.len());
        let text = format!("{name} ").repeat(20_000);
        match write(client, &name, &text).await {
            Ok(()) => acknowledged.insert(name, text),
            Err(status) => return status,
        };
        assert!(begun.elapsed() < LIMIT, "the disk never got full");
    }
}

#[test]
fn a_full_disk_is_said_and_loses_nothing() {
    in_world(|world| {
        let data = world.data();
        std::fs::create_dir(&data).unwrap();
        size(&data, 24, MsFlags::empty());
        let runtime = Runtime::new().unwrap();
        let mut server: Server = world.server();
        let client = server.client();
        let mut acknowledged = BTreeMap::new();
        let said = runtime.block_on(fill(&client, &mut acknowledged));
        assert!(said.code >= 500 && said.message.to_lowercase().contains("space"), "{said:?}");
        assert!(acknowledged.len() > 5, "{} were written", acknowledged.len());
        // what is not acknowledged is not there, what is acknowledged is; reading goes on
        assert!(runtime.block_on(stored(&client)) == acknowledged, "while the disk is full");
        assert!(runtime.block_on(write(&client, "full-still", &"x".repeat(200_000))).is_err());
        size(&data, 64, MsFlags::MS_REMOUNT);
        runtime.block_on(async {
            write(&client, "full-room", "again").await.expect("there is room again");
            acknowledged.insert("full-room".into(), "again".into());
        });
        assert!(runtime.block_on(stored(&client)) == acknowledged, "once there is room");
        server.kill();
        server.restart();
        let client = server.client();
        assert!(runtime.block_on(stored(&client)) == acknowledged, "after a restart");
        drop(server);
        nix::mount::umount(&data).unwrap();
    });
}
