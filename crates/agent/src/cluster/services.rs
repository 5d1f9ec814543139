//! Services and their endpoints as the node's rules need them: a pure function.

use coracle_network::{Protocol, ServicePort, Services};
use k8s_openapi::api::{
    core::v1::Service,
    discovery::v1::{Endpoint, EndpointSlice},
};
use std::{collections::HashMap, net::Ipv4Addr, sync::Arc};

/// Label of a slice: its service.
const SERVICE_NAME: &str = "kubernetes.io/service-name";

/// A protocol by name; TCP if there is none.
pub(super) fn protocol(name: Option<&str>) -> Option<Protocol> {
    match name.unwrap_or("TCP") {
        "TCP" => Some(Protocol::Tcp),
        "UDP" => Some(Protocol::Udp),
        "SCTP" => Some(Protocol::Sctp),
        _ => None,
    }
}

/// Slices by namespace and service.
pub(super) type BySvc<'a> = HashMap<(&'a str, &'a str), Vec<&'a EndpointSlice>>;

/// Groups slices by their service.
pub(super) fn by_service(slices: &[Arc<EndpointSlice>]) -> BySvc<'_> {
    let mut out: BySvc<'_> = HashMap::new();
    for slice in slices {
        let name = slice.metadata.labels.as_ref().and_then(|l| l.get(SERVICE_NAME));
        if let (Some(name), Some(namespace), "IPv4") = (name, &slice.metadata.namespace, slice.address_type.as_str()) {
            out.entry((namespace, name)).or_default().push(slice);
        }
    }
    out
}

/// All service ports. The cluster's DNS service is left out: every node answers it itself.
pub(super) fn build(services: &[Arc<Service>], slices: &[Arc<EndpointSlice>], node: &str, dns: Ipv4Addr) -> Services {
    let slices = by_service(slices);
    let mut ports = Vec::new();
    for service in services {
        let (Some(name), Some(namespace)) = (&service.metadata.name, &service.metadata.namespace) else { continue };
        let Some(ip) = cluster_ip(service).filter(|ip| *ip != dns) else { continue };
        let none = Vec::new();
        let own = slices.get(&(namespace.as_str(), name.as_str())).unwrap_or(&none);
        ports.extend(service_ports(service, &format!("{namespace}/{name}"), ip, own, node));
    }
    ports.sort_by(|a, b| a.id.cmp(&b.id));
    Services { ports, host_ports: Vec::new() }
}

/// The IPv4 address of a service that has one.
pub(super) fn cluster_ip(service: &Service) -> Option<Ipv4Addr> {
    let spec = service.spec.as_ref().filter(|s| s.type_.as_deref() != Some("ExternalName"))?;
    let all = spec.cluster_ips.iter().flatten().chain(&spec.cluster_ip);
    all.filter_map(|ip| ip.parse().ok()).next()
}

fn service_ports(service: &Service, id: &str, ip: Ipv4Addr, slices: &[&EndpointSlice], node: &str) -> Vec<ServicePort> {
    let Some(spec) = &service.spec else { return Vec::new() };
    let mut addresses = vec![ip];
    addresses.extend(spec.external_ips.iter().flatten().filter_map(|ip| ip.parse::<Ipv4Addr>().ok()));
    let balancer = service.status.as_ref().and_then(|s| s.load_balancer.as_ref()).and_then(|b| b.ingress.as_ref());
    addresses.extend(balancer.into_iter().flatten().filter_map(|i| i.ip.as_deref()?.parse::<Ipv4Addr>().ok()));
    let affinity = match spec.session_affinity.as_deref() {
        Some("ClientIP") => {
            let config = spec.session_affinity_config.as_ref().and_then(|c| c.client_ip.as_ref());
            config.and_then(|c| c.timeout_seconds).and_then(|s| u32::try_from(s).ok()).unwrap_or(10_800)
        }
        _ => 0,
    };
    let port = |p: i32| u16::try_from(p).unwrap_or(0);
    let made = spec.ports.iter().flatten().filter_map(|p| {
        let name = p.name.as_deref().unwrap_or_default();
        Some(ServicePort {
            id: format!("{id}:{name}"),
            addresses: addresses.clone(),
            protocol: protocol(p.protocol.as_deref())?,
            port: port(p.port),
            node_port: port(p.node_port.unwrap_or(0)),
            endpoints: endpoints(slices, name, |_| true),
            local_endpoints: endpoints(slices, name, |e| e.node_name.as_deref() == Some(node)),
            external_local: spec.external_traffic_policy.as_deref() == Some("Local"),
            internal_local: spec.internal_traffic_policy.as_deref() == Some("Local"),
            affinity_seconds: affinity,
        })
    });
    made.collect()
}

/// Ready endpoints of a port; if there are none, those that still serve while they end.
fn endpoints(slices: &[&EndpointSlice], port: &str, here: impl Fn(&Endpoint) -> bool) -> Vec<(Ipv4Addr, u16)> {
    let (mut ready, mut ending) = (Vec::new(), Vec::new());
    for slice in slices {
        let numbers = slice.ports.iter().flatten().filter(|p| p.name.as_deref().unwrap_or_default() == port);
        for number in numbers.filter_map(|p| u16::try_from(p.port?).ok()) {
            for endpoint in slice.endpoints.iter().flatten().filter(|e| here(e)) {
                let Some(address) = endpoint.addresses.first().and_then(|a| a.parse().ok()) else { continue };
                match state(endpoint) {
                    State::Ready => ready.push((address, number)),
                    State::Ending => ending.push((address, number)),
                    State::Neither => {}
                }
            }
        }
    }
    let mut out = if ready.is_empty() { ending } else { ready };
    out.sort_unstable();
    out.dedup();
    out
}

/// What may be sent to an endpoint.
#[derive(PartialEq, Eq)]
pub(super) enum State {
    Ready,
    /// It ends, and still serves.
    Ending,
    Neither,
}

pub(super) fn state(endpoint: &Endpoint) -> State {
    let conditions = endpoint.conditions.as_ref();
    if conditions.and_then(|c| c.ready) != Some(false) {
        return State::Ready;
    }
    let holds = |v: Option<bool>| v == Some(true);
    if conditions.is_some_and(|c| holds(c.serving) && holds(c.terminating)) { State::Ending } else { State::Neither }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn check(spec: Value, endpoints: Value, expected: &[&str]) {
        let service = json!({"metadata": {"name": "s", "namespace": "n"}, "spec": spec});
        let slice = json!({"metadata": {"name": "s-1", "namespace": "n", "labels": {SERVICE_NAME: "s"}},
            "addressType": "IPv4", "ports": [{"name": "http", "port": 8080}], "endpoints": endpoints});
        let service: Service = serde_json::from_value(service).unwrap();
        let slice: EndpointSlice = serde_json::from_value(slice).unwrap();
        let built = build(&[Arc::new(service)], &[Arc::new(slice)], "here", Ipv4Addr::new(10, 96, 0, 10));
        let show =
            |list: &[(Ipv4Addr, u16)]| list.iter().map(|(a, p)| format!("{a}:{p}")).collect::<Vec<_>>().join("+");
        let shown: Vec<String> = built
            .ports
            .iter()
            .map(|p| {
                let addresses: Vec<String> = p.addresses.iter().map(ToString::to_string).collect();
                format!(
                    "{} {} {}/{} all={} here={} {}{}",
                    p.id,
                    addresses.join(","),
                    p.port,
                    p.node_port,
                    show(&p.endpoints),
                    show(&p.local_endpoints),
                    if p.external_local { "external-local " } else { "" },
                    p.affinity_seconds
                )
            })
            .collect();
        assert_eq!(shown, expected);
    }

    #[test]
    fn services_become_ports() {
        let port = json!([{"name": "http", "port": 80, "nodePort": 30080}]);
        let two = json!([
            {"addresses": ["10.244.0.2"], "nodeName": "here", "conditions": {"ready": true}},
            {"addresses": ["10.244.1.2"], "nodeName": "there"}]);
        check(
            json!({"clusterIP": "10.96.0.7", "ports": port}),
            two.clone(),
            &["n/s:http 10.96.0.7 80/30080 all=10.244.0.2:8080+10.244.1.2:8080 here=10.244.0.2:8080 0"],
        );
        check(
            json!({"clusterIP": "10.96.0.7", "ports": port, "externalTrafficPolicy": "Local", "sessionAffinity": "ClientIP", "externalIPs": ["1.2.3.4"]}),
            json!([
                {"addresses": ["10.244.0.2"], "conditions": {"ready": false, "serving": true, "terminating": true}},
                {"addresses": ["10.244.0.3"], "conditions": {"ready": false, "serving": false, "terminating": true}}]),
            &["n/s:http 10.96.0.7,1.2.3.4 80/30080 all=10.244.0.2:8080 here= external-local 10800"],
        );
        check(json!({"clusterIP": "None", "ports": port}), two.clone(), &[]);
        check(json!({"type": "ExternalName", "externalName": "x.y", "ports": port}), two.clone(), &[]);
        check(json!({"clusterIP": "10.96.0.10", "ports": port}), two, &[]);
    }
}
