//! The history of templates that StatefulSets and DaemonSets keep as ControllerRevisions.

use crate::{
    framework::Context,
    hash,
    owners::{self, Orphans},
};
use coracle_api::{LabelSelector, Result, Status};
use coracle_client::{ClientExt, Kind, Typed, ViewExt, typed};
use k8s_openapi::{
    api::{apps::v1::ControllerRevision, core::v1::PodTemplateSpec},
    apimachinery::pkg::{apis::meta::v1::ObjectMeta, runtime::RawExtension},
};
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// The label of a pod that says which revision it was made from.
pub const REVISION_LABEL: &str = "controller-revision-hash";

/// All revisions of an owner.
pub struct History {
    /// Oldest first.
    pub all: Vec<Typed<ControllerRevision>>,
    /// The one of the owner's template as it is now.
    pub newest: Typed<ControllerRevision>,
    /// How often a name was taken by another template.
    pub collisions: i32,
}

/// What identifies an owner's revisions.
pub struct Naming<'a> {
    /// The label of the revision object that carries its hash.
    pub hash_label: &'a str,
    /// `status.collisionCount`.
    pub collisions: Option<i32>,
}

/// The history of `owner`, in which its present template has a revision: a new one, or an old one that became the newest again.
///
/// # Errors
/// When a write failed.
pub async fn sync<K: Kind>(
    ctx: &Context,
    owner: &Typed<K>,
    selector: &LabelSelector,
    template: &PodTemplateSpec,
    naming: Naming<'_>,
    orphans: &Orphans,
) -> Result<History> {
    let claim = owners::claim::<ControllerRevision, K>(ctx.view.as_ref(), owner, selector, orphans);
    let mut all = owners::settle(ctx, owner, claim).await?;
    all.sort_by(|a, b| number(a).cmp(&number(b)).then_with(|| a.name().cmp(b.name())));
    let wanted = data(template)?;
    let highest = all.last().map_or(0, number);
    let mut collisions = naming.collisions.unwrap_or(0);
    if let Some(index) = all.iter().rposition(|revision| revision.data.0 == wanted) {
        let mut newest = all.remove(index);
        if number(&newest) < highest {
            newest = ctx.client.update_with(&newest, |value| value["revision"] = json!(highest + 1)).await?;
        }
        all.push(newest.clone());
        return Ok(History { all, newest, collisions });
    }
    loop {
        let hash = hash::hash(&wanted, collisions);
        let revision = new(owner, template, &wanted, highest + 1, &hash, naming.hash_label);
        match ctx.client.create_typed(&revision).await {
            Ok(newest) => {
                all.push(newest.clone());
                return Ok(History { all, newest, collisions });
            }
            Err(status) if status.is_already_exists() => {
                let name = format!("{}-{hash}", owner.name());
                let existing = ctx.view.typed::<ControllerRevision>(&owner.meta().namespace, &name);
                if let Some(newest) = existing.filter(|e| e.data.0 == wanted) {
                    all.push(newest.clone());
                    return Ok(History { all, newest, collisions });
                }
                collisions += 1;
            }
            Err(status) => return Err(status),
        }
    }
}

fn new<K: Kind>(
    owner: &Typed<K>,
    template: &PodTemplateSpec,
    data: &Value,
    number: i64,
    hash: &str,
    hash_label: &str,
) -> ControllerRevision {
    let mut labels = template.metadata.as_ref().and_then(|m| m.labels.clone()).unwrap_or_default();
    labels.insert(hash_label.into(), hash.into());
    ControllerRevision {
        metadata: ObjectMeta {
            name: Some(format!("{}-{hash}", owner.name())),
            namespace: Some(owner.meta().namespace.clone()),
            labels: Some(labels),
            annotations: Some(owner.meta().annotations.clone()).filter(|a| !a.is_empty()),
            owner_references: Some(vec![typed::controller_reference(owner)]),
            ..ObjectMeta::default()
        },
        data: RawExtension(data.clone()),
        revision: Some(number),
    }
}

/// The strategic merge patch that puts the template back, as `kubectl rollout undo` applies it.
fn data(template: &PodTemplateSpec) -> Result<Value> {
    let mut template = serde_json::to_value(template).map_err(Status::internal)?;
    template["$patch"] = json!("replace");
    Ok(json!({"spec": {"template": template}}))
}

/// The template that a revision keeps.
///
/// # Errors
/// When the revision was tampered with.
pub fn template(revision: &ControllerRevision) -> Result<PodTemplateSpec> {
    serde_json::from_value(revision.data.0["spec"]["template"].clone()).map_err(Status::internal)
}

/// Its place in the order of revisions.
pub fn number(revision: &Typed<ControllerRevision>) -> i64 {
    revision.revision.unwrap_or(0)
}

/// Deletes the oldest revisions beyond `limit` that are not `live`.
///
/// # Errors
/// When a delete failed.
pub async fn truncate(
    ctx: &Context,
    all: &[Typed<ControllerRevision>],
    live: &BTreeSet<String>,
    limit: i32,
    id: impl Fn(&Typed<ControllerRevision>) -> String,
) -> Result<()> {
    let dead: Vec<_> = all.iter().filter(|r| !live.contains(&id(r))).collect();
    let beyond = dead.len().saturating_sub(limit.max(0) as usize);
    for revision in dead.into_iter().take(beyond) {
        ctx.client.delete_typed(revision, None).await?;
    }
    Ok(())
}
