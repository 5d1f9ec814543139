//! What an agent's `/metrics/resource` says at one moment, and what two of these say of the time between them.
//!
//! Source of names: upstream's kubelet, `pkg/kubelet/metrics/collectors/resource_metrics.go`; of the rules: metrics-server `pkg/storage`.

use jiff::{SignedDuration, Timestamp};
use std::collections::{BTreeMap, HashMap};

/// A container that is younger than this says too little of what it uses.
const YOUNGEST: SignedDuration = SignedDuration::from_secs(2);

/// Counters at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Point {
    /// When they were read.
    pub at: Timestamp,
    /// Since when they count, if that is known.
    pub started: Option<Timestamp>,
    /// Processor time.
    pub cpu_nanos: u64,
    /// Working set, in bytes.
    pub memory: u64,
}

/// What was used in a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Used {
    /// The window's end.
    pub at: Timestamp,
    /// Its length.
    pub window: SignedDuration,
    /// Billionths of a processor, on the average.
    pub cpu_nanos: u64,
    /// Working set at the end, in bytes.
    pub memory: u64,
}

impl Used {
    /// Between two readings of the same counters, or since they began if that is recent; `None` if nothing can be said yet.
    /// `longest`: what lies further back is no longer "now".
    pub fn between(before: Option<&Point>, now: &Point, longest: SignedDuration) -> Option<Self> {
        let restarted = |b: &&Point| now.started.is_some_and(|s| s > b.at) || now.cpu_nanos < b.cpu_nanos;
        let within = |window: &SignedDuration| *window <= longest;
        if let Some(before) = before.filter(|b| b.at < now.at && !restarted(b)) {
            let window = now.at.duration_since(before.at);
            if within(&window) {
                return Some(Self::of(now, now.cpu_nanos - before.cpu_nanos, window));
            }
        }
        let age = now.at.duration_since(now.started?);
        (age >= YOUNGEST && within(&age)).then(|| Self::of(now, now.cpu_nanos, age))
    }

    fn of(now: &Point, cpu_nanos: u64, window: SignedDuration) -> Self {
        let average = u128::from(cpu_nanos) * 1_000_000_000 / window.as_nanos().unsigned_abs().max(1);
        Self { at: now.at, window, cpu_nanos: u64::try_from(average).unwrap_or(u64::MAX), memory: now.memory }
    }
}

/// Namespace and name of a pod.
pub type PodName = (String, String);

/// All counters of a node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reading {
    /// The node itself.
    pub node: Option<Point>,
    /// Containers by pod and name.
    pub pods: HashMap<PodName, BTreeMap<String, Point>>,
}

/// Counters as they are gathered: what is there of a point.
#[derive(Clone, Copy, Default)]
struct Partial {
    at: Option<Timestamp>,
    started: Option<Timestamp>,
    cpu_nanos: Option<u64>,
    memory: Option<u64>,
}

impl Partial {
    fn whole(self, now: Timestamp) -> Option<Point> {
        let (cpu_nanos, memory) = (self.cpu_nanos?, self.memory?);
        Some(Point { at: self.at.unwrap_or(now), started: self.started, cpu_nanos, memory })
    }

    fn take(&mut self, what: &str, value: f64, at: Option<Timestamp>) {
        match what {
            "cpu_usage_seconds_total" => {
                self.cpu_nanos = Some(whole(value * 1e9));
                self.at = at;
            }
            "memory_working_set_bytes" => self.memory = Some(whole(value)),
            "start_time_seconds" => {
                let nanos = i128::from(whole(value * 1e9));
                self.started = Timestamp::from_nanosecond(nanos).ok();
            }
            _ => {}
        }
    }
}

/// What is counted is never negative.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
fn whole(value: f64) -> u64 {
    value as u64
}

impl Reading {
    /// Reads Prometheus' text form. `now` is the time of samples that carry none. A container without both of its counters is left out.
    pub fn parse(text: &str, now: Timestamp) -> Self {
        let mut node = Partial::default();
        let mut containers: HashMap<(PodName, String), Partial> = HashMap::new();
        for sample in text.lines().filter_map(Sample::parse) {
            if let Some(what) = sample.name.strip_prefix("node_") {
                node.take(what, sample.value, sample.at);
            } else if let Some(what) = sample.name.strip_prefix("container_")
                && let [Some(container), Some(namespace), Some(pod)] =
                    ["container", "namespace", "pod"].map(|label| sample.label(label))
            {
                let pod = (namespace.to_string(), pod.to_string());
                containers.entry((pod, container.to_string())).or_default().take(what, sample.value, sample.at);
            }
        }
        let mut pods: HashMap<PodName, BTreeMap<String, Point>> = HashMap::new();
        for ((pod, container), partial) in containers {
            if let Some(point) = partial.whole(now) {
                pods.entry(pod).or_default().insert(container, point);
            }
        }
        Self { node: node.whole(now), pods }
    }
}

/// A line `name{label="value",…} value [milliseconds]`.
struct Sample<'a> {
    name: &'a str,
    labels: &'a str,
    value: f64,
    at: Option<Timestamp>,
}

impl<'a> Sample<'a> {
    fn parse(line: &'a str) -> Option<Self> {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            return None;
        }
        let (name, labels, rest) = match line.split_once('{') {
            // values of these labels are names, in which no brace can stand
            Some((name, rest)) => rest.split_once('}').map(|(labels, rest)| (name, labels, rest))?,
            None => line.split_once(' ').map(|(name, rest)| (name, "", rest))?,
        };
        let mut words = rest.split_whitespace();
        let value = words.next()?.parse().ok()?;
        let at = words.next().and_then(|ms| Timestamp::from_millisecond(ms.parse().ok()?).ok());
        Some(Self { name: name.trim(), labels, value, at })
    }

    fn label(&self, name: &str) -> Option<&'a str> {
        let pairs = self.labels.split(',').filter_map(|pair| pair.split_once('='));
        pairs
            .map(|(key, value)| (key.trim(), value.trim().trim_matches('"')))
            .find(|(key, _)| *key == name)
            .map(|p| p.1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn second(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn a_reading_has_whole_containers_only() {
        let text = "# HELP container_cpu_usage_seconds_total x\n\
            container_cpu_usage_seconds_total{container=\"c\",namespace=\"n\",pod=\"p\"} 1.5 90000\n\
            container_memory_working_set_bytes{container=\"c\",namespace=\"n\",pod=\"p\"} 4.096e+03 90001\n\
            container_start_time_seconds{container=\"c\",namespace=\"n\",pod=\"p\"} 80.5\n\
            container_cpu_usage_seconds_total{container=\"half\",namespace=\"n\",pod=\"p\"} 7\n\
            pod_cpu_usage_seconds_total{namespace=\"n\",pod=\"p\"} 9\n\
            node_cpu_usage_seconds_total 100.25 95000\n\
            node_memory_working_set_bytes 1000\n";
        let reading = Reading::parse(text, second(99));
        let started = Timestamp::from_millisecond(80_500).ok();
        let point = Point { at: second(90), started, cpu_nanos: 1_500_000_000, memory: 4096 };
        let pod = &reading.pods[&("n".to_string(), "p".to_string())];
        assert_eq!(pod.iter().collect::<Vec<_>>(), [(&"c".to_string(), &point)]);
        let node = Point { at: second(95), started: None, cpu_nanos: 100_250_000_000, memory: 1000 };
        assert_eq!(reading.node, Some(node));
    }

    #[test]
    fn usage_is_that_of_a_recent_window() {
        let point = |at: i64, started: Option<i64>, cpu: u64| Point {
            at: second(at),
            started: started.map(second),
            cpu_nanos: cpu * 1_000_000_000,
            memory: 7,
        };
        let cases: &[(&str, Option<Point>, Point, Option<(i64, u64)>)] = &[
            ("between two readings", Some(point(90, Some(10), 5)), point(100, Some(10), 10), Some((10, 500_000_000))),
            ("the first reading of an old one", None, point(100, Some(10), 10), None),
            ("the first reading of a young one", None, point(100, Some(90), 10), Some((10, 1_000_000_000))),
            ("too young", None, point(100, Some(99), 10), None),
            ("nobody knows since when", None, point(100, None, 10), None),
            (
                "started again in between",
                Some(point(90, Some(10), 9)),
                point(100, Some(95), 10),
                Some((5, 2_000_000_000)),
            ),
            ("counted anew", Some(point(90, None, 50)), point(100, None, 10), None),
            ("the other reading is too old", Some(point(10, Some(5), 1)), point(100, Some(5), 10), None),
            ("the same reading", Some(point(100, Some(5), 1)), point(100, Some(5), 1), None),
        ];
        for (title, before, now, expected) in cases {
            let used = Used::between(before.as_ref(), now, SignedDuration::from_secs(60));
            let found = used.map(|u| (u.window.as_secs(), u.cpu_nanos));
            assert_eq!(found, *expected, "{title}");
        }
    }
}
