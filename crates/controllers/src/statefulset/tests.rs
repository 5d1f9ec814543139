//! `cases/statefulset.txt`.

use super::{
    identity,
    plan::{self, Action, World},
};
use crate::testing::{self, Line, now, typed};
use k8s_openapi::{
    api::{apps::v1::StatefulSet, core::v1::Pod},
    apimachinery::pkg::apis::meta::v1::Time,
};
use serde_json::json;
use std::fmt::Write;

fn set(line: &Line<'_>) -> coracle_client::Typed<StatefulSet> {
    let rolling = json!({"partition": line.number("partition"), "maxUnavailable": line.scaled("unavailable")});
    typed(json!({
        "metadata": {"name": "db", "generation": 1, "deletionTimestamp": line.is("deleting").then(|| Time(now()))},
        "spec": {
            "replicas": line.number("replicas"), "minReadySeconds": line.number("minReady"),
            "serviceName": "peers", "selector": {"matchLabels": {"app": "web"}},
            "podManagementPolicy": if line.is("parallel") { "Parallel" } else { "OrderedReady" },
            "ordinals": line.number("start").map(|start| json!({"start": start})),
            "updateStrategy": if line.is("ondelete") { json!({"type": "OnDelete"}) } else {
                json!({"type": "RollingUpdate", "rollingUpdate": rolling}) },
            "template": testing::template_value("v1"),
            "volumeClaimTemplates": [{"metadata": {"name": "data"}, "spec": {"accessModes": ["ReadWriteOnce"]}}],
        },
    }))
}

fn found(text: &str) -> String {
    let lines = Line::all(text);
    let line = lines.iter().find(|l| l.what == "set").expect("a set");
    let set = set(line);
    let pods: Vec<_> = lines.iter().filter(|l| l.what == "pod").map(testing::pod).collect();
    let world = World {
        set: &set,
        name: set.name(),
        deleting: set.meta().is_deleting(),
        generation: 1,
        pods: &pods,
        current: line.text("current").unwrap_or("db-a"),
        update: line.text("update").unwrap_or("db-a"),
        collisions: 0,
        now: now(),
    };
    let mut out = String::new();
    for action in plan::plan(&world) {
        let _ = match action {
            Action::Create(ordinal, version) => writeln!(out, "create db-{ordinal} from {version:?}"),
            Action::Delete(pod, why) => writeln!(out, "delete {} {why:?}", pod.name()),
        };
    }
    let _ = writeln!(out, "status {}", testing::fields(&plan::status(&world)));
    if let Some(again) = plan::again(&world) {
        let _ = writeln!(out, "again in {}s", again.as_secs());
    }
    out
}

#[test]
fn cases() {
    testing::check("statefulset.txt", found);
}

#[test]
fn a_pod_has_name_place_and_claims() {
    let set = set(&Line::all("set replicas=3")[0]);
    let pod: Pod = identity::pod(&set, &set.spec.template, "db-a", 2);
    let labels = pod.metadata.labels.unwrap();
    assert_eq!(pod.metadata.name.as_deref(), Some("db-2"));
    assert_eq!(labels["statefulset.kubernetes.io/pod-name"], "db-2");
    assert_eq!(labels["apps.kubernetes.io/pod-index"], "2");
    assert_eq!(labels["controller-revision-hash"], "db-a");
    let spec = pod.spec.unwrap();
    assert_eq!((spec.hostname.as_deref(), spec.subdomain.as_deref()), (Some("db-2"), Some("peers")));
    let volume = &spec.volumes.unwrap()[0];
    assert_eq!(volume.persistent_volume_claim.as_ref().unwrap().claim_name, "data-db-2");
    assert_eq!(identity::claims(&set, 2)[0].metadata.name.as_deref(), Some("data-db-2"));
}

#[test]
fn ordinals() {
    for (name, expected) in [
        ("db-0", Some(0)),
        ("db-12", Some(12)),
        ("db-", None),
        ("db-01", None),
        ("db-x", None),
        ("dbx-1", None),
        ("db-a-1", None),
        ("db--1", None),
    ] {
        assert_eq!(plan::ordinal("db", name), expected, "{name}");
    }
}
