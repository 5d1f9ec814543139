//! Counters, gauges and histograms, by labels, as text in Prometheus' form.
//!
//! To count is an addition on an atomic number: whoever counts often keeps what [`Family::with`] gave it.

use parking_lot::RwLock;
use std::{
    cell::RefCell,
    collections::HashMap,
    fmt::Write,
    sync::{
        Arc,
        atomic::{AtomicI64, AtomicU64, Ordering},
    },
    time::Duration,
};

/// A metric that a family is made of.
pub trait Metric: Send + Sync + 'static {
    /// Its type, as Prometheus names it.
    const KIND: &'static str;
    /// What it is made from, the same for a whole family.
    type Shape: Clone + Send + Sync;

    /// At its beginning.
    fn new(shape: &Self::Shape) -> Self;

    /// Its lines. `labels` is the text between the braces, without them.
    fn render(&self, name: &str, labels: &str, out: &mut String);
}

/// A number that grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds.
    pub fn add(&self, more: u64) {
        self.0.fetch_add(more, Ordering::Relaxed);
    }

    /// Adds one.
    pub fn increment(&self) {
        self.add(1);
    }

    /// The number.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Metric for Counter {
    const KIND: &'static str = "counter";
    type Shape = ();

    fn new((): &()) -> Self {
        Self::default()
    }

    fn render(&self, name: &str, labels: &str, out: &mut String) {
        line(out, name, labels, self.get());
    }
}

/// A number that goes up and down.
#[derive(Debug, Default)]
pub struct Gauge(AtomicI64);

impl Gauge {
    /// Is from now on.
    pub fn set(&self, value: i64) {
        self.0.store(value, Ordering::Relaxed);
    }

    /// One more, until the guard is dropped.
    #[must_use]
    pub fn hold(self: &Arc<Self>) -> Held {
        self.0.fetch_add(1, Ordering::Relaxed);
        Held(self.clone())
    }

    /// The number.
    pub fn get(&self) -> i64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// One of those that a [`Gauge`] counts.
#[derive(Debug)]
pub struct Held(Arc<Gauge>);

impl Drop for Held {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Metric for Gauge {
    const KIND: &'static str = "gauge";
    type Shape = ();

    fn new((): &()) -> Self {
        Self::default()
    }

    fn render(&self, name: &str, labels: &str, out: &mut String) {
        line(out, name, labels, self.get());
    }
}

/// How often something took how long.
#[derive(Debug)]
pub struct Histogram {
    bounds: &'static [f64],
    /// One for each bound, and one for what is above all of them.
    counts: Vec<AtomicU64>,
    micros: AtomicU64,
}

impl Histogram {
    /// Counts a duration.
    pub fn observe(&self, took: Duration) {
        let seconds = took.as_secs_f64();
        let at = self.bounds.partition_point(|bound| seconds > *bound);
        self.counts[at].fetch_add(1, Ordering::Relaxed);
        self.micros.fetch_add(u64::try_from(took.as_micros()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }
}

impl Metric for Histogram {
    const KIND: &'static str = "histogram";
    type Shape = &'static [f64];

    fn new(bounds: &&'static [f64]) -> Self {
        let counts = (0..=bounds.len()).map(|_| AtomicU64::default()).collect();
        Self { bounds, counts, micros: AtomicU64::default() }
    }

    fn render(&self, name: &str, labels: &str, out: &mut String) {
        let comma = if labels.is_empty() { "" } else { "," };
        let mut total = 0;
        for (at, count) in self.counts.iter().enumerate() {
            total += count.load(Ordering::Relaxed);
            let bound = self.bounds.get(at).map_or_else(|| "+Inf".to_string(), ToString::to_string);
            line(out, &format!("{name}_bucket"), &format!("{labels}{comma}le=\"{bound}\""), total);
        }
        // not a sum of floats: atomics have none
        #[allow(clippy::cast_precision_loss)]
        let sum = self.micros.load(Ordering::Relaxed) as f64 / 1e6;
        line(out, &format!("{name}_sum"), labels, sum);
        line(out, &format!("{name}_count"), labels, total);
    }
}

/// Metrics of one name, told apart by labels.
#[derive(Debug)]
pub struct Family<M: Metric> {
    name: &'static str,
    help: &'static str,
    labels: &'static [&'static str],
    shape: M::Shape,
    /// By the values of the labels, joined with NUL.
    members: RwLock<HashMap<String, Arc<M>>>,
}

thread_local! {
    static KEY: RefCell<String> = const { RefCell::new(String::new()) };
}

impl<M: Metric> Family<M> {
    /// An empty one.
    pub fn new(name: &'static str, help: &'static str, labels: &'static [&'static str], shape: M::Shape) -> Self {
        Self { name, help, labels, shape, members: RwLock::default() }
    }

    /// The member with these values of the labels, in their order.
    pub fn with(&self, values: &[&str]) -> Arc<M> {
        KEY.with_borrow_mut(|key| {
            key.clear();
            for (at, value) in values.iter().enumerate() {
                if at > 0 {
                    key.push('\0');
                }
                key.push_str(value);
            }
            if let Some(member) = self.members.read().get(key.as_str()) {
                return member.clone();
            }
            let mut members = self.members.write();
            members.entry(key.clone()).or_insert_with(|| Arc::new(M::new(&self.shape))).clone()
        })
    }

    /// Its lines, sorted; nothing if it has no member.
    pub fn render(&self, out: &mut String) {
        let members = self.members.read();
        if members.is_empty() {
            return;
        }
        heading(out, self.name, self.help, M::KIND);
        let mut sorted: Vec<_> = members.iter().collect();
        sorted.sort_unstable_by_key(|(key, _)| *key);
        for (key, member) in sorted {
            let pairs = self.labels.iter().zip(key.split('\0'));
            let pairs: Vec<String> = pairs.map(|(label, value)| format!("{label}=\"{}\"", escape(value))).collect();
            member.render(self.name, &pairs.join(","), out);
        }
    }
}

/// The two lines above a metric.
pub fn heading(out: &mut String, name: &str, help: &str, kind: &str) {
    // writing to a String cannot fail
    let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}");
}

/// One line. `labels` is the text between the braces, without them.
pub fn line(out: &mut String, name: &str, labels: &str, value: impl std::fmt::Display) {
    let _ = match labels {
        "" => writeln!(out, "{name} {value}"),
        labels => writeln!(out, "{name}{{{labels}}} {value}"),
    };
}

/// A label's value as it stands between quotes.
pub fn escape(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_are_rendered_sorted_and_escaped() {
        let family: Family<Counter> = Family::new("n_total", "Things.", &["a", "b"], ());
        let mut out = String::new();
        family.render(&mut out);
        assert_eq!(out, "");
        family.with(&["y", ""]).increment();
        family.with(&["x", "\"\\"]).add(2);
        family.with(&["y", ""]).increment();
        family.render(&mut out);
        let expected = "# HELP n_total Things.\n# TYPE n_total counter\nn_total{a=\"x\",b=\"\\\"\\\\\"} 2\nn_total{a=\"y\",b=\"\"} 2\n";
        assert_eq!(out, expected);
    }

    #[test]
    fn histograms_count_up() {
        const BOUNDS: &[f64] = &[0.1, 1.0];
        let family: Family<Histogram> = Family::new("t", "Time.", &[], BOUNDS);
        for millis in [50, 100, 500, 2000] {
            family.with(&[]).observe(Duration::from_millis(millis));
        }
        let mut out = String::new();
        family.render(&mut out);
        let expected = "t_bucket{le=\"0.1\"} 2\nt_bucket{le=\"1\"} 3\nt_bucket{le=\"+Inf\"} 4\nt_sum 2.65\nt_count 4\n";
        assert_eq!(out.split_once("histogram\n").unwrap().1, expected);
    }

    #[test]
    fn gauges_are_held() {
        let family: Family<Gauge> = Family::new("g", "", &[], ());
        let gauge = family.with(&[]);
        let (one, two) = (gauge.hold(), gauge.hold());
        assert_eq!(gauge.get(), 2);
        drop((one, two));
        assert_eq!(gauge.get(), 0);
    }
}
