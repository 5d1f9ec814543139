//! Events about objects, for people: best effort, never blocking, repeats counted instead of repeated.
//!
//! Source of the behaviour: client-go `tools/record` (correlation, aggregation of similar events, spam filter).

use crate::SharedClient;
use coracle_api::{Object, Patch, Resource, WriteOptions};
use coracle_base::{SharedClock, Tasks};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde_json::{Value, json};
use std::{collections::HashMap, fmt::Display, time::Duration};
use tokio::sync::mpsc;

/// The resource that is written.
pub const EVENTS: Resource = Resource::fixed("", "v1", "events", "Event", true);

/// Events that wait to be written; further ones are dropped.
const QUEUED: usize = 1000;
/// Distinct events that are remembered to count their repeats.
const REMEMBERED: usize = 4096;
/// So many events that differ only in their message become one …
const SIMILAR: u32 = 10;
/// … if they come within this time.
const SIMILAR_WITHIN: Duration = Duration::from_secs(600);
/// Events about one object that may come at once …
const BURST: f64 = 25.0;
/// … and how long it takes until one more may.
const REFILL: Duration = Duration::from_secs(300);

/// `type` of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EventType {
    /// All as it should be.
    Normal,
    /// Something to look at.
    Warning,
}

impl EventType {
    fn name(self) -> &'static str {
        match self {
            Self::Normal => "Normal",
            Self::Warning => "Warning",
        }
    }
}

/// What an event is about.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Reference {
    /// `v1`, `apps/v1`.
    pub api_version: String,
    /// `Pod`.
    pub kind: String,
    /// Empty for cluster-scoped objects: their events are written to `default`.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its uid.
    pub uid: String,
    /// The part of it, such as `spec.containers{web}`; may be empty.
    pub field_path: String,
}

impl Reference {
    /// All of an object.
    pub fn of(resource: &Resource, object: &Object) -> Self {
        let meta = object.meta();
        Self {
            api_version: resource.api_version().into_owned(),
            kind: resource.kind.to_string(),
            namespace: meta.namespace.clone(),
            name: meta.name.clone(),
            uid: meta.uid.clone(),
            field_path: String::new(),
        }
    }

    /// One container of a pod.
    #[must_use]
    pub fn container(mut self, name: &str) -> Self {
        self.field_path = format!("spec.containers{{{name}}}");
        self
    }

    /// One init container of a pod.
    #[must_use]
    pub fn init_container(mut self, name: &str) -> Self {
        self.field_path = format!("spec.initContainers{{{name}}}");
        self
    }

    /// One ephemeral container of a pod.
    #[must_use]
    pub fn ephemeral_container(mut self, name: &str) -> Self {
        self.field_path = format!("spec.ephemeralContainers{{{name}}}");
        self
    }

    fn to_value(&self, revision: u64) -> Value {
        let mut value = json!({"apiVersion": self.api_version, "kind": self.kind, "name": self.name});
        if !self.namespace.is_empty() {
            value["namespace"] = json!(self.namespace);
        }
        if !self.uid.is_empty() {
            value["uid"] = json!(self.uid);
        }
        if revision > 0 {
            value["resourceVersion"] = json!(revision.to_string());
        }
        if !self.field_path.is_empty() {
            value["fieldPath"] = json!(self.field_path);
        }
        value
    }
}

struct Entry {
    about: Reference,
    revision: u64,
    kind: EventType,
    reason: String,
    message: String,
    at: Timestamp,
}

/// Writes events in the background. Cheap to clone.
#[derive(Clone)]
pub struct Recorder {
    queue: mpsc::Sender<Entry>,
    clock: SharedClock,
}

impl Recorder {
    /// A recorder that writes as `component` (on `host`, empty if it does not matter) until `tasks` end.
    pub fn new(client: SharedClient, component: &str, host: &str, clock: SharedClock, tasks: &Tasks) -> Self {
        let (queue, mut entries) = mpsc::channel(QUEUED);
        let mut correlator = Correlator::new(component, host);
        tasks.spawn("events", async move {
            while let Some(entry) = entries.recv().await {
                if let Some(write) = correlator.plan(entry)
                    && let Err(error) = correlator.apply(client.as_ref(), write).await
                {
                    tracing::debug!(%error, "an event could not be written");
                }
            }
        });
        Self { queue, clock }
    }

    /// Records an event about an object.
    pub fn event(&self, resource: &Resource, object: &Object, kind: EventType, reason: &str, message: impl Display) {
        self.record(Reference::of(resource, object), object.revision(), kind, reason, message);
    }

    /// Records an event about something named, such as one container.
    pub fn about(&self, about: Reference, kind: EventType, reason: &str, message: impl Display) {
        self.record(about, 0, kind, reason, message);
    }

    fn record(&self, about: Reference, revision: u64, kind: EventType, reason: &str, message: impl Display) {
        let (reason, message) = (reason.to_string(), message.to_string());
        let entry = Entry { about, revision, kind, reason, message, at: self.clock.now() };
        if self.queue.try_send(entry).is_err() {
            tracing::debug!("an event was dropped: too many wait");
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Similar {
    about: Reference,
    kind: EventType,
    reason: String,
}

#[derive(Clone, Debug, PartialEq)]
enum Write {
    Create { namespace: String, body: Value },
    Count { namespace: String, name: String, patch: Value, else_create: Value },
}

struct Seen {
    name: String,
    first: Timestamp,
    count: u32,
    last: Timestamp,
}

struct Recent {
    messages: Vec<String>,
    last: Timestamp,
}

struct Bucket {
    tokens: f64,
    filled: Timestamp,
}

/// Decides what to write for each event; pure but for what it remembers.
struct Correlator {
    component: String,
    host: String,
    seen: HashMap<(Similar, String), Seen>,
    similar: HashMap<Similar, Recent>,
    buckets: HashMap<String, Bucket>,
    last_stamp: i128,
}

impl Correlator {
    fn new(component: &str, host: &str) -> Self {
        Self {
            component: component.into(),
            host: host.into(),
            seen: HashMap::new(),
            similar: HashMap::new(),
            buckets: HashMap::new(),
            last_stamp: 0,
        }
    }

    fn plan(&mut self, mut entry: Entry) -> Option<Write> {
        self.bound_memory();
        let similar =
            Similar { about: entry.about.clone(), kind: entry.kind, reason: std::mem::take(&mut entry.reason) };
        let message = self.aggregate(&similar, entry.message, entry.at);
        if !self.allowed(&similar.about, entry.at) {
            return None;
        }
        let namespace =
            if entry.about.namespace.is_empty() { "default".to_string() } else { entry.about.namespace.clone() };
        let key = (similar, message);
        if let Some(seen) = self.seen.get_mut(&key) {
            seen.count += 1;
            seen.last = entry.at;
            let (name, count, first) = (seen.name.clone(), seen.count, seen.first);
            let patch = json!({"count": count, "lastTimestamp": Time(entry.at)});
            let else_create = self.body(&key.0, &key.1, &name, entry.revision, (first, entry.at), count);
            return Some(Write::Count { namespace, name, patch, else_create });
        }
        // Two events in one nanosecond still need two names.
        self.last_stamp = entry.at.as_nanosecond().max(self.last_stamp + 1);
        let name = format!("{}.{:x}", entry.about.name, self.last_stamp);
        let body = self.body(&key.0, &key.1, &name, entry.revision, (entry.at, entry.at), 1);
        self.seen.insert(key, Seen { name, first: entry.at, count: 1, last: entry.at });
        Some(Write::Create { namespace, body })
    }

    /// Many events that differ only in their message become one with a combined message.
    fn aggregate(&mut self, similar: &Similar, message: String, at: Timestamp) -> String {
        let recent = self.similar.entry(similar.clone()).or_insert_with(|| Recent { messages: Vec::new(), last: at });
        if passed(recent.last, at) > SIMILAR_WITHIN {
            recent.messages.clear();
        }
        recent.last = at;
        if !recent.messages.contains(&message) {
            if recent.messages.len() as u32 >= SIMILAR {
                return format!("(combined from similar events): {message}");
            }
            recent.messages.push(message.clone());
        }
        message
    }

    /// A token bucket per object: nobody may flood the store with events.
    fn allowed(&mut self, about: &Reference, at: Timestamp) -> bool {
        let key = format!("{}/{}/{}/{}", about.kind, about.namespace, about.name, about.uid);
        let bucket = self.buckets.entry(key).or_insert(Bucket { tokens: BURST, filled: at });
        bucket.tokens = (bucket.tokens + passed(bucket.filled, at).div_duration_f64(REFILL)).min(BURST);
        bucket.filled = at;
        let allowed = bucket.tokens >= 1.0;
        if allowed {
            bucket.tokens -= 1.0;
        }
        allowed
    }

    fn bound_memory(&mut self) {
        if self.seen.len() < REMEMBERED && self.similar.len() < REMEMBERED && self.buckets.len() < REMEMBERED {
            return;
        }
        // The older half goes: what is forgotten is only counted anew.
        let mut times: Vec<Timestamp> = self.seen.values().map(|s| s.last).collect();
        times.sort_unstable();
        let middle = times.get(times.len() / 2).copied().unwrap_or(Timestamp::MAX);
        self.seen.retain(|_, s| s.last > middle);
        self.similar.retain(|_, r| r.last > middle);
        self.buckets.retain(|_, b| b.filled > middle);
    }

    fn body(
        &self,
        similar: &Similar,
        message: &str,
        name: &str,
        revision: u64,
        (first, last): (Timestamp, Timestamp),
        count: u32,
    ) -> Value {
        let about = &similar.about;
        let namespace = if about.namespace.is_empty() { "default" } else { &about.namespace };
        let mut source = json!({"component": self.component});
        if !self.host.is_empty() {
            source["host"] = json!(self.host);
        }
        json!({
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"name": name, "namespace": namespace},
            "involvedObject": about.to_value(revision),
            "reason": similar.reason,
            "message": message,
            "source": source,
            "firstTimestamp": Time(first),
            "lastTimestamp": Time(last),
            "count": count,
            "type": similar.kind.name(),
            "reportingComponent": self.component,
            "reportingInstance": self.host,
        })
    }

    async fn apply(&self, client: &dyn crate::Client, write: Write) -> coracle_api::Result<()> {
        let options = WriteOptions::default();
        match write {
            Write::Create { namespace, body } => {
                client.create(&EVENTS, &namespace, body, &options).await?;
            }
            Write::Count { namespace, name, patch, else_create } => {
                match client.patch(&EVENTS, &namespace, &name, "", Patch::merge(patch), &options).await {
                    // Events expire; the next repeat begins a new one under the old name.
                    Err(status) if status.is_not_found() => {
                        client.create(&EVENTS, &namespace, else_create, &options).await?;
                    }
                    other => {
                        other?;
                    }
                }
            }
        }
        Ok(())
    }
}

fn passed(from: Timestamp, to: Timestamp) -> Duration {
    to.duration_since(from).try_into().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(message: &str, second: i64) -> Entry {
        Entry {
            about: Reference { kind: "Pod".into(), name: "web".into(), namespace: "ns".into(), ..Reference::default() },
            revision: 7,
            kind: EventType::Normal,
            reason: "Killing".into(),
            message: message.into(),
            at: Timestamp::from_second(second).unwrap(),
        }
    }

    /// What becomes of a series of (second, message).
    fn check(series: &[(i64, &str)], expected: &[&str]) {
        let mut correlator = Correlator::new("tester", "");
        let got: Vec<String> = series
            .iter()
            .map(|(second, message)| match correlator.plan(entry(message, *second)) {
                None => "dropped".to_string(),
                Some(Write::Create { namespace, body }) => {
                    format!("create {namespace}/{} {}", body["metadata"]["name"].as_str().unwrap(), body["message"])
                }
                Some(Write::Count { name, patch, .. }) => format!("count {name} {}", patch["count"]),
            })
            .collect();
        assert_eq!(got, expected);
    }

    #[test]
    fn repeats_are_counted() {
        check(
            &[(1, "a"), (2, "a"), (2, "b"), (3, "a")],
            &[
                "create ns/web.3b9aca00 \"a\"",
                "count web.3b9aca00 2",
                "create ns/web.77359400 \"b\"",
                "count web.3b9aca00 3",
            ],
        );
    }

    #[test]
    fn similar_events_are_combined() {
        let messages: Vec<String> = (0..12).map(|i| format!("m{i}")).collect();
        let mut correlator = Correlator::new("tester", "");
        let last: Vec<_> = messages.iter().map(|m| correlator.plan(entry(m, 1)).unwrap()).skip(10).collect();
        assert!(matches!(&last[0], Write::Create { body, .. }
            if body["message"] == "(combined from similar events): m10"));
    }

    #[test]
    fn a_flood_about_one_object_is_dropped() {
        let mut correlator = Correlator::new("tester", "");
        let mut written = |second| correlator.plan(entry("a", second)).is_some();
        assert_eq!((0..40).filter(|_| written(1)).count(), 25);
        assert!(!written(200));
        assert!(written(400));
    }
}
