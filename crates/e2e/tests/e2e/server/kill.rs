//! The server is killed again and again under write load: every acknowledged write is there, and revisions never go back.

use coracle_api::{DeleteOptions, ListOptions, Patch, Resource, WriteOptions};
use coracle_client::SharedClient;
use coracle_testkit::{Server, in_world};
use futures::future::join_all;
use k8s_openapi::api::core::v1::ConfigMap;
use rand::Rng;
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tokio::runtime::Runtime;

const KILLS: usize = 200;
const WRITERS: usize = 8;
/// Each writer has this many names, and goes round them.
const NAMES: u64 = 6;

/// What a writer knows for sure of one name: its number, or that there is no such object.
type Known = BTreeMap<String, Option<u64>>;

/// One writer: creates, patches and deletes objects of its own, one after another.
struct Writer {
    id: usize,
    turn: u64,
    known: Known,
    /// The write that was not answered: the name, and what it would then be.
    open: Option<(String, Option<u64>)>,
    /// The highest revision that it was told.
    revision: u64,
    acknowledged: u64,
}

impl Writer {
    async fn run(&mut self, client: &SharedClient, stop: &AtomicBool) {
        let resource = Resource::of::<ConfigMap>();
        while !stop.load(Ordering::Relaxed) {
            self.turn += 1;
            let name = format!("w{}-{}", self.id, self.turn % NAMES);
            let number = json!({"data": {"n": self.turn.to_string()}});
            let there = self.known.get(&name).copied().flatten().is_some();
            let options = WriteOptions::default();
            let (result, after) = if !there {
                let mut body = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}});
                body["data"] = number["data"].clone();
                (client.create(&resource, "default", body, &options).await.map(Some), Some(self.turn))
            } else if self.turn.is_multiple_of(5) {
                (client.delete(&resource, "default", &name, &DeleteOptions::default()).await, None)
            } else {
                (
                    client.patch(&resource, "default", &name, "", Patch::merge(number), &options).await.map(Some),
                    Some(self.turn),
                )
            };
            match result {
                Ok(object) => {
                    self.acknowledged += 1;
                    if let Some(object) = object.filter(|_| after.is_some()) {
                        self.revision = self.revision.max(object.revision());
                    }
                    self.known.insert(name, after);
                }
                Err(_) => {
                    // killed in the middle: it may have happened or not
                    self.open = Some((name, after));
                    return;
                }
            }
        }
    }

    /// Compares with what is stored, and takes over what became of the open write.
    fn check(&mut self, stored: &BTreeMap<String, u64>) -> Result<(), String> {
        let open = self.open.take();
        for n in 0..NAMES {
            let name = format!("w{}-{n}", self.id);
            let (found, known) = (stored.get(&name).copied(), self.known.get(&name).copied().flatten());
            let may = open.as_ref().filter(|(open, _)| *open == name).map(|(_, after)| *after);
            if found != known && Some(found) != may {
                return Err(format!("{name}: acknowledged {known:?}, unanswered {may:?}, found {found:?}"));
            }
            self.known.insert(name, found);
        }
        Ok(())
    }
}

async fn stored(client: &SharedClient) -> (BTreeMap<String, u64>, u64) {
    let all = client.list(&Resource::of::<ConfigMap>(), "default", &ListOptions::default()).await.unwrap();
    let number = |v: Value| v["data"]["n"].as_str().and_then(|n| n.parse().ok());
    let numbers = all.items.iter().filter_map(|o| Some((o.meta().name.clone(), number(o.value())?))).collect();
    (numbers, all.revision)
}

/// Writes until the server is killed at a moment that nobody chose.
async fn one_life(server: &mut Server<'_>, writers: &mut [Writer]) {
    let client = server.client();
    let stop = Arc::new(AtomicBool::new(false));
    let moment = Duration::from_millis(rand::rng().random_range(1..120));
    let kill = async {
        tokio::time::sleep(moment).await;
        server.kill();
        stop.store(true, Ordering::Relaxed);
    };
    tokio::join!(join_all(writers.iter_mut().map(|w| w.run(&client, &stop))), kill);
}

#[test]
fn killed_two_hundred_times_under_load() {
    in_world(|world| {
        let runtime = Runtime::new().unwrap();
        let mut server = world.server();
        let fresh = |id| Writer { id, turn: 0, known: Known::new(), open: None, revision: 0, acknowledged: 0 };
        let mut writers: Vec<Writer> = (0..WRITERS).map(fresh).collect();
        let mut last = 0;
        for life in 0..KILLS {
            runtime.block_on(one_life(&mut server, &mut writers));
            server.restart();
            let (numbers, revision) = runtime.block_on(stored(&server.client()));
            let told = writers.iter().map(|w| w.revision).max().unwrap_or(0).max(last);
            assert!(revision >= told, "life {life}: revision {revision} after {told} was told");
            last = revision;
            for writer in &mut writers {
                writer.check(&numbers).unwrap_or_else(|lost| panic!("life {life}: {lost}"));
            }
        }
        let acknowledged: u64 = writers.iter().map(|w| w.acknowledged).sum();
        println!("{acknowledged} acknowledged writes over {KILLS} kills");
        assert!(acknowledged > KILLS as u64, "too few writes to prove anything: {acknowledged}");
    });
}
