//! Files of a volume as values: which keys become which files, with which mode; and who owns them.

use super::Group;
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

/// Gives everything below `path` to the group of that number; new files inherit it.
pub(super) fn give_to_group(path: &Path, number: i64, group: Group) -> io::Result<()> {
    let owner = u32::try_from(number).map_err(io::Error::other)?;
    let found = std::fs::symlink_metadata(path)?;
    if found.is_symlink() {
        return std::os::unix::fs::lchown(path, None, Some(owner));
    }
    chown(path, None, Some(owner))?;
    let mode = found.permissions().mode();
    let wanted = shared(mode, found.is_dir(), group);
    if wanted != mode {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(wanted & 0o7777))?;
    }
    if found.is_dir() {
        for entry in std::fs::read_dir(path)? {
            give_to_group(&entry?.path(), number, group)?;
        }
    }
    Ok(())
}

/// A mode that the owning group shares, as upstream adds to it: what the owner may is given together with it.
fn shared(mode: u32, directory: bool, group: Group) -> u32 {
    let bits = match group {
        Group::None => return mode,
        Group::Reads => 0o440,
        Group::Writes => 0o660,
    };
    mode | bits | if directory { 0o2110 } else { 0 }
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

    #[test]
    fn groups_share_what_they_may() {
        for (mode, directory, group, expected) in [
            (0o440, false, Group::Reads, 0o440),
            (0o400, false, Group::Reads, 0o440),
            (0o644, false, Group::Reads, 0o644),
            (0o755, true, Group::Reads, 0o2755),
            (0o644, false, Group::Writes, 0o664),
            (0o777, true, Group::Writes, 0o2777),
            (0o600, false, Group::None, 0o600),
        ] {
            assert_eq!(shared(mode, directory, group), expected, "{mode:o} {directory} {group:?}");
        }
    }
}
