//! Files of a volume as values: which keys become which files, with which mode; and who owns them.

use k8s_openapi::api::core::v1::KeyToPath;
use std::{
    collections::BTreeMap,
    io,
    os::unix::fs::{PermissionsExt, chown},
    path::Path,
};

/// One file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct File {
    pub(super) data: Vec<u8>,
    pub(super) mode: u32,
}

/// Relative path to file.
pub(super) type Files = BTreeMap<String, File>;

/// Picks `items` (or everything) out of `data`.
pub(super) fn select(
    what: &str,
    data: &BTreeMap<String, Vec<u8>>,
    items: Option<&Vec<KeyToPath>>,
    default_mode: u32,
    optional: bool,
) -> Result<Files, String> {
    let file = |data: &[u8], mode: Option<i32>| File {
        data: data.to_vec(),
        mode: mode.and_then(|m| u32::try_from(m).ok()).unwrap_or(default_mode),
    };
    let Some(items) = items.filter(|i| !i.is_empty()) else {
        return Ok(data.iter().map(|(k, v)| (k.clone(), file(v, None))).collect());
    };
    let mut out = Files::new();
    for item in items {
        match data.get(&item.key) {
            Some(value) => {
                out.insert(item.path.clone(), file(value, item.mode));
            }
            None if optional => {}
            None => return Err(format!("{what} references non-existent config key: {}", item.key)),
        }
    }
    Ok(out)
}

/// A mode as the API has it, or 0644.
pub(super) fn mode(mode: Option<i32>) -> u32 {
    mode.and_then(|m| u32::try_from(m).ok()).unwrap_or(0o644)
}

/// Gives everything below `path` to a group that may read and write it; new files inherit the group.
pub(super) fn give_to_group(path: &Path, group: i64) -> io::Result<()> {
    let group = u32::try_from(group).map_err(io::Error::other)?;
    let found = std::fs::symlink_metadata(path)?;
    if found.is_symlink() {
        return std::os::unix::fs::lchown(path, None, Some(group));
    }
    chown(path, None, Some(group))?;
    let mode = found.permissions().mode();
    let wanted = if found.is_dir() { mode | 0o2770 } else { mode | 0o660 };
    // read-only files (tokens) stay so for everybody else
    if wanted != mode {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(wanted & 0o7777))?;
    }
    if found.is_dir() {
        for entry in std::fs::read_dir(path)? {
            give_to_group(&entry?.path(), group.into())?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    #[test]
    fn items_select_rename_and_set_modes() {
        let data = BTreeMap::from([("a".to_string(), b"1".to_vec()), ("b".to_string(), b"2".to_vec())]);
        for (items, optional, expected) in [
            (json!(null), false, Ok("a:1:644 b:2:644")),
            (json!([]), false, Ok("a:1:644 b:2:644")),
            (json!([{"key": "b", "path": "x/y", "mode": 256}]), false, Ok("x/y:2:400")),
            (json!([{"key": "z", "path": "z"}]), true, Ok("")),
            (json!([{"key": "z", "path": "z"}]), false, Err("map references non-existent config key: z")),
        ] {
            let items: Option<Vec<KeyToPath>> = serde_json::from_value::<Value>(items.clone())
                .ok()
                .filter(|v| !v.is_null())
                .map(|v| serde_json::from_value(v).unwrap());
            let got = select("map", &data, items.as_ref(), 0o644, optional).map(|files| {
                let shown = files.iter().map(|(p, f)| format!("{p}:{}:{:o}", String::from_utf8_lossy(&f.data), f.mode));
                shown.collect::<Vec<_>>().join(" ")
            });
            assert_eq!(got, expected.map(str::to_string).map_err(str::to_string));
        }
    }
}
