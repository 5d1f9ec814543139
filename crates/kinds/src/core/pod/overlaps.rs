//! Files of one volume that are to lie at the same path, or one of them inside the other.
//!
//! Source: `warningsForOverlappingVirtualPaths` in `pkg/api/pod/warnings.go`.

use crate::column::{items, string};
use serde_json::Value;
use std::{
    collections::{BTreeMap, HashMap},
    ops::Bound::{Excluded, Unbounded},
};

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
    let mut all = Seen::default();
    for source in sources {
        if source.as_object().is_none_or(serde_json::Map::is_empty) {
            warnings.push(format!("volume {name:?} (Projected) has no sources provided"));
            continue;
        }
        let Some((paths, said)) = source_paths(name, source) else { continue };
        warnings.extend(among(&paths, &said));
        let mut own: Vec<&str> = paths.iter().map(|path| path.trim_end_matches('/')).collect();
        own.sort_unstable();
        own.dedup();
        for path in own {
            // the longer one is told, with the shortest that it lies in
            match all.outer(path).next() {
                Some(outer) => warnings.push(format!("{said}: {path:?} with {outer:?}")),
                None => warnings.extend(all.inner(path).map(|inner| format!("{said}: {inner:?} with {path:?}"))),
            }
            all.add(path);
        }
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
    let mut seen = Seen::default();
    // what came first stays first: each path is looked for once
    let mut found: HashMap<&str, &str> = HashMap::new();
    for path in paths.iter().map(|path| path.trim_end_matches('/')) {
        let other = found.get(path).copied().or_else(|| seen.first(path));
        if let Some(other) = other {
            found.insert(path, other);
            warnings.push(format!("{said}: {path:?} with {other:?}"));
        }
        seen.add(path);
    }
    warnings
}

/// Paths, and when each came first. Two overlap if one begins with the other: upstream puts the separator behind the longer one only, so the
/// beginning of a name counts, too. Empty ones overlap with nothing.
#[derive(Default)]
struct Seen<'v>(BTreeMap<&'v str, usize>);

impl<'v> Seen<'v> {
    fn add(&mut self, path: &'v str) {
        let next = self.0.len();
        self.0.entry(path).or_insert(next);
    }

    /// Those that `path` begins with, and itself; the shortest first.
    fn outer(&self, path: &str) -> impl Iterator<Item = &'v str> {
        (1..=path.len()).filter_map(|end| self.0.get_key_value(path.get(..end)?)).map(|(other, _)| *other)
    }

    /// Those that are longer than `path` and begin with it.
    fn inner(&self, path: &str) -> impl Iterator<Item = &'v str> {
        let from = self.0.range::<str, _>((Excluded(path), Unbounded)).filter(|_| !path.is_empty());
        from.map(|(other, _)| *other).take_while(move |other| other.starts_with(path))
    }

    /// The one that came first.
    fn first(&self, path: &str) -> Option<&'v str> {
        self.outer(path).chain(self.inner(path)).min_by_key(|other| self.0[other])
    }
}
