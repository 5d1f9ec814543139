//! `/healthz`, `/livez`, `/readyz` and `/version`.

use crate::{
    http::body::{self, Body},
    route::Query,
};
use http::Response;
use serde_json::{Value, json};
use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

/// Whether the server works.
#[derive(Clone, Default)]
pub struct Health {
    ready: Arc<AtomicBool>,
    stopping: Arc<AtomicBool>,
}

impl Health {
    /// The start has finished: `/readyz` answers from now on.
    pub fn set_ready(&self) {
        self.ready.store(true, Ordering::Release);
    }

    /// The server is shutting down: no new clients, please.
    pub fn set_stopping(&self) {
        self.stopping.store(true, Ordering::Release);
    }

    fn checks(&self, endpoint: &str) -> Vec<(&'static str, bool)> {
        let mut checks = vec![("ping", true), ("log", true), ("etcd", true)];
        if endpoint != "livez" {
            checks.push(("poststarthook/start-apiserver", self.ready.load(Ordering::Acquire)));
        }
        if endpoint == "readyz" {
            checks.push(("shutdown", !self.stopping.load(Ordering::Acquire)));
        }
        checks
    }

    /// The answer; `parts` is the path, `readyz/ping` asks for one check.
    pub fn answer(&self, parts: &[&str], query: &Query) -> Response<Body> {
        let endpoint = parts[0];
        let excluded: Vec<&str> = query.all("exclude").collect();
        let mut checks = self.checks(endpoint);
        if parts.len() > 1 {
            let wanted = parts[1..].join("/");
            checks.retain(|(name, _)| *name == wanted);
            if checks.is_empty() {
                return body::text(404, "404 page not found\n");
            }
        }
        let mut lines = String::new();
        let mut all = true;
        for (name, ok) in checks {
            if excluded.contains(&name) {
                lines += &format!("[+]{name} excluded: ok\n");
            } else if ok {
                lines += &format!("[+]{name} ok\n");
            } else {
                all = false;
                lines += &format!("[-]{name} failed: reason withheld\n");
            }
        }
        match (all, query.get("verbose").is_some()) {
            (true, false) => body::text(200, "ok"),
            (true, true) => body::text(200, format!("{lines}{endpoint} check passed\n")),
            (false, _) => body::text(500, format!("{lines}{endpoint} check failed\n")),
        }
    }
}

/// `/version`.
pub fn version() -> Value {
    json!({
        "major": "1", "minor": "37", "gitVersion": "v1.37.0+coracle", "gitCommit": "", "gitTreeState": "clean",
        "buildDate": "1970-01-01T00:00:00Z", "goVersion": "", "compiler": "rustc", "platform": "linux/amd64",
        "emulationMajor": "1", "emulationMinor": "37", "minCompatibilityMajor": "1", "minCompatibilityMinor": "36",
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readyz_waits_for_the_start() {
        let health = Health::default();
        let code = |path: &str| health.answer(&[path], &Query::default()).status().as_u16();
        assert_eq!((code("livez"), code("readyz")), (200, 500));
        health.set_ready();
        assert_eq!((code("livez"), code("readyz")), (200, 200));
        health.set_stopping();
        assert_eq!((code("livez"), code("readyz")), (200, 500));
    }
}
