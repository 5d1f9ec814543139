//! Addresses and node ports of Services: claimed in the same commit that writes the Service, so that no two ever share one.
//!
//! A claim is a key of its own with the precondition "absent": an `IPAddress` object for a cluster IP (as upstream's), an
//! internal record for a node port.

use super::Target;
use crate::storage::{self, Kept, Snapshot};
use coracle_api::{Draft, FieldError, Result, Status};
use coracle_store::{Expect, Key, Op};
use jiff::Timestamp;
use rand::Rng;
use serde_json::{Value, json};
use std::net::Ipv4Addr;

/// A range of IPv4 addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cidr {
    /// The network address.
    pub base: Ipv4Addr,
    /// The prefix length.
    pub bits: u8,
}

impl Cidr {
    /// `10.96.0.0/16`.
    pub fn parse(text: &str) -> Option<Self> {
        let (base, bits) = text.split_once('/')?;
        let (base, bits): (Ipv4Addr, u8) = (base.parse().ok()?, bits.parse().ok()?);
        (bits <= 30)
            .then(|| Self { base: Ipv4Addr::from(u32::from(base) & (u32::MAX << (32 - u32::from(bits)))), bits })
    }

    fn size(self) -> u32 {
        1 << (32 - u32::from(self.bits))
    }

    /// The address at an offset.
    pub fn nth(self, offset: u32) -> Ipv4Addr {
        Ipv4Addr::from(u32::from(self.base) + offset)
    }

    fn contains(self, address: Ipv4Addr) -> bool {
        let offset = u32::from(address).wrapping_sub(u32::from(self.base));
        offset > 0 && offset < self.size() - 1
    }
}

impl std::fmt::Display for Cidr {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.base, self.bits)
    }
}

/// The ranges to allocate from.
#[derive(Clone, Debug)]
pub struct Allocator {
    /// Cluster IPs.
    pub services: Cidr,
    /// Node ports, both ends included.
    pub node_ports: (u16, u16),
}

/// Something that one Service at a time may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Claim {
    Address(Ipv4Addr),
    Port(u16),
}

impl Claim {
    fn key(self) -> Key {
        match self {
            Self::Address(ip) => storage::key("networking.k8s.io", "ipaddresses", "", &ip.to_string()),
            Self::Port(port) => storage::key("internal.coracle.dev", "nodeports", "", &port.to_string()),
        }
    }

    fn record(self, namespace: &str, name: &str, now: Timestamp) -> Value {
        let metadata = |name: String| json!({"name": name, "creationTimestamp": now.to_string(), "uid": uuid::Uuid::new_v4().to_string()});
        match self {
            Self::Address(ip) => {
                let mut metadata = metadata(ip.to_string());
                metadata["labels"] = json!({
                    "ipaddress.kubernetes.io/ip-family": "IPv4",
                    "ipaddress.kubernetes.io/managed-by": "ipallocator.k8s.io",
                });
                let parent = json!({"group": "", "resource": "services", "namespace": namespace, "name": name});
                json!({
                    "apiVersion": "networking.k8s.io/v1", "kind": "IPAddress", "metadata": metadata,
                    "spec": {"parentRef": parent},
                })
            }
            Self::Port(port) => {
                json!({"metadata": metadata(port.to_string()), "service": format!("{namespace}/{name}")})
            }
        }
    }
}

/// What a write takes and gives back.
#[derive(Debug, Default, PartialEq)]
struct Claims {
    take: Vec<Claim>,
    release: Vec<Claim>,
}

impl Allocator {
    /// Whether objects of this kind get something.
    pub fn serves(target: Target<'_>) -> bool {
        is_service(target)
    }

    /// Gives a new Service what it lacks; the operations to commit with it.
    ///
    /// # Errors
    /// 422 when what it asks for is taken or out of range, 500 when nothing is left.
    pub fn create(&self, snapshot: &Snapshot, target: Target<'_>, object: &mut Value) -> Result<Vec<Op<Kept>>> {
        if !is_service(target) {
            return Ok(Vec::new());
        }
        self.operations(snapshot, target, None, object)
    }

    /// Gives an updated Service what it lacks and takes back what it no longer needs.
    ///
    /// # Errors
    /// As [`Allocator::create`].
    pub fn update(
        &self,
        snapshot: &Snapshot,
        target: Target<'_>,
        old: &Value,
        new: &mut Value,
    ) -> Result<Vec<Op<Kept>>> {
        if !is_service(target) || !target.subresource.is_empty() {
            return Ok(Vec::new());
        }
        carry_over(old, new);
        self.operations(snapshot, target, Some(old), new)
    }

    /// What a deleted Service gives back.
    pub fn release(&self, target: Target<'_>, object: &Value) -> Vec<Op<Kept>> {
        if !is_service(target) {
            return Vec::new();
        }
        held(object).into_iter().map(|claim| Op::Delete { key: claim.key(), expect: Expect::Any }).collect()
    }

    fn operations(
        &self,
        snapshot: &Snapshot,
        target: Target<'_>,
        old: Option<&Value>,
        new: &mut Value,
    ) -> Result<Vec<Op<Kept>>> {
        let taken = |claim: Claim| snapshot.get(&claim.key()).is_some();
        let claims = self
            .plan(old, new, &taken)
            .map_err(|error| Status::invalid(&target.served.resource, target.name, &[error]))?;
        let now = Timestamp::now();
        let mut ops = Vec::new();
        for claim in claims.take {
            let draft = Draft::new(&claim.record(target.namespace, target.name, now))?;
            ops.push(Op::Put { key: claim.key(), expect: Expect::Absent, draft });
        }
        for claim in claims.release {
            ops.push(Op::Delete { key: claim.key(), expect: Expect::Any });
        }
        Ok(ops)
    }

    fn plan(&self, old: Option<&Value>, new: &mut Value, taken: &dyn Fn(Claim) -> bool) -> Result<Claims, FieldError> {
        let had = old.map(held).unwrap_or_default();
        self.address(new, &had, taken)?;
        let mut fresh: Vec<u16> = Vec::new();
        if wants_ports(new) {
            self.ports(new, &had, taken, &mut fresh)?;
        } else if let Some(old) = old {
            drop_ports(old, new);
        }
        if wants_health_port(new) {
            let port = &mut new["spec"]["healthCheckNodePort"];
            self.port("spec.healthCheckNodePort", port, &had, taken, &mut fresh)?;
        }
        let has = held(new);
        let mut take: Vec<Claim> = Vec::new();
        for claim in &has {
            if !had.contains(claim) && !take.contains(claim) {
                take.push(*claim);
            }
        }
        let release = had.into_iter().filter(|claim| !has.contains(claim)).collect();
        Ok(Claims { take, release })
    }

    fn address(&self, new: &mut Value, had: &[Claim], taken: &dyn Fn(Claim) -> bool) -> Result<(), FieldError> {
        let spec = &mut new["spec"];
        if spec["type"] == "ExternalName" {
            return Ok(());
        }
        one_family(spec)?;
        let asked = spec["clusterIP"].as_str().filter(|ip| !ip.is_empty()).or(spec["clusterIPs"][0].as_str());
        let address = match asked {
            Some("None") => "None".to_string(),
            Some(text) => {
                let wrong = |why: String| FieldError::invalid("spec.clusterIPs", json!([text]), why);
                let Ok(ip) = text.parse::<Ipv4Addr>() else {
                    return Err(wrong("must be a valid IPv4 address, (e.g. 10.9.8.7)".into()));
                };
                if !had.contains(&Claim::Address(ip)) {
                    if !self.services.contains(ip) {
                        return Err(wrong(format!(
                            "failed to allocate IP {ip}: the provided IP ({ip}) is not in the valid range. The range of valid IPs is {}",
                            self.services
                        )));
                    }
                    if taken(Claim::Address(ip)) {
                        return Err(wrong(format!("failed to allocate IP {ip}: provided IP is already allocated")));
                    }
                }
                text.to_string()
            }
            None => self.free_address(taken)?.to_string(),
        };
        spec["clusterIPs"] = json!([address]);
        spec["clusterIP"] = json!(address);
        if spec["ipFamilies"].as_array().is_none_or(Vec::is_empty) {
            spec["ipFamilies"] = json!(["IPv4"]);
        }
        if spec["ipFamilyPolicy"].is_null() {
            spec["ipFamilyPolicy"] = json!("SingleStack");
        }
        Ok(())
    }

    /// A free address, from the upper part of the range while there is one: the lower part is for those who ask for a fixed one.
    fn free_address(&self, taken: &dyn Fn(Claim) -> bool) -> Result<Ipv4Addr, FieldError> {
        let size = self.services.size();
        let reserved = (size / 16).clamp(16, 256).min(size / 2);
        let free = |offset: u32| !taken(Claim::Address(self.services.nth(offset)));
        pick(reserved..size - 1, &free)
            .or_else(|| pick(1..reserved, &free))
            .map(|offset| self.services.nth(offset))
            .ok_or_else(|| {
                FieldError::invalid("spec.clusterIPs", json!([]), "failed to allocate a serviceIP: range is full")
            })
    }

    fn ports(
        &self,
        new: &mut Value,
        had: &[Claim],
        taken: &dyn Fn(Claim) -> bool,
        fresh: &mut Vec<u16>,
    ) -> Result<(), FieldError> {
        for (i, port) in ports_mut(new).enumerate() {
            self.port(&format!("spec.ports[{i}].nodePort"), &mut port["nodePort"], had, taken, fresh)?;
        }
        Ok(())
    }

    /// One port of the nodes: the one that is asked for, or a free one.
    fn port(
        &self,
        path: &str,
        port: &mut Value,
        had: &[Claim],
        taken: &dyn Fn(Claim) -> bool,
        fresh: &mut Vec<u16>,
    ) -> Result<(), FieldError> {
        let (low, high) = self.node_ports;
        match port.as_u64().unwrap_or(0) {
            0 => {
                let free = |n: u32| u16::try_from(n).is_ok_and(|n| !taken(Claim::Port(n)) && !fresh.contains(&n));
                let found = pick(u32::from(low)..u32::from(high) + 1, &free).and_then(|n| u16::try_from(n).ok());
                let full = || FieldError::invalid(path, 0, "failed to allocate a nodePort: range is full");
                let found = found.ok_or_else(full)?;
                fresh.push(found);
                *port = json!(found);
            }
            asked => {
                let wrong = |why: String| Err(FieldError::invalid(path, asked, why));
                let number = u16::try_from(asked).unwrap_or(0);
                if had.contains(&Claim::Port(number)) || fresh.contains(&number) {
                    return Ok(());
                }
                if number < low || number > high {
                    return wrong(format!(
                        "provided port is not in the valid range. The range of valid ports is {low}-{high}"
                    ));
                }
                if taken(Claim::Port(number)) {
                    return wrong("provided port is already allocated".into());
                }
                fresh.push(number);
            }
        }
        Ok(())
    }
}

/// Addresses are of one family. Who writes the endpoints of a headless Service themselves may have them in both.
fn one_family(spec: &Value) -> Result<(), FieldError> {
    let selects = spec["selector"].as_object().is_some_and(|s| !s.is_empty());
    if spec["clusterIP"] == "None" && !selects {
        return Ok(());
    }
    if spec["ipFamilyPolicy"] == "RequireDualStack" {
        let why = "this cluster is not configured for dual-stack services";
        return Err(FieldError::invalid("spec.ipFamilyPolicy", "RequireDualStack", why));
    }
    let mut families = spec["ipFamilies"].as_array().into_iter().flatten().enumerate();
    if let Some((index, family)) = families.find(|(_, family)| *family == "IPv6") {
        let why = "not configured on this cluster";
        return Err(FieldError::invalid(format!("spec.ipFamilies[{index}]"), family.clone(), why));
    }
    Ok(())
}

fn is_service(target: Target<'_>) -> bool {
    target.served.bucket == "/services/"
}

/// A free number of the range: a few random tries, then the first one from a random place on.
fn pick(range: std::ops::Range<u32>, free: &dyn Fn(u32) -> bool) -> Option<u32> {
    if range.is_empty() {
        return None;
    }
    let mut rng = rand::rng();
    for _ in 0..8 {
        let n = rng.random_range(range.clone());
        if free(n) {
            return Some(n);
        }
    }
    let start = rng.random_range(range.clone());
    (start..range.end).chain(range.start..start).find(|n| free(*n))
}

fn wants_ports(service: &Value) -> bool {
    match service["spec"]["type"].as_str() {
        Some("NodePort") => true,
        Some("LoadBalancer") => service["spec"]["allocateLoadBalancerNodePorts"].as_bool().unwrap_or(true),
        _ => false,
    }
}

/// Whether a load balancer must ask each node if it has a pod of the Service.
fn wants_health_port(service: &Value) -> bool {
    service["spec"]["type"] == "LoadBalancer" && service["spec"]["externalTrafficPolicy"] == "Local"
}

/// What a Service has.
fn held(service: &Value) -> Vec<Claim> {
    let spec = &service["spec"];
    let addresses = spec["clusterIPs"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let addresses = addresses.filter_map(|ip| ip.parse().ok()).map(Claim::Address);
    let ports = spec["ports"].as_array().into_iter().flatten().filter_map(|p| p["nodePort"].as_u64());
    let ports = ports.chain(spec["healthCheckNodePort"].as_u64());
    let ports = ports.filter_map(|p| u16::try_from(p).ok()).filter(|p| *p > 0).map(Claim::Port);
    addresses.chain(ports).collect()
}

/// What was allocated stays when an update leaves it out (upstream's `patchAllocatedValues`).
fn carry_over(old: &Value, new: &mut Value) {
    let kind = |service: &Value| service["spec"]["type"].as_str().unwrap_or("ClusterIP").to_string();
    if kind(new) == "ExternalName" {
        return;
    }
    let empty = |v: &Value| v.as_str().is_none_or(str::is_empty);
    if kind(old) != "ExternalName" {
        if empty(&new["spec"]["clusterIP"]) && empty(&new["spec"]["clusterIPs"][0]) {
            for field in ["clusterIP", "clusterIPs"] {
                if let Some(value) = old["spec"].get(field) {
                    new["spec"][field] = value.clone();
                }
            }
        }
        for field in ["ipFamilies", "ipFamilyPolicy"] {
            if new["spec"][field].is_null()
                && let Some(value) = old["spec"].get(field)
            {
                new["spec"][field] = value.clone();
            }
        }
    }
    if wants_ports(old) && wants_ports(new) {
        let before = old["spec"]["ports"].as_array().cloned().unwrap_or_default();
        let used: Vec<u64> = ports_of(new);
        for port in ports_mut(new) {
            let same = |b: &&Value| b["port"] == port["port"] && b["protocol"] == port["protocol"];
            if port["nodePort"].as_u64().unwrap_or(0) == 0
                && let Some(number) = before.iter().find(same).and_then(|b| b["nodePort"].as_u64())
                && !used.contains(&number)
            {
                port["nodePort"] = json!(number);
            }
        }
    }
}

/// The ports, which need not be there. (An index would put a null where nothing is.)
fn ports_mut(service: &mut Value) -> impl Iterator<Item = &mut Value> {
    service.pointer_mut("/spec/ports").and_then(Value::as_array_mut).into_iter().flatten()
}

fn ports_of(service: &Value) -> Vec<u64> {
    service["spec"]["ports"].as_array().into_iter().flatten().filter_map(|p| p["nodePort"].as_u64()).collect()
}

/// Node ports that were only there because of the former type.
fn drop_ports(old: &Value, new: &mut Value) {
    let before = ports_of(old);
    for port in ports_mut(new) {
        if port["nodePort"].as_u64().is_some_and(|n| before.contains(&n))
            && let Some(port) = port.as_object_mut()
        {
            port.remove("nodePort");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allocator() -> Allocator {
        Allocator { services: Cidr::parse("10.96.0.0/24").unwrap(), node_ports: (30000, 30001) }
    }

    #[test]
    fn services_get_what_they_lack() {
        let ip = |n| Claim::Address(Ipv4Addr::new(10, 96, 0, n));
        let port = |n, node: u16| {
            if node == 0 {
                json!({"port": n, "protocol": "TCP"})
            } else {
                json!({"port": n, "protocol": "TCP", "nodePort": node})
            }
        };
        for (name, old, new, taken, expected) in [
            ("fixed", None, json!({"clusterIP": "10.96.0.10"}), vec![], "take [Address(10.96.0.10)] release []"),
            (
                "fixed, taken",
                None,
                json!({"clusterIP": "10.96.0.10"}),
                vec![ip(10)],
                "spec.clusterIPs: Invalid value: [\"10.96.0.10\"]: failed to allocate IP 10.96.0.10: provided IP is already allocated",
            ),
            ("headless", None, json!({"clusterIP": "None"}), vec![], "take [] release []"),
            ("external", None, json!({"type": "ExternalName"}), vec![], "take [] release []"),
            (
                "node port",
                None,
                json!({"clusterIP": "None", "type": "NodePort", "ports": [port(80, 0)]}),
                vec![Claim::Port(30000)],
                "take [Port(30001)] release []",
            ),
            (
                "node port out of range",
                None,
                json!({"clusterIP": "None", "type": "NodePort", "ports": [port(80, 80)]}),
                vec![],
                "spec.ports[0].nodePort: Invalid value: 80: provided port is not in the valid range. The range of valid ports is 30000-30001",
            ),
            (
                "kept",
                Some(
                    json!({"type": "NodePort", "clusterIP": "10.96.0.10", "clusterIPs": ["10.96.0.10"], "ports": [port(80, 30000)]}),
                ),
                json!({"type": "NodePort", "ports": [port(80, 0)]}),
                vec![ip(10), Claim::Port(30000)],
                "take [] release []",
            ),
            (
                "no longer a node port",
                Some(
                    json!({"type": "NodePort", "clusterIP": "10.96.0.10", "clusterIPs": ["10.96.0.10"], "ports": [port(80, 30000)]}),
                ),
                json!({"type": "ClusterIP", "ports": [port(80, 30000)]}),
                vec![ip(10), Claim::Port(30000)],
                "take [] release [Port(30000)]",
            ),
            (
                "turned external",
                Some(json!({"type": "ClusterIP", "clusterIP": "10.96.0.10", "clusterIPs": ["10.96.0.10"]})),
                json!({"type": "ExternalName"}),
                vec![ip(10)],
                "take [] release [Address(10.96.0.10)]",
            ),
            (
                "asked for its health",
                None,
                json!({"type": "LoadBalancer", "clusterIP": "None", "externalTrafficPolicy": "Local"}),
                vec![Claim::Port(30000)],
                "take [Port(30001)] release []",
            ),
        ] {
            let old = old.map(|spec: Value| json!({"spec": spec}));
            let mut new = json!({"spec": new});
            if let Some(old) = &old {
                carry_over(old, &mut new);
            }
            let got = match allocator().plan(old.as_ref(), &mut new, &|c| taken.contains(&c)) {
                Ok(claims) => format!("take {:?} release {:?}", claims.take, claims.release),
                Err(error) => error.to_string(),
            };
            assert_eq!(got, expected, "{name}");
        }
    }
}
