//! Unpacking a layer into a directory that overlayfs can use as it is.
//!
//! Every path of the archive is resolved by the kernel inside the layer's directory (`openat2` with `RESOLVE_IN_ROOT`), so neither
//! `..` nor a link can lead out of it. Whiteouts become what overlayfs understands: a 0/0 character device, or an opaque mark.

use nix::{
    errno::Errno,
    fcntl::{AtFlags, OFlag, OpenHow, ResolveFlag, openat, openat2},
    sys::{
        stat::{FchmodatFlags, Mode, SFlag, UtimensatFlags, fchmodat, makedev, mkdirat, mknodat, utimensat},
        time::TimeSpec,
    },
    unistd::{Gid, LinkatFlags, Uid, UnlinkatFlags, fchownat, linkat, symlinkat, unlinkat},
};
use std::{
    ffi::{CStr, OsStr, OsString},
    fs::File,
    io::{self, Read, Write},
    os::{
        fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
        unix::ffi::OsStrExt,
    },
    path::{Component, Path, PathBuf},
};
use tar::{Archive, Entry, EntryType};

const OPAQUE: &str = ".wh..wh..opq";
const WHITEOUT: &str = ".wh.";

/// How much a layer may hold: a small archive must not fill the disk or the inode table.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes of all files.
    pub bytes: u64,
    /// Files, directories, links.
    pub entries: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { bytes: 64 << 30, entries: 4_000_000 }
    }
}

/// Unpacks the tar stream into `root` (an empty directory); the number of bytes of its files.
pub fn unpack(tar: &mut dyn Read, root: &Path, limits: Limits) -> io::Result<u64> {
    let root = File::open(root)?;
    let mut unpacker = Unpacker { root: root.into(), limits, bytes: 0, entries: 0, directories: Vec::new() };
    let mut archive = Archive::new(tar);
    archive.set_ignore_zeros(false);
    for entry in archive.entries()? {
        unpacker.entry(entry?)?;
    }
    // Filling a directory changes its time, so directories get theirs last; the deepest first.
    for (path, mtime) in unpacker.directories.iter().rev() {
        if let Ok(dir) = unpacker.open_dir(path) {
            let time = TimeSpec::new(*mtime, 0);
            utimensat(dir.as_fd(), ".", &time, &time, UtimensatFlags::FollowSymlink)?;
        }
    }
    Ok(unpacker.bytes)
}

struct Unpacker {
    root: OwnedFd,
    limits: Limits,
    bytes: u64,
    entries: u64,
    directories: Vec<(PathBuf, i64)>,
}

impl Unpacker {
    fn entry<R: Read>(&mut self, mut entry: Entry<'_, R>) -> io::Result<()> {
        self.entries += 1;
        if self.entries > self.limits.entries {
            return Err(io::Error::other(format!("layer has more than {} entries", self.limits.entries)));
        }
        let path = relative(&entry.path()?)?;
        let Some(name) = path.file_name().map(OsStr::to_owned) else {
            // The root directory itself.
            return self.metadata_of_root(&mut entry);
        };
        let parent_path = path.parent().unwrap_or(Path::new("")).to_owned();
        let parent = self.make_parent(&parent_path)?;
        if let Some(hidden) = name.as_bytes().strip_prefix(WHITEOUT.as_bytes()) {
            return whiteout(parent.as_fd(), &name, OsStr::from_bytes(hidden));
        }
        let kind = entry.header().entry_type();
        if !kind.is_dir() {
            clear(parent.as_fd(), &name)?;
        }
        match kind {
            EntryType::Directory => {
                self.directory(parent.as_fd(), &name)?;
                self.directories.push((path.clone(), mtime(&entry)));
            }
            EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => {
                self.file(parent.as_fd(), &name, &mut entry)?;
            }
            EntryType::Symlink => {
                let target = entry.link_name()?.ok_or_else(|| io::Error::other("symlink without target"))?;
                symlinkat(target.as_ref(), parent.as_fd(), name.as_os_str())?;
            }
            EntryType::Link => return self.hard_link(&entry, parent.as_fd(), &name),
            EntryType::Char | EntryType::Block | EntryType::Fifo => node(parent.as_fd(), &name, &entry)?,
            EntryType::XGlobalHeader => return Ok(()),
            other => {
                return Err(io::Error::other(format!("{}: entry of type {other:?} is not supported", path.display())));
            }
        }
        metadata(parent.as_fd(), &name, &mut entry)
    }

    /// Opens a directory inside the root, following links only inside it.
    fn open_dir(&self, path: &Path) -> nix::Result<OwnedFd> {
        let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
        let how = OpenHow::new()
            .flags(OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC)
            .resolve(ResolveFlag::RESOLVE_IN_ROOT | ResolveFlag::RESOLVE_NO_MAGICLINKS);
        openat2(&self.root, path, how)
    }

    fn make_parent(&self, path: &Path) -> io::Result<OwnedFd> {
        match self.open_dir(path) {
            Err(Errno::ENOENT) => {}
            other => return Ok(other?),
        }
        let above = self.make_parent(path.parent().unwrap_or(Path::new("")))?;
        let name = path.file_name().unwrap_or_default();
        match mkdirat(above.as_fd(), name, Mode::from_bits_truncate(0o755)) {
            Err(Errno::EEXIST) | Ok(()) => Ok(self.open_dir(path)?),
            Err(error) => Err(error.into()),
        }
    }

    fn directory(&self, parent: BorrowedFd<'_>, name: &OsStr) -> io::Result<()> {
        let flags = OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_PATH | OFlag::O_CLOEXEC;
        if openat(parent, name, flags, Mode::empty()).is_ok() {
            return Ok(());
        }
        clear(parent, name)?;
        Ok(mkdirat(parent, name, Mode::from_bits_truncate(0o755))?)
    }

    fn file<R: Read>(&mut self, parent: BorrowedFd<'_>, name: &OsStr, entry: &mut Entry<'_, R>) -> io::Result<()> {
        let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let mut file = File::from(openat(parent, name, flags, Mode::from_bits_truncate(0o600))?);
        let left = self.limits.bytes - self.bytes;
        if entry.size() > left {
            return Err(io::Error::other(format!("layer holds more than {} bytes", self.limits.bytes)));
        }
        let copied = io::copy(&mut entry.take(left), &mut file)?;
        self.bytes += copied;
        file.flush()
    }

    fn hard_link<R: Read>(&self, entry: &Entry<'_, R>, parent: BorrowedFd<'_>, name: &OsStr) -> io::Result<()> {
        let target = entry.link_name()?.ok_or_else(|| io::Error::other("hard link without target"))?;
        let target = relative(&target)?;
        let from = self.open_dir(target.parent().unwrap_or(Path::new("")))?;
        let file = target.file_name().ok_or_else(|| io::Error::other("hard link to the root"))?;
        Ok(linkat(from.as_fd(), file, parent, name, LinkatFlags::empty())?)
    }

    fn metadata_of_root<R: Read>(&self, entry: &mut Entry<'_, R>) -> io::Result<()> {
        if !entry.header().entry_type().is_dir() {
            return Err(io::Error::other("an entry that is no directory stands for the root"));
        }
        metadata(self.root.as_fd(), OsStr::new("."), entry)
    }
}

/// The path without `/` and `.`; one with `..` is refused.
fn relative(path: &Path) -> io::Result<PathBuf> {
    let mut clean = PathBuf::new();
    for part in path.components() {
        match part {
            Component::Normal(part) => clean.push(part),
            Component::RootDir | Component::CurDir => {}
            Component::ParentDir | Component::Prefix(_) => {
                return Err(io::Error::other(format!("path {} leads out of the layer", path.display())));
            }
        }
    }
    Ok(clean)
}

fn whiteout(parent: BorrowedFd<'_>, name: &OsStr, hidden: &OsStr) -> io::Result<()> {
    if name == OPAQUE {
        return set_xattr(parent, c"trusted.overlay.opaque", b"y");
    }
    // `.wh..wh.` files are notes of another storage driver.
    if hidden.as_bytes().starts_with(WHITEOUT.as_bytes()) || hidden.is_empty() || hidden == "." || hidden == ".." {
        return Ok(());
    }
    match mknodat(parent, hidden, SFlag::S_IFCHR, Mode::empty(), makedev(0, 0)) {
        // The same layer has the file: the whiteout speaks of the layers below, which the file hides anyway.
        Err(Errno::EEXIST) => Ok(()),
        other => Ok(other?),
    }
}

/// Removes what stands at `name`: a later entry of an archive replaces an earlier one.
fn clear(parent: BorrowedFd<'_>, name: &OsStr) -> io::Result<()> {
    match unlinkat(parent, name, UnlinkatFlags::NoRemoveDir) {
        Ok(()) | Err(Errno::ENOENT) => Ok(()),
        Err(Errno::EISDIR) => {
            let mut path = OsString::from(format!("/proc/self/fd/{}/", parent.as_raw_fd()));
            path.push(name);
            std::fs::remove_dir_all(path)
        }
        Err(error) => Err(error.into()),
    }
}

fn node<R: Read>(parent: BorrowedFd<'_>, name: &OsStr, entry: &Entry<'_, R>) -> io::Result<()> {
    let header = entry.header();
    let kind = match header.entry_type() {
        EntryType::Char => SFlag::S_IFCHR,
        EntryType::Block => SFlag::S_IFBLK,
        _ => SFlag::S_IFIFO,
    };
    let major = header.device_major().ok().flatten().unwrap_or(0);
    let minor = header.device_minor().ok().flatten().unwrap_or(0);
    Ok(mknodat(parent, name, kind, Mode::from_bits_truncate(0o600), makedev(major.into(), minor.into()))?)
}

fn mtime<R: Read>(entry: &Entry<'_, R>) -> i64 {
    entry.header().mtime().ok().and_then(|t| i64::try_from(t).ok()).unwrap_or(0)
}

/// Owner first (it clears set-id bits), then attributes, mode and time.
fn metadata<R: Read>(parent: BorrowedFd<'_>, name: &OsStr, entry: &mut Entry<'_, R>) -> io::Result<()> {
    // Some tools leave the owner blank; that is root.
    let (uid, gid) = (entry.header().uid().unwrap_or(0), entry.header().gid().unwrap_or(0));
    let id = |id: u64| u32::try_from(id).map_err(|_| io::Error::other(format!("owner {id} is out of range")));
    fchownat(parent, name, Some(Uid::from_raw(id(uid)?)), Some(Gid::from_raw(id(gid)?)), AtFlags::AT_SYMLINK_NOFOLLOW)?;
    let kind = entry.header().entry_type();
    if !kind.is_symlink() {
        attributes(parent, name, entry)?;
        let mode = Mode::from_bits_truncate(entry.header().mode()? & 0o7777);
        fchmodat(parent, name, mode, FchmodatFlags::FollowSymlink)?;
    }
    let time = TimeSpec::new(mtime(entry), 0);
    Ok(utimensat(parent, name, &time, &time, UtimensatFlags::NoFollowSymlink)?)
}

fn attributes<R: Read>(parent: BorrowedFd<'_>, name: &OsStr, entry: &mut Entry<'_, R>) -> io::Result<()> {
    if !entry.header().entry_type().is_file() && !entry.header().entry_type().is_dir() {
        return Ok(());
    }
    let mut found = Vec::new();
    if let Some(extensions) = entry.pax_extensions()? {
        for extension in extensions {
            let extension = extension?;
            if let Some(key) = extension.key().ok().and_then(|k| k.strip_prefix("SCHILY.xattr.")) {
                found.push((key.to_owned(), extension.value_bytes().to_vec()));
            }
        }
    }
    if found.is_empty() {
        return Ok(());
    }
    let file = openat(parent, name, OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC, Mode::empty())?;
    for (key, value) in found {
        // An image must not speak overlayfs to the kernel; it has whiteouts for that.
        if key.starts_with("trusted.overlay.") {
            continue;
        }
        let key = std::ffi::CString::new(key).map_err(io::Error::other)?;
        match set_xattr(file.as_fd(), &key, &value) {
            Err(error) if error.raw_os_error() == Some(libc::ENOTSUP) => {}
            other => other?,
        }
    }
    Ok(())
}

#[allow(unsafe_code)] // nix has no extended attributes
fn set_xattr(file: BorrowedFd<'_>, name: &CStr, value: &[u8]) -> io::Result<()> {
    // SAFETY: descriptor, name and value outlive the call, and the length is the value's.
    let done = unsafe { libc::fsetxattr(file.as_raw_fd(), name.as_ptr(), value.as_ptr().cast(), value.len(), 0) };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{FileTypeExt, MetadataExt};

    fn add(builder: &mut tar::Builder<Vec<u8>>, path: &str, kind: EntryType, link: &str, data: &[u8]) {
        let mut header = tar::Header::new_gnu();
        // Written by hand: the library itself refuses to write `..`.
        header.as_old_mut().name[..path.len()].copy_from_slice(path.as_bytes());
        header.as_old_mut().linkname[..link.len()].copy_from_slice(link.as_bytes());
        header.set_entry_type(kind);
        header.set_size(data.len() as u64);
        header.set_mode(if kind.is_dir() { 0o755 } else { 0o640 });
        header.set_uid(nix::unistd::getuid().as_raw().into());
        header.set_gid(nix::unistd::getgid().as_raw().into());
        header.set_mtime(1000);
        header.set_cksum();
        builder.append(&header, data).unwrap();
    }

    fn check(entries: &[(&str, EntryType, &str, &[u8])], limits: Limits) -> (tempfile::TempDir, io::Result<u64>) {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("root")).unwrap();
        std::fs::write(dir.path().join("outside"), "safe").unwrap();
        let mut builder = tar::Builder::new(Vec::new());
        for (path, kind, link, data) in entries {
            add(&mut builder, path, *kind, link, data);
        }
        let bytes = builder.into_inner().unwrap();
        let result = unpack(&mut bytes.as_slice(), &dir.path().join("root"), limits);
        assert_eq!(std::fs::read_to_string(dir.path().join("outside")).unwrap(), "safe");
        (dir, result)
    }

    use EntryType::{Directory as D, Link as H, Regular as F, Symlink as S};

    #[test]
    fn files_links_and_times_arrive() {
        let (dir, result) = check(
            &[
                ("a/", D, "", b""),
                ("a/f", F, "", b"one"),
                ("b/c/g", H, "a/f", b""),
                ("l", S, "a", b""),
                ("l/h", F, "", b"two"),
            ],
            Limits::default(),
        );
        assert_eq!(result.unwrap(), 6);
        let root = dir.path().join("root");
        assert_eq!(std::fs::read(root.join("b/c/g")).unwrap(), b"one");
        assert_eq!(std::fs::read(root.join("a/h")).unwrap(), b"two");
        assert_eq!(root.join("a/f").metadata().unwrap().mode() & 0o777, 0o640);
        assert_eq!(root.join("a").metadata().unwrap().mtime(), 1000);
    }

    #[test]
    fn later_entries_replace_earlier_ones() {
        let (dir, result) = check(
            &[("x/y", F, "", b"1"), ("x", F, "", b"2"), ("z", F, "", b"1"), ("z/w", F, "", b"3")],
            Limits::default(),
        );
        assert!(result.is_err(), "a file is no parent");
        assert_eq!(std::fs::read(dir.path().join("root/x")).unwrap(), b"2");
    }

    #[test]
    fn nothing_leads_out_of_the_layer() {
        for entries in [
            vec![("../outside", F, "", &b"x"[..])],
            vec![("a/../../outside", F, "", b"x")],
            vec![("l", S, "..", b""), ("l/../outside", F, "", b"x")],
            vec![("f", H, "../outside", b"")],
        ] {
            assert!(check(&entries, Limits::default()).1.is_err(), "{entries:?}");
        }
        // Links are followed, but the layer's root is their root.
        let (dir, result) = check(&[("l", S, "../..", b""), ("l/outside", F, "", b"x")], Limits::default());
        result.unwrap();
        assert!(dir.path().join("root/outside").exists());
        let (dir, result) = check(&[("l", S, "/", b""), ("l/etc/new", F, "", b"x")], Limits::default());
        result.unwrap();
        assert!(dir.path().join("root/etc/new").exists());
        // A file goes in the place of a link, not through it.
        let (dir, result) = check(&[("l", S, "../outside", b""), ("l", F, "", b"x")], Limits::default());
        result.unwrap();
        assert!(dir.path().join("root/l").metadata().unwrap().is_file());
    }

    #[test]
    fn limits_hold() {
        let entries = [("a", F, "", &b"12345"[..]), ("b", F, "", b"12345")];
        assert!(check(&entries, Limits { bytes: 9, entries: 10 }).1.is_err());
        assert!(check(&entries, Limits { bytes: 10, entries: 1 }).1.is_err());
        assert!(check(&entries, Limits { bytes: 10, entries: 2 }).1.is_ok());
    }

    #[test]
    fn whiteouts_become_overlayfs_marks() {
        if !nix::unistd::geteuid().is_root() {
            return;
        }
        let (dir, result) = check(
            &[
                ("d/.wh.gone", F, "", &b""[..]),
                ("o/.wh..wh..opq", F, "", b""),
                ("k", F, "", b"1"),
                (".wh.k", F, "", b""),
            ],
            Limits::default(),
        );
        result.unwrap();
        let root = dir.path().join("root");
        let gone = root.join("d/gone").symlink_metadata().unwrap();
        assert!(gone.file_type().is_char_device() && gone.rdev() == 0);
        assert!(!root.join("o/.wh..wh..opq").exists());
        assert_eq!(std::fs::read(root.join("k")).unwrap(), b"1");
    }
}
