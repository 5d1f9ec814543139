//! Writes a set of files so that a reader sees all old ones or all new ones, never a mix.
//!
//! As upstream does: the files are in a directory of their own, `..data` is a symlink to it that is replaced by a rename, and
//! what users see (`key`) are symlinks to `..data/key`.

use super::content::{File, Files};
use std::{
    collections::BTreeSet,
    fs, io,
    os::unix::fs::{PermissionsExt, symlink},
    path::Path,
};

/// Makes `dir` hold exactly `files`. Does nothing if it already does.
pub(super) fn write(dir: &Path, files: &Files) -> io::Result<()> {
    for path in files.keys() {
        if Path::new(path).is_absolute() || path.split('/').any(|part| part == ".." || part.is_empty()) {
            return Err(io::Error::other(format!("{path:?} is not a path inside the volume")));
        }
    }
    make_dir(dir)?;
    let data = dir.join("..data");
    let old = fs::read_link(&data).ok();
    if old.is_some() && same(&data, files)? {
        return Ok(());
    }
    let name = format!("..{}", jiff::Timestamp::now().strftime("%Y_%m_%d_%H_%M_%S.%9f"));
    let fresh = dir.join(&name);
    make_dir(&fresh)?;
    for (path, file) in files {
        put(&fresh.join(path), file)?;
    }
    let temporary = dir.join("..data_tmp");
    let _ = fs::remove_file(&temporary);
    symlink(&name, &temporary)?;
    fs::rename(&temporary, &data)?;
    show(dir, files)?;
    if let Some(old) = old {
        let _ = fs::remove_dir_all(dir.join(old));
    }
    Ok(())
}

fn make_dir(path: &Path) -> io::Result<()> {
    fs::create_dir_all(path)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o755))
}

fn put(path: &Path, file: &File) -> io::Result<()> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    fs::write(path, &file.data)?;
    fs::set_permissions(path, fs::Permissions::from_mode(file.mode & 0o777))
}

fn same(data: &Path, files: &Files) -> io::Result<bool> {
    let mut count = 0;
    for entry in walk(data)? {
        let Some(file) = files.get(&entry) else { return Ok(false) };
        let path = data.join(&entry);
        // group bits may have been added by fsGroup
        let mode = fs::metadata(&path)?.permissions().mode() & 0o777;
        if mode & !0o060 != file.mode & 0o777 & !0o060 || fs::read(&path)? != file.data {
            return Ok(false);
        }
        count += 1;
    }
    Ok(count == files.len())
}

fn walk(root: &Path) -> io::Result<Vec<String>> {
    let mut out = Vec::new();
    let mut open = vec![String::new()];
    while let Some(dir) = open.pop() {
        for entry in fs::read_dir(root.join(&dir))? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let path = if dir.is_empty() { name } else { format!("{dir}/{name}") };
            if entry.file_type()?.is_dir() {
                open.push(path);
            } else {
                out.push(path);
            }
        }
    }
    Ok(out)
}

/// The symlinks that users see: one per first part of a path.
fn show(dir: &Path, files: &Files) -> io::Result<()> {
    let wanted: BTreeSet<&str> = files.keys().filter_map(|p| p.split('/').next()).collect();
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if !name.starts_with("..") && !wanted.contains(name.as_str()) {
            fs::remove_file(entry.path())?;
        }
    }
    for name in wanted {
        let link = dir.join(name);
        if fs::symlink_metadata(&link).is_err() {
            symlink(Path::new("..data").join(name), link)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(list: &[(&str, &str)]) -> Files {
        list.iter().map(|(p, d)| (p.to_string(), File { data: d.as_bytes().to_vec(), mode: 0o640 })).collect()
    }

    #[test]
    fn contents_are_replaced_at_once_and_leftovers_go() {
        let dir = std::env::temp_dir().join(format!("coracle-agent-atomic-{}", std::process::id()));
        let _ = fs::remove_dir_all(&dir);
        for list in [
            &[("a", "1"), ("sub/b", "2")][..],
            &[("a", "1"), ("sub/b", "2")],
            &[("a", "3"), ("c", "4")],
            &[],
            &[("a", "5")],
        ] {
            write(&dir, &files(list)).unwrap();
            for (path, data) in list {
                assert_eq!(fs::read_to_string(dir.join(path)).unwrap(), *data);
            }
            let names: Vec<String> =
                fs::read_dir(&dir).unwrap().map(|e| e.unwrap().file_name().to_string_lossy().into_owned()).collect();
            let seen = names.iter().filter(|n| !n.starts_with("..")).count();
            let first: BTreeSet<_> = list.iter().map(|(p, _)| p.split('/').next()).collect();
            assert_eq!((seen, names.len() - seen), (first.len(), 2), "{names:?}");
        }
        assert!(write(&dir, &files(&[("../x", "1")])).is_err());
        fs::remove_dir_all(&dir).unwrap();
    }
}
