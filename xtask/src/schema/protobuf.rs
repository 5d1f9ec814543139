//! The `+patchStrategy`, `+patchMergeKey`, `+structType`, `+mapType`, `+default` markers from the
//! sources of `k8s-pb`, which carry upstream's comments.

use super::{Type, rust_files};
use anyhow::Result;
use std::{collections::BTreeMap, fs, path::Path};

/// Adds what is known to `types`. Types newer than the crate are covered by the overrides.
pub fn add(root: &Path, types: &mut BTreeMap<String, Type>) -> Result<()> {
    let mut by_key: BTreeMap<String, String> = BTreeMap::new();
    for name in types.keys() {
        by_key.insert(plain(name.strip_prefix("io.k8s.").unwrap_or(name)), name.clone());
    }
    for file in rust_files(root)? {
        let Ok(relative) = file.strip_prefix(root) else { continue };
        let module = relative.parent().map(|p| p.to_string_lossy().replace('/', ".")).unwrap_or_default();
        let text = fs::read_to_string(&file)?;
        let mut current = None;
        let mut markers: Vec<&str> = Vec::new();
        let mut tag = 0;
        for line in text.lines().map(str::trim) {
            if let Some(marker) = line.strip_prefix("/// +") {
                markers.push(marker);
            } else if let Some(rest) = line.strip_prefix("pub struct ") {
                let ident = rest.split([' ', '{']).next().unwrap_or_default();
                current = by_key.get(&plain(&format!("{module}.{ident}"))).and_then(|name| types.get_mut(name));
                if let Some(current) = &mut current {
                    current.atomic |= markers.contains(&"structType=atomic");
                }
                markers.clear();
            } else if let Some(rest) = line.strip_prefix("#[prost(") {
                tag = rest.split("tag = \"").nth(1).and_then(|t| t.split('"').next()?.parse().ok()).unwrap_or(0);
            } else if let Some(rest) = line.strip_prefix("pub ").filter(|_| tag != 0) {
                let ident = rest.split(':').next().unwrap_or_default();
                if let Some(current) = &mut current {
                    field(current, ident, &markers);
                }
                markers.clear();
                tag = 0;
            }
        }
    }
    Ok(())
}

fn field(current: &mut Type, ident: &str, markers: &[&str]) {
    let wanted = plain(ident.trim_start_matches("r#"));
    let Some((_, field)) = current.fields.iter_mut().find(|(name, _)| plain(name) == wanted) else { return };
    let marker = |name: &str| markers.iter().find_map(|m| m.strip_prefix(name)).map(|v| v.trim_end());
    if let Some(strategy) = marker("patchStrategy=") {
        field.patch = match marker("patchMergeKey=") {
            Some(key) => format!("{strategy}:{key}"),
            None => strategy.to_string(),
        };
    }
    if let Some(default) = marker("default=").filter(|d| !d.starts_with("ref(")) {
        field.default = default.to_string();
    }
    let keys: Vec<&str> = markers.iter().filter_map(|m| m.strip_prefix("listMapKey=")).map(str::trim_end).collect();
    let list = match marker("listType=") {
        Some("map") if !keys.is_empty() => keys.join(","),
        Some("set") => "=".into(),
        Some("atomic") => String::new(),
        _ => field.shape.strip_prefix('[').and_then(|s| s.split(']').next()).unwrap_or_default().to_string(),
    };
    if let Some((_, item)) = field.shape.strip_prefix('[').and_then(|s| s.split_once(']')) {
        field.shape = format!("[{list}]{item}");
    }
    if marker("mapType=") == Some("atomic") && field.shape.starts_with("{}") {
        field.shape.replace_range(..2, "{!}");
    }
}

/// Both crates derive Rust names from the same words but split initialisms differently.
fn plain(name: &str) -> String {
    name.chars().filter(|c| !matches!(c, '_' | '-')).flat_map(char::to_lowercase).collect()
}
