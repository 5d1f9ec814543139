//! What a pod is as an endpoint of a Service.

use crate::pods;
use coracle_client::{Change, Typed};
use k8s_openapi::{
    api::{
        core::v1::{ObjectReference, Pod, Service, ServicePort, ServiceSpec},
        discovery::v1::{Endpoint, EndpointConditions, EndpointHints, EndpointPort, ForNode, ForZone},
    },
    apimachinery::pkg::util::intstr::IntOrString,
};
use std::net::IpAddr;

/// What a Service selects; `None` if it is not this controller's to find its endpoints.
pub fn selector(service: &Service) -> Option<&std::collections::BTreeMap<String, String>> {
    let spec = service.spec.as_ref().filter(|s| s.type_.as_deref() != Some("ExternalName"))?;
    spec.selector.as_ref().filter(|s| !s.is_empty())
}

/// Whether a Service has no address of its own.
pub fn is_headless(spec: &ServiceSpec) -> bool {
    matches!(spec.cluster_ip.as_deref(), None | Some("None" | ""))
}

/// The kinds of addresses that a Service's endpoints have, the primary one first.
pub fn address_types(spec: &ServiceSpec) -> Vec<&'static str> {
    let named = spec.ip_families.iter().flatten();
    let types: Vec<_> = named.map(|family| if family == "IPv6" { "IPv6" } else { "IPv4" }).collect();
    if !types.is_empty() {
        return types;
    }
    let v6 = spec.cluster_ip.as_deref().and_then(|ip| ip.parse::<IpAddr>().ok()).is_some_and(|ip| ip.is_ipv6());
    vec![if v6 { "IPv6" } else { "IPv4" }]
}

/// `IPv4` or `IPv6`; nothing for what is no address.
pub fn address_type(address: &str) -> Option<&'static str> {
    address.parse::<IpAddr>().ok().map(|ip| if ip.is_ipv4() { "IPv4" } else { "IPv6" })
}

/// The pod's addresses of one kind.
pub fn addresses(pod: &Pod, address_type: &str) -> Vec<String> {
    let Some(status) = &pod.status else { return Vec::new() };
    let all = status.pod_ips.iter().flatten().map(|ip| ip.ip.as_str());
    let of_type: Vec<String> =
        all.filter(|ip| self::address_type(ip) == Some(address_type)).map(str::to_string).collect();
    if of_type.is_empty() {
        let one = status.pod_ip.iter().filter(|ip| self::address_type(ip) == Some(address_type));
        return one.cloned().collect();
    }
    of_type
}

/// Whether a pod is among the endpoints at all: it has an address and has not ended. One that is being deleted is there to be told so.
pub fn is_endpoint(pod: &Typed<Pod>) -> bool {
    let has_address = pod.status.as_ref().is_some_and(|s| {
        s.pod_ip.as_ref().is_some_and(|ip| !ip.is_empty()) || s.pod_ips.as_ref().is_some_and(|all| !all.is_empty())
    });
    has_address && !pods::is_finished(pod)
}

/// The name under which a pod is found beside its Service's.
pub fn hostname(pod: &Typed<Pod>, service: &Typed<Service>) -> Option<String> {
    let spec = pod.spec.as_ref()?;
    let in_it = spec.subdomain.as_deref() == Some(service.name()) && pod.meta().namespace == service.meta().namespace;
    spec.hostname.clone().filter(|h| in_it && !h.is_empty())
}

/// The pod as the target of an endpoint.
pub fn target(pod: &Typed<Pod>) -> ObjectReference {
    ObjectReference {
        kind: Some("Pod".into()),
        namespace: Some(pod.meta().namespace.clone()),
        name: Some(pod.name().to_string()),
        uid: Some(pod.uid().to_string()),
        ..ObjectReference::default()
    }
}

/// The node that a pod is on.
pub fn node(pod: &Pod) -> Option<&str> {
    pod.spec.as_ref()?.node_name.as_deref().filter(|n| !n.is_empty())
}

/// The number behind a Service's port in this pod: a named port is what the pod's containers call so.
pub fn number(pod: &Pod, port: &ServicePort) -> Option<i32> {
    let name = match &port.target_port {
        None => return Some(port.port),
        Some(IntOrString::Int(0)) => return Some(port.port),
        Some(IntOrString::Int(number)) => return Some(*number),
        Some(IntOrString::String(name)) => name,
    };
    let spec = pod.spec.as_ref()?;
    let sidecars = spec.init_containers.iter().flatten().filter(|c| c.restart_policy.as_deref() == Some("Always"));
    let ports = spec.containers.iter().chain(sidecars).flat_map(|c| c.ports.iter().flatten());
    let protocol = |p: &Option<String>| p.clone().unwrap_or_else(|| "TCP".into());
    let mut found =
        ports.filter(|p| p.name.as_ref() == Some(name) && protocol(&p.protocol) == protocol(&port.protocol));
    found.next().map(|p| p.container_port)
}

/// The ports of a slice that this pod can be in.
pub fn ports(pod: &Pod, spec: &ServiceSpec) -> Vec<EndpointPort> {
    let all = spec.ports.iter().flatten();
    let mut ports: Vec<EndpointPort> = all
        .filter_map(|port| {
            Some(EndpointPort {
                name: Some(port.name.clone().unwrap_or_default()),
                port: Some(number(pod, port)?),
                protocol: Some(port.protocol.clone().unwrap_or_else(|| "TCP".into())),
                app_protocol: port.app_protocol.clone(),
            })
        })
        .collect();
    sort(&mut ports);
    ports
}

/// Ports in an order that does not depend on who wrote them.
pub fn sort(ports: &mut [EndpointPort]) {
    ports.sort_by(|a, b| (&a.name, a.port, &a.protocol).cmp(&(&b.name, b.port, &b.protocol)));
}

/// The pod as an endpoint of a slice.
pub fn endpoint(pod: &Typed<Pod>, service: &Typed<Service>, addresses: Vec<String>, zone: Option<String>) -> Endpoint {
    let spec = service.spec.as_ref();
    let publish = spec.and_then(|s| s.publish_not_ready_addresses).unwrap_or(false);
    let (serving, terminating) = (pods::is_ready(pod), pod.meta().is_deleting());
    let ready = publish || (serving && !terminating);
    let node_name = node(pod).map(str::to_string);
    let distribution = spec.and_then(|s| s.traffic_distribution.as_deref());
    let hints = distribution.filter(|_| ready).and_then(|d| hints(d, zone.as_deref(), node_name.as_deref()));
    Endpoint {
        addresses,
        conditions: Some(EndpointConditions {
            ready: Some(ready),
            serving: Some(serving),
            terminating: Some(terminating),
        }),
        hostname: hostname(pod, service),
        node_name,
        target_ref: Some(target(pod)),
        zone,
        hints,
        deprecated_topology: None,
    }
}

/// For whom an endpoint is, if a Service prefers short ways.
fn hints(distribution: &str, zone: Option<&str>, node: Option<&str>) -> Option<EndpointHints> {
    let zone = zone.map(|zone| vec![ForZone { name: zone.into() }]);
    let node = node.map(|node| vec![ForNode { name: node.into() }]);
    let hints = match distribution {
        "PreferClose" | "PreferSameZone" => EndpointHints { for_zones: zone, for_nodes: None },
        "PreferSameNode" => EndpointHints { for_zones: zone, for_nodes: node },
        _ => return None,
    };
    (hints.for_zones.is_some() || hints.for_nodes.is_some()).then_some(hints)
}

/// Whether a change of a pod can change an endpoint; most do not.
pub fn matters(change: &Change) -> bool {
    let (Some(old), Some(new)) = (&change.old, &change.new) else { return true };
    let (Ok(old_pod), Ok(new_pod)) = (old.view::<Pod>(), new.view::<Pod>()) else { return true };
    let facts = |pod: &Pod| {
        let (spec, status) = (pod.spec.as_ref(), pod.status.as_ref());
        (
            pods::is_ready(pod),
            pods::is_finished(pod),
            status.and_then(|s| s.pod_ip.clone()),
            status.and_then(|s| s.pod_ips.clone()),
            spec.and_then(|s| s.node_name.clone()),
            spec.and_then(|s| s.hostname.clone()),
        )
    };
    let (was, is) = (old.meta(), new.meta());
    was.uid != is.uid
        || was.labels != is.labels
        || was.is_deleting() != is.is_deleting()
        || facts(&old_pod) != facts(&new_pod)
}
