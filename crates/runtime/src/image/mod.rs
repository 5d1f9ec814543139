//! The images of a machine: a directory that several node agents may share.
//!
//! ```text
//! <images>/images.json      which images there are, under which names
//! <images>/layers/<digest>  a layer unpacked once, named by the first half of its diff id's hex
//! <images>/blobs/sha256/    configs
//! <images>/locks/           one file per layer being unpacked; `gc` shared by whoever adds, exclusive for whoever sweeps
//! ```
//! Invariants: a directory below `layers/` is complete (it was renamed there), and what `images.json` lists is there. A running
//! container holds a shared lock on each of its layers, so that no agent can remove them, whichever made the container.

mod archive;
mod blob;
pub mod config;
pub mod layer;
mod pull;
pub mod reference;

use crate::{Error, Image, Progress, Result};
use archive::{Found, Source};
use blob::{Hashing, decompressed};
use config::ImageConfig;
use nix::fcntl::{Flock, FlockArg};
use reference::Reference;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::{
    collections::BTreeSet,
    fs::{self, File},
    io::{self, Read},
    path::{Path, PathBuf},
};
use tokio::sync::mpsc;

/// What the store knows of an image.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Record {
    /// Digest of the config.
    pub id: String,
    /// Normalised names with tags.
    pub tags: Vec<String>,
    /// Normalised names with digests.
    pub digests: Vec<String>,
    /// Diff ids, lowest first.
    pub layers: Vec<String>,
    /// Bytes in the layers.
    pub size: u64,
    /// How it wants to be run.
    pub config: ImageConfig,
}

impl Record {
    /// As the outside sees it.
    pub fn image(&self) -> Image {
        Image {
            id: self.id.clone(),
            tags: self.tags.clone(),
            digests: self.digests.clone(),
            size: self.size,
            user: self.config.user.clone(),
        }
    }

    /// Names of the layers' directories, lowest first.
    pub fn layer_directories(&self) -> Vec<String> {
        self.layers.iter().map(|layer| directory_name(layer)).collect()
    }
}

/// The images below one directory.
#[derive(Clone, Debug)]
pub struct Store {
    root: PathBuf,
    insecure: Vec<String>,
}

impl Store {
    /// Opens the store, making its directories if needed. `insecure` registries are spoken to over plain HTTP.
    pub fn open(root: &Path, insecure: Vec<String>) -> Result<Self> {
        for directory in ["layers", "blobs/sha256", "locks"] {
            let path = root.join(directory);
            fs::create_dir_all(&path).map_err(|e| io_error(format!("creating {}", path.display()), e))?;
        }
        Ok(Self { root: root.to_owned(), insecure })
    }

    /// Where the unpacked layers are.
    pub fn layers(&self) -> PathBuf {
        self.root.join("layers")
    }

    /// All images.
    pub fn list(&self) -> Result<Vec<Image>> {
        Ok(self.records()?.iter().map(Record::image).collect())
    }

    /// One image by name, digest or (the beginning of an) id.
    pub fn find(&self, reference: &str) -> Result<Option<Record>> {
        let records = self.records()?;
        Ok(position(&records, reference).map(|at| records[at].clone()))
    }

    /// Loads all images of an archive.
    pub fn load(&self, path: &Path, progress: Option<&mpsc::Sender<Progress>>) -> Result<Vec<Image>> {
        let failed = |e: io::Error| Error::Pull { image: path.display().to_string(), why: e.to_string() };
        let _adding = self.lock("gc", FlockArg::LockShared)?;
        let source = Source::open(path, &self.root).map_err(failed)?;
        let found = source.images().map_err(failed)?;
        let mut images = Vec::new();
        for image in found {
            images.push(self.load_one(&source, image, progress).map_err(failed)?);
        }
        Ok(images)
    }

    fn load_one(&self, source: &Source, found: Found, progress: Option<&mpsc::Sender<Progress>>) -> io::Result<Image> {
        if found.layers.len() != found.config.diff_ids.len() {
            return Err(io::Error::other("the config and the manifest disagree on the number of layers"));
        }
        let mut size = 0;
        for ((place, digest, length), diff_id) in found.layers.iter().zip(&found.config.diff_ids) {
            size += self.add_layer(diff_id, digest.as_deref(), *length, progress, || source.read(place))?;
        }
        let mut names = Vec::new();
        for name in &found.names {
            names.push(Reference::parse(name).map_err(io::Error::other)?);
        }
        let mut record = Record { id: found.id, size, ..Record::default() };
        record.tags = names.iter().map(ToString::to_string).collect();
        if let Some(manifest) = &found.manifest {
            record.digests = names.iter().map(|name| format!("{}@{manifest}", name.name())).collect();
        }
        record.layers = found.config.diff_ids;
        record.config = found.config.config;
        self.add_record(record, &found.config_bytes)
    }

    /// Unpacks a layer unless it is there; the bytes of its files.
    fn add_layer<'a>(
        &self,
        diff_id: &str,
        digest: Option<&str>,
        length: u64,
        progress: Option<&mpsc::Sender<Progress>>,
        open: impl FnOnce() -> io::Result<Box<dyn Read + Send + 'a>>,
    ) -> io::Result<u64> {
        if !reference::is_digest(diff_id) {
            return Err(io::Error::other(format!("diff id {diff_id:?} is not supported")));
        }
        let name = directory_name(diff_id);
        let target = self.layers().join(&name);
        // Whoever comes second waits for the first instead of doing the work twice.
        let _one = self.lock(&name, FlockArg::LockExclusive).map_err(io::Error::other)?;
        let size_file = self.root.join("locks").join(format!("{name}.size"));
        if target.is_dir() {
            return Ok(fs::read_to_string(size_file).ok().and_then(|s| s.parse().ok()).unwrap_or(0));
        }
        let scratch = self.layers().join(format!(".{name}"));
        remove_tree(&scratch)?;
        fs::create_dir(&scratch)?;
        let stored = Hashing::new(open()?);
        let result = unpack_verified(stored, diff_id, digest, length, &scratch, progress);
        match result {
            Ok(bytes) => {
                fs::write(size_file, bytes.to_string())?;
                fs::rename(&scratch, &target)?;
                Ok(bytes)
            }
            Err(error) => {
                let _ = remove_tree(&scratch);
                Err(error)
            }
        }
    }

    fn add_record(&self, mut record: Record, config: &[u8]) -> io::Result<Image> {
        let blob = self.root.join("blobs").join(record.id.replace(':', "/"));
        if !blob.exists() {
            crate::files::write_atomically(&blob, config)?;
        }
        let _lock = self.lock("images", FlockArg::LockExclusive).map_err(io::Error::other)?;
        let mut records = self.records().map_err(io::Error::other)?;
        for other in &mut records {
            if other.id == record.id {
                record.tags.append(&mut other.tags);
                record.digests.append(&mut other.digests);
            } else {
                // A name moves to the image that took it last.
                other.tags.retain(|tag| !record.tags.contains(tag));
            }
        }
        for list in [&mut record.tags, &mut record.digests] {
            list.sort();
            list.dedup();
        }
        records.retain(|other| other.id != record.id);
        let image = record.image();
        records.push(record);
        self.write_records(&records)?;
        Ok(image)
    }

    /// Removes a name, or by id the whole image; layers that nobody needs go with the last name.
    pub fn remove(&self, reference: &str) -> Result<()> {
        {
            let _lock = self.lock("images", FlockArg::LockExclusive)?;
            let mut records = self.records()?;
            let Some(at) = position(&records, reference) else { return Ok(()) };
            let name = Reference::parse(reference).map(|r| r.to_string()).unwrap_or_default();
            let record = &mut records[at];
            record.tags.retain(|tag| *tag != name);
            if record.id == reference || record.id.strip_prefix("sha256:") == Some(reference) || record.tags.is_empty()
            {
                records.remove(at);
            }
            self.write_records(&records).map_err(|e| io_error("writing images.json".into(), e))?;
        }
        self.sweep()
    }

    /// Removes layers and blobs that no image needs and no container uses.
    fn sweep(&self) -> Result<()> {
        // Someone is adding an image: what looks unneeded may be theirs. The next removal sweeps again.
        let Ok(_alone) = self.lock("gc", FlockArg::LockExclusiveNonblock) else { return Ok(()) };
        let records = self.records()?;
        let needed: BTreeSet<String> = records.iter().flat_map(Record::layer_directories).collect();
        let configs: BTreeSet<String> = records.iter().map(|r| r.id.replace("sha256:", "")).collect();
        for (directory, keep) in [("layers", &needed), ("blobs/sha256", &configs)] {
            let Ok(entries) = fs::read_dir(self.root.join(directory)) else { continue };
            for entry in entries.flatten() {
                let name = entry.file_name().to_string_lossy().into_owned();
                if !keep.contains(&name) {
                    remove_unused(&entry.path());
                    for lock in [format!("{name}.size"), name] {
                        let _ = fs::remove_file(self.root.join("locks").join(lock));
                    }
                }
            }
        }
        Ok(())
    }

    fn records(&self) -> Result<Vec<Record>> {
        let path = self.root.join("images.json");
        match fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes)
                .map_err(|e| Error::Internal(format!("{} is damaged: {e}", path.display()))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(error) => Err(io_error(format!("reading {}", path.display()), error)),
        }
    }

    fn write_records(&self, records: &[Record]) -> io::Result<()> {
        crate::files::write_atomically(&self.root.join("images.json"), &serde_json::to_vec(records)?)
    }

    fn lock(&self, name: &str, how: FlockArg) -> Result<Flock<File>> {
        let path = self.root.join("locks").join(name);
        let file = File::options().create(true).append(true).open(&path);
        let file = file.map_err(|e| io_error(format!("opening {}", path.display()), e))?;
        Flock::lock(file, how).map_err(|(_, e)| io_error(format!("locking {}", path.display()), e.into()))
    }

    /// The first of `paths` that the image has, read as text through its layers from the top; links stay inside a layer.
    pub fn read_text(&self, record: &Record, path: &str) -> Option<String> {
        record.layer_directories().iter().rev().find_map(|layer| read_inside(&self.layers().join(layer), path))
    }
}

fn unpack_verified<'a>(
    stored: Hashing<Box<dyn Read + Send + 'a>>,
    diff_id: &str,
    digest: Option<&str>,
    length: u64,
    scratch: &Path,
    progress: Option<&mpsc::Sender<Progress>>,
) -> io::Result<u64> {
    let item = digest.unwrap_or(diff_id).to_owned();
    let mut stored = Reporting { inner: stored, item, total: length, told: 0, progress };
    let bytes = {
        let mut plain = Hashing::new(decompressed(&mut stored)?);
        let bytes = layer::unpack(&mut plain, scratch, layer::Limits::default())?;
        plain.verify(diff_id)?;
        bytes
    };
    if let Some(digest) = digest {
        stored.inner.verify(digest)?;
    }
    Ok(bytes)
}

struct Reporting<'p, R> {
    inner: Hashing<R>,
    item: String,
    total: u64,
    told: u64,
    progress: Option<&'p mpsc::Sender<Progress>>,
}

/// How many bytes lie between two reports.
const REPORT_EVERY: u64 = 256 << 10;

impl<R: Read> Read for Reporting<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buffer)?;
        let done = self.inner.seen;
        if let Some(progress) = self.progress
            && (n == 0 || done - self.told >= REPORT_EVERY)
        {
            self.told = done;
            // Nobody waits for a progress bar.
            let _ = progress.try_send(Progress { item: self.item.clone(), done, total: self.total });
        }
        Ok(n)
    }
}

fn position(records: &[Record], reference: &str) -> Option<usize> {
    let by = |test: &dyn Fn(&Record) -> bool| records.iter().position(test);
    let hex = reference.strip_prefix("sha256:").unwrap_or(reference);
    let full = |id: &str| id.strip_prefix("sha256:").map(str::to_owned).unwrap_or_default();
    if let Some(at) = by(&|r| full(&r.id) == hex) {
        return Some(at);
    }
    if let Ok(name) = Reference::parse(reference) {
        let found = match &name.digest {
            // A tag beside a digest is decoration.
            Some(digest) => by(&|r| r.digests.contains(&format!("{}@{digest}", name.name()))),
            None => by(&|r| r.tags.contains(&name.to_string())),
        };
        if found.is_some() {
            return found;
        }
    }
    let short = hex.len() >= 6 && hex.bytes().all(|b| b.is_ascii_hexdigit());
    if short { by(&|r| full(&r.id).starts_with(hex)) } else { None }
}

/// Short, so that many layers fit into one mount call; half a SHA-256 is still beyond any accident.
fn directory_name(diff_id: &str) -> String {
    diff_id.trim_start_matches("sha256:").chars().take(32).collect()
}

fn digest_of(bytes: &[u8]) -> String {
    format!("sha256:{}", hex::encode(Sha256::digest(bytes)))
}

fn io_error(what: String, source: io::Error) -> Error {
    Error::Io { what, source }
}

fn remove_tree(path: &Path) -> io::Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// Removes a layer unless a container holds its lock.
fn remove_unused(path: &Path) {
    let Ok(file) = File::open(path) else { return };
    if let Ok(_lock) = Flock::lock(file, FlockArg::LockExclusiveNonblock) {
        // The rename makes it vanish at once; a half removed layer must never look whole.
        let doomed = path.with_file_name(format!(".gone-{}", path.file_name().unwrap_or_default().to_string_lossy()));
        if path.is_dir() {
            let _ = remove_tree(&doomed);
            if fs::rename(path, &doomed).is_ok() {
                let _ = remove_tree(&doomed);
            }
        } else {
            let _ = fs::remove_file(path);
        }
    }
}

fn read_inside(root: &Path, path: &str) -> Option<String> {
    use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat2};
    let how = OpenHow::new()
        .flags(OFlag::O_RDONLY | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK)
        .resolve(ResolveFlag::RESOLVE_IN_ROOT | ResolveFlag::RESOLVE_NO_MAGICLINKS);
    let file = File::from(openat2(File::open(root).ok()?, path, how).ok()?);
    if !file.metadata().ok()?.is_file() {
        return None;
    }
    let mut text = Vec::new();
    file.take(4 << 20).read_to_end(&mut text).ok()?;
    Some(String::from_utf8_lossy(&text).into_owned())
}

#[cfg(test)]
mod tests;
