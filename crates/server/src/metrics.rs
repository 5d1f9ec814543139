//! What the server has done, in Prometheus' text form, under upstream's names.

use crate::{
    http::body::{self, Body},
    registry::Registry,
};
use http::Response;
use parking_lot::Mutex;
use std::{
    collections::BTreeMap,
    fmt::Write,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

/// Upper bounds of the duration histogram, in seconds.
const BUCKETS: [f64; 9] = [0.005, 0.025, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 60.0];

/// Counters of requests.
#[derive(Default)]
pub struct Metrics {
    in_flight: Arc<AtomicI64>,
    counts: Mutex<Counts>,
}

#[derive(Default)]
struct Counts {
    /// By verb, resource, code.
    requests: BTreeMap<(String, String, u16), u64>,
    /// By verb, resource.
    durations: BTreeMap<(String, String), Histogram>,
}

#[derive(Default)]
struct Histogram {
    buckets: [u64; BUCKETS.len()],
    count: u64,
    sum: f64,
}

/// A request under way.
pub struct InFlight(Arc<AtomicI64>);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Metrics {
    /// A request begins.
    pub fn begin(&self) -> InFlight {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        InFlight(self.in_flight.clone())
    }

    /// A request has been answered.
    pub fn end(&self, verb: &str, resource: &str, code: u16, took: Duration) {
        let mut counts = self.counts.lock();
        // names come from clients until the route is known to exist: what was not found is not counted by name
        let resource = if code == 404 { "" } else { resource };
        let key = (verb.to_string(), resource.to_string());
        *counts.requests.entry((key.0.clone(), key.1.clone(), code)).or_default() += 1;
        let histogram = counts.durations.entry(key).or_default();
        let seconds = took.as_secs_f64();
        for (bound, count) in BUCKETS.iter().zip(&mut histogram.buckets) {
            *count += u64::from(seconds <= *bound);
        }
        histogram.count += 1;
        histogram.sum += seconds;
    }

    /// The whole text.
    pub fn render(&self, registry: &Registry) -> Response<Body> {
        let mut out = String::new();
        let counts = self.counts.lock();
        // writing to a String cannot fail
        let _ = writeln!(
            out,
            "# HELP apiserver_request_total Counter of apiserver requests.\n# TYPE apiserver_request_total counter"
        );
        for ((verb, resource, code), n) in &counts.requests {
            let _ = writeln!(
                out,
                "apiserver_request_total{{code=\"{code}\",resource={resource:?},verb={:?}}} {n}",
                verb.to_uppercase()
            );
        }
        let _ = writeln!(
            out,
            "# HELP apiserver_request_duration_seconds Response latency distribution in seconds.\n# TYPE apiserver_request_duration_seconds histogram"
        );
        for ((verb, resource), h) in &counts.durations {
            let labels = format!("resource={resource:?},verb={:?}", verb.to_uppercase());
            for (bound, n) in BUCKETS.iter().zip(&h.buckets) {
                let _ = writeln!(out, "apiserver_request_duration_seconds_bucket{{{labels},le=\"{bound}\"}} {n}");
            }
            let _ = writeln!(out, "apiserver_request_duration_seconds_bucket{{{labels},le=\"+Inf\"}} {}", h.count);
            let _ = writeln!(out, "apiserver_request_duration_seconds_sum{{{labels}}} {}", h.sum);
            let _ = writeln!(out, "apiserver_request_duration_seconds_count{{{labels}}} {}", h.count);
        }
        let _ = writeln!(
            out,
            "# HELP apiserver_current_inflight_requests Requests being answered now.\n# TYPE apiserver_current_inflight_requests gauge\napiserver_current_inflight_requests {}",
            self.in_flight.load(Ordering::Relaxed)
        );
        let snapshot = registry.store.snapshot();
        let _ = writeln!(
            out,
            "# HELP coracle_store_objects Objects in the store.\n# TYPE coracle_store_objects gauge\ncoracle_store_objects {}\n# HELP coracle_store_revision Revision of the last commit.\n# TYPE coracle_store_revision counter\ncoracle_store_revision {}",
            snapshot.len(),
            snapshot.revision()
        );
        body::typed(200, "text/plain; version=0.0.4; charset=utf-8", out)
    }
}
