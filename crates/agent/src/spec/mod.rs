//! From a pod's spec to what the runtime takes: pure functions, no I/O.

pub mod env;
pub mod ephemeral;
pub mod expand;
pub mod fieldref;
pub mod files;
pub mod ports;
pub mod qos;
pub mod quantity;
pub mod resources;
pub mod security;

use k8s_openapi::api::core::v1::{Container, Pod, PodSpec};
use std::borrow::Cow;

/// A pod's spec; pods from the API always have one.
pub fn of(pod: &Pod) -> &PodSpec {
    static EMPTY: std::sync::LazyLock<PodSpec> = std::sync::LazyLock::new(PodSpec::default);
    pod.spec.as_ref().unwrap_or(&EMPTY)
}

/// Whether a container is an init container that stays (a sidecar).
pub fn is_sidecar(container: &Container) -> bool {
    container.restart_policy.as_deref() == Some("Always")
}

/// Init containers, in order.
pub fn init_containers(pod: &Pod) -> &[Container] {
    of(pod).init_containers.as_deref().unwrap_or_default()
}

/// A container of a pod by name, of whatever kind.
pub fn container<'a>(pod: &'a Pod, name: &str) -> Option<Cow<'a, Container>> {
    let found = init_containers(pod).iter().chain(&of(pod).containers).find(|c| c.name == name);
    found.map(Cow::Borrowed).or_else(|| ephemeral::find(pod, name).map(|c| Cow::Owned(ephemeral::container(c))))
}

/// Whether a container of this name has a standard input to attach to.
pub fn takes_input(pod: &Pod, name: &str) -> bool {
    container(pod, name).is_some_and(|c| c.stdin == Some(true))
}

/// `metadata.name`.
pub fn name(pod: &Pod) -> &str {
    pod.metadata.name.as_deref().unwrap_or_default()
}

/// `metadata.namespace`.
pub fn namespace(pod: &Pod) -> &str {
    pod.metadata.namespace.as_deref().unwrap_or_default()
}

/// `metadata.uid`.
pub fn uid(pod: &Pod) -> &str {
    pod.metadata.uid.as_deref().unwrap_or_default()
}

/// `name_namespace(uid)`: how messages name a pod.
pub fn label(pod: &Pod) -> String {
    format!("{}_{}({})", name(pod), namespace(pod), uid(pod))
}

/// Whether the pod uses the node's network.
pub fn host_network(pod: &Pod) -> bool {
    of(pod).host_network == Some(true)
}

/// The host name inside a pod.
pub fn hostname(pod: &Pod) -> String {
    let name = of(pod).hostname.as_deref().filter(|h| !h.is_empty()).unwrap_or_else(|| name(pod));
    // the kernel takes 63 characters; upstream cuts, and no dot or dash may end it
    name.chars().take(63).collect::<String>().trim_end_matches(['-', '.']).to_string()
}

/// The name of a pod inside the cluster, if it has a subdomain: `host.sub.namespace.svc.domain`.
pub fn domain_name(pod: &Pod, cluster_domain: &str) -> Option<String> {
    let subdomain = of(pod).subdomain.as_deref().filter(|s| !s.is_empty())?;
    Some(format!("{}.{subdomain}.{}.svc.{cluster_domain}", hostname(pod), namespace(pod)))
}
