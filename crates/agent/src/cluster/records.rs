//! DNS records of services and their endpoints: a table from names to answers, made anew when they change.

use super::services::{BySvc, State, by_service, cluster_ip, state};
use coracle_network::{Answer, Records};
use k8s_openapi::api::{core::v1::Service, discovery::v1::EndpointSlice};
use parking_lot::RwLock;
use std::{
    collections::{BTreeSet, HashMap},
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
};

/// The records as the DNS server asks for them.
pub(super) struct SharedRecords(pub(super) RwLock<RecordSet>);

impl Records for SharedRecords {
    fn lookup(&self, name: &str) -> Option<Answer> {
        self.0.read().lookup(name)
    }

    fn reverse(&self, address: IpAddr) -> Option<String> {
        self.0.read().reverse.get(&address).cloned()
    }
}

/// All records.
#[derive(Default)]
pub(super) struct RecordSet {
    names: HashMap<String, Answer>,
    reverse: HashMap<IpAddr, String>,
    domain: String,
}

impl RecordSet {
    /// From services and endpoints.
    pub(super) fn build(services: &[Arc<Service>], slices: &[Arc<EndpointSlice>], domain: &str) -> Self {
        let mut out = Self { domain: domain.to_lowercase(), ..Self::default() };
        for name in [String::new(), "svc.".into(), "pod.".into()] {
            out.names.entry(format!("{name}{}", out.domain)).or_default();
        }
        let slices = by_service(slices);
        for service in services {
            out.service(service, &slices);
        }
        out
    }

    fn service(&mut self, service: &Service, slices: &BySvc<'_>) {
        let (Some(name), Some(namespace), Some(spec)) =
            (&service.metadata.name, &service.metadata.namespace, &service.spec)
        else {
            return;
        };
        self.names.entry(format!("{namespace}.svc.{}", self.domain)).or_default();
        let full = format!("{name}.{namespace}.svc.{}", self.domain);
        if spec.type_.as_deref() == Some("ExternalName") {
            let alias = spec.external_name.as_deref().map(|n| n.trim_end_matches('.').to_string());
            self.names.insert(full, Answer { alias, ..Answer::default() });
            return;
        }
        let own = slices.get(&(namespace.as_str(), name.as_str())).cloned().unwrap_or_default();
        match cluster_ip(service) {
            Some(ip) => {
                let ip = IpAddr::V4(ip);
                self.names.entry(full.clone()).or_default().addresses.push(ip);
                self.reverse.insert(ip, full.clone());
                for port in spec.ports.iter().flatten() {
                    let target = (full.clone(), vec![ip], u16::try_from(port.port).unwrap_or(0));
                    self.port(&full, port.name.as_deref(), port.protocol.as_deref(), target);
                }
            }
            None => self.headless(&full, &own),
        }
    }

    /// A service without an address: its endpoints, each with a name of its own.
    fn headless(&mut self, full: &str, slices: &[&EndpointSlice]) {
        self.names.entry(full.to_string()).or_default();
        let mut seen = BTreeSet::new();
        for slice in slices {
            for endpoint in slice.endpoints.iter().flatten().filter(|e| state(e) == State::Ready) {
                for address in endpoint.addresses.iter().filter_map(|a| a.parse::<Ipv4Addr>().ok()) {
                    let ip = IpAddr::V4(address);
                    let host = endpoint.hostname.as_deref().filter(|h| !h.is_empty());
                    let host = host.map_or_else(|| address.to_string().replace('.', "-"), str::to_lowercase);
                    let host = format!("{host}.{full}");
                    if seen.insert(ip) {
                        self.names.entry(full.to_string()).or_default().addresses.push(ip);
                        self.names.entry(host.clone()).or_default().addresses.push(ip);
                        self.reverse.entry(ip).or_insert_with(|| host.clone());
                    }
                    for port in slice.ports.iter().flatten() {
                        let number = port.port.and_then(|p| u16::try_from(p).ok()).unwrap_or(0);
                        let target = (host.clone(), vec![ip], number);
                        self.port(full, port.name.as_deref(), port.protocol.as_deref(), target);
                    }
                }
            }
        }
    }

    /// SRV records of a port: `_http._tcp.<service>`, and at the service's own name.
    fn port(&mut self, full: &str, name: Option<&str>, protocol: Option<&str>, target: (String, Vec<IpAddr>, u16)) {
        let protocol = protocol.unwrap_or("TCP").to_lowercase();
        self.names.entry(format!("_{protocol}.{full}")).or_default();
        if let Some(name) = name.filter(|n| !n.is_empty()) {
            let srv = format!("_{}._{protocol}.{full}", name.to_lowercase());
            let answer = self.names.entry(srv).or_default();
            if !answer.services.contains(&target) {
                answer.services.push(target.clone());
            }
        }
        let answer = self.names.entry(full.to_string()).or_default();
        if !answer.services.contains(&target) {
            answer.services.push(target);
        }
    }

    fn lookup(&self, name: &str) -> Option<Answer> {
        if let Some(answer) = self.names.get(name) {
            return Some(answer.clone());
        }
        // a-b-c-d.namespace.pod: any address, in any namespace, as nodes do not know which there are
        let pod = name.strip_suffix(self.domain.as_str())?.strip_suffix(".pod.")?;
        let (address, namespace) = match pod.split_once('.') {
            Some(parts) => parts,
            None => return is_label(pod).then(Answer::default),
        };
        let address: Ipv4Addr = address.replace('-', ".").parse().ok()?;
        let answer = Answer { addresses: vec![IpAddr::V4(address)], ..Answer::default() };
        is_label(namespace).then_some(answer)
    }
}

/// Whether a namespace can have this name.
fn is_label(text: &str) -> bool {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    (1..=63).contains(&text.len()) && text.bytes().all(plain) && !text.starts_with('-') && !text.ends_with('-')
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn records() -> RecordSet {
        let service = |name: &str, spec: Value| -> Arc<Service> {
            let value = json!({"metadata": {"name": name, "namespace": "n"}, "spec": spec});
            Arc::new(serde_json::from_value(value).unwrap())
        };
        let slice: EndpointSlice = serde_json::from_value(json!({
            "metadata": {"name": "db-1", "namespace": "n", "labels": {"kubernetes.io/service-name": "db"}},
            "addressType": "IPv4", "ports": [{"name": "peer", "port": 2380, "protocol": "TCP"}],
            "endpoints": [
                {"addresses": ["10.244.0.2"], "hostname": "db-0", "conditions": {"ready": true}},
                {"addresses": ["10.244.0.3"], "hostname": "db-1", "conditions": {"ready": false}},
                {"addresses": ["10.244.0.4"], "conditions": {"ready": true}}],
        }))
        .unwrap();
        let services = [
            service("web", json!({"clusterIP": "10.96.0.5", "ports": [{"name": "http", "port": 80}]})),
            service("db", json!({"clusterIP": "None", "ports": [{"name": "peer", "port": 2380}]})),
            service("out", json!({"type": "ExternalName", "externalName": "example.org."})),
        ];
        RecordSet::build(&services, &[Arc::new(slice)], "cluster.local")
    }

    fn show(answer: Option<Answer>) -> String {
        let Some(answer) = answer else { return "NXDOMAIN".into() };
        let mut parts: Vec<String> = answer.addresses.iter().map(ToString::to_string).collect();
        parts.extend(answer.services.iter().map(|(target, ips, port)| format!("{target}:{port}@{}", ips[0])));
        parts.extend(answer.alias.map(|a| format!("={a}")));
        parts.join(" ")
    }

    #[test]
    fn names() {
        let records = records();
        for (name, expected) in [
            ("web.n", "10.96.0.5 web.n.svc.cluster.local:80@10.96.0.5"),
            ("_http._tcp.web.n", "web.n.svc.cluster.local:80@10.96.0.5"),
            ("_tcp.web.n", ""),
            ("db-0.db.n", "10.244.0.2"),
            ("db-1.db.n", "NXDOMAIN"),
            ("10-244-0-4.db.n", "10.244.0.4"),
            (
                "_peer._tcp.db.n",
                "db-0.db.n.svc.cluster.local:2380@10.244.0.2 10-244-0-4.db.n.svc.cluster.local:2380@10.244.0.4",
            ),
            ("out.n", "=example.org"),
            ("n", ""),
            ("none.n", "NXDOMAIN"),
        ] {
            assert_eq!(show(records.lookup(&format!("{name}.svc.cluster.local"))), expected, "{name}");
        }
        for (name, expected) in [
            ("10-1-2-3.n.pod.cluster.local", "10.1.2.3"),
            ("10-1-2-3.other.pod.cluster.local", "10.1.2.3"),
            ("other.pod.cluster.local", ""),
            ("10-1-2.other.pod.cluster.local", "NXDOMAIN"),
            ("10-1-2-3.a.b.pod.cluster.local", "NXDOMAIN"),
            ("cluster.local", ""),
        ] {
            assert_eq!(show(records.lookup(name)), expected, "{name}");
        }
        let reverse = |ip: &str| records.reverse.get(&ip.parse::<IpAddr>().unwrap()).cloned();
        assert_eq!(reverse("10.96.0.5").as_deref(), Some("web.n.svc.cluster.local"));
        assert_eq!(reverse("10.244.0.2").as_deref(), Some("db-0.db.n.svc.cluster.local"));
    }
}
