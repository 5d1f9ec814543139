use super::*;
use serde_json::json;

fn tar_of(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (path, data) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(data.len() as u64);
        header.set_mode(0o644);
        header.set_uid(nix::unistd::getuid().as_raw().into());
        header.set_gid(nix::unistd::getgid().as_raw().into());
        builder.append_data(&mut header, path, *data).unwrap();
    }
    builder.into_inner().unwrap()
}

fn gzip(data: &[u8]) -> Vec<u8> {
    use std::io::Write;
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(data).unwrap();
    encoder.finish().unwrap()
}

fn blob(files: &mut Vec<(String, Vec<u8>)>, data: Vec<u8>) -> (String, usize) {
    let digest = digest_of(&data);
    let length = data.len();
    files.push((format!("blobs/{}", digest.replace(':', "/")), data));
    (digest, length)
}

/// An OCI archive of one image with one gzip layer per item of `layers`.
fn oci_archive(name: &str, layers: &[Vec<u8>], spoil: bool) -> Vec<u8> {
    let mut files = Vec::new();
    let mut descriptors = Vec::new();
    for layer in layers {
        let (digest, size) = blob(&mut files, gzip(layer));
        descriptors
            .push(json!({"mediaType": "application/vnd.oci.image.layer.v1.tar+gzip", "digest": digest, "size": size}));
    }
    let diff_ids: Vec<String> = layers.iter().map(|l| digest_of(if spoil { b"other" } else { l })).collect();
    let config = json!({"architecture": "amd64", "os": "linux", "config": {"Cmd": ["/app"], "Env": null, "User": "7"},
        "rootfs": {"type": "layers", "diff_ids": diff_ids}});
    let (config, size) = blob(&mut files, config.to_string().into_bytes());
    let manifest = json!({"schemaVersion": 2, "config": {"digest": config, "size": size}, "layers": descriptors});
    let (manifest, size) = blob(&mut files, manifest.to_string().into_bytes());
    let index = json!({"schemaVersion": 2, "manifests": [{"digest": manifest, "size": size,
        "annotations": {"org.opencontainers.image.ref.name": name}}]});
    files.push(("index.json".into(), index.to_string().into_bytes()));
    let borrowed: Vec<(&str, &[u8])> = files.iter().map(|(n, d)| (n.as_str(), d.as_slice())).collect();
    tar_of(&borrowed)
}

fn docker_archive(name: &str, layer: &[u8]) -> Vec<u8> {
    let config = json!({"config": {"Entrypoint": ["/app"]}, "rootfs": {"diff_ids": [digest_of(layer)]}}).to_string();
    let manifest = json!([{"Config": "c.json", "RepoTags": [name], "Layers": ["l/layer.tar"]}]).to_string();
    tar_of(&[("l/layer.tar", layer), ("c.json", config.as_bytes()), ("manifest.json", manifest.as_bytes())])
}

struct Fixture {
    dir: tempfile::TempDir,
    store: Store,
}

impl Fixture {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&dir.path().join("images"), Vec::new()).unwrap();
        Self { dir, store }
    }

    fn load(&self, archive: &[u8]) -> Result<Vec<Image>> {
        let path = self.dir.path().join("archive.tar");
        fs::write(&path, archive).unwrap();
        self.store.load(&path, None)
    }

    fn layers(&self) -> usize {
        fs::read_dir(self.store.layers()).unwrap().count()
    }
}

#[test]
fn archives_of_both_kinds_are_loaded_and_found_by_every_name() {
    let f = Fixture::new();
    let layer = tar_of(&[("etc/passwd", b"app:x:7:8::/home/app:/bin/sh\n")]);
    let oci = f.load(&gzip(&oci_archive("coracle.dev/demo:v1", std::slice::from_ref(&layer), false))).unwrap();
    assert_eq!(oci[0].tags, ["coracle.dev/demo:v1"]);
    assert_eq!(oci[0].user, "7");
    let docker = f.load(&docker_archive("demo:v2", &layer)).unwrap();
    assert_eq!(docker[0].tags, ["docker.io/library/demo:v2"]);
    assert_eq!(f.layers(), 1, "the same layer is kept once");
    for name in ["coracle.dev/demo:v1", &oci[0].id, &oci[0].id[7..], &oci[0].id[7..19], &oci[0].digests[0]] {
        assert_eq!(f.store.find(name).unwrap().map(|r| r.id), Some(oci[0].id.clone()), "{name}");
    }
    assert!(f.store.find("coracle.dev/demo:v9").unwrap().is_none());
    let record = f.store.find("demo:v2").unwrap().unwrap();
    assert_eq!(record.config.entrypoint, ["/app"]);
    assert!(f.store.read_text(&record, "etc/passwd").unwrap().starts_with("app:x:7:8"));
}

#[test]
fn a_layer_stays_as_long_as_an_image_or_a_container_needs_it() {
    let f = Fixture::new();
    let (common, own) = (tar_of(&[("a", b"1")]), tar_of(&[("b", b"2")]));
    f.load(&oci_archive("x.io/a:1", &[common.clone(), own], false)).unwrap();
    f.load(&oci_archive("x.io/b:1", &[common], false)).unwrap();
    assert_eq!(f.layers(), 2);
    f.store.remove("x.io/a:1").unwrap();
    assert_eq!(f.layers(), 1);
    let record = f.store.find("x.io/b:1").unwrap().unwrap();
    let used = File::open(f.store.layers().join(&record.layer_directories()[0])).unwrap();
    let used = Flock::lock(used, FlockArg::LockShared).unwrap();
    f.store.remove("x.io/b:1").unwrap();
    assert_eq!((f.layers(), f.store.list().unwrap().len()), (1, 0));
    drop(used);
    f.load(&docker_archive("x.io/c:1", &tar_of(&[]))).unwrap();
    f.store.remove("x.io/c:1").unwrap();
    assert_eq!(f.layers(), 0);
    f.store.remove("x.io/c:1").unwrap();
}

#[test]
fn a_name_moves_to_the_image_that_takes_it() {
    let f = Fixture::new();
    f.load(&docker_archive("x.io/a:1", &tar_of(&[("a", b"1")]))).unwrap();
    let new = f.load(&docker_archive("x.io/a:1", &tar_of(&[("a", b"2")]))).unwrap();
    assert_eq!(f.store.find("x.io/a:1").unwrap().unwrap().id, new[0].id);
    assert_eq!(f.store.list().unwrap().iter().filter(|i| i.tags.is_empty()).count(), 1);
}

#[test]
fn what_is_not_what_it_claims_is_refused_and_leaves_nothing() {
    let f = Fixture::new();
    let layer = tar_of(&[("a", b"1")]);
    assert!(f.load(&oci_archive("x.io/a:1", std::slice::from_ref(&layer), true)).is_err());
    assert!(f.load(b"no archive").is_err());
    assert!(f.load(&tar_of(&[("a", b"1")])).is_err());
    let archive = oci_archive("x.io/a:1", &[layer], false);
    assert!(f.load(&archive[..1500]).is_err());
    assert_eq!((f.layers(), f.store.list().unwrap().len()), (0, 0));
}
