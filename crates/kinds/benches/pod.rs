//! What the rules of a kind cost, at the richest one: defaults and validation of a pod as a Deployment makes it.
#![allow(clippy::unwrap_used, missing_docs)]

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use serde_json::Value;
use std::hint::black_box;

const POD: &[u8] = include_bytes!("../../api/benches/pod.json");

fn rules(c: &mut Criterion) {
    let kind = coracle_kinds::find("", "v1", "pods").unwrap();
    let given: Value = serde_json::from_slice(POD).unwrap();
    let mut pod = given.clone();
    kind.default(&mut pod).unwrap();
    kind.prepare_create(&mut pod);
    c.bench_function("default a pod", |b| {
        let default = |mut pod: Value| {
            kind.default(&mut pod).unwrap();
            pod
        };
        b.iter_batched(|| given.clone(), default, BatchSize::SmallInput);
    });
    c.bench_function("default a pod that has all of them", |b| b.iter(|| kind.default(black_box(&mut pod))));
    c.bench_function("validate a pod", |b| b.iter(|| assert!(kind.validate(black_box(&pod)).is_empty())));
    c.bench_function("warn of a pod", |b| b.iter(|| kind.rules.warnings(black_box(&pod))));
    let mut new = pod.clone();
    new["spec"]["containers"][0]["image"] = "registry.example/shop/web:1.4.3".into();
    c.bench_function("validate an update of a pod", |b| {
        b.iter(|| assert!(kind.validate_update(black_box(&new), &pod, coracle_kinds::Part::Main).is_empty()));
    });
}

criterion_group!(benches, rules);
criterion_main!(benches);
