//! Security contexts: the container's over the pod's.

use coracle_runtime::{Namespace, Security};
use k8s_openapi::api::core::v1::{Container, Pod};

/// Security of one container.
pub fn of_container(pod: &Pod, container: &Container) -> Security {
    let of_pod = super::of(pod).security_context.as_ref();
    let own = container.security_context.as_ref();
    let privileged = own.and_then(|s| s.privileged).unwrap_or(false);
    let capabilities = own.and_then(|s| s.capabilities.as_ref());
    let names = |list: Option<&Vec<String>>| -> Vec<String> {
        let strip = |c: &String| c.to_uppercase().strip_prefix("CAP_").map_or_else(|| c.to_uppercase(), str::to_string);
        list.into_iter().flatten().map(strip).collect()
    };
    let mut groups: Vec<i64> = of_pod.and_then(|s| s.supplemental_groups.clone()).unwrap_or_default();
    groups.extend(of_pod.and_then(|s| s.fs_group));
    Security {
        privileged,
        run_as_user: own.and_then(|s| s.run_as_user).or_else(|| of_pod?.run_as_user),
        run_as_group: own.and_then(|s| s.run_as_group).or_else(|| of_pod?.run_as_group),
        run_as_non_root: own.and_then(|s| s.run_as_non_root).or_else(|| of_pod?.run_as_non_root).unwrap_or(false),
        supplemental_groups: groups,
        add_capabilities: names(capabilities.and_then(|c| c.add.as_ref())),
        drop_capabilities: names(capabilities.and_then(|c| c.drop.as_ref())),
        read_only_root: own.and_then(|s| s.read_only_root_filesystem).unwrap_or(false),
        no_new_privileges: own.and_then(|s| s.allow_privilege_escalation) == Some(false) && !privileged,
    }
}

/// Upstream's check of `runAsNonRoot` against the image's user, before the container is made.
pub fn verify_non_root(security: &Security, image_user: &str, pod: &str, container: &str) -> Result<(), String> {
    if !security.run_as_non_root {
        return Ok(());
    }
    let where_ = format!("(pod: \"{pod}\", container: {container})");
    match security.run_as_user {
        Some(0) => Err(format!("container's runAsUser breaks non-root policy {where_}")),
        Some(_) => Ok(()),
        None => {
            let user = image_user.split(':').next().unwrap_or_default();
            match user.parse::<i64>() {
                Ok(0) => Err(format!("container has runAsNonRoot and image will run as root {where_}")),
                Ok(_) => Ok(()),
                Err(_) if user.is_empty() => {
                    Err(format!("container has runAsNonRoot and image will run as root {where_}"))
                }
                Err(_) => Err(format!(
                    "container has runAsNonRoot and image has non-numeric user ({user}), cannot verify user is non-root {where_}"
                )),
            }
        }
    }
}

/// The pod's PID namespace.
pub fn pid_namespace(pod: &Pod) -> Namespace {
    let spec = super::of(pod);
    if spec.host_pid == Some(true) {
        Namespace::Node
    } else if spec.share_process_namespace == Some(true) {
        Namespace::Pod
    } else {
        Namespace::Container
    }
}

/// The pod's network or IPC namespace.
pub fn shared_namespace(host: Option<bool>) -> Namespace {
    if host == Some(true) { Namespace::Node } else { Namespace::Pod }
}
