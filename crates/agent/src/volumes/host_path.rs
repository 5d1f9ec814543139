//! `hostPath`: a path of the node, checked or made as its type says.

use super::{Kind, Ready, Request};
use async_trait::async_trait;
use k8s_openapi::api::core::v1::Volume;
use std::{
    fs,
    os::unix::fs::{FileTypeExt, PermissionsExt},
    path::Path,
};

pub(super) struct HostPath;

#[async_trait]
impl Kind for HostPath {
    fn plugin(&self) -> &'static str {
        "kubernetes.io~host-path"
    }

    fn is(&self, volume: &Volume) -> bool {
        volume.host_path.is_some()
    }

    async fn set_up(&self, request: &Request<'_>) -> Result<Ready, String> {
        let source = request.volume.host_path.as_ref().ok_or("no host path")?;
        let path = Path::new(&source.path);
        check(path, source.type_.as_deref().unwrap_or_default())?;
        Ok(Ready::writable(path.to_path_buf()))
    }
}

/// Makes sure that `path` is of `kind`, or makes it.
pub(super) fn check(path: &Path, kind: &str) -> Result<(), String> {
    let shown = path.display();
    let found = fs::metadata(path).ok();
    let is = |test: fn(&fs::FileType) -> bool| found.as_ref().is_some_and(|m| test(&m.file_type()));
    let must = |holds: bool, what: &str| {
        if holds { Ok(()) } else { Err(format!("hostPath type check failed: {shown} is not a {what}")) }
    };
    match kind {
        // without a type the container runtime makes a missing directory
        "" if found.is_some() => Ok(()),
        "" => fs::create_dir_all(path).map_err(|e| e.to_string()),
        "DirectoryOrCreate" if found.is_none() => make_dir(path, 0o755),
        "DirectoryOrCreate" | "Directory" => must(is(fs::FileType::is_dir), "directory"),
        "FileOrCreate" if found.is_none() => {
            fs::OpenOptions::new().create(true).append(true).open(path).map_err(|e| e.to_string())?;
            fs::set_permissions(path, fs::Permissions::from_mode(0o644)).map_err(|e| e.to_string())
        }
        "FileOrCreate" | "File" => must(is(fs::FileType::is_file), "file"),
        "Socket" => must(is(FileTypeExt::is_socket), "socket file"),
        "CharDevice" => must(is(FileTypeExt::is_char_device), "character device"),
        "BlockDevice" => must(is(FileTypeExt::is_block_device), "block device"),
        other => Err(format!("hostPath type {other:?} is not known")),
    }
}

/// Makes a directory with a mode, whatever the umask.
pub(super) fn make_dir(path: &Path, mode: u32) -> Result<(), String> {
    fs::create_dir_all(path).map_err(|e| e.to_string())?;
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).map_err(|e| e.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types() {
        let dir = std::env::temp_dir().join(format!("coracle-agent-hostpath-{}", std::process::id()));
        let _ = fs::remove_dir_all(&dir);
        for (path, kind, expected) in [
            ("a", "Directory", false),
            ("a", "DirectoryOrCreate", true),
            ("a", "Directory", true),
            ("a", "File", false),
            ("a/f", "FileOrCreate", true),
            ("a/f", "File", true),
            ("a/f", "Socket", false),
            ("b", "", true),
            ("b", "Nonsense", false),
        ] {
            assert_eq!(check(&dir.join(path), kind).is_ok(), expected, "{path} {kind}");
        }
        fs::remove_dir_all(&dir).unwrap();
    }
}
