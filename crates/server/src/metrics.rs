//! What the server does, in Prometheus' text form, under upstream's names.

use crate::{
    catalog::Catalog,
    health,
    http::body::{self, Body},
    registry::Registry,
    route::RequestInfo,
};
use bytes::Bytes;
use coracle_base::metrics::{Counter, Family, Gauge, Held, Histogram, escape, heading, line};
use http::{Method, Response};
use http_body_util::BodyExt;
use std::{collections::BTreeMap, sync::Arc, time::Duration};

/// Upper bounds of the durations of requests, in seconds, as upstream.
const SECONDS: &[f64] = &[
    0.005, 0.025, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0, 1.25, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0, 15.0, 20.0, 30.0,
    45.0, 60.0,
];
/// Prometheus' text form.
pub const MEDIA_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";
/// The only component of this process that serves requests.
const COMPONENT: &str = "apiserver";

/// What a request is to metrics.
#[derive(Clone, Debug, Default)]
pub struct Labels {
    verb: &'static str,
    dry_run: &'static str,
    group: String,
    version: String,
    resource: String,
    subresource: String,
    scope: &'static str,
}

impl Labels {
    /// Of a request. Names that come from clients count only if something is served under them.
    pub fn of(info: &RequestInfo, method: &Method, dry_run: bool, catalog: &Catalog) -> Self {
        let verb = verb(info, method);
        let dry_run = if dry_run { "All" } else { "" };
        let Some(served) = catalog.find(&info.group, &info.version, &info.resource) else {
            let subresource = known_path(&info.path).to_string();
            return Self { verb, dry_run, subresource, ..Self::default() };
        };
        let subresource = served.kind.subresource(&info.subresource).map(|_| info.subresource.clone());
        let scope = match (info.name.is_empty(), info.namespace.is_empty()) {
            (false, _) => "resource",
            (true, false) => "namespace",
            (true, true) => "cluster",
        };
        Self {
            verb,
            dry_run,
            group: info.group.clone(),
            version: info.version.clone(),
            resource: info.resource.clone(),
            subresource: subresource.unwrap_or_default(),
            scope,
        }
    }

    fn is_long(&self) -> bool {
        matches!(self.verb, "WATCH" | "CONNECT") || self.subresource == "log"
    }

    fn is_mutating(&self) -> bool {
        !matches!(self.verb, "GET" | "LIST" | "WATCH" | "CONNECT")
    }
}

/// Paths that name no resource are counted by their first part, if it is one that is served.
fn known_path(path: &str) -> &str {
    const KNOWN: [&str; 9] =
        ["/healthz", "/livez", "/readyz", "/metrics", "/version", "/openapi", "/openid", "/api", "/apis"];
    let end = path.get(1..).and_then(|p| p.find('/')).map_or(path.len(), |at| at + 1);
    if KNOWN.contains(&&path[..end]) { &path[..end] } else { "" }
}

fn verb(info: &RequestInfo, method: &Method) -> &'static str {
    if matches!(info.subresource.as_str(), "exec" | "attach" | "portforward" | "proxy") {
        return "CONNECT";
    }
    match info.verb.as_str() {
        "list" => "LIST",
        "watch" => "WATCH",
        "deletecollection" => "DELETECOLLECTION",
        _ => match *method {
            Method::GET => "GET",
            Method::HEAD => "HEAD",
            Method::POST => "POST",
            Method::PUT => "PUT",
            Method::PATCH => "PATCH",
            Method::DELETE => "DELETE",
            Method::OPTIONS => "OPTIONS",
            _ => "other",
        },
    }
}

/// What is counted while requests are answered.
pub struct Metrics {
    requests: Family<Counter>,
    durations: Family<Histogram>,
    current: Family<Gauge>,
    long: Family<Gauge>,
    watch_events: Family<Counter>,
    deprecated: Family<Gauge>,
    start: f64,
}

impl Default for Metrics {
    fn default() -> Self {
        let labels = &["verb", "dry_run", "group", "version", "resource", "subresource", "scope", "component"];
        Self {
            requests: Family::new(
                "apiserver_request_total",
                "Counter of apiserver requests broken out for each verb, dry run value, group, version, resource, scope, component, and HTTP response code.",
                &["verb", "dry_run", "group", "version", "resource", "subresource", "scope", "component", "code"],
                (),
            ),
            durations: Family::new(
                "apiserver_request_duration_seconds",
                "Response latency distribution in seconds for each verb, dry run value, group, version, resource, subresource, scope and component.",
                labels,
                SECONDS,
            ),
            current: Family::new(
                "apiserver_current_inflight_requests",
                "Number of requests that are being answered now, by request kind.",
                &["request_kind"],
                (),
            ),
            long: Family::new(
                "apiserver_longrunning_requests",
                "Gauge of all active long-running apiserver requests broken out by verb, group, version, resource, scope and component.",
                &["verb", "group", "version", "resource", "subresource", "scope", "component"],
                (),
            ),
            watch_events: Family::new(
                "apiserver_watch_events_total",
                "Number of events sent in watch clients",
                &["group", "version", "resource"],
                (),
            ),
            deprecated: Family::new(
                "apiserver_requested_deprecated_apis",
                "Gauge of deprecated APIs that have been requested, broken out by API group, version, resource, subresource, and removed_release.",
                &["group", "version", "resource", "subresource", "removed_release"],
                (),
            ),
            start: process::started(),
        }
    }
}

impl Metrics {
    /// A request begins; it counts as current while the guard lives.
    pub fn begin(&self, labels: &Labels) -> Option<Held> {
        if labels.is_long() {
            return None;
        }
        let kind = if labels.is_mutating() { "mutating" } else { "readOnly" };
        Some(self.current.with(&[kind]).hold())
    }

    /// A request has been answered, at least its beginning.
    pub fn end(&self, labels: &Labels, code: u16, took: Duration) {
        let Labels { verb, dry_run, group, version, resource, subresource, scope } = labels;
        let mut digits = [0; 3];
        let code = shown(code, &mut digits);
        self.requests.with(&[verb, dry_run, group, version, resource, subresource, scope, COMPONENT, code]).increment();
        // how long a watch or a tunnel lasts is its client's wish
        if !labels.is_long() {
            let member = self.durations.with(&[verb, dry_run, group, version, resource, subresource, scope, COMPONENT]);
            member.observe(took);
        }
    }

    /// A long-running request goes on while the guard lives.
    pub fn running(&self, labels: &Labels) -> Option<Held> {
        let Labels { verb, group, version, resource, subresource, scope, .. } = labels;
        let member = || self.long.with(&[verb, group, version, resource, subresource, scope, COMPONENT]);
        labels.is_long().then(|| member().hold())
    }

    /// Counts a long-running request until its answer has been sent.
    pub fn follow(&self, labels: &Labels, response: Response<Body>) -> Response<Body> {
        match self.running(labels) {
            Some(held) => response.map(|body| {
                body.map_frame(move |frame| {
                    // the guard lives in this closure
                    let _ = &held;
                    frame
                })
                .boxed_unsync()
            }),
            None => response,
        }
    }

    /// Where a watch of a resource counts what it sends.
    pub fn watched(&self, info: &RequestInfo) -> Arc<Counter> {
        self.watch_events.with(&[&info.group, &info.version, &info.resource])
    }

    /// Notes that a version was used that is to go, in the release `removed` if that is known.
    pub fn deprecated(&self, info: &RequestInfo, removed: &str) {
        let RequestInfo { group, version, resource, subresource, .. } = info;
        self.deprecated.with(&[group, version, resource, subresource, removed]).set(1);
    }

    /// The whole text.
    pub fn render(&self, registry: &Registry) -> Response<Body> {
        let mut out = String::with_capacity(64 << 10);
        self.current.render(&mut out);
        self.long.render(&mut out);
        self.durations.render(&mut out);
        self.requests.render(&mut out);
        self.watch_events.render(&mut out);
        self.deprecated.render(&mut out);
        objects(registry, &mut out);
        codec(&mut out);
        coracle_client::queue::render(&mut out);
        build(&mut out);
        process::render(self.start, &mut out);
        body::typed(200, MEDIA_TYPE, Bytes::from(out))
    }
}

/// A status code as text, without asking for memory.
fn shown(code: u16, digits: &mut [u8; 3]) -> &str {
    for (at, by) in [(0, 100), (1, 10), (2, 1)] {
        digits[at] = b'0' + u8::try_from(code / by % 10).unwrap_or_default();
    }
    std::str::from_utf8(digits).unwrap_or_default()
}

/// How many objects there are of each resource.
fn objects(registry: &Registry, out: &mut String) {
    let snapshot = registry.store.snapshot();
    // a kind that is stored as another one is not there twice
    let mut counts: BTreeMap<(String, String), usize> = BTreeMap::new();
    let kinds = registry.catalog.kinds();
    for served in kinds.all().filter(|s| s.kind.is_stored() && s.is_native()) {
        let name = (served.resource.group.to_string(), served.resource.plural.to_string());
        counts.entry(name).or_insert_with(|| snapshot.count(&served.prefix("")));
    }
    heading(
        out,
        "apiserver_storage_objects",
        "Number of stored objects at the time of last check split by kind.",
        "gauge",
    );
    for ((group, plural), count) in &counts {
        let dot = if group.is_empty() { "" } else { "." };
        line(out, "apiserver_storage_objects", &format!("resource=\"{plural}{dot}{group}\""), count);
    }
    heading(out, "apiserver_resource_objects", "Number of stored objects split by group and resource.", "gauge");
    for ((group, plural), count) in &counts {
        line(out, "apiserver_resource_objects", &format!("group=\"{group}\",resource=\"{plural}\""), count);
    }
    heading(out, "coracle_store_revision", "Revision of the last commit.", "counter");
    line(out, "coracle_store_revision", "", snapshot.revision());
}

/// What was parsed and encoded: reads of clients do neither.
fn codec(out: &mut String) {
    let counts = coracle_api::codec::counts();
    heading(out, "coracle_objects_parsed_total", "Objects read from their bytes.", "counter");
    line(out, "coracle_objects_parsed_total", "", counts.parsed);
    heading(out, "coracle_objects_encoded_total", "Objects written to bytes, once per version and syntax.", "counter");
    line(out, "coracle_objects_encoded_total", "", counts.encoded);
}

fn build(out: &mut String) {
    let version = health::version();
    let labels: Vec<String> = [
        ("build_date", "buildDate"),
        ("compiler", "compiler"),
        ("git_commit", "gitCommit"),
        ("git_tree_state", "gitTreeState"),
        ("git_version", "gitVersion"),
        ("go_version", "goVersion"),
        ("major", "major"),
        ("minor", "minor"),
        ("platform", "platform"),
    ]
    .iter()
    .map(|(label, key)| format!("{label}=\"{}\"", escape(version[*key].as_str().unwrap_or_default())))
    .collect();
    heading(
        out,
        "kubernetes_build_info",
        "A metric with a constant '1' value labeled by major, minor, git version, git commit, git tree state, build date, Go version, and compiler from which Kubernetes was built, and platform on which it is running.",
        "gauge",
    );
    line(out, "kubernetes_build_info", &labels.join(","), 1);
}

/// This process, as the kernel sees it.
mod process {
    use coracle_base::metrics::{heading, line};
    use std::{fs, time::SystemTime};

    /// The kernel counts processor time in hundredths of a second, whatever its own clock does.
    const TICKS: f64 = 100.0;

    fn read(file: &str) -> String {
        // a machine that does not say is a machine without these figures
        fs::read_to_string(format!("/proc/self/{file}")).unwrap_or_default()
    }

    /// The fields of `stat` after the name: from the state on, which is field 3.
    fn stat() -> Vec<String> {
        let text = read("stat");
        text.rsplit_once(')').map_or("", |(_, rest)| rest).split_whitespace().map(str::to_string).collect()
    }

    /// A field of `stat` by its number in proc(5).
    fn field(stat: &[String], number: usize) -> f64 {
        stat.get(number - 3).and_then(|f| f.parse().ok()).unwrap_or(0.0)
    }

    /// When this process started, in seconds since 1970.
    pub(super) fn started() -> f64 {
        let up: f64 = fs::read_to_string("/proc/uptime")
            .ok()
            .and_then(|t| t.split_whitespace().next()?.parse().ok())
            .unwrap_or(0.0);
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0.0, |d| d.as_secs_f64());
        ((now - up + field(&stat(), 22) / TICKS) * TICKS).round() / TICKS
    }

    fn limit() -> Option<u64> {
        let text = read("limits");
        let line = text.lines().find(|l| l.starts_with("Max open files"))?;
        line.split_whitespace().nth(3)?.parse().ok()
    }

    fn resident() -> Option<u64> {
        let text = read("status");
        let line = text.lines().find(|l| l.starts_with("VmRSS:"))?;
        Some(line.split_whitespace().nth(1)?.parse::<u64>().ok()? * 1024)
    }

    pub(super) fn render(start: f64, out: &mut String) {
        let stat = stat();
        let open = fs::read_dir("/proc/self/fd").map_or(0, |dir| dir.count().saturating_sub(1));
        let cpu = (field(&stat, 14) + field(&stat, 15)) / TICKS;
        for (name, help, kind, value) in [
            (
                "process_cpu_seconds_total",
                "Total user and system CPU time spent in seconds.",
                "counter",
                Some(cpu.to_string()),
            ),
            ("process_max_fds", "Maximum number of open file descriptors.", "gauge", limit().map(|l| l.to_string())),
            ("process_open_fds", "Number of open file descriptors.", "gauge", Some(open.to_string())),
            (
                "process_resident_memory_bytes",
                "Resident memory size in bytes.",
                "gauge",
                resident().map(|r| r.to_string()),
            ),
            (
                "process_start_time_seconds",
                "Start time of the process since unix epoch in seconds.",
                "gauge",
                Some(start.to_string()),
            ),
            (
                "process_virtual_memory_bytes",
                "Virtual memory size in bytes.",
                "gauge",
                Some(field(&stat, 23).to_string()),
            ),
        ] {
            if let Some(value) = value {
                heading(out, name, help, kind);
                line(out, name, "", value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::route::Query;

    #[test]
    fn requests_are_labelled_as_upstream_labels_them() {
        let catalog = Catalog::default();
        for (method, url, expected) in [
            (Method::GET, "/api/v1/namespaces/a/pods/p", "GET||v1|pods||resource"),
            (Method::GET, "/api/v1/namespaces/a/pods", "LIST||v1|pods||namespace"),
            (Method::GET, "/apis/apps/v1/deployments?watch=1", "WATCH|apps|v1|deployments||cluster"),
            (Method::POST, "/apis/apps/v1/namespaces/a/deployments", "POST|apps|v1|deployments||namespace"),
            (Method::POST, "/api/v1/nodes", "POST||v1|nodes||cluster"),
            (Method::PATCH, "/api/v1/namespaces/a/pods/p/status", "PATCH||v1|pods|status|resource"),
            (Method::DELETE, "/api/v1/namespaces/a/pods", "DELETECOLLECTION||v1|pods||namespace"),
            (Method::GET, "/api/v1/namespaces/a/pods/p/exec", "CONNECT||v1|pods|exec|resource"),
            (Method::GET, "/api/v1/namespaces/a/pods/p/nonsense", "GET||v1|pods||resource"),
            (Method::GET, "/apis/made.up/v1/things", "LIST||||/apis|"),
            (Method::GET, "/readyz/ping", "GET||||/readyz|"),
            (Method::GET, "/made/up", "GET|||||"),
        ] {
            let (path, query) = url.split_once('?').unwrap_or((url, ""));
            let info = RequestInfo::parse(method.as_str(), path, &Query::parse(query));
            let l = Labels::of(&info, &method, false, &catalog);
            let got = [l.verb, &l.group, &l.version, &l.resource, &l.subresource, l.scope].join("|");
            assert_eq!(got, expected, "{method} {url}");
        }
    }

    #[test]
    fn the_process_is_measured() {
        let mut out = String::new();
        process::render(process::started(), &mut out);
        for name in ["process_open_fds ", "process_resident_memory_bytes ", "process_start_time_seconds "] {
            let value = out.lines().find_map(|l| l.strip_prefix(name)).unwrap();
            assert!(value.parse::<f64>().unwrap() > 0.0, "{name}{value}");
        }
    }

    #[test]
    fn codes_are_shown() {
        let mut digits = [0; 3];
        assert_eq!(shown(404, &mut digits), "404");
    }
}
