//! What volume a claim gets, and what is left to do for one whose claim is gone: pure.

use super::{FINALIZER, NODE, PROVISIONED_BY, PROVISIONER, ROOT, Say, policy_is};
use crate::volumes::volume_phase;
use coracle_client::Typed;
use k8s_openapi::api::{
    core::v1::{Node, PersistentVolume, PersistentVolumeClaim},
    storage::v1::StorageClass,
};
use serde_json::{Value, json};
use std::path::Path;

const HOSTNAME: &str = "kubernetes.io/hostname";

/// What to do for a claim.
#[derive(Debug)]
pub enum Provision {
    /// To make this volume.
    Make(Box<Value>),
    /// Nothing can be done as it is.
    Refuse(Say),
    /// Nothing can be done on this node.
    Elsewhere(Say),
}

/// Decides about a claim without a volume.
pub fn provision(
    claim: &Typed<PersistentVolumeClaim>,
    class: &Typed<StorageClass>,
    selected: Option<&str>,
    node: Option<&Typed<Node>>,
) -> Provision {
    let failed = |why: String| {
        Say::warning(
            "ProvisioningFailed",
            format!("failed to provision volume with StorageClass {:?}: {why}", class.name()),
        )
    };
    let Some(spec) = claim.spec.as_ref() else { return Provision::Refuse(failed("it has no spec".into())) };
    let Some(selected) = selected else {
        let why = "configuration error, no node was specified: the class needs volumeBindingMode WaitForFirstConsumer";
        return Provision::Refuse(failed(why.into()));
    };
    if spec.selector.is_some() {
        return Provision::Refuse(failed("claim.Spec.Selector is not supported".into()));
    }
    if spec.volume_mode.as_deref() == Some("Block") {
        return Provision::Refuse(failed("block volumes are not supported by this provisioner".into()));
    }
    let modes = spec.access_modes.as_deref().unwrap_or_default();
    if let Some(mode) = modes.iter().find(|m| !["ReadWriteOnce", "ReadWriteOncePod"].contains(&m.as_str())) {
        let why = format!("only ReadWriteOnce and ReadWriteOncePod access modes are supported, not {mode}");
        return Provision::Refuse(failed(why));
    }
    let Some(node) = node else { return Provision::Elsewhere(failed(format!("node {selected:?} not found"))) };
    let Some(root) = node.meta().annotations.get(ROOT) else {
        return Provision::Elsewhere(failed(format!("node {selected:?} has no directory for volumes")));
    };
    let size = spec.resources.as_ref().and_then(|r| r.requests.as_ref()?.get("storage")).cloned();
    let (namespace, uid) = (&claim.meta().namespace, claim.uid());
    let mut directory = format!("pvc-{uid}_{namespace}_{}", claim.name());
    // names of files are not longer; the uid alone tells volumes apart
    directory.truncate(255);
    let hostname = node.meta().labels.get(HOSTNAME).map_or(node.name(), String::as_str);
    Provision::Make(Box::new(json!({
        "apiVersion": "v1", "kind": "PersistentVolume",
        "metadata": {
            "name": format!("pvc-{uid}"),
            "annotations": {PROVISIONED_BY: PROVISIONER, NODE: node.name()},
            "finalizers": [FINALIZER],
        },
        "spec": {
            "accessModes": modes,
            "capacity": {"storage": size},
            "claimRef": {
                "apiVersion": "v1", "kind": "PersistentVolumeClaim", "namespace": namespace, "name": claim.name(),
                "uid": uid, "resourceVersion": claim.object.revision().to_string(),
            },
            "local": {"path": Path::new(root).join(directory)},
            "nodeAffinity": {"required": {"nodeSelectorTerms": [
                {"matchExpressions": [{"key": HOSTNAME, "operator": "In", "values": [hostname]}]}]}},
            "persistentVolumeReclaimPolicy": class.reclaim_policy.as_deref().unwrap_or("Delete"),
            "storageClassName": class.name(),
            "volumeMode": "Filesystem",
        },
    })))
}

/// What is left to do for a volume.
#[derive(Debug, PartialEq, Eq)]
pub enum Clearing {
    /// Nothing, or nothing yet.
    Nothing,
    /// Its claim is gone, and it goes too.
    Delete,
    /// The node has to remove this directory.
    Ask(String),
    /// Nothing holds it any more.
    Finish,
}

/// Decides about a volume; `list` is what its node was asked to remove (`None`: the node is gone), `asked` whether this volume's
/// directory was among it.
pub fn clearing(volume: &Typed<PersistentVolume>, list: Option<&[String]>, asked: bool) -> Clearing {
    let meta = volume.meta();
    if !meta.is_deleting() {
        let delete = volume_phase(volume) == "Released" && policy_is(volume, "Delete");
        return if delete { Clearing::Delete } else { Clearing::Nothing };
    }
    let held = |finalizer: &str| meta.finalizers.iter().any(|f| f == finalizer);
    // bound still, and so perhaps in use
    if !held(FINALIZER) || held("kubernetes.io/pv-protection") {
        return Clearing::Nothing;
    }
    let path = volume.spec.as_ref().and_then(|s| s.local.as_ref()).map(|l| Path::new(&l.path));
    let directory = path.and_then(|p| p.file_name()).and_then(|n| n.to_str());
    match (list, directory) {
        _ if !policy_is(volume, "Delete") => Clearing::Finish,
        (None, _) | (_, None) => Clearing::Finish,
        (Some(list), Some(directory)) if list.iter().any(|name| name == directory) => Clearing::Nothing,
        _ if asked => Clearing::Finish,
        (_, Some(directory)) => Clearing::Ask(directory.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{now, typed};
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

    fn class() -> Typed<StorageClass> {
        typed(json!({"metadata": {"name": "local-path"}, "provisioner": PROVISIONER}))
    }

    #[test]
    fn what_a_claim_gets() {
        let check = |spec: Value, selected: Option<&str>, root: Option<&str>, expected: &str| {
            let mut spec = spec;
            spec["resources"] = json!({"requests": {"storage": "1Gi"}});
            let claim = typed::<PersistentVolumeClaim>(json!({"metadata": {"name": "data"}, "spec": spec}));
            let node = root.map(|root| {
                typed::<Node>(
                    json!({"metadata": {"name": "n", "labels": {HOSTNAME: "host"}, "annotations": {ROOT: root}}}),
                )
            });
            let got = match provision(&claim, &class(), selected, node.as_ref()) {
                Provision::Make(volume) => {
                    let spec = &volume["spec"];
                    let on = &spec["nodeAffinity"]["required"]["nodeSelectorTerms"][0]["matchExpressions"][0];
                    let shown = [&spec["local"]["path"], &on["values"][0], &spec["capacity"]["storage"]];
                    format!("make {}", shown.map(|v| v.as_str().unwrap_or_default().to_string()).join(" "))
                }
                Provision::Refuse(say) => format!("refuse {}", say.message),
                Provision::Elsewhere(say) => format!("elsewhere {}", say.message),
            };
            assert!(got.contains(expected), "{got}");
        };
        let plain = || json!({"accessModes": ["ReadWriteOnce"]});
        check(plain(), Some("n"), Some("/d/volumes"), "make /d/volumes/pvc-uid-data_ns_data host 1Gi");
        check(
            plain(),
            None,
            None,
            "refuse failed to provision volume with StorageClass \"local-path\": configuration error",
        );
        check(plain(), Some("gone"), None, "node \"gone\" not found");
        check(json!({"accessModes": ["ReadWriteMany"]}), Some("n"), Some("/d"), "refuse");
        check(json!({"volumeMode": "Block"}), Some("n"), Some("/d"), "refuse");
        check(json!({"selector": {}}), Some("n"), Some("/d"), "refuse");
    }

    #[test]
    fn how_a_volume_goes() {
        const NAME: &str = "pvc-uid_ns_c";
        let check = |phase: &str,
                     policy: &str,
                     deleting: bool,
                     held: bool,
                     list: Option<Vec<&str>>,
                     asked,
                     expected| {
            let protection = held.then_some("kubernetes.io/pv-protection");
            let finalizers: Vec<&str> = protection.into_iter().chain([FINALIZER]).collect();
            let volume = typed::<PersistentVolume>(json!({
                "metadata": {"name": "v", "finalizers": finalizers, "deletionTimestamp": deleting.then(|| Time(now()))},
                "spec": {"persistentVolumeReclaimPolicy": policy, "local": {"path": format!("/d/{NAME}")}},
                "status": {"phase": phase},
            }));
            let list: Option<Vec<String>> = list.map(|l| l.into_iter().map(str::to_string).collect());
            assert_eq!(
                clearing(&volume, list.as_deref(), asked),
                expected,
                "{phase} {policy} {deleting} {held} {list:?}"
            );
        };
        let none = || Some(vec!["other"]);
        check("Bound", "Delete", false, true, none(), false, Clearing::Nothing);
        check("Released", "Retain", false, true, none(), false, Clearing::Nothing);
        check("Released", "Delete", false, true, none(), false, Clearing::Delete);
        check("Bound", "Delete", true, true, none(), false, Clearing::Nothing);
        check("Released", "Delete", true, false, none(), false, Clearing::Ask(NAME.into()));
        check("Released", "Delete", true, false, Some(vec![NAME]), true, Clearing::Nothing);
        check("Released", "Delete", true, false, none(), true, Clearing::Finish);
        check("Released", "Delete", true, false, None, false, Clearing::Finish);
        check("Released", "Retain", true, false, none(), false, Clearing::Finish);
    }
}
