//! Files of one volume that are to lie at the same path, or one of them inside the other.
//!
//! Source: `warningsForOverlappingVirtualPaths` in `pkg/api/pod/warnings.go`.

use crate::column::{items, string};
use serde_json::Value;

/// The warnings of one volume.
pub(super) fn of(volume: &Value) -> Vec<String> {
    let name = string(&volume["name"]);
    let mut warnings = Vec::new();
    for (field, what, reference) in
        [("configMap", "ConfigMap", "name"), ("secret", "Secret", "secretName"), ("downwardAPI", "DownwardAPI", "")]
    {
        let source = &volume[field];
        if source["items"].is_array() {
            warnings.extend(among(&paths(source), &said(name, "", what, named(source, reference))));
        }
    }
    warnings.extend(projected(name, items(&volume["projected"]["sources"])));
    warnings
}

fn named<'v>(source: &'v Value, reference: &str) -> Option<&'v str> {
    (!reference.is_empty()).then(|| string(&source[reference]))
}

fn said(volume: &str, projected: &str, what: &str, named: Option<&str>) -> String {
    let named = named.map(|name| format!(" {name:?}")).unwrap_or_default();
    format!("volume {volume:?} ({projected}{what}{named}): overlapping paths")
}

fn paths(source: &Value) -> Vec<&str> {
    items(&source["items"]).iter().map(|item| string(&item["path"])).collect()
}

/// The sources of a projected volume share its directory.
fn projected(name: &str, sources: &[Value]) -> Vec<String> {
    let mut warnings = Vec::new();
    let mut all: Vec<&str> = Vec::new();
    for source in sources {
        if source.as_object().is_none_or(serde_json::Map::is_empty) {
            warnings.push(format!("volume {name:?} (Projected) has no sources provided"));
            continue;
        }
        let Some((mut paths, said)) = source_paths(name, source) else { continue };
        warnings.extend(among(&paths, &said));
        paths.sort_unstable();
        paths.dedup();
        let mut together = [paths.as_slice(), all.as_slice()].concat();
        together.sort_unstable();
        warnings.extend(among(&together, &said));
        all.extend(paths);
        all.sort_unstable();
        all.dedup();
    }
    warnings
}

fn source_paths<'v>(volume: &str, source: &'v Value) -> Option<(Vec<&'v str>, String)> {
    let said = |what: &str, named: Option<&str>| said(volume, "Projected ", what, named);
    for (field, what, reference) in
        [("configMap", "ConfigMap", "name"), ("secret", "Secret", "name"), ("downwardAPI", "DownwardAPI", "")]
    {
        let of = &source[field];
        if of["items"].is_array() {
            return Some((paths(of), said(what, named(of, reference))));
        }
    }
    let (token, bundle) = (&source["serviceAccountToken"], &source["clusterTrustBundle"]);
    if token.is_object() {
        return Some((vec![string(&token["path"])], said("ServiceAccountToken", None)));
    }
    bundle.is_object().then(|| {
        let reference = if bundle["name"].is_string() { "name" } else { "signerName" };
        (vec![string(&bundle["path"])], said("ClusterTrustBundle", named(bundle, reference)))
    })
}

/// Each path against those before it.
fn among(paths: &[&str], said: &str) -> Vec<String> {
    let mut warnings = Vec::new();
    let mut seen: Vec<&str> = Vec::new();
    for path in paths.iter().map(|path| path.trim_end_matches('/')) {
        if let Some(other) = seen.iter().find(|other| overlap(other, path)) {
            warnings.push(format!("{said}: {path:?} with {other:?}"));
        }
        if !seen.contains(&path) {
            seen.push(path);
        }
    }
    warnings
}

// upstream puts the separator behind the longer path: so the beginning of a name counts, too
fn overlap(a: &str, b: &str) -> bool {
    !a.is_empty() && !b.is_empty() && (a.starts_with(b) || b.starts_with(a))
}
