//! The store against a plain map: whatever is committed, read, indexed, watched and found again after opening it anew must agree.
#![allow(clippy::unwrap_used, missing_docs)]

use bytes::Bytes;
use coracle_store::{
    Committed, Engine, Event, Expect, Lost, Op, OpenError, Options, Record, RedbEngine, Rejected, Store, Stored,
};
use parking_lot::Mutex;
use proptest::prelude::*;
use std::{
    collections::BTreeMap,
    path::Path,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    task::{Context, Waker},
};

/// A text whose first letter is its index name; the revision stands in front of it on disk.
#[derive(Debug)]
struct Text {
    revision: u64,
    bytes: Bytes,
}

impl Text {
    fn text(&self) -> &str {
        std::str::from_utf8(&self.bytes[8..]).unwrap()
    }
}

impl Stored for Text {
    type Draft = String;

    fn seal(draft: String, revision: u64) -> Self {
        Self { revision, bytes: [&revision.to_be_bytes()[..], draft.as_bytes()].concat().into() }
    }

    fn load(bytes: Bytes) -> Result<Self, String> {
        let head = bytes.get(..8).ok_or("too short")?;
        Ok(Self { revision: u64::from_be_bytes(head.try_into().unwrap()), bytes })
    }

    fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    fn revision(&self) -> u64 {
        self.revision
    }

    fn indexes(&self, _: &str, add: &mut dyn FnMut(String)) {
        if let Some(first) = self.text().get(..1) {
            add(first.to_string());
        }
    }
}

fn put(key: &str, expect: Expect, text: &str) -> Op<Text> {
    Op::Put { key: key.into(), expect, draft: text.into() }
}

fn delete(key: &str, expect: Expect) -> Op<Text> {
    Op::Delete { key: key.into(), expect }
}

fn open(dir: &Path, options: Options) -> Store<Text> {
    // the writer of a store dropped just before may still hold the file for a moment
    loop {
        match Store::open(&dir.join("db"), options.clone()) {
            Err(OpenError::InUse(_)) => std::thread::yield_now(),
            other => return other.unwrap(),
        }
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap()
}

fn show(event: &Event<Text>) -> String {
    let text = |t: &Option<Arc<Text>>| t.as_ref().map_or("-".to_string(), |t| t.text().to_string());
    format!("{} {} {}→{}", event.revision, event.key, text(&event.old), text(&event.new))
}

#[test]
fn preconditions() {
    use Expect::{Absent, Any, Revision};
    // the state before is a/b/x = "old" at revision 1
    for (name, ops, expected) in [
        ("create", vec![put("a/b/y", Absent, "n")], Ok(2)),
        ("create what exists", vec![put("a/b/x", Absent, "n")], Err(0)),
        ("replace the version seen", vec![put("a/b/x", Revision(1), "n")], Ok(2)),
        ("replace another version", vec![put("a/b/x", Revision(9), "n")], Err(0)),
        ("replace whatever is there", vec![put("a/b/x", Any, "n")], Ok(2)),
        ("delete the version seen", vec![delete("a/b/x", Revision(1))], Ok(2)),
        ("delete another version", vec![delete("a/b/x", Revision(3))], Err(0)),
        ("delete nothing", vec![delete("a/b/z", Any)], Ok(1)),
        ("all or nothing", vec![put("a/b/y", Absent, "n"), put("a/b/x", Absent, "n")], Err(1)),
        ("a revision per operation", vec![put("a/b/y", Absent, "n"), put("a/b/z", Absent, "n")], Ok(3)),
        (
            "a condition elsewhere",
            vec![put("a/b/y", Absent, "n"), Op::Check { key: "a/b/x".into(), expect: Revision(2) }],
            Err(1),
        ),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let store = open(dir.path(), Options::default());
        runtime().block_on(async {
            store.commit(vec![put("a/b/x", Absent, "old")]).await.unwrap();
            let got = store.commit(ops).await;
            let got = match got {
                Ok(committed) => Ok(committed.revision),
                Err(Rejected::Conflict { op, .. }) => Err(op),
                Err(other) => panic!("{name}: {other}"),
            };
            assert_eq!(got, expected, "{name}");
            assert_eq!(store.revision(), expected.unwrap_or(1), "{name}");
        });
    }
}

#[test]
fn a_watcher_sees_its_bucket_in_order_and_only_that() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path(), Options::default());
    runtime().block_on(async {
        let mut all = store.watch("a/b/", 0).unwrap();
        let mut one = store.watch("a/b/n1/", 0).unwrap();
        for (key, text) in [("a/b/n1/x", "1"), ("a/c/n1/x", "2"), ("a/b/n2/x", "3"), ("a/b/n1/x", "4")] {
            store.commit(vec![put(key, Expect::Any, text)]).await.unwrap();
        }
        store.commit(vec![delete("a/b/n1/x", Expect::Any)]).await.unwrap();
        let seen: Vec<_> = all.next(100).await.unwrap().iter().map(|e| show(e)).collect();
        assert_eq!(seen, ["1 a/b/n1/x -→1", "3 a/b/n2/x -→3", "4 a/b/n1/x 1→4", "5 a/b/n1/x 4→-"]);
        let seen: Vec<_> = one.next(2).await.unwrap().iter().map(|e| e.revision).collect();
        assert_eq!(seen, [1, 4], "at most as many as asked for");
        assert_eq!(one.next(2).await.unwrap()[0].revision, 5);
        assert_eq!(store.watch("a/b/", 3).unwrap().take(9).unwrap().len(), 2, "from a past revision");
    });
}

#[test]
fn a_watcher_too_far_behind_is_told_so() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path(), Options { history_events: 3, ..Options::default() });
    runtime().block_on(async {
        let mut slow = store.watch("a/b/", 0).unwrap();
        for i in 0..5 {
            store.commit(vec![put("a/b/x", Expect::Any, &i.to_string())]).await.unwrap();
        }
        assert_eq!(slow.next(9).await.err(), Some(Lost));
        assert!(store.watch("a/b/", 1).is_err());
        assert_eq!(store.watch("a/b/", 2).unwrap().take(9).unwrap().len(), 3);
    });
}

/// An engine that fails when told to, before or after the batch has reached the disk.
struct Faulty {
    inner: RedbEngine,
    fail: Arc<AtomicBool>,
}

impl Engine for Faulty {
    fn load(&mut self, each: &mut dyn FnMut(&str, Bytes) -> Result<(), OpenError>) -> Result<u64, OpenError> {
        self.inner.load(each)
    }

    fn append(&mut self, batch: &[Record], revision: u64) -> Result<(), String> {
        if self.fail.load(Ordering::Acquire) {
            return Err("No space left on device".into());
        }
        self.inner.append(batch, revision)
    }
}

/// An engine that says when it is given a batch, and writes it when it is told to.
struct Held {
    inner: RedbEngine,
    given: mpsc::Sender<()>,
    go: mpsc::Receiver<()>,
}

impl Engine for Held {
    fn load(&mut self, each: &mut dyn FnMut(&str, Bytes) -> Result<(), OpenError>) -> Result<u64, OpenError> {
        self.inner.load(each)
    }

    fn append(&mut self, batch: &[Record], revision: u64) -> Result<(), String> {
        self.given.send(()).map_err(|e| e.to_string())?;
        self.go.recv().map_err(|e| e.to_string())?;
        self.inner.append(batch, revision)
    }
}

#[test]
fn who_is_told_of_a_conflict_finds_its_cause() {
    let dir = tempfile::tempdir().unwrap();
    let ((given, batches), (release, go)) = (mpsc::channel(), mpsc::channel());
    let inner = RedbEngine::open(&dir.path().join("db")).unwrap();
    let store: Store<Text> = Store::with_engine(Box::new(Held { inner, given, go }), Options::default()).unwrap();
    type Commit = Pin<Box<dyn Future<Output = Result<Committed<Text>, Rejected<Text>>>>>;
    let begun = |mut commit: Commit| {
        let waiting = commit.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending();
        assert!(waiting, "the commit waits for its batch");
        commit
    };
    let commit = |key: &str, value: &str| {
        let (store, ops) = (store.clone(), vec![put(key, Expect::Absent, value)]);
        begun(Box::pin(async move { store.commit(ops).await }))
    };
    let first = commit("a/b/x", "0");
    batches.recv().unwrap();
    // while the first batch is written, two writers of one key queue up for the second
    let (faster, slower) = (commit("a/b/y", "1"), commit("a/b/y", "2"));
    release.send(()).unwrap();
    batches.recv().unwrap();
    // what is in the slower one's way is not in any snapshot yet
    let slower = begun(slower);
    release.send(()).unwrap();
    runtime().block_on(async {
        assert!(matches!(slower.await, Err(Rejected::Conflict { op: 0, .. })));
        assert_eq!(store.snapshot().get("a/b/y").unwrap().text(), "1");
        assert!(first.await.is_ok() && faster.await.is_ok());
    });
}

#[test]
fn a_full_disk_refuses_writes_keeps_reads_and_recovers() {
    let dir = tempfile::tempdir().unwrap();
    let fail = Arc::new(AtomicBool::new(false));
    let inner = RedbEngine::open(&dir.path().join("db")).unwrap();
    let store: Store<Text> =
        Store::with_engine(Box::new(Faulty { inner, fail: fail.clone() }), Options::default()).unwrap();
    runtime().block_on(async {
        store.commit(vec![put("a/b/x", Expect::Any, "1")]).await.unwrap();
        fail.store(true, Ordering::Release);
        let refused = store.commit(vec![put("a/b/x", Expect::Any, "2")]).await;
        assert!(matches!(refused, Err(Rejected::Disk(why)) if why.contains("No space")));
        assert_eq!(store.snapshot().get("a/b/x").unwrap().text(), "1");
        fail.store(false, Ordering::Release);
        assert_eq!(store.commit(vec![put("a/b/x", Expect::Any, "3")]).await.unwrap().revision, 2);
    });
}

#[test]
fn two_processes_cannot_share_a_file() {
    let dir = tempfile::tempdir().unwrap();
    let _store = open(dir.path(), Options::default());
    assert!(matches!(Store::<Text>::open(&dir.path().join("db"), Options::default()), Err(OpenError::InUse(_))));
}

#[test]
fn commits_at_once_share_syncs() {
    struct Counting(RedbEngine, Arc<Mutex<Vec<usize>>>);
    impl Engine for Counting {
        fn load(&mut self, each: &mut dyn FnMut(&str, Bytes) -> Result<(), OpenError>) -> Result<u64, OpenError> {
            self.0.load(each)
        }
        fn append(&mut self, batch: &[Record], revision: u64) -> Result<(), String> {
            self.1.lock().push(batch.len());
            self.0.append(batch, revision)
        }
    }
    let dir = tempfile::tempdir().unwrap();
    let batches = Arc::new(Mutex::new(Vec::new()));
    let engine = Counting(RedbEngine::open(&dir.path().join("db")).unwrap(), batches.clone());
    let store: Store<Text> = Store::with_engine(Box::new(engine), Options::default()).unwrap();
    runtime().block_on(async {
        let commits = (0..500).map(|i| {
            let (store, key) = (store.clone(), format!("a/b/{i}"));
            tokio::spawn(async move { store.commit(vec![put(&key, Expect::Absent, "v")]).await.unwrap().revision })
        });
        let mut revisions = Vec::new();
        for commit in commits.collect::<Vec<_>>() {
            revisions.push(commit.await.unwrap());
        }
        revisions.sort_unstable();
        assert_eq!(revisions, (1..=500).collect::<Vec<_>>());
    });
    let batches = batches.lock();
    assert_eq!(batches.iter().sum::<usize>(), 500);
    assert!(batches.len() < 500, "every commit had a sync of its own");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]
    #[test]
    fn agrees_with_a_map_also_after_opening_anew(
        steps in prop::collection::vec((0..12u8, prop::option::of("[a-c][a-z]{0,3}"), 0..20u8), 1..60)
    ) {
        let dir = tempfile::tempdir().unwrap();
        let rt = runtime();
        let mut model: BTreeMap<String, (u64, String)> = BTreeMap::new();
        let mut store = open(dir.path(), Options::default());
        let mut revision = 0;
        for (key, text, again) in steps {
            if again == 0 {
                drop(store);
                store = open(dir.path(), Options::default());
            }
            let key = format!("a/b/{}{key}", if key % 3 == 0 { "c/" } else { "" });
            match text {
                Some(text) => {
                    revision = rt.block_on(store.commit(vec![put(&key, Expect::Any, &text)])).unwrap().revision;
                    model.insert(key, (revision, text));
                }
                None => {
                    let after = rt.block_on(store.commit(vec![delete(&key, Expect::Any)])).unwrap().revision;
                    prop_assert_eq!(after > revision, model.remove(&key).is_some());
                    revision = after;
                }
            }
            let snapshot = store.snapshot();
            let found: BTreeMap<String, (u64, String)> = snapshot
                .range("a/b/", "").map(|(k, v)| (k.to_string(), (v.revision(), v.text().to_string()))).collect();
            prop_assert_eq!(&found, &model);
            prop_assert_eq!(snapshot.revision(), revision);
            for prefix in ["a/", "a/b/", "a/b/c/", "a/c/"] {
                prop_assert_eq!(snapshot.count(prefix), model.keys().filter(|k| k.starts_with(prefix)).count());
            }
            for name in ["a", "b", "c"] {
                let indexed: Vec<&str> = snapshot.index(name).map(|(k, _)| &**k).collect();
                let expected: Vec<&str> =
                    model.iter().filter(|(_, (_, t))| t.starts_with(name)).map(|(k, _)| k.as_str()).collect();
                prop_assert_eq!(indexed, expected);
            }
        }
    }
}
