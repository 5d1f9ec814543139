//! The objects by which the cluster reaches itself: the `kubernetes` Service and its endpoints, the DNS Service, the range of Service
//! addresses.

use crate::registry::allocate::Cidr;
use coracle_api::{Resource, Result, WriteOptions};
use coracle_client::{Client, View};
use serde_json::{Value, json};
use std::net::IpAddr;

const SERVICES: Resource = Resource::fixed("", "v1", "services", "Service", true);
const ENDPOINTS: Resource = Resource::fixed("", "v1", "endpoints", "Endpoints", true);
const SLICES: Resource = Resource::fixed("discovery.k8s.io", "v1", "endpointslices", "EndpointSlice", true);
const RANGES: Resource = Resource::fixed("networking.k8s.io", "v1", "servicecidrs", "ServiceCIDR", false);

/// Writes what is missing or different. Without an address at which others reach this server there are no endpoints.
///
/// # Errors
/// The first write that failed.
pub async fn apply(
    view: &dyn View,
    client: &dyn Client,
    services: Cidr,
    advertise: Option<IpAddr>,
    port: u16,
) -> Result<()> {
    let endpoints = advertise.map(|advertise| endpoints(advertise, port));
    for (resource, wanted) in wanted(services, port).into_iter().chain(endpoints.into_iter().flatten()) {
        let name = wanted["metadata"]["name"].as_str().unwrap_or_default().to_string();
        let namespace = wanted["metadata"]["namespace"].as_str().unwrap_or_default().to_string();
        let options = WriteOptions::default();
        match view.get(&resource, &namespace, &name) {
            None => drop(client.create(&resource, &namespace, wanted, &options).await?),
            Some(found) => {
                let mut value = found.value();
                if merge(&mut value, &wanted) {
                    client.update(&resource, &namespace, &name, "", value, &options).await?;
                }
            }
        }
    }
    Ok(())
}

fn wanted(services: Cidr, port: u16) -> [(Resource, Value); 3] {
    let service = json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": {
            "name": "kubernetes", "namespace": "default",
            "labels": {"component": "apiserver", "provider": "kubernetes"},
        },
        "spec": {
            "type": "ClusterIP", "clusterIP": services.nth(1).to_string(), "sessionAffinity": "None",
            "ports": [{"name": "https", "port": 443, "protocol": "TCP", "targetPort": port}],
        },
    });
    // without a selector: every node answers DNS itself, on this address
    let dns = json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": {
            "name": "kube-dns", "namespace": "kube-system",
            "labels": {"k8s-app": "kube-dns", "kubernetes.io/name": "CoreDNS", "kubernetes.io/cluster-service": "true"},
        },
        "spec": {
            "type": "ClusterIP", "clusterIP": services.nth(10).to_string(),
            "ports": [
                {"name": "dns", "port": 53, "protocol": "UDP", "targetPort": 53},
                {"name": "dns-tcp", "port": 53, "protocol": "TCP", "targetPort": 53},
            ],
        },
    });
    let range = json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "ServiceCIDR", "metadata": {"name": "kubernetes"},
        "spec": {"cidrs": [services.to_string()]},
    });
    [(RANGES, range), (SERVICES, service), (SERVICES, dns)]
}

fn endpoints(advertise: IpAddr, port: u16) -> [(Resource, Value); 2] {
    let family = if advertise.is_ipv4() { "IPv4" } else { "IPv6" };
    let endpoints = json!({
        "apiVersion": "v1", "kind": "Endpoints",
        "metadata": {
            "name": "kubernetes", "namespace": "default",
            "labels": {"endpointslice.kubernetes.io/skip-mirror": "true"},
        },
        "subsets": [{
            "addresses": [{"ip": advertise.to_string()}],
            "ports": [{"name": "https", "port": port, "protocol": "TCP"}],
        }],
    });
    let slice = json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
        "metadata": {
            "name": "kubernetes", "namespace": "default", "labels": {"kubernetes.io/service-name": "kubernetes"},
        },
        "addressType": family,
        "endpoints": [{"addresses": [advertise.to_string()], "conditions": {"ready": true}}],
        "ports": [{"name": "https", "port": port, "protocol": "TCP"}],
    });
    [(ENDPOINTS, endpoints), (SLICES, slice)]
}

/// Puts what is wanted into what there is, lists as a whole; whether that changed anything.
fn merge(value: &mut Value, wanted: &Value) -> bool {
    match (value, wanted) {
        (Value::Object(value), Value::Object(wanted)) => wanted.iter().fold(false, |changed, (key, wanted)| {
            merge(value.entry(key.clone()).or_insert(Value::Null), wanted) || changed
        }),
        (value, wanted) if covers(value, wanted) => false,
        (value, wanted) => {
            *value = wanted.clone();
            true
        }
    }
}

/// Whether `value` has everything that `wanted` says (defaults may have been added).
pub(crate) fn covers(value: &Value, wanted: &Value) -> bool {
    match (value, wanted) {
        (Value::Object(value), Value::Object(wanted)) => {
            wanted.iter().all(|(key, wanted)| value.get(key).is_some_and(|v| covers(v, wanted)))
        }
        (Value::Array(value), Value::Array(wanted)) => {
            value.len() == wanted.len() && value.iter().zip(wanted).all(|(v, w)| covers(v, w))
        }
        (value, wanted) => value == wanted,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_there_already_is_not_written() {
        let cidr = Cidr::parse("10.96.0.0/16").unwrap();
        let before = endpoints("10.0.0.1".parse().unwrap(), 6443);
        for (_, object) in wanted(cidr, 6443).iter().chain(&before) {
            let mut there = object.clone();
            there["metadata"]["uid"] = json!("u");
            assert!(!merge(&mut there, object), "{object}");
        }
        let after = endpoints("10.0.0.2".parse().unwrap(), 6443);
        let mut slice = before[1].1.clone();
        assert!(merge(&mut slice, &after[1].1));
        assert_eq!(slice["endpoints"][0]["addresses"][0], "10.0.0.2");
    }
}
