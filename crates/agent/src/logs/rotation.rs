//! Keeps a container's log small: at most five files of 10 MiB.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

const MAX_BYTES: u64 = 10 << 20;
/// With the one being written.
const MAX_FILES: usize = 5;

/// Renames the log if it has grown too large; the writer must then open it anew.
///
/// # Errors
/// When a file cannot be renamed or removed.
pub fn rotate(path: &Path) -> io::Result<bool> {
    rotate_at(path, MAX_BYTES)
}

fn rotate_at(path: &Path, bytes: u64) -> io::Result<bool> {
    match fs::metadata(path) {
        Ok(found) if found.len() >= bytes => {}
        Ok(_) => return Ok(false),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error),
    }
    let mut old = rotated(path);
    // the new one will be one more
    while old.len() + 2 > MAX_FILES {
        fs::remove_file(old.remove(0))?;
    }
    let stamp = jiff::Timestamp::now().strftime("%Y%m%d-%H%M%S.%6f");
    fs::rename(path, PathBuf::from(format!("{}.{stamp}", path.display())))?;
    Ok(true)
}

/// Rotated files of a log, oldest first.
fn rotated(path: &Path) -> Vec<PathBuf> {
    let (Some(dir), Some(name)) = (path.parent(), path.file_name()) else { return Vec::new() };
    let prefix = format!("{}.", name.to_string_lossy());
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    let mut found: Vec<PathBuf> =
        entries.filter(|e| e.file_name().to_string_lossy().starts_with(&prefix)).map(|e| e.path()).collect();
    found.sort();
    found
}

/// Removes the rotated files of a log.
pub fn remove_rotated(path: &Path) {
    for file in rotated(path) {
        let _ = fs::remove_file(file);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn five_files_are_kept() {
        let dir = std::env::temp_dir().join(format!("coracle-agent-rotate-{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        let log = dir.join("0.log");
        assert!(!rotate_at(&log, 4).unwrap());
        for round in 1..8 {
            fs::write(&log, "abcd").unwrap();
            assert!(rotate_at(&log, 4).unwrap());
            assert_eq!(rotated(&log).len(), round.min(4));
        }
        fs::write(&log, "a").unwrap();
        assert!(!rotate_at(&log, 4).unwrap());
        fs::remove_dir_all(dir).unwrap();
    }
}
