//! Images: archives, the documents in them, layers that are unpacked.

use super::text;
use crate::Target;
use coracle_runtime::{
    ImageStore,
    image::{
        config::{self, ConfigBlob, Manifest},
        layer::{self, Limits},
    },
};
use std::{fs, path::Path};
use tar::{EntryType, Header};

pub(super) static TARGETS: &[Target] = &[
    Target { name: "image_documents", run: documents, seeds: DOCUMENTS },
    Target { name: "archive", run: archive, seeds: ARCHIVES },
    Target { name: "layer", run: entries, seeds: LAYER },
    Target { name: "layer_tar", run: layer_tar, seeds: &[include_bytes!("../../seeds/layer.tar")] },
];

const DOCUMENTS: &[&[u8]] = &[
    br#"{"config":{"User":"1:2","Env":["A=b"],"Cmd":null,"Entrypoint":["/a"],"WorkingDir":"/","StopSignal":"9"},"rootfs":{"type":"layers","diff_ids":["sha256:ab"]}}"#,
    br#"{"schemaVersion":2,"config":{"digest":"sha256:ab","size":1},"layers":[{"mediaType":"x","digest":"sha256:cd","size":2,"annotations":{"a":"b"}}],"manifests":[{"digest":"sha256:ef","size":3,"platform":{"architecture":"amd64","os":"linux"}}]}"#,
];
const ARCHIVES: &[&[u8]] = &[
    include_bytes!("../../seeds/docker.tar"),
    include_bytes!("../../seeds/oci.tar"),
    include_bytes!("../../seeds/docker.tar.gz"),
];
/// A line for each entry: type, path, where a link leads.
const LAYER: &[&[u8]] = &[
    b"d a\nf a/f\nh b/g a/f\nl l ../..\nf l/x\nf d/.wh.gone\nf o/.wh..wh..opq\nl m /\nf m/../y\nc z\np q",
    b"l up ..\nh stolen up/outside\nd up/new\nf up/outside\nl a/b ../../outside\nf a/b\nl root /\nd root",
];

/// Small: what a layer may write is not what is tested.
const LIMITS: Limits = Limits { bytes: 1 << 16, entries: 200 };

fn documents(input: &[u8]) {
    let _ = ConfigBlob::parse(input);
    if let Ok(manifest) = serde_json::from_slice::<Manifest>(input) {
        let _ = config::choose(&manifest.manifests, config::architecture());
    }
}

/// A store that is asked to load the archive holds it whole or not at all.
fn archive(input: &[u8]) {
    within(|dir| {
        let Ok(store) = ImageStore::open(&dir.join("images"), Vec::new()) else { return };
        let path = dir.join("archive.tar");
        if fs::write(&path, with_checksums(input)).is_ok() && store.load(&path, None).is_ok() {
            for image in store.list().unwrap_or_default() {
                let record = store.find(&image.id).ok().flatten();
                let layers = record.map(|record| record.layer_directories()).unwrap_or_default();
                assert!(layers.iter().all(|layer| store.layers().join(layer).is_dir()), "{}", image.id);
            }
        }
        let _ = fs::remove_file(path);
    });
}

/// A layer made of entries that are well-formed each for itself.
fn entries(input: &[u8]) {
    let Some(text) = text(input) else { return };
    let mut builder = tar::Builder::new(Vec::new());
    for line in text.lines() {
        let mut words = line.split(' ');
        let (kind, path, link) = (words.next(), words.next().unwrap_or_default(), words.next().unwrap_or_default());
        let kind = match kind {
            Some("d") => EntryType::Directory,
            Some("l") => EntryType::Symlink,
            Some("h") => EntryType::Link,
            Some("c") => EntryType::Char,
            Some("p") => EntryType::Fifo,
            _ => EntryType::Regular,
        };
        let mut header = Header::new_gnu();
        let fields = header.as_old_mut();
        // written by hand: the library refuses to write `..`
        for (field, value) in [(&mut fields.name, path), (&mut fields.linkname, link)] {
            let length = value.len().min(field.len());
            field[..length].copy_from_slice(&value.as_bytes()[..length]);
        }
        header.set_entry_type(kind);
        header.set_mode(0o755);
        header.set_size(if kind.is_file() { 1 } else { 0 });
        header.set_cksum();
        let _ = builder.append(&header, if kind.is_file() { &b"x"[..] } else { b"" });
    }
    unpack(&builder.into_inner().unwrap_or_default());
}

fn layer_tar(input: &[u8]) {
    unpack(&with_checksums(input));
}

fn unpack(tar: &[u8]) {
    within(|dir| {
        let root = dir.join("root");
        if fs::create_dir(&root).is_ok() {
            let _ = layer::unpack(&mut &*tar, &root, LIMITS);
            let _ = fs::remove_dir_all(root);
        }
    });
}

/// Runs in a directory beside whose content nothing may be afterwards: `outside` as it was, no other file.
fn within(work: impl FnOnce(&Path)) {
    let Ok(dir) = tempfile::tempdir() else { return };
    let (inside, outside) = (dir.path().join("inside"), dir.path().join("outside"));
    if fs::create_dir(&inside).is_err() || fs::write(&outside, "safe").is_err() {
        return;
    }
    let before = fs::metadata(&outside).and_then(|m| m.modified()).ok();
    work(&inside);
    assert_eq!(fs::read(&outside).ok().as_deref(), Some(&b"safe"[..]), "a file outside was changed");
    assert_eq!(fs::metadata(&outside).and_then(|m| m.modified()).ok(), before, "a file outside was touched");
    assert_eq!(fs::read_dir(dir.path()).map(Iterator::count).ok(), Some(2), "a file outside was made");
}

/// The archive with right checksums: without them nothing behind a header is ever read.
fn with_checksums(input: &[u8]) -> Vec<u8> {
    const BLOCK: usize = 512;
    let mut bytes = input.to_vec();
    let mut at = 0_usize;
    while let Some(block) = bytes.get_mut(at..at.saturating_add(BLOCK)) {
        at += BLOCK;
        if block.iter().all(|byte| *byte == 0) {
            continue;
        }
        let mut header = Header::new_old();
        header.as_mut_bytes().copy_from_slice(block);
        header.set_cksum();
        block.copy_from_slice(header.as_bytes());
        let size = header.entry_size().ok().and_then(|size| usize::try_from(size).ok()).unwrap_or(0);
        at = at.saturating_add(size.checked_next_multiple_of(BLOCK).unwrap_or(usize::MAX));
    }
    bytes
}
