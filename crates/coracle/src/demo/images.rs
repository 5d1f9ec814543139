//! The demo images, made from this binary: one layer with the program, and two configurations that differ in `APP_VERSION`.

use anyhow::{Context, Result};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::{
    fs::File,
    io::{Cursor, Write},
    path::Path,
};

/// The name of the images.
pub const NAME: &str = "coracle.dev/demo";

/// Writes an OCI archive with `coracle.dev/demo:v1` and `:v2`.
///
/// # Errors
/// When the binary cannot be read or the file not be written.
pub fn archive(to: &Path) -> Result<()> {
    let binary = std::fs::read("/proc/self/exe").context("this program cannot be read")?;
    let mut out =
        Archive(tar::Builder::new(File::create(to).with_context(|| format!("{} cannot be written", to.display()))?));
    let layer = layer(&binary)?;
    // not compressed: it stays on this machine
    let diff_id = digest(&layer);
    let layer = out.blob("application/vnd.oci.image.layer.v1.tar", &layer)?;
    let mut manifests = Vec::new();
    for version in ["v1", "v2"] {
        let config = json!({
            "architecture": architecture(), "os": "linux",
            "config": {"Env": ["PATH=/", format!("APP_VERSION={version}")], "Entrypoint": ["/coracle", "app"], "WorkingDir": "/"},
            "rootfs": {"type": "layers", "diff_ids": [diff_id]},
        });
        let config = out.blob("application/vnd.oci.image.config.v1+json", &serde_json::to_vec(&config)?)?;
        let kind = "application/vnd.oci.image.manifest.v1+json";
        let manifest = json!({"schemaVersion": 2, "mediaType": kind, "config": config, "layers": [layer]});
        let mut manifest = out.blob(kind, &serde_json::to_vec(&manifest)?)?;
        let name = format!("{NAME}:{version}");
        manifest["annotations"] = json!({"io.containerd.image.name": name, "org.opencontainers.image.ref.name": name});
        manifests.push(manifest);
    }
    let index =
        json!({"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": manifests});
    out.file("index.json", &serde_json::to_vec(&index)?)?;
    out.file("oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#)?;
    out.0.into_inner()?.flush()?;
    Ok(())
}

fn layer(binary: &[u8]) -> Result<Vec<u8>> {
    let mut layer = tar::Builder::new(Vec::with_capacity(binary.len() + 8192));
    append(&mut layer, "coracle", binary, 0o755)?;
    append(&mut layer, "etc/passwd", b"root:x:0:0:root:/:/coracle\nnobody:x:65534:65534:nobody:/:/coracle\n", 0o644)?;
    let mut directory = tar::Header::new_gnu();
    directory.set_entry_type(tar::EntryType::Directory);
    directory.set_size(0);
    directory.set_mode(0o1777);
    layer.append_data(&mut directory, "tmp/", Cursor::new([]))?;
    Ok(layer.into_inner()?)
}

fn append(to: &mut tar::Builder<impl Write>, path: &str, bytes: &[u8], mode: u32) -> Result<()> {
    let mut header = tar::Header::new_gnu();
    header.set_size(bytes.len() as u64);
    header.set_mode(mode);
    Ok(to.append_data(&mut header, path, bytes)?)
}

fn digest(bytes: &[u8]) -> String {
    format!("sha256:{}", hex::encode(Sha256::digest(bytes)))
}

fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

struct Archive(tar::Builder<File>);

impl Archive {
    fn file(&mut self, path: &str, bytes: &[u8]) -> Result<()> {
        append(&mut self.0, path, bytes, 0o644)
    }

    fn blob(&mut self, media_type: &str, bytes: &[u8]) -> Result<Value> {
        let digest = digest(bytes);
        self.file(&digest.replace("sha256:", "blobs/sha256/"), bytes)?;
        Ok(json!({"mediaType": media_type, "digest": digest, "size": bytes.len()}))
    }
}
