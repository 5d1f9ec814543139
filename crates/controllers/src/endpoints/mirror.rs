//! EndpointSlices of Endpoints that people make by hand: for Services without a selector, for readers that know slices only.

use super::{
    LAST_APPLIED, MANAGED_BY, SERVICE_NAME, TRIGGER_TIME,
    pack::{self, Action, Group, Header, Slice},
    pod, slices,
};
use crate::framework::{Context, Controller, Key, Requeue};
use async_trait::async_trait;
use coracle_api::{Resource, Result};
use coracle_client::{Change, EventType, Kind, Typed, View, ViewExt};
use k8s_openapi::api::{
    core::v1::{EndpointAddress, Endpoints, Service},
    discovery::v1::{Endpoint, EndpointConditions, EndpointPort, EndpointSlice},
};

/// Value of the label that says whose slices these are.
const CONTROLLER: &str = "endpointslicemirroring-controller.k8s.io";
/// Label of Endpoints that are not to be mirrored.
const SKIP: &str = "endpointslice.kubernetes.io/skip-mirror";
/// Endpoints with this annotation are a lock, not addresses.
const LEADER: &str = "control-plane.alpha.kubernetes.io/leader";
/// At most so many addresses of a subset are mirrored.
const PER_SUBSET: usize = 1000;

/// The EndpointSlice mirroring controller.
#[derive(Default)]
pub struct Mirror;

#[async_trait]
impl Controller for Mirror {
    fn name(&self) -> &'static str {
        "endpointslicemirroring-controller"
    }

    fn component(&self) -> &'static str {
        "endpoint-slice-mirroring-controller"
    }

    fn watches(&self) -> Vec<Resource> {
        vec![Endpoints::resource(), Service::resource(), EndpointSlice::resource()]
    }

    fn keys(&self, _view: &dyn View, change: &Change) -> Vec<Key> {
        match &*change.resource.kind {
            "EndpointSlice" => slices::slice_owner(change, CONTROLLER).into_iter().collect(),
            _ => vec![Key::from_change(change)],
        }
    }

    async fn reconcile(&self, ctx: &Context, key: &Key) -> Result<Requeue> {
        // Slices of Endpoints that have gone are collected by their owner reference.
        let Some(endpoints) = ctx.view.typed::<Endpoints>(&key.namespace, &key.name) else { return Ok(Requeue::No) };
        let existing = slices::own_slices(ctx.view.as_ref(), endpoints.uid(), CONTROLLER);
        let service = ctx.view.typed::<Service>(&key.namespace, &key.name);
        let (actions, skipped) =
            plan(&endpoints, service.as_deref(), &existing.iter().map(slices::content).collect::<Vec<_>>());
        if skipped > 0 {
            let message = format!(
                "A max of {PER_SUBSET} addresses can be mirrored to EndpointSlices per Endpoints subset. {skipped} addresses were skipped"
            );
            warn(ctx, &endpoints, "TooManyAddressesToMirror", message);
        }
        if let Err(status) = slices::apply(ctx, &endpoints, &existing, actions).await {
            if !status.is_conflict() && !crate::pods::namespace_terminating(&status) {
                let name = format!("{}/{}", key.namespace, key.name);
                let message = format!("Error updating Endpoint Slices for {name}: {status}");
                warn(ctx, &endpoints, "FailedToUpdateEndpointSlices", message);
            }
            return slices::ended(status);
        }
        Ok(Requeue::No)
    }
}

fn warn(ctx: &Context, endpoints: &Typed<Endpoints>, reason: &str, message: String) {
    ctx.events.event(&Endpoints::resource(), &endpoints.object, EventType::Warning, reason, message);
}

/// Whether Endpoints are to be mirrored.
fn is_mirrored(endpoints: &Typed<Endpoints>, service: Option<&Service>) -> bool {
    let meta = endpoints.meta();
    meta.labels.get(SKIP).is_none_or(|v| v != "true")
        && !meta.annotations.contains_key(LEADER)
        && service.is_some_and(|s| s.spec.as_ref().is_none_or(|s| s.selector.as_ref().is_none_or(|s| s.is_empty())))
}

/// What the slices should be, and how many addresses were left out.
pub(super) fn plan(
    endpoints: &Typed<Endpoints>,
    service: Option<&Service>,
    existing: &[Slice],
) -> (Vec<Action>, usize) {
    if !is_mirrored(endpoints, service) {
        return ((0..existing.len()).map(Action::Delete).collect(), 0);
    }
    let (mut groups, mut skipped) = (Vec::new(), 0);
    for subset in endpoints.subsets.iter().flatten() {
        let number = |p: &k8s_openapi::api::core::v1::EndpointPort| EndpointPort {
            name: Some(p.name.clone().unwrap_or_default()),
            port: Some(p.port),
            protocol: Some(p.protocol.clone().unwrap_or_else(|| "TCP".into())),
            app_protocol: p.app_protocol.clone(),
        };
        let mut ports: Vec<EndpointPort> = subset.ports.iter().flatten().map(number).collect();
        pod::sort(&mut ports);
        let ready = subset.addresses.iter().flatten().map(|a| (a, true));
        let all: Vec<_> = ready.chain(subset.not_ready_addresses.iter().flatten().map(|a| (a, false))).collect();
        skipped += all.len().saturating_sub(PER_SUBSET);
        for (address, ready) in all.into_iter().take(PER_SUBSET) {
            if let Some(address_type) = pod::address_type(&address.ip) {
                slices::add(&mut groups, address_type, &ports, endpoint(address, ready));
            }
        }
    }
    let types: Vec<&'static str> = ["IPv4", "IPv6"]
        .into_iter()
        .filter(|wanted| groups.iter().any(|g: &Group| g.address_type == *wanted))
        .collect();
    (pack::pack(existing, groups, &types, &header(endpoints), PER_SUBSET), skipped)
}

fn endpoint(address: &EndpointAddress, ready: bool) -> Endpoint {
    Endpoint {
        addresses: vec![address.ip.clone()],
        conditions: Some(EndpointConditions { ready: Some(ready), ..EndpointConditions::default() }),
        hostname: address.hostname.clone(),
        node_name: address.node_name.clone(),
        target_ref: address.target_ref.clone(),
        ..Endpoint::default()
    }
}

fn header(endpoints: &Typed<Endpoints>) -> Header {
    let (mut labels, mut annotations) = (endpoints.meta().labels.clone(), endpoints.meta().annotations.clone());
    labels.insert(SERVICE_NAME.into(), endpoints.name().into());
    labels.insert(MANAGED_BY.into(), CONTROLLER.into());
    annotations.remove(LAST_APPLIED);
    annotations.remove(TRIGGER_TIME);
    Header { labels, annotations: Some(annotations) }
}
