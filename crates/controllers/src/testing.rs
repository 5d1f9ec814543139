//! Worlds as text, so that a case of a plan reads like the story it tells.
//!
//! A file in `cases/` holds cases: a line `=== what holds`, the world a line per thing, a line `---`, and what follows from it.
//! `UPDATE_CASES=1 cargo test` writes what is found instead of comparing it.

use coracle_api::Object;
use coracle_client::{Kind, Typed};
use jiff::Timestamp;
use k8s_openapi::{
    api::core::v1::{Pod, PodTemplateSpec},
    apimachinery::pkg::apis::meta::v1::Time,
};
use serde_json::{Value, json};
use std::{collections::BTreeMap, fmt::Write, path::Path, sync::Arc};

/// The time in all cases; ages are seconds before it.
pub fn now() -> Timestamp {
    Timestamp::from_second(1_700_000_000).unwrap()
}

/// So many seconds ago.
pub fn ago(seconds: i64) -> Timestamp {
    now() - jiff::SignedDuration::from_secs(seconds)
}

/// `what name key=value flag …`
pub struct Line<'a> {
    /// What it describes.
    pub what: &'a str,
    /// The words without `=` after that: the first is usually a name.
    pub words: Vec<&'a str>,
    fields: BTreeMap<&'a str, &'a str>,
}

impl<'a> Line<'a> {
    /// The lines of a world.
    pub fn all(world: &'a str) -> Vec<Self> {
        let lines = world.lines().filter(|line| !line.trim().is_empty());
        lines
            .map(|line| {
                let mut words = line.split_whitespace();
                let what = words.next().unwrap_or_default();
                let (mut plain, mut fields) = (Vec::new(), BTreeMap::new());
                for word in words {
                    match word.split_once('=') {
                        Some((key, value)) => {
                            fields.insert(key, value);
                        }
                        None => plain.push(word),
                    }
                }
                Self { what, words: plain, fields }
            })
            .collect()
    }

    /// Its name.
    pub fn name(&self) -> &'a str {
        self.words.first().copied().unwrap_or_default()
    }

    /// Whether the word stands there.
    pub fn is(&self, flag: &str) -> bool {
        self.words.contains(&flag)
    }

    /// `key=text`.
    pub fn text(&self, key: &str) -> Option<&'a str> {
        self.fields.get(key).copied()
    }

    /// `key=number`.
    pub fn number(&self, key: &str) -> Option<i64> {
        self.text(key).map(|v| v.parse().unwrap_or_else(|_| panic!("{key}={v} is no number")))
    }

    /// A number or a percentage.
    pub fn scaled(&self, key: &str) -> Value {
        self.text(key).map_or(Value::Null, |v| v.parse::<i32>().map_or_else(|_| json!(v), |n| json!(n)))
    }
}

/// An object as if it came from the store.
pub fn typed<K: Kind>(mut value: Value) -> Typed<K> {
    let name = value["metadata"]["name"].as_str().unwrap().to_string();
    value["apiVersion"] = json!(K::API_VERSION);
    value["kind"] = json!(K::KIND);
    value["metadata"]["namespace"] = json!("ns");
    value["metadata"]["uid"] = json!(format!("uid-{name}"));
    Typed::new(Arc::new(Object::from_value(&prune(value)).unwrap())).unwrap()
}

fn prune(value: Value) -> Value {
    match value {
        Value::Object(map) => {
            Value::Object(map.into_iter().filter(|(_, v)| !v.is_null()).map(|(k, v)| (k, prune(v))).collect())
        }
        other => other,
    }
}

/// `pod NAME [pending|running|failed|succeeded] [ready=SECONDS] [age=SECONDS] [deleting] [node=N] [rev=R] [cost=N] [restarts=N] [for=N]`.
/// `ready` says for how long; `for` a node that it is pinned to.
pub fn pod(line: &Line<'_>) -> Typed<Pod> {
    let phase = ["Pending", "Running", "Failed", "Succeeded"].into_iter().find(|p| line.is(&p.to_lowercase()));
    let phase = phase.unwrap_or(if line.number("ready").is_some() { "Running" } else { "Pending" });
    let since = line.number("ready").map(|s| Time(ago(s)));
    let affinity = line.text("for").map(|node| {
        json!({"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [
            {"matchFields": [{"key": "metadata.name", "operator": "In", "values": [node]}]}]}}})
    });
    typed(json!({
        "metadata": {
            "name": line.name(),
            "labels": {"app": "web", "controller-revision-hash": line.text("rev")},
            "annotations": {"controller.kubernetes.io/pod-deletion-cost": line.text("cost")},
            "creationTimestamp": Time(ago(line.number("age").unwrap_or(1000))),
            "deletionTimestamp": line.is("deleting").then(|| Time(now())),
        },
        "spec": {"nodeName": line.text("node"), "containers": [{"name": "web"}], "affinity": affinity},
        "status": {
            "phase": phase,
            "conditions": [{
                "type": "Ready", "status": if since.is_some() { "True" } else { "False" },
                "lastTransitionTime": since.unwrap_or(Time(now())),
            }],
            "containerStatuses": line.number("restarts").map(|n| json!([
                {"name": "web", "restartCount": n, "ready": true, "image": "i", "imageID": "i"}])),
        },
    }))
}

/// A template of a container with this image.
pub fn template(image: &str) -> PodTemplateSpec {
    serde_json::from_value(template_value(image)).unwrap()
}

/// The same as JSON.
pub fn template_value(image: &str) -> Value {
    json!({"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "web", "image": image}]}})
}

/// Runs every case of `cases/<file>` through `found`.
pub fn check(file: &str, found: impl Fn(&str) -> String) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("cases").join(file);
    let text = std::fs::read_to_string(&path).unwrap();
    let (head, cases) = text.split_once("=== ").unwrap_or((&text, ""));
    let mut updated = head.to_string();
    let mut wrong = String::new();
    for case in cases.split("\n=== ").filter(|case| !case.trim().is_empty()) {
        let (title, body) = case.split_once('\n').unwrap_or((case, ""));
        let (world, expected) = body.split_once("---\n").unwrap_or((body, ""));
        let got = found(world);
        let _ = write!(updated, "=== {title}\n{}\n---\n{}\n\n", world.trim_end(), got.trim_end());
        if got.trim() != expected.trim() {
            let _ = write!(wrong, "\n=== {title}\n--- expected\n{}\n--- found\n{}\n", expected.trim(), got.trim());
        }
    }
    if std::env::var_os("UPDATE_CASES").is_some() {
        std::fs::write(&path, format!("{}\n", updated.trim_end())).unwrap();
    } else {
        assert!(wrong.is_empty(), "{file}:{wrong}");
    }
}

/// The fields of a status that are set, `a=1 b=2`, without conditions.
pub fn fields(status: &impl serde::Serialize) -> String {
    let value = serde_json::to_value(status).unwrap();
    let fields = value.as_object().unwrap().iter().filter(|(k, _)| *k != "conditions" && *k != "observedGeneration");
    fields.map(|(k, v)| format!("{k}={}", v.to_string().trim_matches('"'))).collect::<Vec<_>>().join(" ")
}
