//! `subPath`: a part of a volume, that cannot lead out of it.

use std::{fs, io, os::unix::fs::PermissionsExt, path::Path, path::PathBuf};

/// The place of `sub` inside `volume`, made as a directory if it is missing. Symlinks are followed, but not out of the volume.
///
/// # Errors
/// When it leads out of the volume or cannot be made.
pub fn sub_path(volume: &Path, sub: &str) -> io::Result<PathBuf> {
    let refuse = || io::Error::other(format!("subPath {sub:?} is not within the volume"));
    if Path::new(sub).is_absolute() || sub.split('/').any(|part| part == "..") {
        return Err(refuse());
    }
    let root = volume.canonicalize()?;
    let mut at = root.clone();
    for part in sub.split('/').filter(|p| !p.is_empty() && *p != ".") {
        let next = at.join(part);
        match next.canonicalize() {
            Ok(real) => at = real,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                fs::create_dir(&next)?;
                let mode = fs::metadata(&root)?.permissions().mode() & 0o777;
                fs::set_permissions(&next, fs::Permissions::from_mode(mode))?;
                at = next;
            }
            Err(error) => return Err(error),
        }
        if !at.starts_with(&root) {
            return Err(refuse());
        }
    }
    Ok(at)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn it_never_leaves_the_volume() {
        let base = std::env::temp_dir().join(format!("coracle-agent-subpath-{}", std::process::id()));
        let _ = fs::remove_dir_all(&base);
        let root = base.join("v");
        fs::create_dir_all(root.join("in")).unwrap();
        symlink("/etc", root.join("out")).unwrap();
        symlink("in", root.join("link")).unwrap();
        for (sub, expected) in [
            ("a/b", Some("a/b")),
            ("./in/", Some("in")),
            ("link/x", Some("in/x")),
            ("out", None),
            ("../v", None),
            ("/etc", None),
        ] {
            let got = sub_path(&root, sub).ok();
            let expected = expected.map(|e| root.canonicalize().unwrap().join(e));
            assert_eq!(got, expected, "{sub}");
        }
        fs::remove_dir_all(&base).unwrap();
    }
}
