//! A node changes itself and its own pods, nothing else: a stolen node key must not open the rest of the cluster.

use super::{Operation, Plugin, Request, certificate_subject_restriction::decode, text};
use crate::auth::node::node_name;
use async_trait::async_trait;
use coracle_api::{Resource, Result};
use serde_json::{Map, Value};

const PODS: Resource = Resource::fixed("", "v1", "pods", "Pod", true);
const MIRROR: &str = "/metadata/annotations/kubernetes.io~1config.mirror";

/// Labels under kubernetes.io and k8s.io that a node may set on itself; the ones that end in `/` are whole prefixes.
const OWN_LABELS: [&str; 14] = [
    "kubernetes.io/hostname",
    "kubernetes.io/os",
    "kubernetes.io/arch",
    "beta.kubernetes.io/os",
    "beta.kubernetes.io/arch",
    "beta.kubernetes.io/instance-type",
    "node.kubernetes.io/instance-type",
    "failure-domain.beta.kubernetes.io/zone",
    "failure-domain.beta.kubernetes.io/region",
    "failure-domain.kubernetes.io/zone",
    "failure-domain.kubernetes.io/region",
    "topology.kubernetes.io/zone",
    "topology.kubernetes.io/region",
    "kubelet.kubernetes.io/",
];

/// The plugin.
pub struct NodeRestriction;

#[async_trait]
impl Plugin for NodeRestriction {
    fn name(&self) -> &'static str {
        "NodeRestriction"
    }

    async fn validate(&self, request: &Request<'_>, object: &Value) -> Result<()> {
        let Some(node) = node_name(request.user) else { return Ok(()) };
        let refusal = match (request.resource.group.as_ref(), request.resource.plural.as_ref(), request.subresource) {
            ("", "pods", "") => pod(request, node, object),
            ("", "pods", "status") => pod_status(request, node, object),
            ("", "pods", "eviction") => pod_eviction(request, node),
            ("", "nodes", _) => node_object(request, node, object),
            ("", "serviceaccounts", "token") => token(request, node, object),
            ("coordination.k8s.io", "leases", _) => lease(request, node, object),
            ("storage.k8s.io", "csinodes", _) => csi_node(request, node, object),
            ("certificates.k8s.io", "certificatesigningrequests", "") => certificate(request, node, object),
            _ => None,
        };
        refusal.map_or(Ok(()), |why| Err(request.forbid(object, why)))
    }
}

type Refusal = Option<String>;

fn pod(request: &Request<'_>, node: &str, pod: &Value) -> Refusal {
    match request.operation {
        Operation::Create => {
            if pod.pointer(MIRROR).is_none() {
                return Some(format!(
                    "pod does not have \"kubernetes.io/config.mirror\" annotation, node {node:?} can only create mirror pods"
                ));
            }
            if text(pod, "/spec/nodeName") != node {
                return Some(format!("node {node:?} can only create pods with spec.nodeName set to itself"));
            }
            let owners = pod["metadata"]["ownerReferences"].as_array();
            let own = |o: &Value| o["apiVersion"] == "v1" && o["kind"] == "Node" && o["name"] == node;
            if owners.is_some_and(|all| all.len() > 1 || all.iter().any(|o| !own(o))) {
                return Some(format!("node {node:?} can only create pods with an owner reference set to itself"));
            }
            for (field, what) in [("serviceAccountName", "service accounts"), ("serviceAccount", "service accounts")] {
                if !text(&pod["spec"], &format!("/{field}")).is_empty() {
                    return Some(format!("node {node:?} can not create pods that reference {what}"));
                }
            }
            let uses = |v: &Value, kind: &str| !v[kind].is_null();
            let volumes = pod["spec"]["volumes"].as_array().into_iter().flatten();
            let secrets = ["secret", "configMap", "persistentVolumeClaim", "projected"];
            volumes.into_iter().find_map(|volume| {
                let kind = secrets.iter().find(|kind| uses(volume, kind))?;
                Some(format!("node {node:?} can not create pods that reference {kind}s"))
            })
        }
        Operation::Delete => {
            let own = request.old.is_some_and(|old| text(&old.value(), "/spec/nodeName") == node);
            (!own).then(|| format!("node {node:?} can only delete pods with spec.nodeName set to itself"))
        }
        _ => Some(format!("unexpected operation, node {node:?} can only create and delete mirror pods")),
    }
}

fn pod_status(request: &Request<'_>, node: &str, pod: &Value) -> Refusal {
    let old = request.old?.value();
    if text(&old, "/spec/nodeName") != node {
        return Some(format!("node {node:?} can only update pod status for pods with spec.nodeName set to itself"));
    }
    let empty = Value::Object(Map::new());
    let labels = |v: &Value| v.pointer("/metadata/labels").filter(|l| !l.is_null()).unwrap_or(&empty).clone();
    (labels(&old) != labels(pod)).then(|| format!("node {node:?} cannot update labels through pod status"))
}

fn pod_eviction(request: &Request<'_>, node: &str) -> Refusal {
    let pod = request.view.get(&PODS, request.namespace, request.name)?;
    let own = text(&pod.value(), "/spec/nodeName") == node;
    (!own).then(|| format!("node {node:?} can only evict pods with spec.nodeName set to itself"))
}

fn node_object(request: &Request<'_>, node: &str, object: &Value) -> Refusal {
    let asked = if request.name.is_empty() { text(object, "/metadata/name") } else { request.name };
    if asked != node {
        return Some(format!("node {node:?} is not allowed to modify node {asked:?}"));
    }
    let old = request.old.map(|old| old.value());
    match (request.operation, old) {
        (Operation::Create, _) => {
            let labels = refused_labels(&Value::Null, object);
            (!labels.is_empty())
                .then(|| format!("node {node:?} is not allowed to set the following labels: {}", labels.join(", ")))
        }
        (Operation::Update, Some(old)) => {
            // an absent list and an empty one are the same
            let list = |v: &Value, p: &str| v.pointer(p).and_then(Value::as_array).cloned().unwrap_or_default();
            for (pointer, what) in [("/spec/taints", "taints"), ("/metadata/ownerReferences", "ownerReferences")] {
                if list(&old, pointer) != list(object, pointer) {
                    return Some(format!("node {node:?} is not allowed to modify {what}"));
                }
            }
            let labels = refused_labels(&old, object);
            (!labels.is_empty()).then(|| format!("is not allowed to modify labels: {}", labels.join(", ")))
        }
        _ => None,
    }
}

/// Labels that were changed and are not a node's to change.
fn refused_labels(old: &Value, new: &Value) -> Vec<String> {
    let labels = |v: &Value| v.pointer("/metadata/labels").and_then(Value::as_object).cloned().unwrap_or_default();
    let (old, new) = (labels(old), labels(new));
    let mut changed: Vec<String> =
        old.keys().chain(new.keys()).filter(|key| old.get(*key) != new.get(*key)).cloned().collect();
    changed.sort();
    changed.dedup();
    changed.retain(|label| {
        let Some((prefix, _)) = label.split_once('/') else { return false };
        let reserved = ["kubernetes.io", "k8s.io"].iter().any(|d| prefix == *d || prefix.ends_with(&format!(".{d}")));
        let own = OWN_LABELS.iter().any(|l| label == l || l.ends_with('/') && label.starts_with(l));
        reserved && !own && prefix != "node.kubernetes.io"
    });
    changed
}

fn token(request: &Request<'_>, node: &str, body: &Value) -> Refusal {
    let bound = &body["spec"]["boundObjectRef"];
    if text(bound, "/apiVersion") != "v1" || text(bound, "/kind") != "Pod" || text(bound, "/name").is_empty() {
        return Some("node requested token not bound to a pod".into());
    }
    if text(bound, "/uid").is_empty() {
        return Some("node requested token with a pod binding without a uid".into());
    }
    let Some(pod) = request.view.get(&PODS, request.namespace, text(bound, "/name")) else {
        return Some("node requested token bound to a pod that does not exist".into());
    };
    if pod.meta().uid != text(bound, "/uid") {
        return Some(format!(
            "the UID in the bound object reference ({}) does not match the UID in record. The object might have been deleted and then recreated",
            text(bound, "/uid")
        ));
    }
    let own = text(&pod.value(), "/spec/nodeName") == node;
    (!own).then(|| "node requested token bound to a pod scheduled on a different node".into())
}

fn lease(request: &Request<'_>, node: &str, object: &Value) -> Refusal {
    if request.namespace != "kube-node-lease" {
        return Some("can only access leases in the \"kube-node-lease\" system namespace".into());
    }
    let name = if request.operation == Operation::Create { text(object, "/metadata/name") } else { request.name };
    (name != node).then(|| "can only access node lease with the same name as the requesting node".into())
}

fn csi_node(request: &Request<'_>, node: &str, object: &Value) -> Refusal {
    let name = if request.operation == Operation::Create { text(object, "/metadata/name") } else { request.name };
    (name != node).then(|| "can only access CSINode with the same name as the requesting node".into())
}

fn certificate(request: &Request<'_>, node: &str, object: &Value) -> Refusal {
    let signer = text(object, "/spec/signerName");
    let for_nodes = ["kubernetes.io/kube-apiserver-client-kubelet", "kubernetes.io/kubelet-serving"].contains(&signer);
    if request.operation != Operation::Create || !for_nodes {
        return None;
    }
    let own = decode(object).is_some_and(|asked| asked.common_name == format!("system:node:{node}"));
    (!own).then(|| format!("can only create a node CSR with CN=system:node:{node}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{admission::testing::Case, auth::User};
    use serde_json::json;

    fn resource(group: &'static str, plural: &'static str) -> Resource {
        Resource::fixed(group, "v1", plural, "Kind", true)
    }

    #[test]
    fn a_node_changes_itself_only() {
        let on =
            |node: &str| json!({"metadata": {"namespace": "a", "name": "p", "uid": "u"}, "spec": {"nodeName": node}});
        let node = |name: &str, labels: Value, taints: Value| json!({"metadata": {"name": name, "labels": labels}, "spec": {"taints": taints}});
        let mirror = json!({"metadata": {"name": "p", "annotations": {"kubernetes.io/config.mirror": "x"}}, "spec": {"nodeName": "n1"}});
        let bind = |pod: &str, uid: &str| json!({"metadata": {"namespace": "a", "name": "sa"}, "spec": {"boundObjectRef": {"apiVersion": "v1", "kind": "Pod", "name": pod, "uid": uid}}});
        let lease = |name: &str| json!({"metadata": {"namespace": "kube-node-lease", "name": name}});
        use Operation::{Create, Delete, Update};
        for (operation, of, subresource, old, object, expected) in [
            (Create, resource("", "pods"), "", None, on("n1"), "can only create mirror pods"),
            (Create, resource("", "pods"), "", None, mirror, ""),
            (Delete, resource("", "pods"), "", Some(on("n1")), Value::Null, ""),
            (Delete, resource("", "pods"), "", Some(on("n2")), Value::Null, "can only delete pods"),
            (Update, resource("", "pods"), "status", Some(on("n1")), on("n1"), ""),
            (Update, resource("", "pods"), "status", Some(on("n2")), on("n2"), "can only update pod status"),
            (
                Create,
                resource("", "nodes"),
                "",
                None,
                node("n1", json!({"kubernetes.io/os": "linux"}), json!([{"key": "k"}])),
                "",
            ),
            (
                Create,
                resource("", "nodes"),
                "",
                None,
                node("n2", json!({}), json!([])),
                "not allowed to modify node \"n2\"",
            ),
            (
                Create,
                resource("", "nodes"),
                "",
                None,
                node("n1", json!({"node-restriction.kubernetes.io/x": "y", "mine": "z"}), json!([])),
                "is not allowed to set the following labels: node-restriction.kubernetes.io/x",
            ),
            (
                Update,
                resource("", "nodes"),
                "",
                Some(node("n1", json!({}), json!([]))),
                node("n1", json!({"node-role.kubernetes.io/control-plane": ""}), json!([])),
                "is not allowed to modify labels: node-role.kubernetes.io/control-plane",
            ),
            (
                Update,
                resource("", "nodes"),
                "",
                Some(node("n1", json!({}), json!([{"key": "k"}]))),
                node("n1", json!({}), json!([])),
                "is not allowed to modify taints",
            ),
            (
                Update,
                resource("", "nodes"),
                "status",
                Some(node("n1", json!({}), Value::Null)),
                node("n1", json!({}), json!([])),
                "",
            ),
            (Create, resource("", "serviceaccounts"), "token", None, bind("here", "uid-here"), ""),
            (Create, resource("", "serviceaccounts"), "token", None, bind("here", "x"), "does not match the UID"),
            (Create, resource("", "serviceaccounts"), "token", None, bind("there", "uid-there"), "on a different node"),
            (Create, resource("", "serviceaccounts"), "token", None, json!({"spec": {}}), "not bound to a pod"),
            (Create, resource("coordination.k8s.io", "leases"), "", None, lease("n1"), ""),
            (
                Create,
                resource("coordination.k8s.io", "leases"),
                "",
                None,
                lease("n2"),
                "same name as the requesting node",
            ),
        ] {
            let user = User::component("system:node:n1", &["system:nodes"]);
            let shown = format!("{operation:?} {of}/{subresource} {object}");
            let case = Case { user, operation, subresource, old, ..Case::create(of) };
            for (name, node) in [("here", "n1"), ("there", "n2")] {
                case.world
                    .put(&PODS, json!({"metadata": {"namespace": "a", "name": name}, "spec": {"nodeName": node}}));
            }
            let found = case.refusal(&NodeRestriction, &object);
            assert!(found.contains(expected) && found.is_empty() == expected.is_empty(), "{shown}: {found:?}");
        }
    }

    #[test]
    fn others_are_not_restricted() {
        let case = Case::create(resource("", "nodes"));
        assert_eq!(case.refusal(&NodeRestriction, &json!({"metadata": {"name": "n9"}})), "");
    }
}
