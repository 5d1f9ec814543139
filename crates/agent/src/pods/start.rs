//! Starts one container: image, configuration, create, start, postStart hook.

use super::{
    backoff::Backoffs,
    image, log_dir,
    plan::Waiting,
    setup::Prepared,
    status::{IMAGE, IMAGE_ASKED, IMAGE_ID},
    worker::event,
};
use crate::{
    context::Node,
    hooks,
    spec::{
        self,
        env::{self, Sources},
        expand::expand,
        fieldref::Addresses,
        resources, security,
    },
    volumes,
};
use coracle_api::Resource;
use coracle_client::{EventType, View};
use coracle_runtime::{Container as Found, ContainerSpec, ContainerState, Image, Mount};
use jiff::SignedDuration;
use k8s_openapi::api::core::v1::{ConfigMap, Container, Pod, Secret, Service};
use parking_lot::Mutex;
use std::{collections::BTreeMap, fs, path::PathBuf, sync::Arc, time::Duration};

/// Bytes of a termination message.
const MESSAGE_LIMIT: usize = 4096;

/// A container to start.
pub(super) struct Request {
    pub(super) node: Arc<Node>,
    pub(super) pod: Arc<Pod>,
    pub(super) sandbox: String,
    pub(super) name: String,
    pub(super) attempt: u32,
    pub(super) prepared: Prepared,
    pub(super) pulls: Arc<Mutex<Backoffs>>,
}

struct Known<'a> {
    node: &'a Node,
    namespace: &'a str,
}

impl Sources for Known<'_> {
    fn config_map(&self, name: &str) -> Option<Arc<ConfigMap>> {
        self.node.references.known_config_map(self.namespace, name)
    }
    fn secret(&self, name: &str) -> Option<Arc<Secret>> {
        self.node.references.known_secret(self.namespace, name)
    }
    fn services(&self, namespace: &str) -> Vec<Arc<Service>> {
        let list = self.node.view.list(&Resource::of::<Service>(), namespace);
        list.iter().filter_map(|o| o.view().ok()).collect()
    }
}

/// Starts it, or says why it waits.
pub(super) async fn run(request: Request) -> Result<(), Waiting> {
    let Request { node, pod, name, .. } = &request;
    let Some(container) = spec::container(pod, name) else { return Ok(()) };
    let container = &*container;
    let image = image::ensure(node, pod, container, &request.pulls).await?;
    let fail = |reason: &str, message: String| {
        event(node, pod, name, EventType::Warning, "Failed", &format!("Error: {message}"));
        let until = node.clock.now() + SignedDuration::from_secs(10);
        Waiting { reason: reason.into(), message, until: Some(until) }
    };
    let configured = match target(&request).await {
        Ok(target) => configure(&request, container, &image).map(|spec| ContainerSpec { pid_target: target, ..spec }),
        Err(message) => Err(message),
    };
    let created = match configured {
        Ok(spec) => node.runtime.create_container(&request.sandbox, spec).await,
        Err(message) => return Err(fail("CreateContainerConfigError", message)),
    };
    let id = created.map_err(|e| fail("CreateContainerError", e.to_string()))?;
    event(node, pod, name, EventType::Normal, "Created", &format!("Created container: {name}"));
    link_log(&request, container, &id);
    if let Err(error) = node.runtime.start_container(&id).await {
        // its backoff decides when it is tried again
        return Err(Waiting { until: None, ..fail("RunContainerError", error.to_string()) });
    }
    event(node, pod, name, EventType::Normal, "Started", &format!("Started container {name}"));
    node.pods.nudge(spec::uid(pod));
    post_start(&request, container, &id).await
}

/// The container whose processes an ephemeral container is to see.
async fn target(request: &Request) -> Result<Option<String>, String> {
    let ephemeral = spec::ephemeral::find(&request.pod, &request.name);
    let Some(target) = ephemeral.and_then(|c| c.target_container_name.as_deref()).filter(|t| !t.is_empty()) else {
        return Ok(None);
    };
    let all = request.node.runtime.containers(Some(&request.sandbox)).await.map_err(|e| e.to_string())?;
    let found = all.into_iter().find(|c| c.spec.name == target && c.state == ContainerState::Running);
    found.map(|c| Some(c.id)).ok_or_else(|| format!("unable to find target container {target:?}"))
}

async fn post_start(request: &Request, container: &Container, id: &str) -> Result<(), Waiting> {
    let Some(hook) = container.lifecycle.as_ref().and_then(|l| l.post_start.as_ref()) else { return Ok(()) };
    let ip = request.prepared.ips.first().map(String::as_str);
    let Err(error) = hooks::run(&request.node, container, id, hook, ip, Duration::from_secs(3600)).await else {
        return Ok(());
    };
    let (node, pod, name) = (&request.node, &request.pod, &request.name);
    event(node, pod, name, EventType::Warning, "FailedPostStartHook", &format!("PostStartHook failed: {error}"));
    event(node, pod, name, EventType::Normal, "Killing", "FailedPostStartHook");
    let grace = spec::of(pod).termination_grace_period_seconds.unwrap_or(30);
    let grace = Duration::from_secs(u64::try_from(grace).unwrap_or(30));
    if let Err(error) = node.runtime.stop_container(id, grace).await {
        tracing::debug!(%error, container = id, "not stopped after its hook failed");
    }
    Err(Waiting { reason: "PostStartHookError".into(), message: error, until: None })
}

fn configure(request: &Request, container: &Container, image: &Image) -> Result<ContainerSpec, String> {
    let Request { node, pod, name, attempt, prepared, .. } = request;
    let mut security = security::of_container(pod, container);
    security::verify_non_root(&security, &image.user, &spec::label(pod), name)?;
    // checked above, with upstream's words; a named user was refused
    security.run_as_non_root = false;
    let addresses = Addresses { host_ips: vec![node.config.node_ip.to_string()], pod_ips: prepared.ips.clone() };
    let allocatable = node.machine.allocatable();
    let facts = env::Facts { addresses: &addresses, allocatable: &allocatable };
    let sources = Known { node, namespace: spec::namespace(pod) };
    let mut env = vec![("HOSTNAME".to_string(), spec::hostname(pod))];
    if spec::host_network(pod) {
        env.clear();
    }
    env.extend(env::build(pod, container, &sources, &facts)?);
    let value = |key: &str| env.iter().rev().find(|(k, _)| k == key).map(|(_, v)| v.clone());
    let expanded = |list: Option<&Vec<String>>| list.into_iter().flatten().map(|t| expand(t, value)).collect();
    let message = message_file(request).map_err(|e| e.to_string())?;
    Ok(ContainerSpec {
        name: name.clone(),
        attempt: *attempt,
        image: image.id.clone(),
        command: expanded(container.command.as_ref()),
        args: expanded(container.args.as_ref()),
        working_dir: container.working_dir.clone().unwrap_or_default(),
        mounts: mounts(container, prepared, &message, value)?,
        env: env.clone(),
        resources: resources::of_container(pod, container, i64::try_from(node.machine.memory).unwrap_or(i64::MAX)),
        security,
        tty: container.tty == Some(true),
        stdin: container.stdin == Some(true),
        pid_target: None,
        log_path: PathBuf::from(name).join(format!("{attempt}.log")),
        stdin_once: container.stdin_once == Some(true),
        stop_signal: stop_signal(container),
        labels: BTreeMap::from([
            ("io.kubernetes.container.name".into(), name.clone()),
            ("io.kubernetes.pod.name".into(), spec::name(pod).into()),
            ("io.kubernetes.pod.namespace".into(), spec::namespace(pod).into()),
            ("io.kubernetes.pod.uid".into(), spec::uid(pod).into()),
        ]),
        annotations: BTreeMap::from([
            (IMAGE.to_string(), shown_image(container, image)),
            (IMAGE_ASKED.to_string(), container.image.clone().unwrap_or_default()),
            (IMAGE_ID.to_string(), image.digests.first().unwrap_or(&image.id).clone()),
        ]),
    })
}

fn stop_signal(container: &Container) -> String {
    container.lifecycle.as_ref().and_then(|l| l.stop_signal.clone()).unwrap_or_default()
}

/// The image as the status names it: the tag that was asked for.
fn shown_image(container: &Container, image: &Image) -> String {
    let asked = container.image.clone().unwrap_or_default();
    let tag = image.tags.iter().find(|t| **t == asked || t.ends_with(&format!("/{asked}")));
    tag.cloned().unwrap_or(asked)
}

fn message_file(request: &Request) -> std::io::Result<PathBuf> {
    let path = message_path(&request.node, &request.pod, &request.name, request.attempt);
    if let Some(dir) = path.parent() {
        fs::create_dir_all(dir)?;
    }
    fs::write(&path, "")?;
    // every user that a container may run as can write it
    fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o666))?;
    Ok(path)
}

fn message_path(node: &Node, pod: &Pod, container: &str, attempt: u32) -> PathBuf {
    let dir = volumes::pod_dir(&node.config.data_dir, spec::uid(pod)).join("containers").join(container);
    dir.join(format!("{attempt}.message"))
}

fn mounts(
    container: &Container,
    prepared: &Prepared,
    message: &std::path::Path,
    value: impl Fn(&str) -> Option<String>,
) -> Result<Vec<Mount>, String> {
    let mut out = Vec::new();
    for mount in container.volume_mounts.iter().flatten() {
        let volume = prepared.volumes.get(&mount.name).ok_or_else(|| {
            format!("cannot find volume \"{}\" to mount into container \"{}\"", mount.name, container.name)
        })?;
        let sub = match (&mount.sub_path, &mount.sub_path_expr) {
            (Some(path), _) if !path.is_empty() => path.clone(),
            (_, Some(path)) => expand(path, &value),
            _ => String::new(),
        };
        let source = match sub.as_str() {
            "" => volume.path.clone(),
            sub => volumes::sub_path(&volume.path, sub).map_err(|e| {
                format!(
                    "failed to prepare subPath for volumeMount \"{}\" of container \"{}\": {e}",
                    mount.name, container.name
                )
            })?,
        };
        let propagation = match mount.mount_propagation.as_deref() {
            Some("HostToContainer") => "rslave",
            Some("Bidirectional") => "rshared",
            _ => "private",
        };
        let read_only = mount.read_only == Some(true) || volume.read_only;
        out.push(Mount { source, target: mount.mount_path.clone().into(), read_only, propagation: propagation.into() });
    }
    let own = |path: &str| out.iter().any(|m: &Mount| m.target == std::path::Path::new(path));
    let read_only = container.security_context.as_ref().and_then(|s| s.read_only_root_filesystem) == Some(true);
    let mut more = Vec::new();
    for (file, target) in prepared.files.iter().filter(|(_, target)| !own(target)) {
        let read_only = read_only && *target != "/etc/hosts";
        more.push(Mount { source: file.clone(), target: (*target).into(), read_only, propagation: "private".into() });
    }
    let target = container.termination_message_path.as_deref().unwrap_or("/dev/termination-log");
    if !target.is_empty() && !own(target) {
        let target = target.into();
        more.push(Mount { source: message.into(), target, read_only: false, propagation: "private".into() });
    }
    out.extend(more);
    // outer mounts first, or they would hide the inner ones
    out.sort_by_key(|m| m.target.components().count());
    Ok(out)
}

/// `<log_dir>/containers/<pod>_<namespace>_<container>-<id>.log`, for log collectors.
fn link_log(request: &Request, container: &Container, id: &str) {
    let (node, pod) = (&request.node, &request.pod);
    let dir = node.config.log_dir.join("containers");
    let log = log_dir(node, pod).join(&container.name).join(format!("{}.log", request.attempt));
    let link = dir.join(format!("{}_{}_{}-{id}.log", spec::name(pod), spec::namespace(pod), container.name));
    let made = fs::create_dir_all(&dir).and_then(|()| std::os::unix::fs::symlink(&log, &link));
    if let Err(error) = made {
        tracing::debug!(%error, link = %link.display(), "the log was not linked");
    }
}

/// Fills in the termination message of a container that ended.
pub(super) fn read_message(node: &Node, pod: &Pod, found: &mut Found) {
    if found.state != ContainerState::Exited || !found.message.is_empty() {
        return;
    }
    let path = message_path(node, pod, &found.spec.name, found.spec.attempt);
    let mut text = fs::read(path).unwrap_or_default();
    text.truncate(MESSAGE_LIMIT);
    found.message = String::from_utf8_lossy(&text).into_owned();
    let container = spec::container(pod, &found.spec.name);
    let policy = container.as_ref().and_then(|c| c.termination_message_policy.as_deref());
    if found.message.is_empty() && policy == Some("FallbackToLogsOnError") && found.exit_code != Some(0) {
        let log = log_dir(node, pod).join(&found.spec.log_path);
        found.message = crate::logs::last_lines(&log, 80, 2048);
    }
}
