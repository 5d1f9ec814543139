//! Ephemeral containers: added to a pod that runs (`kubectl debug`), started once, never again.

use super::of;
use k8s_openapi::api::core::v1::{Container, EphemeralContainer, Pod};

/// The ephemeral containers of a pod, in order.
pub fn all(pod: &Pod) -> &[EphemeralContainer] {
    of(pod).ephemeral_containers.as_deref().unwrap_or_default()
}

/// One by name.
pub fn find<'a>(pod: &'a Pod, name: &str) -> Option<&'a EphemeralContainer> {
    all(pod).iter().find(|c| c.name == name)
}

/// What it is apart from being ephemeral. Ports, probes and hooks it cannot have.
pub fn container(from: &EphemeralContainer) -> Container {
    let from = from.clone();
    Container {
        args: from.args,
        command: from.command,
        env: from.env,
        env_from: from.env_from,
        image: from.image,
        image_pull_policy: from.image_pull_policy,
        name: from.name,
        resources: from.resources,
        restart_policy: Some("Never".into()),
        security_context: from.security_context,
        stdin: from.stdin,
        stdin_once: from.stdin_once,
        termination_message_path: from.termination_message_path,
        termination_message_policy: from.termination_message_policy,
        tty: from.tty,
        volume_devices: from.volume_devices,
        volume_mounts: from.volume_mounts,
        working_dir: from.working_dir,
        ..Container::default()
    }
}
