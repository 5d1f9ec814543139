//! Dependencies among our own crates flow one way: siblings meet only through API objects, and only the server touches the store.

use crate::metadata::{ours, text};
use anyhow::Result;
use serde_json::Value;

/// Each crate and those of ours that it may use. One that is not listed may use none.
const ARROWS: &[(&str, &str)] = &[
    ("base", ""),
    ("api", "base"),
    ("cel", "base api"),
    ("structural", "base api"),
    ("kinds", "base api cel structural"),
    ("store", "base"),
    ("pki", "base"),
    ("client", "base api"),
    ("server", "base api cel structural kinds store client pki"),
    ("controllers", "base api kinds client pki"),
    ("scheduler", "base api kinds client"),
    ("runtime", "base"),
    ("network", "base"),
    ("agent", "base api kinds client runtime network pki"),
    ("coracle", "base api cel kinds store client pki server controllers scheduler runtime network agent"),
    ("testkit", "base api client network"),
    ("hostile", "agent api cel kinds network pki runtime server structural"),
    ("e2e", "base api client network testkit"),
];

/// Every dependency that no arrow allows.
pub fn check(metadata: &Value) -> Result<Vec<String>> {
    let edges = ours(metadata).flat_map(|package| {
        // what a test uses makes no arrow: it is not in the crate
        let used = package["dependencies"].as_array().into_iter().flatten().filter(|d| d["kind"] != "dev");
        used.filter(|d| d["source"].is_null()).map(|d| (short(text(package, "name")), short(text(d, "name"))))
    });
    Ok(wrong(edges))
}

fn short(name: &str) -> &str {
    name.strip_prefix("coracle-").unwrap_or(name)
}

fn wrong<'a>(edges: impl Iterator<Item = (&'a str, &'a str)>) -> Vec<String> {
    let allowed = |from: &str| ARROWS.iter().find(|(name, _)| *name == from).map_or("", |(_, to)| to);
    edges
        .filter(|(from, to)| !allowed(from).split(' ').any(|name| name == *to))
        .map(|(from, to)| format!("{from} must not use {to}: the arrows between the crates go another way"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::wrong;

    #[test]
    fn arrows() {
        assert!(wrong([("server", "store"), ("coracle", "agent")].into_iter()).is_empty());
        for edge in [("controllers", "store"), ("agent", "server"), ("base", "api"), ("new", "base")] {
            assert_eq!(wrong([edge].into_iter()).len(), 1, "{edge:?}");
        }
    }

    #[test]
    fn no_arrow_goes_back() {
        for (at, (from, to)) in super::ARROWS.iter().enumerate() {
            for to in to.split(' ').filter(|to| !to.is_empty()) {
                let place = super::ARROWS.iter().position(|(name, _)| *name == to);
                assert!(place.is_some_and(|p| p < at), "{from} → {to}");
            }
        }
    }
}
