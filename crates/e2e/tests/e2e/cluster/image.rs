//! Images for tests, made of programs of this machine.

use coracle_testkit::World;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::{
    collections::BTreeSet,
    fs,
    io::Write,
    path::{Path, PathBuf},
};

/// The files of a program: itself, and the libraries that the loader finds for it.
fn with_libraries(program: &Path) -> BTreeSet<PathBuf> {
    let listed = std::process::Command::new("ldd").arg(program).output().unwrap();
    let text = String::from_utf8_lossy(&listed.stdout).into_owned();
    text.split_whitespace().filter(|word| word.starts_with('/')).map(PathBuf::from).collect()
}

fn digest(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

fn append(tar: &mut tar::Builder<impl Write>, path: &str, bytes: &[u8], mode: u32) {
    let mut header = tar::Header::new_gnu();
    header.set_size(bytes.len() as u64);
    header.set_mode(mode);
    tar.append_data(&mut header, path.trim_start_matches('/'), bytes).unwrap();
}

/// An OCI archive named `name` with these programs (file, path in the image) and their libraries.
pub fn archive(world: &World, name: &str, programs: &[(PathBuf, String)], config: &Value) -> PathBuf {
    let mut layer = tar::Builder::new(Vec::new());
    let mut libraries = BTreeSet::new();
    for (file, path) in programs {
        append(&mut layer, path, &fs::read(file).unwrap_or_else(|e| panic!("{}: {e}", file.display())), 0o755);
        libraries.extend(with_libraries(file));
    }
    for library in libraries {
        append(&mut layer, library.to_str().unwrap(), &fs::read(&library).unwrap(), 0o755);
    }
    let layer = layer.into_inner().unwrap();
    let architecture = if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" };
    let config = json!({
        "architecture": architecture, "os": "linux", "config": config,
        "rootfs": {"type": "layers", "diff_ids": [format!("sha256:{}", digest(&layer))]},
    });
    let path = world.dir().join(format!("{}.tar", digest(name.as_bytes())));
    let mut out = tar::Builder::new(fs::File::create(&path).unwrap());
    let mut blob = |kind: &str, bytes: &[u8]| {
        append(&mut out, &format!("blobs/sha256/{}", digest(bytes)), bytes, 0o644);
        json!({"mediaType": format!("application/vnd.oci.image.{kind}"), "digest": format!("sha256:{}", digest(bytes)), "size": bytes.len()})
    };
    let layer = blob("layer.v1.tar", &layer);
    let config = blob("config.v1+json", config.to_string().as_bytes());
    let manifest = json!({"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json", "config": config, "layers": [layer]});
    let mut manifest = blob("manifest.v1+json", manifest.to_string().as_bytes());
    manifest["annotations"] = json!({"org.opencontainers.image.ref.name": name, "io.containerd.image.name": name});
    let index = json!({"schemaVersion": 2, "manifests": [manifest]});
    append(&mut out, "index.json", index.to_string().as_bytes(), 0o644);
    append(&mut out, "oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#, 0o644);
    out.into_inner().unwrap();
    path
}

/// A shell and a few tools, as people expect them in containers; already loaded.
pub fn shell(world: &World) -> &'static str {
    const NAME: &str = "coracle.dev/shell:test";
    let programs = ["sh", "cat", "tar", "ls", "sleep", "ps", "head", "stty", "wc"].map(|program| {
        let found = ["/bin", "/usr/bin"].map(|dir| Path::new(dir).join(program)).into_iter().find(|file| file.exists());
        (found.unwrap_or_else(|| panic!("this machine has no {program}")), format!("bin/{program}"))
    });
    let archive = archive(world, NAME, &programs, &json!({"Env": ["PATH=/bin"], "Cmd": ["sleep", "1000000"]}));
    world.coracle(&["image", "load", archive.to_str().unwrap(), "--data-dir", world.data().to_str().unwrap()]).ok();
    NAME
}
