//! What happens to every object on its way: decoding, ownership, encoding, selection. On a pod as a Deployment makes it.
#![allow(clippy::unwrap_used, missing_docs)]

use coracle_api::{
    Draft, LabelSelector, Media, Schema, decode,
    managed::{self, Endpoint, OnConflict, OneVersion, Reset, Writer},
    options::FieldValidation,
    protobuf,
    schema::Type,
};
use criterion::{Criterion, criterion_group, criterion_main};
use jiff::Timestamp;
use serde_json::{Value, json};
use std::hint::black_box;

const POD: &[u8] = include_bytes!("pod.json");

fn pod_type() -> Type<'static> {
    Schema::builtin().type_of("", "v1", "Pod").unwrap()
}

fn pod() -> Value {
    decode(POD, Media::Json, Some(pod_type()), FieldValidation::Strict).unwrap().value
}

fn endpoint() -> Endpoint<'static> {
    let of = Some(pod_type());
    Endpoint { version: "v1", kind: "Pod", of, subresource: "", reset: Reset::NONE, versions: &OneVersion }
}

fn writer(manager: &str) -> Writer<'_> {
    Writer { manager, time: Timestamp::UNIX_EPOCH }
}

fn codecs(c: &mut Criterion) {
    let (pod, of) = (pod(), pod_type());
    c.bench_function("decode a pod", |b| {
        b.iter(|| decode(black_box(POD), Media::Json, Some(of), FieldValidation::Strict).unwrap());
    });
    c.bench_function("encode a pod", |b| b.iter(|| Draft::new(black_box(&pod)).unwrap().seal(7)));
    c.bench_function("encode a pod in protobuf", |b| b.iter(|| protobuf::encode(black_box(&pod), of).unwrap()));
}

fn ownership(c: &mut Criterion) {
    let (pod, endpoint) = (pod(), endpoint());
    let created = || {
        let mut pod = pod.clone();
        managed::track_update(None, &mut pod, writer("kubectl-create"), &endpoint);
        pod
    };
    c.bench_function("note who created a pod", |b| b.iter(created));
    let live = created();
    let config = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": pod["metadata"]["name"], "labels": {"tier": "front"}},
        "spec": {"containers": [{"name": "web", "image": "registry.example/shop/web:1.4.3"}]},
    });
    c.bench_function("apply to a pod", |b| {
        b.iter(|| {
            managed::apply(Some(&live), black_box(&config), writer("release"), OnConflict::Take, &endpoint).unwrap()
        });
    });
}

fn selection(c: &mut Criterion) {
    let selector = LabelSelector::parse("app in (web,api),pod-template-hash=6b7f5c9d4,!canary").unwrap();
    let object = Draft::new(&pod()).unwrap().seal(7);
    c.bench_function("select by labels", |b| b.iter(|| selector.matches(black_box(&object.meta().labels))));
}

criterion_group!(benches, codecs, ownership, selection);
criterion_main!(benches);
