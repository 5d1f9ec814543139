//! EndpointSlices of the Services that select pods.

use super::{
    HEADLESS, MANAGED_BY, SERVICE_NAME,
    pack::{self, Action, Group, Header, Slice},
    pod,
};
use crate::{
    framework::{Context, Controller, Key, Requeue},
    members::{Members, Selector},
};
use async_trait::async_trait;
use coracle_api::{LabelSelector, Resource, Result, Status};
use coracle_client::{Change, ClientExt, EventType, Kind, Typed, View, ViewExt, typed};
use k8s_openapi::{
    api::{
        core::v1::{Node, Pod, Service},
        discovery::v1::{Endpoint, EndpointSlice},
    },
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use serde_json::json;
use std::collections::BTreeMap;

/// Value of the label that says whose slices these are.
const CONTROLLER: &str = "endpointslice-controller.k8s.io";
/// Endpoints in a slice.
pub(super) const MAX: usize = 100;
/// Label of a node.
const ZONE: &str = "topology.kubernetes.io/zone";

/// The EndpointSlice controller.
#[derive(Default)]
pub struct EndpointSlices {
    members: Members,
}

#[async_trait]
impl Controller for EndpointSlices {
    fn name(&self) -> &'static str {
        "endpointslice-controller"
    }

    fn component(&self) -> &'static str {
        "endpoint-slice-controller"
    }

    fn watches(&self) -> Vec<Resource> {
        vec![Service::resource(), Pod::resource(), Node::resource(), EndpointSlice::resource()]
    }

    fn keys(&self, view: &dyn View, change: &Change) -> Vec<Key> {
        match &*change.resource.kind {
            "Pod" if !pod::matters(change) => Vec::new(),
            "Pod" => keys(change, self.members.pod(change)),
            "Node" if zone_of(change.old.as_ref()) == zone_of(change.new.as_ref()) => Vec::new(),
            "Node" => {
                let pods = view.pods_on_node(&change.object().meta().name);
                let owners = |pod: &coracle_api::Meta| {
                    let names = self.members.owners(&pod.namespace, &pod.name);
                    names.into_iter().map(|name| Key::new(&pod.namespace, &name)).collect::<Vec<_>>()
                };
                pods.iter().flat_map(|pod| owners(pod.meta())).collect()
            }
            "Service" => {
                note_service(&self.members, view, change);
                vec![Key::from_change(change)]
            }
            _ => slice_owner(change, CONTROLLER).into_iter().collect(),
        }
    }

    async fn reconcile(&self, ctx: &Context, key: &Key) -> Result<Requeue> {
        let Some(service) = ctx.view.typed::<Service>(&key.namespace, &key.name) else { return Ok(Requeue::No) };
        if pod::selector(&service).is_none() {
            return Ok(Requeue::No);
        }
        let pods = self.members.pods(ctx.view.as_ref(), &key.namespace, &key.name);
        let existing = own_slices(ctx.view.as_ref(), service.uid(), CONTROLLER);
        let zone = |name: &str| ctx.view.get(&Node::resource(), "", name).map(|n| n.meta().labels.get(ZONE).cloned());
        let actions = plan(&service, &pods, &zone, &existing.iter().map(content).collect::<Vec<_>>());
        if let Err(status) = apply(ctx, &service, &existing, actions).await {
            if !status.is_conflict() && !crate::pods::namespace_terminating(&status) {
                let name = format!("{}/{}", key.namespace, key.name);
                let message = format!("Error updating Endpoint Slices for Service {name}: {status}");
                let reason = "FailedToUpdateEndpointSlices";
                ctx.events.event(&Service::resource(), &service.object, EventType::Warning, reason, message);
            }
            return ended(status);
        }
        Ok(Requeue::No)
    }
}

/// A namespace that goes away takes nothing new, and that is no failure.
pub(super) fn ended(status: Status) -> Result<Requeue> {
    if crate::pods::namespace_terminating(&status) { Ok(Requeue::No) } else { Err(status) }
}

/// The owners that a changed pod concerns, as keys.
pub(super) fn keys(change: &Change, names: Vec<String>) -> Vec<Key> {
    let namespace = &change.object().meta().namespace;
    names.into_iter().map(|name| Key::new(namespace, &name)).collect()
}

/// Tells an index of Services about a change of one.
pub(super) fn note_service(members: &Members, view: &dyn View, change: &Change) {
    let meta = change.object().meta();
    let service = change.new.clone().and_then(|object| Typed::<Service>::new(object).ok());
    let selected = service.as_ref().and_then(|s| pod::selector(s));
    let selector = selected.map(|labels| Selector::new(LabelSelector::from_map(labels), Some(labels)));
    members.owner(view, &meta.namespace, &meta.name, selector);
}

/// `None`: no node; else its zone, if it is in one.
fn zone_of(node: Option<&std::sync::Arc<coracle_api::Object>>) -> Option<Option<&String>> {
    node.map(|n| n.meta().labels.get(ZONE))
}

/// The key of the object that a slice of ours belongs to.
pub(super) fn slice_owner(change: &Change, controller: &str) -> Option<Key> {
    let meta = change.object().meta();
    let ours = meta.labels.get(MANAGED_BY).is_some_and(|by| by == controller);
    let owner = meta.controller().filter(|_| ours)?;
    Some(Key::new(&meta.namespace, &owner.name))
}

/// The slices that this controller has made for an owner.
pub(super) fn own_slices(view: &dyn View, owner: &str, controller: &str) -> Vec<Typed<EndpointSlice>> {
    let mut all = view.typed_owned::<EndpointSlice>(owner);
    all.retain(|s| s.meta().labels.get(MANAGED_BY).is_some_and(|by| by == controller) && !s.meta().is_deleting());
    all
}

/// A slice as a plan sees it.
pub(super) fn content(slice: &Typed<EndpointSlice>) -> Slice {
    let mut ports = slice.ports.clone().unwrap_or_default();
    pod::sort(&mut ports);
    Slice {
        address_type: slice.address_type.clone(),
        ports,
        endpoints: slice.endpoints.clone().unwrap_or_default(),
        labels: slice.meta().labels.clone(),
        annotations: Some(slice.meta().annotations.clone()),
    }
}

/// What the slices of a Service should be. `zone` says in which zone a node is, `None` if there is no such node.
pub(super) fn plan(
    service: &Typed<Service>,
    pods: &[Typed<Pod>],
    zone: &dyn Fn(&str) -> Option<Option<String>>,
    existing: &[Slice],
) -> Vec<Action> {
    let Some(spec) = &service.spec else { return Vec::new() };
    let types = pod::address_types(spec);
    let publish = spec.publish_not_ready_addresses.unwrap_or(false);
    let mut groups: Vec<Group> = Vec::new();
    for pod in pods.iter().filter(|p| pod::is_endpoint(p)) {
        // A pod on a node that has gone cannot be reached; its garbage collection comes later.
        let known = pod::node(pod).and_then(zone);
        if known.is_none() && !publish {
            continue;
        }
        let ports = pod::ports(pod, spec);
        for address_type in &types {
            let addresses = pod::addresses(pod, address_type);
            if addresses.is_empty() {
                continue;
            }
            add(&mut groups, address_type, &ports, pod::endpoint(pod, service, addresses, known.clone().flatten()));
        }
    }
    pack::pack(existing, groups, &types, &Header { labels: labels(service), annotations: None }, MAX)
}

/// Puts an endpoint to those with the same ports.
pub(super) fn add(
    groups: &mut Vec<Group>,
    address_type: &str,
    ports: &[k8s_openapi::api::discovery::v1::EndpointPort],
    endpoint: Endpoint,
) {
    match groups.iter_mut().find(|g| g.address_type == address_type && g.ports == ports) {
        Some(group) => group.endpoints.push(endpoint),
        None => groups.push(Group {
            address_type: address_type.to_string(),
            ports: ports.to_vec(),
            endpoints: vec![endpoint],
        }),
    }
}

/// A Service's labels are its slices' labels.
fn labels(service: &Typed<Service>) -> BTreeMap<String, String> {
    let mut labels = service.meta().labels.clone();
    labels.remove(HEADLESS);
    if service.spec.as_ref().is_some_and(pod::is_headless) {
        labels.insert(HEADLESS.into(), String::new());
    }
    labels.insert(SERVICE_NAME.into(), service.name().into());
    labels.insert(MANAGED_BY.into(), CONTROLLER.into());
    labels
}

/// Writes a plan for the slices of `owner`.
pub(super) async fn apply<K: Kind>(
    ctx: &Context,
    owner: &Typed<K>,
    existing: &[Typed<EndpointSlice>],
    actions: Vec<Action>,
) -> Result<()> {
    for action in actions {
        match action {
            Action::Create(slice) => {
                ctx.client.create_typed(&new(owner, slice)).await?;
            }
            Action::Update(place, slice) => {
                let written = ctx.client.update_with(&existing[place], |value| {
                    value["endpoints"] = json!(slice.endpoints);
                    value["ports"] = json!(slice.ports);
                    value["metadata"]["labels"] = json!(slice.labels);
                    if let Some(annotations) = &slice.annotations {
                        value["metadata"]["annotations"] = json!(annotations);
                    }
                });
                written.await?;
            }
            Action::Delete(place) => ctx.client.delete_typed(&existing[place], None).await?,
        }
    }
    Ok(())
}

fn new<K: Kind>(owner: &Typed<K>, slice: Slice) -> EndpointSlice {
    EndpointSlice {
        metadata: ObjectMeta {
            generate_name: Some(format!("{}-", owner.name())),
            namespace: Some(owner.meta().namespace.clone()),
            labels: Some(slice.labels),
            annotations: slice.annotations,
            owner_references: Some(vec![typed::controller_reference(owner)]),
            ..ObjectMeta::default()
        },
        address_type: slice.address_type,
        endpoints: Some(slice.endpoints),
        ports: Some(slice.ports),
    }
}
