//! What makes a stateful pod itself: its name, its place among the others, and claims on volumes that outlive it. Pure.

use super::plan::ordinal;
use crate::{pods, revisions::REVISION_LABEL};
use coracle_client::{Kind, Typed, typed};
use k8s_openapi::{
    api::{
        apps::v1::{StatefulSet, StatefulSetPersistentVolumeClaimRetentionPolicy},
        core::v1::{PersistentVolumeClaim, PersistentVolumeClaimVolumeSource, Pod, PodTemplateSpec, Volume},
    },
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use serde_json::{Value, json};

/// The pod's own name.
pub const POD_NAME: &str = "statefulset.kubernetes.io/pod-name";
/// The pod's ordinal.
pub const POD_INDEX: &str = "apps.kubernetes.io/pod-index";

/// The pod with this ordinal, made from the template of `revision`.
pub fn pod(set: &Typed<StatefulSet>, template: &PodTemplateSpec, revision: &str, ordinal: i32) -> Pod {
    let mut pod = pods::from_template(template, set);
    let name = format!("{}-{ordinal}", set.name());
    pod.metadata.generate_name = None;
    pod.metadata.name = Some(name.clone());
    let labels = pod.metadata.labels.get_or_insert_default();
    labels.insert(POD_NAME.into(), name.clone());
    labels.insert(POD_INDEX.into(), ordinal.to_string());
    labels.insert(REVISION_LABEL.into(), revision.into());
    let spec = pod.spec.get_or_insert_default();
    spec.hostname = Some(name);
    spec.subdomain = set.spec.service_name.clone().filter(|s| !s.is_empty());
    let mut volumes: Vec<Volume> = claim_templates(set)
        .map(|claim| {
            let volume = claim.metadata.name.clone().unwrap_or_default();
            Volume {
                persistent_volume_claim: Some(PersistentVolumeClaimVolumeSource {
                    claim_name: claim_name(set, &volume, ordinal),
                    read_only: Some(false),
                }),
                name: volume,
                ..Volume::default()
            }
        })
        .collect();
    // A claim takes the place of a volume of its name.
    let others = spec.volumes.take().unwrap_or_default();
    let others = others.into_iter().filter(|v| volumes.iter().all(|c| c.name != v.name)).collect::<Vec<_>>();
    volumes.extend(others);
    spec.volumes = Some(volumes).filter(|v| !v.is_empty());
    pod
}

fn claim_templates(set: &StatefulSet) -> impl Iterator<Item = &PersistentVolumeClaim> {
    set.spec.volume_claim_templates.iter().flatten()
}

fn claim_name(set: &Typed<StatefulSet>, template: &str, ordinal: i32) -> String {
    format!("{template}-{}-{ordinal}", set.name())
}

/// The names of the claims of the pod with this ordinal.
pub fn claim_names(set: &Typed<StatefulSet>, ordinal: i32) -> Vec<String> {
    claim_templates(set)
        .map(|claim| claim_name(set, claim.metadata.name.as_deref().unwrap_or_default(), ordinal))
        .collect()
}

/// The claims of the pod with this ordinal.
pub fn claims(set: &Typed<StatefulSet>, ordinal: i32) -> Vec<PersistentVolumeClaim> {
    claim_templates(set)
        .map(|template| {
            let mut labels = template.metadata.labels.clone().unwrap_or_default();
            labels.extend(set.spec.selector.match_labels.clone().unwrap_or_default());
            let name = claim_name(set, template.metadata.name.as_deref().unwrap_or_default(), ordinal);
            let owners = (policy(set).0 == Keep::Delete).then(|| vec![typed::controller_reference(set)]);
            PersistentVolumeClaim {
                metadata: ObjectMeta {
                    name: Some(name),
                    namespace: Some(set.meta().namespace.clone()),
                    labels: Some(labels).filter(|l| !l.is_empty()),
                    annotations: template.metadata.annotations.clone(),
                    owner_references: owners,
                    ..ObjectMeta::default()
                },
                spec: template.spec.clone(),
                status: None,
            }
        })
        .collect()
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Keep {
    Retain,
    Delete,
}

/// What happens to claims when the set is deleted, and when it is scaled down.
fn policy(set: &StatefulSet) -> (Keep, Keep) {
    let policy = set.spec.persistent_volume_claim_retention_policy.clone().unwrap_or_default();
    let keep = |text: Option<&str>| if text == Some("Delete") { Keep::Delete } else { Keep::Retain };
    let StatefulSetPersistentVolumeClaimRetentionPolicy { when_deleted, when_scaled } = policy;
    (keep(when_deleted.as_deref()), keep(when_scaled.as_deref()))
}

/// The owner references that a claim of `pod` has to have, if they are not what it has. Whom a claim belongs to, decides whose deletion
/// takes it along.
pub fn owners_of_claim(
    set: &Typed<StatefulSet>,
    pod: &Typed<Pod>,
    claim: &Typed<PersistentVolumeClaim>,
) -> Option<Vec<Value>> {
    let (when_deleted, when_scaled) = policy(set);
    let start = set.spec.ordinals.as_ref().and_then(|o| o.start).unwrap_or(0);
    let wanted = start..start.saturating_add(set.spec.replicas.unwrap_or(1));
    let condemned = ordinal(set.name(), pod.name()).is_some_and(|o| !wanted.contains(&o));
    let by_pod = when_scaled == Keep::Delete && condemned;
    let by_set = when_deleted == Keep::Delete && !by_pod;
    let has = |uid: &str| claim.meta().owner_references.iter().any(|o| o.uid == uid);
    if has(set.uid()) == by_set && has(pod.uid()) == by_pod {
        return None;
    }
    let mut owners: Vec<Value> = claim
        .meta()
        .owner_references
        .iter()
        .filter(|o| o.uid != set.uid() && o.uid != pod.uid())
        .map(|o| json!(o))
        .collect();
    if by_set {
        owners.push(json!(typed::controller_reference(set)));
    }
    if by_pod {
        owners.push(json!(typed::controller_reference(pod)));
    }
    Some(owners)
}

/// The labels that a pod of this name must have; `None` if it has them.
pub fn missing_labels(set: &Typed<StatefulSet>, pod: &Typed<Pod>) -> Option<Value> {
    let ordinal = ordinal(set.name(), pod.name())?.to_string();
    let labels = &pod.meta().labels;
    let right = labels.get(POD_NAME).is_some_and(|n| n == pod.name()) && labels.get(POD_INDEX) == Some(&ordinal);
    (!right).then(|| json!({"metadata": {"labels": {POD_NAME: pod.name(), POD_INDEX: ordinal}}}))
}

/// The resource of claims.
pub fn claim_resource() -> coracle_api::Resource {
    PersistentVolumeClaim::resource()
}
