//! A runtime of its own per case: directories, cgroup, an image made of this executable; and the proof that nothing is left.

use coracle_runtime::{
    Container, ContainerSpec, ContainerState, EmbeddedRuntime, Event, Namespace, Runtime, RuntimeConfig, Sandbox,
    SandboxSpec,
};
use futures::FutureExt;
use serde_json::json;
use sha2::{Digest, Sha256};
use std::{
    future::Future,
    path::{Path, PathBuf},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

pub type Case = fn(Arc<Fixture>) -> Pin<Box<dyn Future<Output = ()>>>;

/// Name of the image.
pub const IMAGE: &str = "test.local/app:v1";

pub struct Fixture {
    pub dir: tempfile::TempDir,
    pub runtime: parking_lot::Mutex<Arc<EmbeddedRuntime>>,
    config: RuntimeConfig,
}

static NUMBER: AtomicU32 = AtomicU32::new(0);

/// Runs one case and checks that it leaves nothing.
pub fn run(case: Case) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let fixture = Arc::new(Fixture::new().await);
        let limited = tokio::time::timeout(Duration::from_secs(60), case(fixture.clone()));
        let result = std::panic::AssertUnwindSafe(limited).catch_unwind().await;
        fixture.leaves_nothing().await;
        match result {
            Ok(in_time) => in_time.expect("the case takes too long"),
            Err(panic) => std::panic::resume_unwind(panic),
        }
    });
}

impl Fixture {
    pub async fn new() -> Self {
        // Not on a tmpfs by accident: state and images lie where the target directory lies.
        let dir = tempfile::Builder::new().prefix("coracle-runtime-").tempdir().unwrap();
        let config = RuntimeConfig {
            state_dir: dir
                .path()
                .join("a-rather-long-name-for-a-state-directory-as-they-happen/to-be/in-real-life/state"),
            images_dir: dir.path().join("images"),
            cgroup_parent: format!("coracle-rt-{}-{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed)),
            shim_exe: "/proc/self/exe".into(),
            insecure_registries: Vec::new(),
        };
        let runtime = EmbeddedRuntime::open(config.clone()).await.unwrap();
        let archive = dir.path().join("image.tar");
        write_image(&archive);
        runtime.load(archive, None).await.unwrap();
        Self { dir, config, runtime: parking_lot::Mutex::new(runtime) }
    }

    pub fn rt(&self) -> Arc<EmbeddedRuntime> {
        self.runtime.lock().clone()
    }

    /// As after a restart of the agent.
    pub async fn reopen(&self) {
        let again = EmbeddedRuntime::open(self.config.clone()).await.unwrap();
        *self.runtime.lock() = again;
    }

    pub fn pod(&self, name: &str) -> SandboxSpec {
        SandboxSpec {
            name: name.into(),
            namespace: "default".into(),
            uid: format!("uid-{name}"),
            hostname: name.into(),
            pid: Namespace::Container,
            cgroup: format!("kubepods/pod-{name}"),
            log_dir: self.dir.path().join("logs").join(name),
            ..SandboxSpec::default()
        }
    }

    pub fn container(&self, args: &[&str]) -> ContainerSpec {
        ContainerSpec {
            name: "c".into(),
            image: IMAGE.into(),
            args: args.iter().map(|a| (*a).to_owned()).collect(),
            log_path: "c/0.log".into(),
            ..ContainerSpec::default()
        }
    }

    pub async fn sandbox(&self, name: &str) -> Sandbox {
        self.rt().run_sandbox(self.pod(name)).await.unwrap()
    }

    /// Makes and starts.
    pub async fn start(&self, sandbox: &str, spec: ContainerSpec) -> String {
        let id = self.rt().create_container(sandbox, spec).await.unwrap();
        self.rt().start_container(&id).await.unwrap();
        id
    }

    /// Waits for the end, by events.
    pub async fn ended(&self, id: &str) -> Container {
        let runtime = self.rt();
        let mut events = runtime.events();
        loop {
            let container = runtime.container(id).await.unwrap();
            if container.state == ContainerState::Exited {
                return container;
            }
            events.recv().await.unwrap();
        }
    }

    /// Runs to the end; exit code and log without times.
    pub async fn output(&self, sandbox: &Sandbox, mut spec: ContainerSpec) -> (i32, String) {
        spec.log_path = format!("{}.log", NUMBER.fetch_add(1, Ordering::Relaxed)).into();
        let log = sandbox.spec.log_dir.join(&spec.log_path);
        let id = self.start(&sandbox.id, spec).await;
        let code = self.ended(&id).await.exit_code.unwrap();
        (code, texts(&log))
    }

    async fn leaves_nothing(&self) {
        let runtime = self.rt();
        for sandbox in runtime.sandboxes().await.unwrap() {
            runtime.remove_sandbox(&sandbox.id).await.unwrap();
            runtime.remove_sandbox(&sandbox.id).await.unwrap();
        }
        assert!(runtime.containers(None).await.unwrap().is_empty());
        let left: Vec<PathBuf> =
            std::fs::read_dir(self.config.state_dir.join("sandboxes")).unwrap().flatten().map(|e| e.path()).collect();
        assert!(left.is_empty(), "{left:?}");
        let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
        assert!(!mounts.contains(self.dir.path().to_str().unwrap()), "mounts are left");
        for entry in std::fs::read_dir("/proc").unwrap().flatten() {
            let line = std::fs::read_to_string(entry.path().join("cmdline")).unwrap_or_default();
            let ours = line.contains(self.dir.path().to_str().unwrap());
            assert!(!ours, "a process is left: {}", line.replace('\0', " "));
        }
        for hierarchy in std::fs::read_dir("/sys/fs/cgroup").unwrap().flatten() {
            let group = hierarchy.path().join(&self.config.cgroup_parent);
            let pods = group.join("kubepods");
            if let Ok(entries) = std::fs::read_dir(&pods) {
                let left: Vec<_> = entries.flatten().filter(|e| e.path().is_dir()).map(|e| e.path()).collect();
                assert!(left.is_empty(), "{left:?}");
            }
            for below in [pods, group.join("shims"), group] {
                let _ = std::fs::remove_dir(below);
            }
        }
        runtime.remove_image(IMAGE).await.unwrap();
        assert_eq!(std::fs::read_dir(self.config.images_dir.join("layers")).unwrap().count(), 0);
    }
}

/// Next event that `wanted` accepts.
pub async fn event(events: &mut tokio::sync::broadcast::Receiver<Event>, wanted: impl Fn(&Event) -> bool) {
    while !wanted(&events.recv().await.unwrap()) {}
}

/// A log file without times.
pub fn texts(log: &Path) -> String {
    let text = std::fs::read_to_string(log).unwrap();
    let line = |l: &str| l.split_once(' ').unwrap().1.to_owned();
    let mut lines: Vec<String> = text.lines().map(line).collect();
    // Two streams have no order between them.
    lines.sort_by_key(|l| l.starts_with("stderr"));
    lines.join("|")
}

/// A Docker archive whose only layer holds this executable as `/app`, and two users.
fn write_image(path: &Path) {
    let exe = std::fs::read("/proc/self/exe").unwrap();
    let mut layer = tar::Builder::new(Vec::new());
    let mut add = |name: &str, mode: u32, data: &[u8]| {
        let mut header = tar::Header::new_gnu();
        header.set_size(data.len() as u64);
        header.set_mode(mode);
        layer.append_data(&mut header, name, data).unwrap();
    };
    add("app", 0o755, &exe);
    add("etc/passwd", 0o644, b"root:x:0:0::/root:/bin/sh\nuser:x:1000:1001::/home/user:/bin/sh\n");
    add("plain", 0o644, b"text");
    let layer = layer.into_inner().unwrap();
    let diff = format!("sha256:{}", hex::encode(Sha256::digest(&layer)));
    let config = json!({"config": {"Entrypoint": ["/app"], "Env": ["FROM=image"]}, "rootfs": {"diff_ids": [diff]}});
    let manifest = json!([{"Config": "config.json", "RepoTags": [IMAGE], "Layers": ["layer.tar"]}]);
    let mut archive = tar::Builder::new(std::fs::File::create(path).unwrap());
    for (name, data) in [
        ("layer.tar", layer),
        ("config.json", config.to_string().into_bytes()),
        ("manifest.json", manifest.to_string().into_bytes()),
    ] {
        let mut header = tar::Header::new_gnu();
        header.set_size(data.len() as u64);
        header.set_mode(0o644);
        archive.append_data(&mut header, name, data.as_slice()).unwrap();
    }
    archive.finish().unwrap();
}
