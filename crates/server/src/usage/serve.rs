//! Requests for what nodes and pods use, as metrics-server answers them.

use super::{PodName, Used};
use crate::{
    answer,
    app::{App, Ask},
    catalog::Served,
    http::body::Body,
    options,
    registry::Target,
    watch::Selection,
};
use coracle_api::{Meta, Object, Quantity, Resource, Result, Status, quantity::Format};
use coracle_client::View;
use http::Response;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::{
    api::core::v1::{Node, Pod},
    apimachinery::pkg::apis::meta::v1::Time,
};
use serde_json::{Value, json};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// Answers a request for one or many.
///
/// # Errors
/// 404 for what is not there or not yet measured, 405 for other verbs, 400 for options that do not go together.
pub async fn serve(app: &App, ask: &Ask, target: Target<'_>) -> Result<Response<Body>> {
    let accepted = answer::accepted(ask, target.served)?;
    match ask.info.verb.as_str() {
        "get" => answer::object(ask, accepted, 200, target.served, &get(app, target).await?),
        "list" => {
            let want = options::list(target.served, &ask.query)?;
            let found = list(app, target, &want.selection).await?;
            answer::list(ask, accepted, target.served, &json!({}), &found)
        }
        _ => Err(Status::method_not_allowed()),
    }
}

/// What one node or pod uses.
///
/// # Errors
/// 404 without such a node or pod, or if nothing is known of it.
pub async fn get(app: &App, target: Target<'_>) -> Result<Arc<Object>> {
    let measured = measured(target.served);
    let object = app.registry.view.get(&measured, target.namespace, target.name);
    let object = object.ok_or_else(|| Status::not_found(&measured, target.name))?;
    let found = usage(app, target.served, vec![object]).await?;
    found.into_iter().next().ok_or_else(|| {
        let whose = if target.namespace.is_empty() { String::new() } else { format!("{}/", target.namespace) };
        // in upstream's words the kind is the resource here
        let kind = target.served.resource.kind.to_lowercase();
        Status::not_found(
            &Resource { plural: kind.into(), ..target.served.resource.clone() },
            &format!("{whose}{}", target.name),
        )
    })
}

/// What those nodes or pods use of which that is known.
///
/// # Errors
/// When an answer cannot be encoded.
pub async fn list(app: &App, target: Target<'_>, selection: &Selection) -> Result<Vec<Arc<Object>>> {
    let mut objects = app.registry.view.list(&measured(target.served), target.namespace);
    objects.retain(|object| selection.matches_meta(object.meta()));
    usage(app, target.served, objects).await
}

/// What is measured.
fn measured(served: &Served) -> Resource {
    if served.resource.namespaced { Resource::of::<Pod>() } else { Resource::of::<Node>() }
}

async fn usage(app: &App, served: &Served, objects: Vec<Arc<Object>>) -> Result<Vec<Arc<Object>>> {
    let nodes = Resource::of::<Node>();
    app.usage.keep_only(|name| app.registry.view.get(&nodes, "", name).is_some());
    if served.resource.namespaced { pods(app, served, objects).await } else { whole_nodes(app, served, objects).await }
}

async fn whole_nodes(app: &App, served: &Served, nodes: Vec<Arc<Object>>) -> Result<Vec<Arc<Object>>> {
    let found = app.usage.measure(nodes.iter().map(|n| n.meta().name.clone()).collect()).await;
    let known = nodes.iter().filter_map(|node| Some((node, found.get(&node.meta().name)?.node()?)));
    known
        .map(|(node, used)| {
            let rest = json!({"usage": amounts(&used)});
            sealed(served, node.meta(), (used.at, used.window), app.registry.clock.now(), rest)
        })
        .collect()
}

async fn pods(app: &App, served: &Served, pods: Vec<Arc<Object>>) -> Result<Vec<Arc<Object>>> {
    let mut running: Vec<(Arc<Object>, String)> = Vec::with_capacity(pods.len());
    for object in pods {
        let pod = object.view::<Pod>()?;
        let runs = pod.status.as_ref().is_some_and(|s| s.phase.as_deref() == Some("Running"));
        if let (true, Some(node)) = (runs, pod.spec.as_ref().and_then(|s| s.node_name.clone())) {
            running.push((object, node));
        }
    }
    let nodes: BTreeSet<String> = running.iter().map(|(_, node)| node.clone()).collect();
    let found = app.usage.measure(nodes.into_iter().collect()).await;
    let known = running.iter().filter_map(|(pod, node)| {
        let name: PodName = (pod.meta().namespace.clone(), pod.meta().name.clone());
        Some((pod, found.get(node)?.pod(&name).filter(|containers| !containers.is_empty())?))
    });
    known.map(|(pod, containers)| of_pod(served, pod.meta(), &containers, app.registry.clock.now())).collect()
}

fn of_pod(served: &Served, meta: &Meta, containers: &BTreeMap<String, Used>, now: Timestamp) -> Result<Arc<Object>> {
    // the pod's window is that of the container that was read first
    let first = containers.values().min_by_key(|used| used.at);
    let span = first.map_or((now, SignedDuration::ZERO), |used| (used.at, used.window));
    let list: Vec<Value> =
        containers.iter().map(|(name, used)| json!({"name": name, "usage": amounts(used)})).collect();
    sealed(served, meta, span, now, json!({"containers": list}))
}

fn amounts(used: &Used) -> Value {
    let bounded = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
    let (cpu, memory) =
        (Quantity::from_nanos(bounded(used.cpu_nanos)), Quantity::new(bounded(used.memory), Format::BinarySi));
    json!({"cpu": cpu.to_string(), "memory": memory.to_string()})
}

fn sealed(
    served: &Served,
    of: &Meta,
    (at, window): (Timestamp, SignedDuration),
    now: Timestamp,
    rest: Value,
) -> Result<Arc<Object>> {
    let mut metadata = json!({"name": of.name, "creationTimestamp": seconds(now)});
    if !of.namespace.is_empty() {
        metadata["namespace"] = json!(of.namespace);
    }
    if !of.labels.is_empty() {
        metadata["labels"] = json!(of.labels);
    }
    let window = i64::try_from(window.as_nanos()).unwrap_or(i64::MAX);
    let mut object = rest;
    object["apiVersion"] = json!(served.resource.api_version());
    object["kind"] = json!(served.resource.kind);
    object["metadata"] = metadata;
    object["timestamp"] = json!(seconds(at));
    object["window"] = json!(coracle_api::duration::show(window));
    Object::from_value(&object).map(Arc::new)
}

fn seconds(at: Timestamp) -> Time {
    Time(Timestamp::from_second(at.as_second()).unwrap_or(at))
}
