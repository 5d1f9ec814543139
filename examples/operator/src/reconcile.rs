//! Makes the world as the sites say.

use crate::{
    children,
    site::{Site, SiteStatus},
};
use futures::StreamExt;
use k8s_openapi::{
    api::{
        apps::v1::Deployment,
        core::v1::{ConfigMap, Service},
    },
    apimachinery::pkg::apis::meta::v1::{Condition, Time},
    jiff::Timestamp,
};
use kube::{
    Api, Client, Resource, ResourceExt,
    api::{Patch, PatchParams},
    runtime::{
        Controller,
        controller::Action,
        events::{Event, EventType, Recorder, Reporter},
        finalizer::{Event as Finalizer, finalizer},
        watcher,
    },
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::json;
use std::{fmt::Debug, sync::Arc, time::Duration};

const MANAGER: &str = "site-operator";
const FINALIZER: &str = "examples.coracle.dev/farewell";

/// Why a site could not be made as wanted. It is tried again.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The API refused, or could not be reached.
    #[error("{0}")]
    Api(#[from] kube::Error),
    /// An object of the site is no such object.
    #[error("{0}")]
    Object(#[from] serde_json::Error),
    /// The finalizer could not be set or removed.
    #[error("{0}")]
    Finalizer(#[from] Box<kube::runtime::finalizer::Error<Error>>),
}

struct Context {
    client: Client,
    recorder: Recorder,
}

/// Watches sites and what belongs to them until it is told to stop.
pub async fn run(client: Client) {
    let sites: Api<Site> = Api::all(client.clone());
    let recorder = Recorder::new(client.clone(), Reporter { controller: MANAGER.into(), instance: None });
    Controller::new(sites, watcher::Config::default())
        .owns(Api::<Deployment>::all(client.clone()), watcher::Config::default().labels(children::LABEL))
        .owns(Api::<Service>::all(client.clone()), watcher::Config::default().labels(children::LABEL))
        .owns(Api::<ConfigMap>::all(client.clone()), watcher::Config::default().labels(children::LABEL))
        .shutdown_on_signal()
        .run(
            reconcile,
            |site, error, _| {
                tracing::warn!(site = site.name_any(), %error, "the site is not as wanted");
                Action::requeue(Duration::from_secs(2))
            },
            Arc::new(Context { client, recorder }),
        )
        .for_each(|_| async {})
        .await;
}

async fn reconcile(site: Arc<Site>, ctx: Arc<Context>) -> Result<Action, Error> {
    let sites: Api<Site> = Api::namespaced(ctx.client.clone(), &site.namespace().unwrap_or_default());
    let done = finalizer(&sites, FINALIZER, site, |event| async {
        match event {
            Finalizer::Apply(site) => apply(&site, &ctx).await,
            Finalizer::Cleanup(site) => {
                say(&ctx, &site, "Farewell", "the site is taken down").await?;
                Ok(Action::await_change())
            }
        }
    });
    done.await.map_err(|error| Error::Finalizer(Box::new(error)))
}

async fn apply(site: &Site, ctx: &Context) -> Result<Action, Error> {
    let client = &ctx.client;
    own(client, site, &children::config(site)?).await?;
    let service = own(client, site, &children::service(site)?).await?;
    let deployment = own(client, site, &children::deployment(site)?).await?;
    let ready = deployment.status.as_ref().and_then(|s| s.ready_replicas).unwrap_or_default();
    let address = service.spec.and_then(|s| s.cluster_ip).map(|ip| format!("{ip}:80"));
    let status = status(site, ready, address, Timestamp::now());
    if site.status.as_ref() == Some(&status) {
        return Ok(Action::await_change());
    }
    let was_ready = site.status.iter().flat_map(|s| &s.conditions).any(|c| c.status == "True");
    let sites: Api<Site> = Api::namespaced(client.clone(), &site.namespace().unwrap_or_default());
    let patch = json!({"apiVersion": Site::api_version(&()), "kind": Site::kind(&()), "status": status});
    sites.patch_status(&site.name_any(), &PatchParams::apply(MANAGER).force(), &Patch::Apply(patch)).await?;
    if !was_ready && status.conditions.iter().any(|c| c.status == "True") {
        say(ctx, site, "Shown", &format!("{ready} pods show the page")).await?;
    }
    Ok(Action::await_change())
}

/// The status of a site with so many ready pods.
fn status(site: &Site, ready: i32, address: Option<String>, now: Timestamp) -> SiteStatus {
    let (state, reason) = if ready == site.spec.replicas { ("True", "AllReady") } else { ("False", "PodsMissing") };
    let before = site.status.iter().flat_map(|s| &s.conditions).find(|c| c.type_ == "Ready" && c.status == state);
    let generation = site.meta().generation.unwrap_or_default();
    SiteStatus {
        replicas: ready,
        selector: children::selector(site),
        address,
        observed_generation: generation,
        conditions: vec![Condition {
            type_: "Ready".into(),
            status: state.into(),
            reason: reason.into(),
            message: format!("{ready} of {} pods are ready", site.spec.replicas),
            // seconds are what the API keeps
            last_transition_time: before.map_or(Time(whole(now)), |c| c.last_transition_time.clone()),
            observed_generation: Some(generation),
        }],
    }
}

fn whole(now: Timestamp) -> Timestamp {
    Timestamp::from_second(now.as_second()).unwrap_or(now)
}

/// Applies an object of the site; fields that others set stay theirs.
async fn own<K>(client: &Client, site: &Site, object: &K) -> Result<K, Error>
where
    K: Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>
        + Clone
        + Debug
        + DeserializeOwned
        + Serialize,
{
    let api: Api<K> = Api::namespaced(client.clone(), &site.namespace().unwrap_or_default());
    let mut patch = serde_json::to_value(object)?;
    patch["apiVersion"] = json!(K::api_version(&()));
    patch["kind"] = json!(K::kind(&()));
    Ok(api.patch(&site.name_any(), &PatchParams::apply(MANAGER).force(), &Patch::Apply(patch)).await?)
}

async fn say(ctx: &Context, site: &Site, reason: &str, note: &str) -> Result<(), Error> {
    let event = Event {
        type_: EventType::Normal,
        reason: reason.into(),
        note: Some(note.into()),
        action: "Reconcile".into(),
        secondary: None,
    };
    Ok(ctx.recorder.publish(&event, &site.object_ref(&())).await?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::site::SiteSpec;

    fn site(replicas: i32) -> Site {
        Site::new("s", SiteSpec { greeting: "hello".into(), replicas, image: "i".into() })
    }

    #[test]
    fn a_site_is_ready_with_all_its_pods_and_says_since_when() {
        let at = |second| Timestamp::from_second(second).expect("a time");
        let mut wanted = site(2);
        for (ready, second, expected, since) in
            [(0, 10, "False", 10), (1, 20, "False", 10), (2, 30, "True", 30), (2, 40, "True", 30), (1, 50, "False", 50)]
        {
            let status = status(&wanted, ready, None, at(second));
            let condition = &status.conditions[0];
            assert_eq!(
                (condition.status.as_str(), condition.last_transition_time.0),
                (expected, at(since)),
                "{second}"
            );
            wanted.status = Some(status);
        }
    }
}
