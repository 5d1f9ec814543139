//! Endpoints: the older form of a Service's addresses, one object for all of them. Still read by many.

use super::{
    HEADLESS,
    pod::{self},
    slices::{ended, keys, note_service},
};
use crate::{
    framework::{Context, Controller, Key, Requeue},
    members::Members,
    pods,
};
use async_trait::async_trait;
use coracle_api::{Resource, Result};
use coracle_client::{Change, ClientExt, EventType, Kind, Typed, View, ViewExt};
use k8s_openapi::{
    api::core::v1::{EndpointAddress, EndpointPort, EndpointSubset, Endpoints, Pod, Service, ServiceSpec},
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use serde_json::json;
use std::collections::BTreeMap;

/// Label that says whose these Endpoints are …
const MANAGED_BY: &str = "endpoints.kubernetes.io/managed-by";
/// … and its value.
const CONTROLLER: &str = "endpoint-controller";
/// Annotation of a list that had to be cut …
const OVER_CAPACITY: &str = "endpoints.kubernetes.io/over-capacity";
/// … after so many addresses.
const CAPACITY: usize = 1000;

/// The Endpoints controller.
#[derive(Default)]
pub struct EndpointLists {
    members: Members,
}

#[async_trait]
impl Controller for EndpointLists {
    fn name(&self) -> &'static str {
        "endpoint-controller"
    }

    fn watches(&self) -> Vec<Resource> {
        vec![Service::resource(), Pod::resource(), Endpoints::resource()]
    }

    fn keys(&self, view: &dyn View, change: &Change) -> Vec<Key> {
        match &*change.resource.kind {
            "Pod" if !pod::matters(change) => Vec::new(),
            "Pod" => keys(change, self.members.pod(change)),
            "Service" => {
                note_service(&self.members, view, change);
                vec![Key::from_change(change)]
            }
            // what others make for Services without a selector is theirs
            _ if is_ours(change) => vec![Key::from_change(change)],
            _ => Vec::new(),
        }
    }

    async fn reconcile(&self, ctx: &Context, key: &Key) -> Result<Requeue> {
        let current = ctx.view.typed::<Endpoints>(&key.namespace, &key.name);
        let Some(service) = ctx.view.typed::<Service>(&key.namespace, &key.name) else {
            if let Some(orphan) = current {
                ctx.client.delete_typed(&orphan, None).await?;
            }
            return Ok(Requeue::No);
        };
        if pod::selector(&service).is_none() {
            return Ok(Requeue::No);
        }
        let pods = self.members.pods(ctx.view.as_ref(), &key.namespace, &key.name);
        let Some(wanted) = plan(&service, &pods, current.as_ref()) else { return Ok(Requeue::No) };
        let (written, verb) = match &current {
            None => (ctx.client.create_typed(&wanted).await, "create endpoint for service"),
            Some(current) => {
                let change = |value: &mut serde_json::Value| {
                    value["subsets"] = json!(wanted.subsets);
                    value["metadata"]["labels"] = json!(wanted.metadata.labels);
                    value["metadata"]["annotations"] = json!(wanted.metadata.annotations);
                };
                (ctx.client.update_with(current, change).await, "update endpoint")
            }
        };
        if let Err(status) = written {
            if !status.is_conflict() && !status.is_already_exists() && !pods::namespace_terminating(&status) {
                let reason = if current.is_none() { "FailedToCreateEndpoint" } else { "FailedToUpdateEndpoint" };
                let message = format!("Failed to {verb} {}/{}: {status}", key.namespace, key.name);
                ctx.events.event(&Service::resource(), &service.object, EventType::Warning, reason, message);
            }
            return ended(status);
        }
        Ok(Requeue::No)
    }
}

fn is_ours(change: &Change) -> bool {
    change.object().meta().labels.get(MANAGED_BY).is_some_and(|by| by == CONTROLLER)
}

/// The Endpoints of a Service, if they differ from the current ones.
pub(super) fn plan(
    service: &Typed<Service>,
    pods: &[Typed<Pod>],
    current: Option<&Typed<Endpoints>>,
) -> Option<Endpoints> {
    let spec = service.spec.as_ref()?;
    let (subsets, truncated) = truncate(repack(addresses(service, spec, pods)));
    let mut labels = service.meta().labels.clone();
    labels.remove(HEADLESS);
    labels.insert(MANAGED_BY.into(), CONTROLLER.into());
    if pod::is_headless(spec) {
        labels.insert(HEADLESS.into(), String::new());
    }
    let mut annotations = current.map(|c| c.meta().annotations.clone()).unwrap_or_default();
    match truncated {
        true => annotations.insert(OVER_CAPACITY.into(), "truncated".into()),
        false => annotations.remove(OVER_CAPACITY),
    };
    let same = current.is_some_and(|c| {
        let found = c.subsets.clone().unwrap_or_default();
        found == subsets && c.meta().labels == labels && c.meta().annotations == annotations
    });
    if same {
        return None;
    }
    Some(Endpoints {
        metadata: ObjectMeta {
            name: Some(service.name().into()),
            namespace: Some(service.meta().namespace.clone()),
            labels: Some(labels),
            annotations: Some(annotations),
            ..ObjectMeta::default()
        },
        subsets: Some(subsets),
    })
}

/// One address with its ports.
struct Address {
    address: EndpointAddress,
    ready: bool,
    ports: Vec<EndpointPort>,
}

fn addresses(service: &Typed<Service>, spec: &ServiceSpec, pods: &[Typed<Pod>]) -> Vec<Address> {
    let publish = spec.publish_not_ready_addresses.unwrap_or(false);
    let family = pod::address_types(spec)[0];
    let counted = pods.iter().filter(|p| pod::is_endpoint(p) && (publish || !p.meta().is_deleting()));
    let addresses = counted.filter_map(|pod| {
        let ip = pod::addresses(pod, family).into_iter().next()?;
        let address = EndpointAddress {
            ip,
            hostname: pod::hostname(pod, service),
            node_name: pod::node(pod).map(str::to_string),
            target_ref: Some(pod::target(pod)),
        };
        let ports = ports(pod, spec);
        // without ports only a headless Service has something to say
        let listed = !ports.is_empty() || (spec.ports.iter().flatten().next().is_none() && pod::is_headless(spec));
        listed.then(|| Address { address, ready: publish || pods::is_ready(pod), ports })
    });
    addresses.collect()
}

fn ports(pod: &Pod, spec: &ServiceSpec) -> Vec<EndpointPort> {
    let mut ports: Vec<EndpointPort> = Vec::new();
    for port in spec.ports.iter().flatten() {
        if let Some(number) = pod::number(pod, port) {
            ports.push(EndpointPort {
                name: port.name.clone().filter(|name| !name.is_empty()),
                port: number,
                protocol: Some(port.protocol.clone().unwrap_or_else(|| "TCP".into())),
                app_protocol: port.app_protocol.clone(),
            });
        }
    }
    ports.sort_by(|a, b| (&a.name, a.port, &a.protocol).cmp(&(&b.name, b.port, &b.protocol)));
    ports
}

/// Addresses that have the same ports make a subset.
fn repack(addresses: Vec<Address>) -> Vec<EndpointSubset> {
    let mut subsets: BTreeMap<String, EndpointSubset> = BTreeMap::new();
    for one in addresses {
        let subset = subsets.entry(json!(one.ports).to_string()).or_insert_with(|| EndpointSubset {
            ports: Some(one.ports).filter(|ports| !ports.is_empty()),
            ..EndpointSubset::default()
        });
        let list = if one.ready { &mut subset.addresses } else { &mut subset.not_ready_addresses };
        list.get_or_insert_default().push(one.address);
    }
    let order = |list: &mut Option<Vec<EndpointAddress>>| {
        let key = |a: &EndpointAddress| (a.ip.parse::<std::net::IpAddr>().ok(), a.ip.clone());
        list.iter_mut().for_each(|list| list.sort_by_key(key));
    };
    for subset in subsets.values_mut() {
        order(&mut subset.addresses);
        order(&mut subset.not_ready_addresses);
    }
    subsets.into_values().collect()
}

/// Cuts what is too much, addresses that are not ready first.
fn truncate(mut subsets: Vec<EndpointSubset>) -> (Vec<EndpointSubset>, bool) {
    let mut room = CAPACITY;
    let mut truncated = false;
    let mut cut = |list: &mut Option<Vec<EndpointAddress>>| {
        if let Some(all) = list {
            truncated |= all.len() > room;
            all.truncate(room);
            room -= all.len();
        }
        if list.as_ref().is_some_and(Vec::is_empty) {
            *list = None;
        }
    };
    subsets.iter_mut().for_each(|s| cut(&mut s.addresses));
    subsets.iter_mut().for_each(|s| cut(&mut s.not_ready_addresses));
    subsets.retain(|s| s.addresses.is_some() || s.not_ready_addresses.is_some());
    (subsets, truncated)
}
