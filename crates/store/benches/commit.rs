//! What a commit costs beside the disk: one writer's, and 32 that share a batch. The engine takes everything and keeps nothing.
#![allow(clippy::unwrap_used, missing_docs)]

use bytes::Bytes;
use coracle_store::{Engine, Expect, Op, OpenError, Options, Record, Store, Stored};
use criterion::{Criterion, criterion_group, criterion_main};
use futures::future::join_all;

const OBJECTS: usize = 10_000;
const WRITERS: usize = 32;

struct Nowhere;

impl Engine for Nowhere {
    fn load(&mut self, _: &mut dyn FnMut(&str, Bytes) -> Result<(), OpenError>) -> Result<u64, OpenError> {
        Ok(0)
    }

    fn append(&mut self, _: &[Record], _: u64) -> Result<(), String> {
        Ok(())
    }
}

struct Text(u64, Bytes);

impl Stored for Text {
    type Draft = Bytes;

    fn seal(draft: Bytes, revision: u64) -> Self {
        Self(revision, draft)
    }

    fn load(bytes: Bytes) -> Result<Self, String> {
        Ok(Self(0, bytes))
    }

    fn bytes(&self) -> &Bytes {
        &self.1
    }

    fn revision(&self) -> u64 {
        self.0
    }

    fn indexes(&self, key: &str, add: &mut dyn FnMut(String)) {
        add(format!("owner-{}", key.len()));
    }
}

fn commits(c: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().unwrap();
    let store = Store::<Text>::with_engine(Box::new(Nowhere), Options::default()).unwrap();
    let put = |number: usize| {
        let draft = Bytes::from_static(&[b'x'; 2048]);
        vec![Op::Put { key: format!("/pods/default/{:06}", number % OBJECTS).into(), expect: Expect::Any, draft }]
    };
    runtime.block_on(join_all((0..OBJECTS).map(|number| store.commit(put(number)))));
    let mut number = 0;
    for writers in [1, WRITERS] {
        c.bench_function(&format!("{writers} commits of 2 KB beside 10 000 objects"), |b| {
            b.iter(|| {
                number += writers;
                runtime.block_on(join_all((0..writers).map(|n| store.commit(put(number + n * 7)))))
            });
        });
    }
}

criterion_group!(benches, commits);
criterion_main!(benches);
