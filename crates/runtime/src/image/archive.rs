//! Archives of images: what `docker save`, `skopeo` or `coracle image` write, or an OCI layout directory.
//!
//! Nothing is copied out first: an uncompressed archive is indexed by position and its blobs are read from where they lie.

use super::{
    blob::{Compression, decompressed},
    config::{ConfigBlob, Descriptor, Manifest, architecture, choose},
};
use serde::Deserialize;
use std::{
    collections::HashMap,
    fs::File,
    io::{self, BufReader, Read, Seek, SeekFrom},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

/// The largest manifest or config that is read into memory.
const LARGEST_DOCUMENT: u64 = 16 << 20;

/// An image inside a source: where its parts lie.
#[derive(Clone, Debug, Default)]
pub struct Found {
    /// Names it is to have, as written.
    pub names: Vec<String>,
    /// Digest of its manifest, if it has one.
    pub manifest: Option<String>,
    /// Digest of its config.
    pub id: String,
    /// The config.
    pub config: ConfigBlob,
    /// The config's bytes.
    pub config_bytes: Vec<u8>,
    /// Layers, lowest first: (where, digest of the stored form if known, its size).
    pub layers: Vec<(String, Option<String>, u64)>,
}

/// An archive or layout directory, open.
pub enum Source {
    /// An OCI layout on disk.
    Directory(PathBuf),
    /// A tar file: name to (position, length).
    Tar(File, HashMap<String, (u64, u64)>),
}

impl Source {
    /// Opens `path`; a compressed archive is first unpacked into an unnamed file in `scratch`.
    pub fn open(path: &Path, scratch: &Path) -> io::Result<Self> {
        if path.is_dir() {
            return Ok(Self::Directory(path.to_owned()));
        }
        let mut file = File::open(path)?;
        if Compression::of(&mut BufReader::new(&file))? != Compression::None {
            file.rewind()?;
            let mut plain = unnamed_file(scratch)?;
            io::copy(&mut decompressed(&file)?, &mut plain)?;
            file = plain;
        }
        file.rewind()?;
        let index = index(&file)?;
        Ok(Self::Tar(file, index))
    }

    /// A blob or document by its name in the archive.
    pub fn read(&self, name: &str) -> io::Result<Box<dyn Read + Send + '_>> {
        let missing = || io::Error::new(io::ErrorKind::NotFound, format!("{name} is not in the archive"));
        match self {
            Self::Directory(root) => {
                if Path::new(name).components().any(|c| !matches!(c, std::path::Component::Normal(_))) {
                    return Err(missing());
                }
                Ok(Box::new(File::open(root.join(name))?))
            }
            Self::Tar(file, index) => {
                let (position, length) = *index.get(name).ok_or_else(missing)?;
                Ok(Box::new(Slice { file, position, end: position + length }))
            }
        }
    }

    fn document(&self, name: &str) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.read(name)?.take(LARGEST_DOCUMENT).read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    fn verified(&self, digest: &str) -> io::Result<Vec<u8>> {
        let bytes = self.document(&blob_path(digest)?)?;
        super::blob::Hashing::new(bytes.as_slice()).verify(digest)?;
        Ok(bytes)
    }

    /// The images in it. Docker's list comes first: it has whole names where both are there.
    pub fn images(&self) -> io::Result<Vec<Found>> {
        match self.document("manifest.json") {
            Ok(bytes) => self.docker_images(&bytes),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let index = self.document("index.json").map_err(|_| {
                    io::Error::other("neither manifest.json nor index.json is in it: not an image archive")
                })?;
                self.oci_images(&index)
            }
            Err(error) => Err(error),
        }
    }

    fn docker_images(&self, bytes: &[u8]) -> io::Result<Vec<Found>> {
        #[derive(Deserialize)]
        #[serde(rename_all = "PascalCase")]
        struct Entry {
            config: String,
            #[serde(default)]
            repo_tags: Option<Vec<String>>,
            #[serde(default)]
            layers: Vec<String>,
        }
        let entries: Vec<Entry> = serde_json::from_slice(bytes)?;
        let image = |entry: Entry| {
            let config_bytes = self.document(&entry.config)?;
            Ok(Found {
                names: entry.repo_tags.unwrap_or_default(),
                manifest: None,
                id: super::digest_of(&config_bytes),
                config: ConfigBlob::parse(&config_bytes)?,
                config_bytes,
                layers: entry.layers.into_iter().map(|path| (path, None, 0)).collect(),
            })
        };
        entries.into_iter().map(image).collect()
    }

    fn oci_images(&self, bytes: &[u8]) -> io::Result<Vec<Found>> {
        let index: Manifest = serde_json::from_slice(bytes)?;
        let mut images: Vec<Found> = Vec::new();
        for descriptor in &index.manifests {
            let name = name_of(descriptor);
            let Some(mut image) = self.oci_image(descriptor, 0)? else { continue };
            match images.iter_mut().find(|known| known.id == image.id && known.manifest == image.manifest) {
                Some(known) => known.names.extend(name),
                None => {
                    image.names.extend(name);
                    images.push(image);
                }
            }
        }
        Ok(images)
    }

    fn oci_image(&self, descriptor: &Descriptor, depth: u8) -> io::Result<Option<Found>> {
        let manifest: Manifest = serde_json::from_slice(&self.verified(&descriptor.digest)?)?;
        let Some(config) = manifest.config else {
            // An index of an index of … is either a mistake or an attack.
            return match choose(&manifest.manifests, architecture()) {
                Some(better) if depth < 3 => self.oci_image(better, depth + 1),
                _ => Ok(None),
            };
        };
        let config_bytes = self.verified(&config.digest)?;
        let layer = |l: Descriptor| Ok((blob_path(&l.digest)?, Some(l.digest), l.size));
        Ok(Some(Found {
            names: Vec::new(),
            manifest: Some(descriptor.digest.clone()),
            id: config.digest,
            config: ConfigBlob::parse(&config_bytes)?,
            config_bytes,
            layers: manifest.layers.into_iter().map(layer).collect::<io::Result<_>>()?,
        }))
    }
}

/// The whole name of an image in an index; a bare tag is no name.
fn name_of(descriptor: &Descriptor) -> Option<String> {
    let annotation = |key: &str| descriptor.annotations.get(key).cloned();
    annotation("io.containerd.image.name")
        .or_else(|| annotation("org.opencontainers.image.ref.name").filter(|name| name.contains(['/', ':'])))
}

fn blob_path(digest: &str) -> io::Result<String> {
    if !super::reference::is_digest(digest) {
        return Err(io::Error::other(format!("digest {digest:?} is not supported")));
    }
    Ok(format!("blobs/{}", digest.replace(':', "/")))
}

fn index(file: &File) -> io::Result<HashMap<String, (u64, u64)>> {
    let mut found = HashMap::new();
    let mut links = Vec::new();
    let mut archive = tar::Archive::new(file);
    for entry in archive.entries_with_seek()? {
        let entry = entry?;
        let name = entry.path()?.to_string_lossy().trim_start_matches("./").to_owned();
        match entry.header().entry_type() {
            kind if kind.is_file() => {
                found.insert(name, (entry.raw_file_position(), entry.size()));
            }
            kind if kind.is_symlink() || kind.is_hard_link() => {
                if let Some(target) = entry.link_name()? {
                    links.push((name, target.to_string_lossy().into_owned(), kind.is_hard_link()));
                }
            }
            _ => {}
        }
    }
    // Old `docker save` stores a layer once and links to it (`../<id>/layer.tar`).
    for (name, target, whole) in links {
        let target = if whole { target } else { beside(&name, &target) };
        if let Some(place) = found.get(&target).copied() {
            found.insert(name, place);
        }
    }
    Ok(found)
}

fn beside(name: &str, target: &str) -> String {
    let mut parts: Vec<&str> = name.split('/').collect();
    parts.pop();
    for part in target.split('/') {
        match part {
            "." | "" => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    parts.join("/")
}

fn unnamed_file(directory: &Path) -> io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt;
    std::fs::OpenOptions::new().read(true).write(true).custom_flags(libc::O_TMPFILE).mode(0o600).open(directory)
}

struct Slice<'a> {
    file: &'a File,
    position: u64,
    end: u64,
}

impl Read for Slice<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.end.saturating_sub(self.position)).unwrap_or(usize::MAX);
        let want = buffer.len().min(left);
        let n = self.file.read_at(&mut buffer[..want], self.position)?;
        if n == 0 && want > 0 {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the archive is cut short"));
        }
        self.position += n as u64;
        Ok(n)
    }
}

impl Seek for Slice<'_> {
    fn seek(&mut self, _: SeekFrom) -> io::Result<u64> {
        Err(io::Error::from(io::ErrorKind::Unsupported))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_between_layers_are_resolved() {
        assert_eq!(beside("abc/layer.tar", "../def/layer.tar"), "def/layer.tar");
        assert_eq!(beside("a", "./b"), "b");
    }
}
