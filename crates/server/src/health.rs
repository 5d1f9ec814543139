//! `/healthz`, `/livez`, `/readyz` (each as a whole, or check by check) and `/version`.
//!
//! The checks have upstream's names where there is such a thing here, so that what is excluded or asked for by name is understood.

use crate::{
    http::body::{self, Body},
    route::Query,
    storage::Store,
};
use coracle_base::metrics::{Counter, Family, Gauge};
use http::Response;
use serde_json::{Value, json};
use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

/// One check: its name, the endpoints that have it, and why it fails.
struct Check {
    name: &'static str,
    endpoints: &'static [&'static str],
    fails: fn(&Health) -> Option<String>,
}

const ALL: &[&str] = &["healthz", "livez", "readyz"];

/// All checks, in the order in which they are shown.
const CHECKS: [Check; 6] = [
    Check { name: "ping", endpoints: ALL, fails: |_| None },
    // the log is written by whoever logs; it cannot be blocked apart from everything else
    Check { name: "log", endpoints: ALL, fails: |_| None },
    Check { name: "etcd", endpoints: ALL, fails: Health::store_fails },
    Check { name: "etcd-readiness", endpoints: &["readyz"], fails: Health::store_fails },
    Check {
        name: "poststarthook/start-apiserver-admission-initializer",
        endpoints: ALL,
        fails: |h| (!h.ready.load(Ordering::Acquire)).then(|| "not finished".into()),
    },
    Check {
        name: "shutdown",
        endpoints: &["readyz"],
        fails: |h| h.stopping.load(Ordering::Acquire).then(|| "process is shutting down".into()),
    },
];

/// Whether the server works.
#[derive(Clone, Default)]
pub struct Health {
    ready: Arc<AtomicBool>,
    stopping: Arc<AtomicBool>,
    store: Option<Store>,
    results: Arc<Results>,
}

/// What the checks found, as the service level indicators tell it (`/metrics/slis`).
struct Results {
    last: Family<Gauge>,
    all: Family<Counter>,
}

impl Default for Results {
    fn default() -> Self {
        Self {
            last: Family::new(
                "kubernetes_healthcheck",
                "[STABLE] This metric records the result of a single healthcheck.",
                &["name", "type"],
                (),
            ),
            all: Family::new(
                "kubernetes_healthchecks_total",
                "[STABLE] This metric records the results of all healthcheck.",
                &["name", "status", "type"],
                (),
            ),
        }
    }
}

impl Results {
    fn note(&self, check: &str, endpoint: &str, good: bool) {
        self.last.with(&[check, endpoint]).set(i64::from(good));
        self.all.with(&[check, if good { "success" } else { "error" }, endpoint]).increment();
    }
}

impl Health {
    /// That of a server over this store.
    pub fn new(store: Store) -> Self {
        Self { store: Some(store), ..Self::default() }
    }

    /// The start has finished: `/readyz` answers from now on.
    pub fn set_ready(&self) {
        self.ready.store(true, Ordering::Release);
    }

    /// The server is shutting down: no new clients, please.
    pub fn set_stopping(&self) {
        self.stopping.store(true, Ordering::Release);
    }

    fn store_fails(&self) -> Option<String> {
        self.store.as_ref().and_then(Store::failure)
    }

    /// One check; what it finds is counted.
    fn fails(&self, check: &Check, endpoint: &str) -> Option<String> {
        let why = (check.fails)(self);
        self.results.note(check.name, endpoint, why.is_none());
        why
    }

    /// `/metrics/slis`: what the checks found, by those who asked.
    pub fn indicators(&self) -> Response<Body> {
        let mut out = String::new();
        self.results.last.render(&mut out);
        self.results.all.render(&mut out);
        body::typed(200, crate::metrics::MEDIA_TYPE, out)
    }

    /// The answer; `parts` is the path, `readyz/ping` asks for one check.
    pub fn answer(&self, parts: &[&str], query: &Query) -> Response<Body> {
        let endpoint = parts[0];
        let checks = CHECKS.iter().filter(|check| check.endpoints.contains(&endpoint));
        if parts.len() == 1 {
            return self.all(endpoint, checks, query);
        }
        let wanted = parts[1..].join("/");
        match { checks }.find(|check| check.name == wanted).map(|check| self.fails(check, endpoint)) {
            Some(None) => body::text(200, "ok"),
            Some(Some(why)) => body::text(500, format!("internal server error: {why}\n")),
            None => body::text(404, "404 page not found\n"),
        }
    }

    fn all<'a>(&self, endpoint: &str, checks: impl Iterator<Item = &'a Check>, query: &Query) -> Response<Body> {
        let mut excluded: Vec<&str> = query.all("exclude").collect();
        excluded.sort_unstable();
        excluded.dedup();
        let (mut lines, mut failed) = (String::new(), false);
        for check in checks {
            let name = check.name;
            if let Some(at) = excluded.iter().position(|e| *e == name) {
                excluded.remove(at);
                lines += &format!("[+]{name} excluded: ok\n");
            } else if let Some(why) = self.fails(check, endpoint) {
                // the answer is public, the reason is not
                tracing::warn!(check = name, why, "{endpoint} check failed");
                failed = true;
                lines += &format!("[-]{name} failed: reason withheld\n");
            } else {
                lines += &format!("[+]{name} ok\n");
            }
        }
        if !excluded.is_empty() {
            let names = excluded.iter().map(|e| format!("{e:?}")).collect::<Vec<_>>().join(",");
            lines += &format!("warn: some health checks cannot be excluded: no matches for {names}\n");
        }
        match (failed, query.get("verbose").is_some()) {
            (true, _) => body::text(500, format!("{lines}{endpoint} check failed\n")),
            (false, true) => body::text(200, format!("{lines}{endpoint} check passed\n")),
            (false, false) => body::text(200, "ok"),
        }
    }
}

/// `/version`: the version of Kubernetes that is spoken, and the sources of this program (of releases only).
pub fn version() -> Value {
    json!({
        "major": "1", "minor": "37", "gitVersion": "v1.37.0+coracle", "gitCommit": env!("CORACLE_COMMIT"),
        "gitTreeState": env!("CORACLE_TREE"), "buildDate": env!("CORACLE_COMMIT_DATE"), "goVersion": "", "compiler": "rustc", "platform": "linux/amd64",
        "emulationMajor": "1", "emulationMinor": "37", "minCompatibilityMajor": "1", "minCompatibilityMinor": "36",
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::BodyExt;

    /// What `path?query` answers.
    async fn check(health: &Health, url: &str) -> String {
        let (path, query) = url.split_once('?').unwrap_or((url, ""));
        let response = health.answer(&path.split('/').collect::<Vec<_>>(), &Query::parse(query));
        let code = response.status().as_u16();
        let text = response.into_body().collect().await.unwrap().to_bytes();
        format!("{code} {}", String::from_utf8_lossy(&text).trim_end())
    }

    #[tokio::test]
    async fn what_checks_found_is_told() {
        let health = Health::default();
        check(&health, "readyz").await;
        health.set_ready();
        check(&health, "readyz?exclude=ping").await;
        check(&health, "livez/ping").await;
        let text = health.indicators().into_body().collect().await.unwrap().to_bytes();
        let text = String::from_utf8_lossy(&text).into_owned();
        const STARTED: &str = "poststarthook/start-apiserver-admission-initializer";
        for line in [
            r#"kubernetes_healthcheck{name="ping",type="readyz"} 1"#.to_string(),
            r#"kubernetes_healthcheck{name="ping",type="livez"} 1"#.into(),
            format!(r#"kubernetes_healthcheck{{name="{STARTED}",type="readyz"}} 1"#),
            r#"kubernetes_healthchecks_total{name="ping",status="success",type="readyz"} 1"#.into(),
            format!(r#"kubernetes_healthchecks_total{{name="{STARTED}",status="error",type="readyz"}} 1"#),
            format!(r#"kubernetes_healthchecks_total{{name="{STARTED}",status="success",type="readyz"}} 1"#),
        ] {
            assert!(text.lines().any(|found| found == line), "{line} in {text}");
        }
    }

    #[tokio::test]
    async fn checks_are_shown_as_upstream_shows_them() {
        const STARTED: &str = "poststarthook/start-apiserver-admission-initializer";
        let health = Health::default();
        let all = |start: &str, rest: &str| format!("[+]ping ok\n[+]log ok\n[+]etcd ok\n{start}{rest}");
        let starting = format!("[-]{STARTED} failed: reason withheld\n");
        for (url, expected) in [
            ("livez/ping", "200 ok".to_string()),
            ("readyz/etcd", "200 ok".into()),
            ("livez/shutdown", "404 404 page not found".into()),
            ("livez", format!("500 {}", all(&starting, "livez check failed"))),
        ] {
            assert_eq!(check(&health, url).await, expected, "{url}");
        }
        let url = format!("readyz/{STARTED}");
        assert_eq!(check(&health, &url).await, "500 internal server error: not finished");
        health.set_ready();
        let started = format!("[+]{STARTED} ok\n");
        for (url, expected) in [
            ("readyz", "200 ok".to_string()),
            ("livez?verbose", format!("200 {}", all(&started, "livez check passed"))),
            (
                "healthz?verbose&exclude=log&exclude=none&exclude=all",
                format!(
                    "200 {}warn: some health checks cannot be excluded: no matches for \"all\",\"none\"\nhealthz check passed",
                    all(&started, "").replace("log ok", "log excluded: ok")
                ),
            ),
        ] {
            assert_eq!(check(&health, url).await, expected, "{url}");
        }
        health.set_stopping();
        assert_eq!(check(&health, "livez").await, "200 ok");
        assert_eq!(check(&health, "readyz?exclude=shutdown").await, "200 ok");
        assert_eq!(check(&health, "readyz/shutdown").await, "500 internal server error: process is shutting down");
    }
}
